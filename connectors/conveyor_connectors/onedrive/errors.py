"""Every error of Graph becomes the one error of the contract.

https://learn.microsoft.com/graph/errors and …/onedrive/developer/rest-api/concepts/errors: the code that says
most is the innermost one that the client knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from conveyor.contract import DeliveryError, ErrorKind, Scope
from conveyor.kit.errors import by_status
from conveyor.kit.waits import stated_delay

if TYPE_CHECKING:
    from requests import Response

K = ErrorKind

LOGIN = "Sign in again."
PERMISSION = "Give the account (or application) write permission for that drive and folder."
DRIVE = "Check drive_id and folder_path."
FULL = "The drive is full: delete files, also from the recycle bin, or buy more."

CODES: Mapping[str, tuple[ErrorKind, str | None]] = {
    # passes by itself
    "generalException": (K.TRANSIENT, None),
    "serviceNotAvailable": (K.THROTTLED, None),
    "resourceLocked": (K.TRANSIENT, "Somebody has that file open or checked out."),
    "resourceBeingProvisioned": (K.TRANSIENT, None),
    "serviceReadOnly": (K.TRANSIENT, None),
    "uploadSessionFailed": (K.SESSION_LOST, None),
    "uploadSessionIncomplete": (K.SESSION_LOST, None),
    "uploadSessionNotFound": (K.SESSION_LOST, None),
    # asks to slow down
    "activityLimitReached": (K.THROTTLED, None),
    "throttledRequest": (K.THROTTLED, None),
    "tooManyRequests": (K.THROTTLED, None),
    # the bytes
    "invalidRange": (K.SESSION_LOST, None),
    "maxFileSizeExceeded": (K.TOO_LARGE, None),
    "maxFragmentLengthExceeded": (K.CONFIG, "Lower fragment_size."),
    # the login
    "InvalidAuthenticationToken": (K.AUTH_EXPIRED, LOGIN),
    "unauthenticated": (K.AUTH_EXPIRED, LOGIN),
    "accessRestricted": (K.CONFIG, PERMISSION),
    "accessDenied": (K.CONFIG, PERMISSION),
    "Authorization_RequestDenied": (
        K.AUTH_REVOKED,
        "Grant the application Files.ReadWrite; sign in again.",
    ),
    "insufficient_claims": (K.AUTH_REVOKED, "A policy asks for a stronger sign-in: sign in again."),
    "notAllowed": (K.CONFIG, PERMISSION),
    "accountUpgradeRequired": (K.CONFIG, "Open OneDrive once in a browser with this account."),
    # full
    "quotaLimitReached": (K.QUOTA, FULL),
    "insufficientStorage": (K.QUOTA, FULL),
    # the configuration
    "itemNotFound": (K.CONFIG, DRIVE),
    "ResourceNotFound": (K.CONFIG, DRIVE),
    "BadRequest": (K.CONFIG, DRIVE),
    "notSupported": (K.CONFIG, None),
    "invalidRequest": (K.CONFIG, None),
    # the item
    "nameAlreadyExists": (K.CONFLICT, None),
    "resourceModified": (K.CONFLICT, None),
    "preconditionFailed": (K.CONFLICT, None),
    "invalidPath": (K.NAME, "Change path_template."),
    "pathIsTooLong": (K.NAME, "Change path_template: a path has at most 400 characters."),
    "pathTooDeep": (K.NAME, "Change path_template."),
    "nameContainsInvalidCharacters": (K.NAME, "Change path_template."),
    "malwareDetected": (K.REJECTED, "Microsoft has found malware in this file."),
    "virusSuspicious": (K.REJECTED, "Microsoft has found malware in this file."),
}
"""Graph's code → kind and hint."""

STATUSES: Mapping[int, tuple[ErrorKind, str | None]] = {
    401: (K.AUTH_EXPIRED, LOGIN),
    403: (K.CONFIG, PERMISSION),
    404: (K.CONFIG, DRIVE),
    409: (K.CONFLICT, None),
    412: (K.CONFLICT, None),
    413: (K.TOO_LARGE, None),
    416: (K.SESSION_LOST, None),
    423: (K.TRANSIENT, None),
    507: (K.QUOTA, FULL),
    509: (K.THROTTLED, None),
}
"""HTTP status → kind and hint, where Graph names no code."""

_ACCOUNT = frozenset({K.AUTH_EXPIRED, K.AUTH_REVOKED, K.THROTTLED})
"""What concerns the account, and with it each of its destinations."""


def codes(document: Any) -> Iterator[str]:
    """The codes of an error, the outermost first."""
    node = document.get("error") if isinstance(document, Mapping) else None
    while isinstance(node, Mapping):
        code = node.get("code")
        if isinstance(code, str):
            yield code
        node = node.get("innererror", node.get("innerError"))


def from_answer(answer: Response, doing: str, *, sent: bool = False) -> DeliveryError:
    """What a refusal means.

    Args:
        answer: With a status that is no success.
        doing: What was being done, for the message: ``"upload the file"``.
        sent: The whole of a publishing request was sent: without a clear answer its outcome is unknown.
    """
    document = _document(answer)
    found = list(codes(document))
    known = next((code for code in reversed(found) if code in CODES), None)
    status = answer.status_code
    kind, hint = CODES[known] if known else STATUSES.get(status) or (by_status(status), None)
    delay = stated_delay({name.lower(): value for name, value in answer.headers.items()})
    said = _said(document)
    if status == 401 and "unable to initialize rps" in said.lower():
        kind, hint = K.TRANSIENT, None  # known of personal accounts (rclone, backend/onedrive)
    elif status in (429, 509) or (status == 503 and delay is not None):
        kind = K.THROTTLED
    elif status >= 500 and status != 507 and sent:
        kind = K.UNKNOWN_OUTCOME
    elif status >= 500 and kind is K.CONFIG:
        kind = K.TRANSIENT
    text = f"could not {doing}: {known or (found[-1] if found else f'HTTP {status}')}"
    if said:
        text += f" ({said})"
    scope = Scope.CONNECTION if kind in _ACCOUNT else Scope.DESTINATION
    return DeliveryError(kind, text, retry_after=delay, scope=scope, hint=hint, code=known or status)


def _document(answer: Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return {}


def _said(document: Any) -> str:
    error = document.get("error") if isinstance(document, Mapping) else None
    said = error.get("message") if isinstance(error, Mapping) else None
    if not isinstance(said, str) or "://" in said or not said.strip():
        return ""
    return said.strip().splitlines()[0][:200]
