"""What Graph can answer, and every exception class of what OneDrive's requests are sent with."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import requests.exceptions
import urllib3.exceptions

from conveyor.contract import DeliveryError
from conveyor.kit.errors import from_transport
from conveyor_connectors.onedrive.errors import CODES, from_answer


class Refusal(Exception):
    """An answer, for the suite, which hands exceptions to ``classify``."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


def refusal(status: int, *codes: str, **headers: str) -> requests.Response:
    """An answer whose error holds these codes, the innermost last."""
    error: dict[str, Any] = {}
    node = error
    for number, code in enumerate(codes):
        node["innererror" if number else "error"] = {"code": code, "message": f"about {code}"}
        node = node["innererror" if number else "error"]
    made = requests.Response()
    made.status_code = status
    made._content = json.dumps(error).encode() if codes else b"<html>"
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return made


def sdk_exceptions() -> Iterator[BaseException]:
    """One of each."""
    yield from (Refusal(refusal(400, "invalidRequest", code)) for code in CODES)
    yield from (
        Refusal(refusal(status)) for status in (400, 401, 403, 404, 409, 412, 416, 429, 500, 503, 509)
    )
    yield from (OSError(104, "reset"), ValueError("x"))
    for module in (requests.exceptions, urllib3.exceptions):
        for found in vars(module).values():
            if inspect.isclass(found) and issubclass(found, Exception) and not issubclass(found, Warning):
                yield found.__new__(found)


def classify(error: BaseException) -> DeliveryError:
    """As the connector does."""
    return from_answer(error.answer, "test") if isinstance(error, Refusal) else from_transport(error, "test")
