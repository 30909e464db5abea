"""The object that connectors are lent: it dials, and makes TLS contexts and HTTP pools."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from conveyor.network import dial
from conveyor.network.dial import SockAddr, SocketOptions
from conveyor.network.policy import NetworkRefused, OnlyHosts, Policy, Reach, classify
from conveyor.network.tls import TlsContexts

if TYPE_CHECKING:
    import ssl

    from urllib3 import PoolManager
    from urllib3.connection import HTTPConnection, HTTPSConnection

    from conveyor.network.http import Line

_MEANT = {
    "localhost": "127.0.0.1",  # RFC 6761 §6.3
    "metadata.google.internal": "169.254.169.254",
    "metadata.goog": "169.254.169.254",
    "instance-data.ec2.internal": "169.254.169.254",
}
"""Names with one meaning everywhere, and what lies below them."""


def _meant(name: str) -> str | None:
    return next((to for known, to in _MEANT.items() if name == known or name.endswith(f".{known}")), None)


class Network:
    """A network policy and what dials under it. Immutable; safe from many threads.

    Args:
        allow_private: CIDR ranges of private or loopback addresses that may be dialled.
        ca_bundle: PEM file of the authorities to trust instead of the system's.
        proxy: ``http://[user:password@]host:port`` for all HTTP and HTTPS. The proxy's own address needs no
            entry in ``allow_private``. Names are resolved by the proxy, so that the policy for names is the
            proxy's; numeric addresses are still checked here.

    Raises:
        ValueError: a range is not one, or the proxy is not an http URL.
    """

    def __init__(
        self,
        allow_private: Iterable[str] = (),
        ca_bundle: Path | str | None = None,
        proxy: str | None = None,
        *,
        contexts: TlsContexts | None = None,
    ) -> None:
        self.policy = Policy(allow_private)
        self.ca_bundle = Path(ca_bundle) if ca_bundle is not None else None
        self.proxy = proxy
        if proxy is not None and (urlsplit(proxy).scheme != "http" or not urlsplit(proxy).hostname):
            raise ValueError("the proxy must be http://host:port (TLS to the destination runs inside it)")
        self._contexts = contexts or TlsContexts()

    def __repr__(self) -> str:
        return f"Network(allow_private={list(self.allow_private)!r}, proxy={self.proxy is not None})"

    @property
    def allow_private(self) -> tuple[str, ...]:
        """The ranges as configured."""
        return self.policy.allow_private

    def allowing(self, extra: Iterable[str]) -> Network:
        """This network with further private ranges: a destination's own ``network.allow_private``."""
        extra = tuple(extra)
        if not extra:
            return self
        ranges = dict.fromkeys((*self.allow_private, *extra))
        return Network(ranges, self.ca_bundle, self.proxy, contexts=self._contexts)

    def only(self, hosts: Iterable[str]) -> Network:
        """A network that reaches these hosts and nothing else, never through the proxy.

        For the one thing that has to ask a metadata service: an SDK that fetches the machine's own
        credentials. No option of a destination may become one of ``hosts``.

        Args:
            hosts: Names or addresses.
        """
        made = Network((), self.ca_bundle, contexts=self._contexts)
        made.policy = OnlyHosts(hosts)
        return made

    def check(self, address: str, host: str | None = None) -> None:
        """Refuse a numeric address that may not be dialled.

        Raises:
            NetworkRefused: with the line to add as its cure.
        """
        self.policy.check(address, host)

    def check_literal(self, host: str) -> None:
        """Refuse ``host`` when it is an address in any spelling the system takes (``0x7f.1``).

        A name passes, but for those that everybody gives to this machine or to its metadata service: for a
        name that a proxy resolves there is no later check.
        """
        bare = unquote(host).strip("[]").rstrip(".\u3002\uff0e\uff61")
        if (meant := _meant(bare.lower())) is not None:
            self.policy.check(meant, host)
            return
        try:
            rows = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            return
        for row in rows:
            self.policy.check(str(row[4][0]), host)

    def resolve(self, host: str, port: int) -> list[tuple[socket.AddressFamily, SockAddr]]:
        """The addresses of ``host`` that may be dialled, in the resolver's order.

        Raises:
            NetworkRefused: there are addresses, and none may be dialled.
            OSError: the name has none (``socket.gaierror``).
        """
        return dial.resolve(self.policy, host, port)

    def dial(
        self,
        host: str,
        port: int,
        timeout: float,
        *,
        options: SocketOptions | None = None,
        source: tuple[str, int] | None = None,
    ) -> socket.socket:
        """A connected TCP socket, without a timeout of its own; never through the proxy.

        Args:
            host: Name or address.
            port: TCP port.
            timeout: Seconds for all addresses of the name together.
            options: For ``setsockopt``; default TCP_NODELAY.
            source: Local address to bind.

        Raises:
            NetworkRefused: the policy forbids it.
            OSError: no address, refused, timed out.
        """
        chosen = dial.NO_DELAY if options is None else options
        return dial.connect(self.resolve(host, port), timeout, options=chosen, source=source)

    def dial_for(
        self,
        host: str,
        port: int,
        timeout: float,
        *,
        to_proxy: bool,
        tunnel_to: str | None,
        options: SocketOptions | None,
        source: tuple[str, int] | None,
    ) -> socket.socket:
        """What the HTTP connection classes dial with: ``dial``, or the configured proxy."""
        if not to_proxy:
            return self.dial(host, port, timeout, options=options or (), source=source)
        if tunnel_to is not None:
            self.check_literal(tunnel_to)
        addresses = dial.lookup(host, port)
        for _, address in addresses:
            if classify(str(address[0])) is Reach.NEVER:
                self.policy.check(str(address[0]), host)
        return dial.connect(addresses, timeout, options=options or (), source=source)

    def tls_context(self, verify: bool = True, ca: Path | str | None = None) -> ssl.SSLContext:
        """A client TLS context (1.2 or later), shared: do not change it.

        Args:
            verify: Check certificate and name.
            ca: PEM file of the authorities; default ``ca_bundle``, else the system's.

        Raises:
            ConveyorError: the file cannot be used.
        """
        return self._contexts.get(verify, Path(ca) if ca is not None else self.ca_bundle)

    def pool(
        self,
        *,
        connections: int = 8,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
        verify: bool = True,
        ca: Path | str | None = None,
    ) -> PoolManager:
        """A urllib3 pool manager under this policy: no retries, no redirects, nothing from the environment.

        Args:
            connections: Kept open per host.
            connect_timeout: Seconds.
            read_timeout: Seconds for one socket operation; a total deadline is the caller's business.
            verify: Check certificates.
            ca: As for :meth:`tls_context`.
        """
        from conveyor.network import http

        return http.pool(
            self,
            connections=connections,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            context=self.tls_context(verify, ca),
        )

    def open_line(
        self,
        host: str,
        port: int,
        timeout: float,
        *,
        secure: bool,
        verify: bool = True,
        ca: Path | str | None = None,
    ) -> Line:
        """A connected socket, through the proxy where one is set, for a caller that speaks HTTP itself.

        Args:
            host: Name or address.
            port: TCP port.
            timeout: Seconds to connect, and again for the TLS handshake.
            secure: https.
            verify: Check the certificate.
            ca: As for :meth:`tls_context`.

        Raises:
            NetworkRefused: the policy forbids it.
            ssl.SSLError: TLS failed.
            urllib3.exceptions.HTTPError: no address, refused, timed out.
            OSError: the proxy refused, or the connection broke.
        """
        from conveyor.network import http

        context = self.tls_context(verify, ca) if secure else None
        return http.open_line(self, host, port, timeout, context)

    def connection_classes(
        self,
        http: type[HTTPConnection] | None = None,
        https: type[HTTPSConnection] | None = None,
    ) -> tuple[type[HTTPConnection], type[HTTPSConnection]]:
        """urllib3 connection classes, HTTP and HTTPS, that dial through this policy.

        Args:
            http: Base of the first, for an SDK that needs its own (botocore's ``AWSHTTPConnection``).
            https: Base of the second.
        """
        from urllib3.connection import HTTPConnection, HTTPSConnection

        from conveyor.network.http import connection_classes

        return connection_classes(self, http or HTTPConnection, https or HTTPSConnection)


__all__ = ["Network", "NetworkRefused"]
