"""An instance of every exception class that paramiko defines, found by walking its modules."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import paramiko

_PLATFORM = {"paramiko._winapi", "paramiko.win_pageant", "paramiko.win_openssh"}


def exception_classes() -> set[type[BaseException]]:
    """Every exception class of paramiko's own modules."""
    found: set[type[BaseException]] = set()
    for module in pkgutil.iter_modules(paramiko.__path__, "paramiko."):
        if module.name in _PLATFORM:
            continue
        members = vars(importlib.import_module(module.name)).values()
        found |= {
            member
            for member in members
            if inspect.isclass(member)
            and issubclass(member, BaseException)
            and member.__module__.startswith("paramiko.")
        }
    return found


def every_exception() -> Iterator[BaseException]:
    """One instance of each, and of what sockets raise."""
    key = paramiko.ECDSAKey.generate()
    arguments: dict[type[BaseException], tuple[object, ...]] = {
        paramiko.BadAuthenticationType: ("refused", ["publickey"]),
        paramiko.BadHostKeyException: ("server", key, key),
        paramiko.ChannelException: (1, "administratively prohibited"),
        paramiko.ssh_exception.PartialAuthentication: (["password"],),
        paramiko.ssh_exception.NoValidConnectionsError: ({("127.0.0.1", 22): OSError("no")},),
        paramiko.ProxyCommandFailure: ("command", "error"),
        paramiko.pkey.UnknownKeyType: ("type", b"bytes"),
        paramiko.hostkeys.InvalidHostKey: ("line", ValueError("no")),
    }
    for kind in sorted(exception_classes(), key=lambda found: found.__name__):
        yield kind(*arguments.get(kind, ("boom",)))
    yield from (TimeoutError(), ConnectionResetError(104, "reset"), EOFError(), OSError(113, "no route"))
