"""Every error of the SDK and of Drive becomes the one error of the contract.

https://developers.google.com/workspace/drive/api/guides/handle-errors: a status says little, 403 least of
all; the reason of the first error does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import googleapiclient.errors as sdk

from conveyor.contract import DeliveryError, ErrorKind, Scope
from conveyor.kit.errors import by_status, from_transport, ours
from conveyor.kit.waits import stated_delay

K = ErrorKind

LOGIN = "Sign in again."
PERMISSION = "Share the folder with this account as editor, or use another folder_id."
FOLDER = (
    "Check folder_id. With the scope drive.file an application sees no folder that it has not made itself: "
    "leave folder_id out, or sign in with the scope https://www.googleapis.com/auth/drive."
)
FULL = "The account has no space left: delete files, also from the trash, or buy more."
SERVICE = "A service account has no space of its own: use a folder of a shared drive."

DEPTH = "Google allows 100 levels of folders: use a path_template with fewer."
DAILY = "User rate limit exceeded."
"""The message of the 750 GB that a user may upload in a day; a pause is asked for in other words (rclone,
backend/drive/drive.go, ``stop_on_upload_limit``)."""
DAY = "Google takes 750 GB a day from one user: the rest goes tomorrow."

REASONS: Mapping[str, tuple[ErrorKind, str | None]] = {
    # the login
    "authError": (K.AUTH_EXPIRED, LOGIN),
    "expired": (K.AUTH_EXPIRED, LOGIN),
    "insufficientPermissions": (K.AUTH_REVOKED, "The sign-in lacks a scope: sign in again."),
    "accessNotConfigured": (K.AUTH_REVOKED, "Enable the Google Drive API in the project of your client_id."),
    "domainPolicy": (K.CONFIG, "The domain's administrator has forbidden Drive applications."),
    # asks to slow down
    "userRateLimitExceeded": (K.THROTTLED, None),
    "rateLimitExceeded": (K.THROTTLED, None),
    "sharingRateLimitExceeded": (K.THROTTLED, None),
    # used up
    "dailyLimitExceeded": (K.QUOTA, "The daily quota of your Google Cloud project is used up."),
    "quotaExceeded": (K.QUOTA, "The quota of your Google Cloud project is used up."),
    "storageQuotaExceeded": (K.QUOTA, FULL),
    "teamDriveFileLimitExceeded": (K.QUOTA, "The shared drive holds as many items as Google allows."),
    "numChildrenInNonRootLimitExceeded": (K.QUOTA, "The folder holds as many items as Google allows."),
    "activeItemCreationLimitExceeded": (K.QUOTA, "The account holds as many items as Google allows."),
    "myDriveHierarchyDepthLimitExceeded": (K.NAME, DEPTH),
    "teamDriveHierarchyTooDeep": (K.NAME, DEPTH),
    "uploadTooLarge": (K.TOO_LARGE, None),
    # the configuration
    "insufficientFilePermissions": (K.CONFIG, PERMISSION),
    "forbidden": (K.CONFIG, PERMISSION),
    "appNotAuthorizedToFile": (K.CONFIG, FOLDER),
    "appAccess": (K.CONFIG, FOLDER),
    "notFound": (K.CONFIG, FOLDER),
    "teamDrivesFolderMoveInNotSupported": (K.CONFIG, None),
    "parentNotAFolder": (K.CONFIG, "folder_id is the id of a file."),
    "badRequest": (K.CONFIG, None),
    "invalid": (K.CONFIG, None),
    # the item
    "fileIdInUse": (K.CONFLICT, None),
    "conditionNotMet": (K.CONFLICT, None),
    "cannotDownloadAbusiveFile": (K.REJECTED, None),
    # passes by itself
    "backendError": (K.TRANSIENT, None),
    "internalError": (K.TRANSIENT, None),
    "transientError": (K.TRANSIENT, None),
}
"""Reason of an error → kind and hint."""

STATUSES: Mapping[int, tuple[ErrorKind, str | None]] = {
    401: (K.AUTH_EXPIRED, LOGIN),
    403: (K.CONFIG, PERMISSION),
    404: (K.CONFIG, FOLDER),
    409: (K.CONFLICT, None),
    410: (K.SESSION_LOST, None),
    413: (K.TOO_LARGE, None),
    499: (K.SESSION_LOST, None),
}
"""HTTP status → kind and hint, where Google gives no reason."""

_ACCOUNT = frozenset({K.AUTH_EXPIRED, K.AUTH_REVOKED, K.THROTTLED, K.QUOTA})
"""What concerns the account, and with it each of its destinations."""
_PLACE = frozenset({"numChildrenInNonRootLimitExceeded", "teamDriveFileLimitExceeded"})
"""Reasons that concern one folder or one shared drive nevertheless."""


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an answer, None without one."""
    if not isinstance(error, sdk.HttpError):
        return None
    response = getattr(error, "resp", None)
    return None if response is None else int(response.status)


def classify(error: BaseException, doing: str, *, sent: bool = False) -> DeliveryError:
    """Turn any exception of the SDK into the one error of the contract.

    Args:
        error: What the SDK raised.
        doing: What was being done, for the message: ``"upload the file"``.
        sent: The whole of a publishing request was sent: without a clear answer its outcome is unknown.
    """
    if (wrapped := ours(error)) is not None:
        return wrapped
    status = status_of(error)
    if status is not None:
        return _from_answer(error, status, doing, sent)
    if isinstance(error, sdk.Error | ValueError | KeyError | TypeError | AttributeError):
        # Something else than Google has answered, or the SDK refuses what it was given.
        kind = K.UNKNOWN_OUTCOME if sent else K.TRANSIENT
        text = f"could not {doing}: the answer is not Drive's"
        return DeliveryError(kind, text, code=type(error).__name__)
    return from_transport(error, doing, sent=sent)


def _from_answer(error: Any, status: int, doing: str, sent: bool) -> DeliveryError:
    reason, said = _told(error)
    kind, hint = REASONS.get(reason) or STATUSES.get(status) or (by_status(status), None)
    delay = stated_delay({str(name).lower(): str(value) for name, value in error.resp.items()})
    if reason == "userRateLimitExceeded" and said == DAILY:
        kind, hint = K.QUOTA, DAY
    elif status == 429:
        kind = K.THROTTLED
    elif status >= 500:
        kind = K.UNKNOWN_OUTCOME if sent else K.THROTTLED if delay is not None else K.TRANSIENT
    if reason == "storageQuotaExceeded" and "service account" in said.lower():
        hint = SERVICE
    text = f"could not {doing}: {reason or f'HTTP {status}'}" + (f" ({said})" if said else "")
    scope = Scope.CONNECTION if kind in _ACCOUNT and reason not in _PLACE else Scope.DESTINATION
    return DeliveryError(kind, text, retry_after=delay, scope=scope, hint=hint, code=reason or status)


def _told(error: Any) -> tuple[str, str]:
    """Reason and message of the first error."""
    try:
        told = json.loads(error.content)["error"]
        first = (told.get("errors") or [{}])[0]
        said = str(told.get("message") or "").strip()
        reason = str(first.get("reason") or "")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "", ""
    return reason[:64], "" if "://" in said else (said.splitlines() or [""])[0][:200]
