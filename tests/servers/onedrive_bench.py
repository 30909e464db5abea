"""The bench of the OneDrive connector at the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conveyor.testing import Bench
from conveyor_connectors.onedrive.spec import SPEC
from servers.onedrive_errors import classify, sdk_exceptions
from servers.standins.kit import StandInObserver
from servers.standins.messages import Answer
from servers.standins.onedrive import OneDrive

UNIT = 320 * 1024
LARGE = 3 * UNIT + 4_711
"""Three fragments and a smaller one."""
SCOPES = "Files.ReadWrite User.Read offline_access"


def options(url: str) -> dict[str, Any]:
    """What leads to a stand-in at this address."""
    return {"graph_url": f"{url}/v1.0"}


@contextmanager
def bench(standin: OneDrive, **changes: Any) -> Iterator[Bench]:
    """A bench on a stand-in; ``changes`` replace fields of the bench."""
    token, _ = standin.sign_in(SCOPES)

    made: dict[str, Any] = {
        "spec": SPEC,
        "options": {**options(standin.url), "fragment_size": UNIT},
        "observer": StandInObserver(standin, "Conveyor"),
        "address": (standin.host, standin.port),
        "through": lambda host, port: options(f"http://{host}:{port}"),
        "wrong_credentials": lambda: standin.refusing(token),
        "missing_place": {"drive_id": "nobody"},
        "forbidden": lambda: standin.answering({"*": said(403, "accessDenied")}),
        "full": lambda: standin.answering({"*": said(507, "quotaLimitReached")}),
        "throttle": lambda seconds: standin.answering(
            {"*": said(429, "activityLimitReached", **{"Retry-After": f"{seconds:g}"})}
        ),
        "sdk_exceptions": sdk_exceptions,
        "classify": classify,
        "large": LARGE,
        "tokens": (token,),
    }
    yield Bench(**{**made, **changes})


def said(status: int, code: str, **headers: str) -> Answer:
    """An error as Graph words it."""
    return Answer(status, {"error": {"code": code, "message": "made up"}}, headers)
