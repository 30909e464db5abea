"""The bench of the Box connector at the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conveyor.testing import Bench
from conveyor_connectors.box.errors import classify
from conveyor_connectors.box.spec import SPEC
from servers.box_errors import sdk_exceptions
from servers.standins.box import BoxStandIn
from servers.standins.box.errors import CODES, document
from servers.standins.kit import StandInObserver
from servers.standins.messages import Answer

MIB = 1 << 20
LARGE = 3 * MIB + 4_711
"""Three parts of 1 MiB and a little one."""


def options(url: str) -> dict[str, Any]:
    """What leads to a stand-in at this address."""
    return {"api_url": url, "upload_url": f"{url}/api"}


@contextmanager
def bench(standin: BoxStandIn, **changes: Any) -> Iterator[Bench]:
    """A bench on a stand-in, which takes small files in parts; ``changes`` replace fields of the bench."""
    standin.chunked_floor = standin.part_size = MIB
    token, _ = standin.sign_in("root_readwrite")

    made: dict[str, Any] = {
        "spec": SPEC,
        "options": {**options(standin.url), "direct_limit": MIB},
        "observer": StandInObserver(standin),
        "address": (standin.host, standin.port),
        "through": lambda host, port: options(f"http://{host}:{port}"),
        "wrong_credentials": lambda: standin.refusing(token),
        "missing_place": {"folder_id": "999999"},
        "forbidden": lambda: standin.answering({"*": said("access_denied_insufficient_permissions")}),
        "full": lambda: standin.answering({"*": said("storage_limit_exceeded")}),
        "throttle": lambda seconds: standin.answering(
            {"*": said("rate_limit_exceeded", **{"Retry-After": f"{seconds:g}"})}
        ),
        "sdk_exceptions": sdk_exceptions,
        "classify": lambda error: classify(error, "test"),
        "large": LARGE,
        "tokens": (token,),
    }
    yield Bench(**{**made, **changes})


def said(code: str, **headers: str) -> Answer:
    """An error as Box words it."""
    return Answer(CODES[code][0], document(code), headers)
