"""Asking a provider: one bounded request under the destination's network policy, answered by JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conveyor.kit.waits import instant, stated_delay
from conveyor.network.lifeline import within

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

    from conveyor.network import Network

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 15.0
TOTAL_TIMEOUT = 20.0
"""Seconds for one request, answer included."""

LARGEST = 256 * 1024
"""Bytes of an answer that are read at most."""

_LATE = "the answer did not end in time"


class NoAnswer(Exception):
    """The provider did not answer.

    Args:
        message: For people.
        sent: The request may have arrived.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.message = message
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status.
        document: The JSON object; empty when it was none.
        retry_after: Seconds asked to wait.
        date: The server's clock, seconds since the epoch.
    """

    status: int
    document: Mapping[str, Any] = field(repr=False)
    retry_after: float | None = None
    date: float | None = None

    @property
    def ok(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300


def ask(
    network: Network, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
) -> Answer:
    """Send one request; redirects are not followed.

    Args:
        network: The policy to obey.
        method: HTTP method.
        url: Where.
        headers: May hold credentials; they show nowhere.
        body: What is sent.

    Raises:
        NoAnswer: Nothing came back in time.
        NetworkRefused: The policy forbids the address.
    """
    from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

    pool = network.pool(connections=1, connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT)
    with within(TOTAL_TIMEOUT) as lifeline:
        try:
            response = pool.request(
                method,
                url,
                body=body,
                headers={"Accept": "application/json", **headers},
                preload_content=False,
                decode_content=True,
            )
            text = _read(response)
        except HTTPError as error:
            unsent = isinstance(error, NewConnectionError | ConnectTimeoutError)
            reason = _LATE if lifeline.over else f"no answer: {_plain(error)}"
            raise NoAnswer(reason, sent=not unsent) from None
        except OSError as error:
            reason = _LATE if lifeline.over else f"no answer: {error.strerror or type(error).__name__}"
            raise NoAnswer(reason, sent=True) from None
        finally:
            pool.clear()
        if lifeline.over:
            raise NoAnswer(_LATE, sent=True)
    return Answer(
        response.status,
        _object(text),
        stated_delay(response.headers),
        instant(response.headers.get("Date")),
    )


def _read(response: BaseHTTPResponse) -> bytes:
    """The body; of one that does not end the beginning, which is no JSON then."""
    text = b""
    while len(text) <= LARGEST and (part := response.read(16384)):
        text += part
    response.close()
    return text


def _plain(error: Exception) -> str:
    """What went wrong, without urllib3's objects, whose texts hold the URL."""
    reason = getattr(error, "reason", None) or error
    text = str(reason)
    return type(reason).__name__ if "://" in text or "object at" in text else text


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or nested without end
        return {}
    return found if isinstance(found, dict) else {}


def stated_seconds(value: Any, otherwise: float, *, most: float) -> float:
    """A time that a document states, in seconds: between 1 and ``most``, whatever stands there.

    Args:
        value: As it stands in the document.
        otherwise: Where that is no number.
        most: What a larger one is taken for.
    """
    try:
        stated = float(value or otherwise)
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return otherwise if math.isnan(stated) else min(max(stated, 1.0), most)
