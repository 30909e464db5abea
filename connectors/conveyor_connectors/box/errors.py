"""Every error of the SDK and of Box becomes the one error of the contract.

No SDK exception leaves this package: ``BoxAPIError`` holds the request with its headers and its token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from box_sdk_gen.box.errors import BoxAPIError

from conveyor.contract import DeliveryError, ErrorKind, Scope
from conveyor.kit.errors import by_status, from_transport, ours
from conveyor.kit.waits import stated_delay
from conveyor_connectors.box.codes import CODES, STATUSES

_ACCOUNT = frozenset({ErrorKind.AUTH_EXPIRED, ErrorKind.AUTH_REVOKED, ErrorKind.THROTTLED})
"""What concerns the account, and with it each of its destinations: Box limits users, not folders."""


@dataclass(frozen=True, slots=True)
class Item:
    """What stands under a name.

    Attributes:
        id: Of the file or folder.
        folder: It is a folder.
        name: As it is written there.
        etag: Of this state of it.
        sha1: Of a file's bytes, hex.
    """

    id: str
    folder: bool
    name: str
    etag: str | None = None
    sha1: str | None = None


class Taken(Exception):
    """Something stands under the name already. Never leaves the connector."""

    def __init__(self, item: Item | None) -> None:
        super().__init__()
        self.item = item


def conflict(error: BaseException) -> Taken | None:
    """What stands in the way, where that is the error.

    The reference has a list in ``context_info.conflicts``; for files Box sends one object (rclone's
    backend/box decodes that).
    """
    if not isinstance(error, BoxAPIError) or error.response_info.code != "item_name_in_use":
        return None
    told: Any = (error.response_info.context_info or {}).get("conflicts")
    first = (told[0] if told else None) if isinstance(told, list) else told
    if not isinstance(first, dict) or "id" not in first:
        return Taken(None)
    etag, sha1 = first.get("etag"), first.get("sha1")
    return Taken(
        Item(
            str(first["id"]),
            first.get("type") == "folder",
            str(first.get("name", "")),
            None if etag is None else str(etag),
            None if sha1 is None else str(sha1),
        )
    )


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an answer, None without one."""
    return error.response_info.status_code if isinstance(error, BoxAPIError) else None


def classify(error: BaseException, doing: str, *, sent: bool = False) -> DeliveryError:
    """Turn any exception of the SDK into the one error of the contract.

    Args:
        error: What the SDK raised.
        doing: What was being done, for the message: ``"upload the file"``.
        sent: The whole of a publishing request was sent: without a clear answer its outcome is unknown.
    """
    if not isinstance(error, BoxAPIError):
        return from_transport(error, doing, sent=sent)
    if (wrapped := ours(error)) is not None:
        return wrapped
    return _from_answer(error, doing, sent)


def _from_answer(error: BoxAPIError, doing: str, sent: bool) -> DeliveryError:
    told = error.response_info
    status, code = told.status_code, told.code if isinstance(told.code, str) else ""
    kind, hint = CODES.get(code) or STATUSES.get(status) or (by_status(status), None)
    delay = stated_delay(_lower(told.headers))
    if status >= 500 and sent:
        # "The request may still have been applied", the page of common errors says of 503.
        kind = ErrorKind.UNKNOWN_OUTCOME
    elif status == 503 and delay is not None:
        kind = ErrorKind.THROTTLED
    text = f"could not {doing}: {code or f'HTTP {status}'}"
    if said := _said(told.body):
        text += f" ({said})"
    scope = Scope.CONNECTION if kind in _ACCOUNT else Scope.DESTINATION
    return DeliveryError(kind, text, retry_after=delay, scope=scope, hint=hint, code=code or status)


def _said(body: Any) -> str:
    said = body.get("message") if isinstance(body, Mapping) else None
    return said.splitlines()[0][:200] if isinstance(said, str) and said.strip() else ""


def _lower(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers.items()}
