"""``requests`` under our rules: the network policy dials, nothing is retried, no redirect is followed.

For SDKs that send through a ``requests`` session. What ``requests`` would take from the environment (proxies,
``.netrc``, ``REQUESTS_CA_BUNDLE``, which beats a session's own ``verify``) is not heard, and no cookie kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from requests.hooks import dispatch_hook
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    ReadTimeoutError,
    SSLError,
)

from conveyor.kit.pools import CONNECT_TIMEOUT, READ_TIMEOUT, exchange, policed_pools

if TYPE_CHECKING:
    from urllib3 import PoolManager
    from urllib3.response import BaseHTTPResponse

    from conveyor.network import Network

__all__ = ["CONNECT_TIMEOUT", "READ_TIMEOUT", "PolicedAdapter", "Session", "make_session", "policed_pools"]


class Session(requests.Session):
    """``requests``' session without what the rules leave nothing of.

    Cookies, redirects and the environment cost more than the request itself, each time, even where the
    settings say that there are none.
    """

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Make a request ready: the session's headers and login, where it has none of its own."""
        headers: dict[str, tuple[str, Any]] = {}
        for name, value in (*self.headers.items(), *request.headers.items()):
            headers[name.lower()] = name, value
        made = requests.PreparedRequest()
        made.prepare_method(request.method)
        made.prepare_url(request.url, request.params or None)  # type: ignore[arg-type]
        made.prepare_headers({name: value for name, value in headers.values() if value is not None})
        made.prepare_body(request.data, request.files, request.json)
        if (login := request.auth or self.auth) is not None:
            made.prepare_auth(login)
        made.prepare_hooks(request.hooks)
        return made

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> dict[str, Any]:
        """Hear nothing of the environment."""
        return {"stream": stream}

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send once; a redirect is an answer as any other."""
        options.pop("allow_redirects", None)
        answer = self.get_adapter(request.url or "").send(request, **options)
        answered: requests.Response = dispatch_hook("response", request.hooks, answer, **options)
        return answered


class PolicedAdapter(HTTPAdapter):
    """An adapter that opens no connection but by the network policy, and reads no endless answer.

    Args:
        pools: Of :func:`policed_pools`; kept as ``pools`` for those that read answers in another way.
    """

    def __init__(self, pools: PoolManager) -> None:
        self.pools = pools
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use ours."""
        self.poolmanager = self.pools

    def build_response(self, req: requests.PreparedRequest, resp: BaseHTTPResponse) -> requests.Response:
        """The answer in the words of ``requests``; its cookies are not looked at."""
        made = requests.Response()
        made.status_code, made.reason, made.raw = resp.status, resp.reason, resp  # type: ignore[assignment]
        made.headers = CaseInsensitiveDict(resp.headers.items())
        made.encoding = get_encoding_from_headers(made.headers)
        made.url, made.request = req.url or "", req
        made.connection = self  # where a login that is asked for sends again
        return made

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send one request, once, and read its answer. The last three are the pools' own business.

        Raises:
            requests.RequestException: no answer; its cause is urllib3's error.
            ConveyorError: the policy forbids the address.
        """
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        try:
            answer, content = exchange(
                self.pools,
                request.method or "GET",
                request.url or "",
                request.body,
                request.headers,
                connect=connect,
                read=read,
            )
            response = self.build_response(request, answer)
            response._content = content
            response._content_consumed = True
        except ConnectTimeoutError as error:
            raise requests.ConnectTimeout(error, request=request) from error
        except ReadTimeoutError as error:
            raise requests.ReadTimeout(error, request=request) from error
        except SSLError as error:
            raise requests.exceptions.SSLError(error, request=request) from error
        except (HTTPError, OSError) as error:
            raise requests.ConnectionError(error, request=request) from error
        return response

    def close(self) -> None:
        """Close every idle connection."""
        self.pools.clear()


def make_session(
    network: Network, *, connections: int = 1, verify: bool = True, ca: Path | None = None
) -> Session:
    """A session for an SDK. Safe for many threads, as its only adapter is.

    Args:
        network: The policy to obey.
        connections: Idle connections kept per host.
        verify: Check certificates.
        ca: As for :meth:`conveyor.network.Network.tls_context`.

    Raises:
        ConveyorError: the CA file cannot be used.
    """
    return session_by(PolicedAdapter(policed_pools(network, connections=connections, verify=verify, ca=ca)))


def session_by(adapter: PolicedAdapter) -> Session:
    """A session that sends by this adapter alone."""
    made = Session()
    made.trust_env = False
    made.headers.clear()
    made.headers.update({"User-Agent": "conveyor", "Accept-Encoding": "identity", "Accept": "*/*"})
    made.adapters.clear()
    for scheme in ("http://", "https://"):
        made.mount(scheme, adapter)
    return made
