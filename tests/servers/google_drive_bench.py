"""The bench of the Google Drive connector at the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conveyor.testing import Bench
from conveyor_connectors.google_drive.errors import classify
from conveyor_connectors.google_drive.spec import SPEC
from servers.google_drive_errors import sdk_exceptions
from servers.standins.google_drive import GoogleDrive
from servers.standins.kit import StandInObserver
from servers.standins.messages import Answer

UNIT = 256 * 1024
LARGE = 3 * UNIT + 4_711
"""Three chunks and a smaller one."""
DRIVE = "https://www.googleapis.com/auth/drive"
"""Sees strangers' files, too, which the suite wants to be met."""


class DriveObserver(StandInObserver):
    """As any; a file that is placed where one stands replaces it, since names alone would allow both."""

    def __init__(self, standin: GoogleDrive) -> None:
        super().__init__(standin, "Conveyor")
        self._drive = standin

    def put(self, path: str, data: bytes) -> None:
        """Place a stranger's file."""
        with self._drive.lock:
            for node in list(self._drive.nodes.values()):
                if node.content is not None and self._drive._path(node) == f"Conveyor/{path}":
                    self._drive._remove(node)
        super().put(path, data)


@contextmanager
def bench(standin: GoogleDrive, **changes: Any) -> Iterator[Bench]:
    """A bench on a stand-in; ``changes`` replace fields of the bench."""
    token, _ = standin.sign_in(DRIVE)

    made: dict[str, Any] = {
        "spec": SPEC,
        "options": {"api_url": standin.url, "chunk_size": UNIT},
        "observer": DriveObserver(standin),
        "address": (standin.host, standin.port),
        "through": lambda host, port: {"api_url": f"http://{host}:{port}"},
        "wrong_credentials": lambda: standin.refusing(token),
        "missing_place": {"folder_id": "nowhere"},
        "forbidden": lambda: standin.answering({"*": said(403, "insufficientFilePermissions")}),
        "full": lambda: standin.answering({"*": said(403, "storageQuotaExceeded")}),
        "throttle": lambda seconds: standin.answering(
            {"*": said(403, "userRateLimitExceeded", **{"Retry-After": f"{seconds:g}"})}
        ),
        "sdk_exceptions": sdk_exceptions,
        "classify": lambda error: classify(error, "test"),
        "large": LARGE,
        "tokens": (token,),
    }
    yield Bench(**{**made, **changes})


def said(status: int, reason: str, **headers: str) -> Answer:
    """An error as Drive words it."""
    first = {"domain": "global", "reason": reason, "message": "made up"}
    return Answer(status, {"error": {"code": status, "message": "made up", "errors": [first]}}, headers)
