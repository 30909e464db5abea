"""The bench of the WebDAV connector at any WebDAV server."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from conveyor.testing import Bench, suite
from conveyor.testing.attempts import attempt, retry
from conveyor.testing.bench import FolderObserver
from conveyor_connectors.webdav.spec import SPEC
from servers.dav import DavServer
from servers.dav_stub import Answer, answering


def dav_bench(server: DavServer, **changes: Any) -> Bench:
    """A bench at ``server``; ``changes`` replace fields of the bench."""
    from conveyor_connectors.webdav.errors import of_exception

    base = server.base
    fields: dict[str, Any] = {
        "spec": SPEC,
        "options": {"url": server.url, "username": server.username, "password": server.password},
        "observer": FolderObserver(server.root),
        "address": (server.host, server.port),
        "through": lambda host, port: {"url": f"http://{host}:{port}{base}"},
        "wrong_credentials": {"password": "not-the-password"},
        "missing_place": {"remote_path": "nowhere/at all"},
        "forbidden": saying(Answer(403)),
        "full": saying(Answer(507)),
        "throttle": lambda seconds: saying(Answer(503, {"Retry-After": f"{seconds:g}"}))(),
        "sdk_exceptions": every_exception,
        "classify": lambda error: of_exception(error, "test"),
    }
    if server.read_only is not None:
        fields["forbidden"] = {"url": f"http://{server.host}:{server.port}{server.read_only}"}
    return Bench(**{**fields, **changes})


def saying(answer: Answer) -> Any:
    """Options that lead to a server which gives that answer to everything."""

    @contextmanager
    def enter() -> Iterator[Mapping[str, Any]]:
        with answering({"*": answer}) as stub:
            yield {"url": stub.url}

    made: Any = enter
    return made


def every_exception() -> Iterator[Exception]:
    """An instance of every exception class of webdavclient3, requests and urllib3."""
    import requests.exceptions
    import urllib3.exceptions
    import webdav3.exceptions

    for module in (webdav3.exceptions, requests.exceptions, urllib3.exceptions):
        kinds = {
            kind
            for kind in vars(module).values()
            if inspect.isclass(kind) and issubclass(kind, Exception) and not issubclass(kind, Warning)
        }
        for kind in sorted(kinds, key=repr):
            made = kind.__new__(kind)
            made.args = ("x",)
            yield made


__all__ = ["attempt", "dav_bench", "every_exception", "retry", "saying", "suite"]
