"""urllib3 under our rules: a request goes out once, its answer is read whole, in time, within a limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url
from urllib3.util.timeout import Timeout

from conveyor.kit.bodies import BLOCK, Body
from conveyor.kit.errors import Endless

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


def dialled_by(url: str) -> tuple[str, str, int | None]:
    r"""Scheme, host and port that a request to this URL would go to; empty for one that is none.

    Parsers differ (``https://a.example\.b.example`` leads to ``a.example`` here, and for urllib.parse to a
    host below ``b.example``): who judges an address that a server named has to ask the one that dials.
    """
    try:
        parts = parse_url(url)
    except LocationParseError:
        return "", "", None
    return parts.scheme or "", parts.host or "", parts.port


def exchange(
    pools: PoolManager,
    method: str,
    url: str,
    body: Any,
    headers: Mapping[str, Any],
    *,
    connect: float | None = None,
    read: float | None = None,
) -> tuple[BaseHTTPResponse, bytes]:
    """Send one request, once, and read its answer.

    Args:
        pools: Of :func:`policed_pools`.
        method, url, body, headers: The request; a :class:`~conveyor.kit.bodies.Body` is begun.
        connect: Seconds until a connection must stand, at most CONNECT_TIMEOUT.
        read: Seconds the answer may be silent; READ_TIMEOUT when None.

    Returns:
        The answer and its content, decoded as its ``Content-Encoding`` says.

    Raises:
        urllib3.exceptions.HTTPError, OSError: no answer.
        ConveyorError: the policy forbids the address.
    """
    answer = send_once(pools, method, url, body, headers, connect=connect, read=read)
    return answer, whole(answer)


def send_once(
    pools: PoolManager,
    method: str,
    url: str,
    body: Any,
    headers: Mapping[str, Any],
    *,
    connect: float | None = None,
    read: float | None = None,
) -> BaseHTTPResponse:
    """Send one request, once, and leave its answer unread; arguments and errors as for :func:`exchange`."""
    if isinstance(body, Body):
        body.begin()
    _patience.seconds = min(SEND_TIMEOUT, read or SEND_TIMEOUT)
    return pools.urlopen(
        method,
        url,
        body=body,
        headers=dict(headers.items()),  # urllib3 looks at them often, which a class in Python makes dear
        preload_content=False,
        decode_content=False,
        timeout=Timeout(connect=min(CONNECT_TIMEOUT, connect or CONNECT_TIMEOUT), read=read or READ_TIMEOUT),
    )


def whole(answer: BaseHTTPResponse, seconds: float | None = None, *, decode: bool = True) -> bytes:
    """The whole content of an answer, which ends in time and is not too long.

    Args:
        answer: Of :func:`send_once`, or of a pool of the caller's own.
        seconds: From now to its last byte; ANSWER_TIMEOUT when None.
        decode: As its ``Content-Encoding`` says.

    Raises:
        Endless: it does not, or is.
        urllib3.exceptions.HTTPError, OSError: it breaks off.
    """
    end, parts, size = time.monotonic() + (ANSWER_TIMEOUT if seconds is None else seconds), [], 0
    decode = decode and answer.length_remaining != 0  # of nothing (HEAD) no decoder makes anything
    plain = not decode or "Content-Encoding" not in answer.headers  # a decoder may have kept something
    # Not read: it waits for a whole block, however slowly one comes.
    while part := answer.read1(BLOCK, decode_content=decode):
        parts.append(part)
        size += len(part)
        if size > ANSWER_MAX or time.monotonic() > end:
            answer.close()
            raise Endless
        if answer.length_remaining == 0 and plain:
            break
    answer.release_conn()
    return b"".join(parts)
