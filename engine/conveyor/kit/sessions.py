"""``requests`` under our rules: the network policy dials, nothing is retried, no redirect is followed.

For SDKs that send through a ``requests`` session. What ``requests`` would take from the environment (proxies,
``.netrc``, ``REQUESTS_CA_BUNDLE``, which beats a session's own ``verify``) is not heard.
"""

from __future__ import annotations

import threading
import time
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util.timeout import Timeout

from conveyor.kit.bodies import BLOCK, Body

if TYPE_CHECKING:
    from urllib3 import PoolManager
    from urllib3.response import BaseHTTPResponse

    from conveyor.network import Network

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
SEND_TIMEOUT = 60.0
"""Seconds that one block of a body may wait for the peer to take it."""
ANSWER_TIMEOUT = 60.0
"""Seconds from the first byte of an answer to its last."""
ANSWER_MAX = 8 * 1024 * 1024
"""Bytes of an answer that are read at most."""


class _Patience(threading.local):
    seconds: float = SEND_TIMEOUT


_patience = _Patience()


class _Patient:
    """Mixin: while a body is sent, the socket waits no longer than the request may take."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self._limit()

    def request(self, *args: Any, **kwargs: Any) -> Any:
        self._limit()
        return super().request(*args, **kwargs)  # type: ignore[misc]

    def _limit(self) -> None:
        if self.sock is not None:
            self.sock.settimeout(_patience.seconds)


class _Http(_Patient, HTTPConnection):
    pass


class _Https(_Patient, HTTPSConnection):
    pass


def policed_pools(
    network: Network, *, connections: int, verify: bool = True, ca: Path | None = None
) -> PoolManager:
    """The network's pools, with connections that are patient while they send.

    Raises:
        ConveyorError: the CA file cannot be used.
    """
    pools = network.pool(
        connections=connections,
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        verify=verify,
        ca=ca,
    )
    plain, secure = network.connection_classes(_Http, _Https)
    kinds = {"http": plain, "https": secure}
    pools.pool_classes_by_scheme = {
        scheme: type(pool.__name__, (pool,), {"ConnectionCls": kinds[scheme]})
        for scheme, pool in pools.pool_classes_by_scheme.items()
    }
    pools.connection_pool_kw["blocksize"] = BLOCK
    return pools


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
        body: Any = request.body
        if isinstance(body, Body):
            body.begin()
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        _patience.seconds = min(SEND_TIMEOUT, read or SEND_TIMEOUT)
        try:
            answer = self._pools.urlopen(
                request.method or "GET",
                request.url or "",
                body=body,
                headers=request.headers,
                preload_content=False,
                decode_content=False,
                timeout=Timeout(
                    connect=min(CONNECT_TIMEOUT, connect or CONNECT_TIMEOUT), read=read or READ_TIMEOUT
                ),
            )
            response: requests.Response = self.build_response(request, answer)
            response._content = _bounded(answer)
            response._content_consumed = True
        except NewConnectionError as error:  # urllib3 derives it from ConnectTimeoutError
            raise requests.ConnectionError(error, request=request) from error
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


def _bounded(answer: BaseHTTPResponse) -> bytes:
    """The whole answer, which ends in time and is not too long.

    Raises:
        HTTPError: it does not, or is.
    """
    end, parts, size = time.monotonic() + ANSWER_TIMEOUT, [], 0
    while part := answer.read(BLOCK, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > ANSWER_MAX or time.monotonic() > end:
            answer.close()
            raise HTTPError("the answer does not end")
    answer.release_conn()
    return b"".join(parts)


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
