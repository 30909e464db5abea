"""urllib3 under the network policy: connections that dial through it, pools that neither retry nor follow."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote
from weakref import WeakValueDictionary

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.response import BaseHTTPResponse
from urllib3.util import make_headers, parse_url
from urllib3.util.retry import Retry
from urllib3.util.timeout import Timeout

from conveyor.network.heads import WholeHead
from conveyor.network.lifeline import hold, within

if TYPE_CHECKING:
    import ssl

    from conveyor.network.network import Network

_ONCE = Retry.from_int(False, redirect=False)
"""No retries, no redirects; made once rather than for each request."""

_NO_LIMIT = 60.0
"""Seconds to connect where the caller set none: nothing waits for ever."""


class _Dialling:
    """Mixin for urllib3 connections: opens the socket through :class:`Network`, takes no half answers."""

    network: Network
    response_class = WholeHead

    def _new_conn(self) -> socket.socket:
        conn = cast(HTTPConnection, self)
        timeout = conn.timeout if isinstance(conn.timeout, int | float) else _NO_LIMIT
        try:
            sock = self.network.dial_for(
                conn._dns_host,
                conn.port,
                timeout,
                to_proxy=conn.proxy is not None,
                tunnel_to=conn._tunnel_host,
                options=conn.socket_options,
                source=conn.source_address,
            )
        except socket.gaierror as error:
            raise NameResolutionError(conn.host, conn, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(conn, f"no connection within {timeout:g} s") from error
        except OSError as error:
            raise NewConnectionError(conn, f"no connection: {error.strerror or error}") from error
        sock.settimeout(timeout)
        hold(sock)
        return sock


def connection_classes(
    network: Network,
    http: type[HTTPConnection] = HTTPConnection,
    https: type[HTTPSConnection] = HTTPSConnection,
) -> tuple[type[HTTPConnection], type[HTTPSConnection]]:
    """Connection classes that dial through ``network``.

    Args:
        network: The policy to obey.
        http: Base of the first class, for instance an SDK's own subclass of urllib3's.
        https: Base of the second.
    """
    plain = type(f"Policed{http.__name__}", (_Dialling, http), {"network": network})
    secure = type(f"Policed{https.__name__}", (_Dialling, https), {"network": network})
    return plain, secure


class _HttpsPool(HTTPSConnectionPool):
    """No warning for each request where the operator chose ``verify: false``."""

    def _validate_conn(self, conn: Any) -> None:
        if conn.is_closed:
            conn.connect()


def _never_follow(network: Network, base: type[PoolManager]) -> type[PoolManager]:
    """``base`` without redirects and retries, whatever the caller passes."""
    # Weakly: a pool closes its connections when nobody holds it any more.
    pools: WeakValueDictionary[tuple[str | None, str | None, int | None], HTTPConnectionPool]
    pools = WeakValueDictionary()

    class Policed(base):  # type: ignore[misc, valid-type]
        def connection_from_host(
            self,
            host: str | None,
            port: int | None = None,
            scheme: str | None = "http",
            pool_kwargs: dict[str, Any] | None = None,
        ) -> HTTPConnectionPool:
            # urllib3 looks for it by some 25 settings, each time; without others of the caller's own they are
            # this manager's.
            known = pools.get((scheme, host, port)) if not pool_kwargs else None
            if known is not None:
                return known
            found = cast(HTTPConnectionPool, super().connection_from_host(host, port, scheme, pool_kwargs))
            if not pool_kwargs:
                pools[scheme, host, port] = found
            return found

        def urlopen(self, method: str, url: str, redirect: bool = False, **kw: Any) -> BaseHTTPResponse:
            kw["retries"] = _ONCE
            if network.proxy is not None:
                network.check_literal(parse_url(url).host or "")
            return cast(BaseHTTPResponse, super().urlopen(method, url, redirect=False, **kw))

    return Policed


def proxy_headers(proxy: str) -> dict[str, str]:
    """``Proxy-Authorization`` for a proxy URL with credentials, else nothing."""
    auth = parse_url(proxy).auth
    return dict(make_headers(proxy_basic_auth=unquote(auth))) if auth else {}


@dataclass(frozen=True, slots=True)
class Line:
    """A connected socket for HTTP, after TLS and, for https through a proxy, after CONNECT.

    Attributes:
        sock: The socket, with the timeout of the connect.
        absolute: Requests must name the whole URL: they go to a proxy in the clear.
        headers: To send with each request: the proxy's credentials in that case.
    """

    sock: socket.socket
    absolute: bool
    headers: dict[str, str]


def open_line(network: Network, host: str, port: int, timeout: float, context: ssl.SSLContext | None) -> Line:
    """A connection for a caller that speaks HTTP itself; see :meth:`Network.open_line`."""
    plain, secure = connection_classes(network)
    proxy = parse_url(network.proxy) if network.proxy is not None else None
    at = (proxy.host or "", proxy.port or 80) if proxy is not None else (host, port)
    options: dict[str, Any] = {"timeout": timeout, "proxy": proxy}
    credentials = proxy_headers(network.proxy) if network.proxy is not None else {}
    if context is None:
        if proxy is not None:
            network.check_literal(host)
        conn: HTTPConnection = plain(*at, **options)
    else:
        conn = secure(*at, ssl_context=context, **options)
        if proxy is not None:
            conn.set_tunnel(host, port, headers=credentials)
    try:
        if proxy is None:
            conn.connect()  # ssl limits a handshake as a whole by itself
        else:
            _connect_within(conn, 2 * timeout)
    except BaseException:
        conn.close()
        raise
    absolute = proxy is not None and context is None
    return Line(cast(socket.socket, conn.sock), absolute, credentials if absolute else {})


def _connect_within(conn: HTTPConnection, seconds: float) -> None:
    """Connect through a proxy, whose consent could dribble in for ever.

    Raises:
        TimeoutError: it did.
    """
    with within(seconds) as lifeline:
        try:
            conn.connect()
        except Exception:
            if lifeline.over:
                raise TimeoutError("no connection in time") from None
            raise


def pool(
    network: Network,
    *,
    connections: int,
    connect_timeout: float,
    read_timeout: float,
    context: ssl.SSLContext,
) -> PoolManager:
    """A pool manager under ``network``; see :meth:`Network.pool`."""
    plain, secure = connection_classes(network)
    options: dict[str, Any] = {
        "num_pools": 16,
        "maxsize": connections,
        "block": False,
        "timeout": Timeout(connect=connect_timeout, read=read_timeout),
        "retries": False,
        "ssl_context": context,
    }
    manager: PoolManager
    if network.proxy is None:
        manager = _never_follow(network, PoolManager)(**options)
    else:
        proxied: Any = _never_follow(network, ProxyManager)
        manager = proxied(network.proxy, proxy_headers=proxy_headers(network.proxy), **options)
    manager.pool_classes_by_scheme = {
        "http": type("PolicedHttpPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("PolicedHttpsPool", (_HttpsPool,), {"ConnectionCls": secure}),
    }
    return manager
