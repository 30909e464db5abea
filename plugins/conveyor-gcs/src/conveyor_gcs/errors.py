"""What an answer of Cloud Storage, or the lack of one, means for the delivery.

https://cloud.google.com/storage/docs/json_api/v1/status-codes lists statuses and reasons. The status says
little where it is 400 or 403; the reason of the first error does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit.errors import by_status, from_transport, ours
from conveyor.kit.waits import stated_delay

K = ErrorKind

KEY = "Make a new key for the service account, or sign the machine in again."
BILLING = "Have the project's billing account checked in Google's console."
BUCKET = "Create the bucket, or correct its name."
PAYER = "Set user_project to a project that may be billed, and let the account use it."
PERMISSION = (
    "Give the account the role Storage Object User (roles/storage.objectUser) on the bucket; with kms_key, "
    "Google's own storage account needs the role to use that key."
)
KEPT = "The file that is there may not be replaced yet: use conflict: rename, or another path."

REASONS: Mapping[str, tuple[ErrorKind, str | None]] = {
    "accountdisabled": (K.CONFIG, BILLING),
    "useraccountdisabled": (K.CONFIG, BILLING),
    "userprojectaccountproblem": (K.CONFIG, BILLING),
    "userprojectaccessdenied": (K.CONFIG, PAYER),
    "userprojectinconsistent": (K.CONFIG, PAYER),
    "userprojectinvalid": (K.CONFIG, PAYER),
    "userprojectmissing": (K.CONFIG, PAYER),
    "forbidden": (K.CONFIG, PERMISSION),
    "insufficientpermissions": (K.CONFIG, PERMISSION),
    "objectunderactivehold": (K.REJECTED, KEPT),
    "retentionpolicynotmet": (K.REJECTED, KEPT),
    "ratelimitexceeded": (K.THROTTLED, None),
    "userratelimitexceeded": (K.THROTTLED, None),
    "dailylimitexceeded": (K.QUOTA, "The project's daily quota is used up."),
    "quotaexceeded": (K.QUOTA, "The project's quota is used up: raise it in Google's console."),
    "orgpolicyconstraintfailed": (
        K.CONFIG,
        "A policy of the organization forbids it: ask its administrator.",
    ),
    "uploadbrokenconnection": (K.TRANSIENT, None),
}
"""By reason, in small letters: answers spell some of them with a capital first letter."""

STATUSES: Mapping[int, tuple[ErrorKind, str | None]] = {
    401: (K.AUTH_EXPIRED, KEY),
    403: (K.CONFIG, PERMISSION),
    404: (K.CONFIG, BUCKET),
    413: (K.TOO_LARGE, None),
}
_DIGEST = re.compile(r"\b(md5|crc32c)\b.*\bmatch|\bmatch.*\b(md5|crc32c)\b", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"\bobject name\b|\bname of the object\b", re.IGNORECASE)


class Taken(Exception):
    """Something stands under the name already. Never leaves the connector."""


def refused(
    status: int, headers: Mapping[str, str], content: bytes, doing: str, *, sent: bool = False
) -> DeliveryError:
    """The error for an answer.

    Args:
        status, headers, content: The answer.
        doing: What was being done, for the message: ``"upload the file"``.
        sent: The whole of a publishing request was sent: after a failure of the server nobody knows.
    """
    reason, said = _told(content)
    kind, hint = REASONS.get(reason.lower()) or STATUSES.get(status) or (by_status(status), None)
    delay = stated_delay(headers)
    if status == 400 and _DIGEST.search(said):
        kind, hint = K.INTEGRITY, None
    elif status == 400 and _NAME.search(said):
        kind, hint = K.NAME, None
    elif status == 401:
        kind, hint = STATUSES[401]
    elif status == 429:
        kind = K.THROTTLED
    elif status >= 500 or status == 408:
        kind = K.UNKNOWN_OUTCOME if sent else K.THROTTLED if delay is not None else K.TRANSIENT
    told = f"{reason} ({said})" if reason and said else reason or said or f"HTTP {status}"
    return DeliveryError(
        kind, f"could not {doing}: {told}", retry_after=delay, hint=hint, code=reason or status, response=said
    )


def classify(
    error: BaseException, doing: str = "talk to Cloud Storage", *, sent: bool = False
) -> DeliveryError:
    """The error for any exception below: of the transport, or of an answer that makes no sense.

    Args:
        error: The exception.
        doing, sent: As for :func:`refused`.
    """
    if (wrapped := ours(error)) is not None:
        return wrapped
    if isinstance(error, ValueError | KeyError | TypeError) and not _transport(error):
        kind = K.UNKNOWN_OUTCOME if sent else K.TRANSIENT
        text = f"could not {doing}: the answer is not Cloud Storage's"
        return DeliveryError(kind, text, code=type(error).__name__)
    return from_transport(error, doing, sent=sent)


def forbidden(error: DeliveryError) -> bool:
    """The account may not do it, where others may: no reason to give up what it may."""
    return error.code in ("forbidden", "insufficientPermissions", "403")


def _transport(error: BaseException) -> bool:
    return type(error).__module__.startswith("urllib3")


def _told(content: bytes) -> tuple[str, str]:
    """Reason and message of the first error; the message only where it holds no address."""
    try:
        told = json.loads(content)["error"]
        reason = str((told.get("errors") or [{}])[0].get("reason") or "")
        said = str(told.get("message") or "").strip()
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "", ""
    said = "" if "://" in said or "upload_id" in said else (said.splitlines() or [""])[0][:200]
    return reason[:64], said
