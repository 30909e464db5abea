"""The bench of the Dropbox connector at the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dropbox import files
from dropbox.stone_serializers import json_encode

from conveyor.testing import Bench
from conveyor_connectors.dropbox.errors import classify
from conveyor_connectors.dropbox.spec import SPEC
from servers.dropbox_errors import sdk_exceptions
from servers.standins.dropbox import DropboxStandIn
from servers.standins.kit import StandInObserver
from servers.standins.messages import Answer

MIB = 1 << 20
LARGE = 9 * MIB + 4_711
"""Two chunks of 4 MiB and a smaller one."""


def options(url: str) -> dict[str, Any]:
    """What leads to a stand-in at this address."""
    return {"api_url": url, "content_url": url}


@contextmanager
def bench(standin: DropboxStandIn, **changes: Any) -> Iterator[Bench]:
    """A bench on a stand-in; ``changes`` replace fields of the bench."""
    token, _ = standin.sign_in(" ".join(standin.scopes))

    made: dict[str, Any] = {
        "spec": SPEC,
        "options": {**options(standin.url), "direct_limit": MIB, "chunk_size": 4 * MIB},
        "observer": StandInObserver(standin, "Apps/Conveyor"),
        "address": (standin.host, standin.port),
        "through": lambda host, port: options(f"http://{host}:{port}"),
        "wrong_credentials": lambda: standin.refusing(token),
        "forbidden": lambda: standin.answering(refusing(files.WriteError.no_write_permission)),
        "full": lambda: standin.answering(refusing(files.WriteError.insufficient_space)),
        "throttle": lambda seconds: standin.answering({"*": slow_down(seconds)}),
        "sdk_exceptions": sdk_exceptions,
        "classify": lambda error: classify(error, "test"),
        "large": LARGE,
        "tokens": (token,),
        "unavailable": {"missing_place": "Dropbox makes folders by itself"},
    }
    yield Bench(**{**made, **changes})


def refusing(reason: Any) -> dict[str, Answer]:
    """A refused write, as each of the routes that commit words it."""
    written = files.UploadWriteFailed(reason, "pid_upload_session:1")
    return {
        "upload": _said(files.upload, files.UploadError.path(written)),
        "session_finish": _said(files.upload_session_finish, files.UploadSessionFinishError.path(reason)),
    }


def _said(route: Any, error: Any) -> Answer:
    text = json_encode(route.error_type, error)
    return Answer(409, body=f'{{"error_summary": "path/..", "error": {text}}}'.encode())


def slow_down(seconds: float) -> Answer:
    """429."""
    error = {"reason": {".tag": "too_many_requests"}, "retry_after": int(seconds)}
    document = {"error_summary": "too_many_requests/..", "error": error}
    return Answer(429, document, {"Retry-After": f"{seconds:g}"})
