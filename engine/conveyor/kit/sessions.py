"""``requests`` under our rules: the network policy dials, nothing is retried, no redirect is followed.

For SDKs that send through a ``requests`` session. What ``requests`` would take from the environment (proxies,
``.netrc``, ``REQUESTS_CA_BUNDLE``, which beats a session's own ``verify``) is not heard.
"""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    ReadTimeoutError,
    SSLError,
)

from conveyor.kit.pools import CONNECT_TIMEOUT, READ_TIMEOUT, exchange, policed_pools

if TYPE_CHECKING:
    from urllib3 import PoolManager

    from conveyor.network import Network

__all__ = ["CONNECT_TIMEOUT", "READ_TIMEOUT", "PolicedAdapter", "make_session", "policed_pools"]


class PolicedAdapter(HTTPAdapter):
    """An adapter that opens no connection but by the network policy, and reads no endless answer.

    Args:
        pools: Of :func:`policed_pools`.
    """

    def __init__(self, pools: PoolManager) -> None:
        self._pools = pools
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use ours."""
        self.poolmanager = self._pools

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
                self._pools,
                request.method or "GET",
                request.url or "",
                request.body,
                request.headers,
                connect=connect,
                read=read,
            )
            response: requests.Response = self.build_response(request, answer)
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
        self._pools.clear()


def make_session(
    network: Network, *, connections: int = 1, verify: bool = True, ca: Path | None = None
) -> requests.Session:
    """A session for an SDK. Safe for many threads, as its only adapter is.

    Args:
        network: The policy to obey.
        connections: Idle connections kept per host.
        verify: Check certificates.
        ca: As for :meth:`conveyor.network.Network.tls_context`.

    Raises:
        ConveyorError: the CA file cannot be used.
    """
    made = requests.Session()
    made.trust_env = False
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    made.headers.clear()
    made.headers.update({"User-Agent": "conveyor", "Accept-Encoding": "identity", "Accept": "*/*"})
    # With allow_redirects=False, too, requests prepares the request that a redirect asks for.
    made.get_redirect_target = _nowhere  # type: ignore[method-assign, assignment]
    made.adapters.clear()
    adapter = PolicedAdapter(policed_pools(network, connections=connections, verify=verify, ca=ca))
    for scheme in ("http://", "https://"):
        made.mount(scheme, adapter)
    return made


def _nowhere(response: requests.Response) -> None:
    """The target of every redirect."""
