"""Resolving and connecting."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from typing import Any

from conveyor.network.policy import NetworkRefused, Policy

SockAddr = tuple[Any, ...]
SocketOptions = Sequence[tuple[int, int, int | bytes]]

NO_DELAY: SocketOptions = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


def lookup(host: str, port: int) -> list[tuple[socket.AddressFamily, SockAddr]]:
    """All stream addresses of ``host``, in the resolver's order.

    Raises:
        OSError: ``socket.gaierror`` when it has none, or is not a host name at all.
    """
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is not a host name") from None
    found: dict[SockAddr, socket.AddressFamily] = {row[4]: row[0] for row in rows}
    return [(family, address) for address, family in found.items()]


def resolve(policy: Policy, host: str, port: int) -> list[tuple[socket.AddressFamily, SockAddr]]:
    """The addresses of ``host`` that may be dialled.

    Raises:
        NetworkRefused: there are addresses, and none may be.
        OSError: there are none.
    """
    allowed: list[tuple[socket.AddressFamily, SockAddr]] = []
    refused: NetworkRefused | None = None
    for family, address in lookup(host, port):
        try:
            policy.check(str(address[0]), host)
        except NetworkRefused as error:
            refused = refused or error
        else:
            allowed.append((family, address))
    if not allowed and refused is not None:
        raise refused
    return allowed


def connect(
    addresses: Sequence[tuple[socket.AddressFamily, SockAddr]],
    timeout: float,
    *,
    options: SocketOptions = NO_DELAY,
    source: tuple[str, int] | None = None,
) -> socket.socket:
    """Connect to the first address that answers; ``timeout`` seconds cover all of them together.

    Each address gets an equal share of what is left, so that a dead first one does not use up the time of
    the rest. The returned socket has no timeout of its own.

    Raises:
        OSError: none answered; the last one's error.
    """
    deadline = time.monotonic() + timeout
    problem: OSError = OSError("the name has no address")
    for position, (family, address) in enumerate(addresses):
        share = (deadline - time.monotonic()) / (len(addresses) - position)
        try:
            return _connect_one(family, address, max(share, 0.05), options, source)
        except OSError as error:
            problem = error
    raise problem


def _connect_one(
    family: socket.AddressFamily,
    address: SockAddr,
    timeout: float,
    options: SocketOptions,
    source: tuple[str, int] | None,
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        for level, name, value in options:
            sock.setsockopt(level, name, value)
        sock.settimeout(timeout)
        if source is not None:
            sock.bind(source)
        sock.connect(address)
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock
