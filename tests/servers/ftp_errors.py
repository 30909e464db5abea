"""An instance of every exception class that ftplib, ssl and sockets can raise, found by walking them."""

from __future__ import annotations

import ftplib
import inspect
import socket
import ssl
from collections.abc import Iterator

_LIBRARIES = (ftplib, ssl, socket)


def every_exception() -> Iterator[BaseException]:
    """One instance of each, with the arguments they have in life."""
    texts = {ftplib.error_temp: "450 busy", ftplib.error_perm: "550 no", ftplib.error_reply: "300 what"}
    found: set[type[BaseException]] = set()
    for library in _LIBRARIES:
        found |= {
            member
            for member in vars(library).values()
            if inspect.isclass(member) and issubclass(member, Exception)
        }
    for kind in sorted(found, key=lambda known: known.__qualname__):
        yield kind(texts.get(kind, "boom"))
    yield ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1)")
    yield ConnectionResetError(104, "reset")
    yield BrokenPipeError(32, "broken pipe")
    yield ConnectionRefusedError(111, "refused")
    yield socket.gaierror(-2, "Name or service not known")
    yield TimeoutError()
    yield EOFError()
    yield UnicodeEncodeError("latin-1", "日", 0, 1, "no")
    yield ValueError("a line break")
