"""Every error of the SDK and of Dropbox becomes the one error of the contract.

No SDK exception leaves this package. The SDK also lets ``AssertionError``, ``JSONDecodeError`` and stone's
``ValidationError`` out, where something else than Dropbox answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dropbox.exceptions as sdk
from dropbox.dropbox_client import BadInputException
from dropbox.stone_validators import ValidationError

from conveyor.contract import DeliveryError, ErrorKind, Scope
from conveyor.kit.errors import by_status, from_transport, ours

K = ErrorKind

LOGIN = "Sign in again."
SCOPE = "Tick this permission on the application's page at Dropbox, and sign in again."
PERMISSION = "The account may not write in that folder: check folder_path and the sharing settings."
FULL = "The account has no space left: delete files or buy more."

TAGS: Mapping[str, tuple[ErrorKind, str | None]] = {
    # the login: https://www.dropbox.com/developers/documentation/http/documentation#error-handling
    "expired_access_token": (K.AUTH_EXPIRED, LOGIN),
    "invalid_access_token": (K.AUTH_EXPIRED, LOGIN),
    "invalid_select_user": (K.CONFIG, None),
    "invalid_select_admin": (K.CONFIG, None),
    "user_suspended": (K.AUTH_REVOKED, "Dropbox has suspended the account."),
    "missing_scope": (K.AUTH_REVOKED, SCOPE),
    "route_access_denied": (K.AUTH_REVOKED, "The application may not use this part of Dropbox's API."),
    "invalid_account_type": (K.AUTH_REVOKED, "The account's plan does not have this."),
    "paper_access_denied": (K.AUTH_REVOKED, None),
    "team_access_denied": (K.AUTH_REVOKED, None),
    # asks to slow down
    "too_many_requests": (K.THROTTLED, None),
    "too_many_write_operations": (K.THROTTLED, None),
    # WriteError, in files.stone
    "conflict": (K.CONFLICT, None),
    "malformed_path": (K.NAME, "Change path_template or folder_path."),
    "disallowed_name": (K.NAME, "Dropbox refuses this name: change path_template."),
    "no_write_permission": (K.CONFIG, PERMISSION),
    "access_restricted": (K.CONFIG, "A policy of the team forbids it: ask its administrator."),
    "operation_suppressed": (K.CONFIG, "The team's administrators have frozen that folder."),
    "team_folder": (K.CONFIG, "A team folder cannot be written in this way."),
    "insufficient_space": (K.QUOTA, FULL),
    "team_folder_insufficient_space": (K.QUOTA, "The team folder has no space left."),
    "upload_traffic_limit_reached": (K.QUOTA, "Dropbox takes no further uploads of this account this month."),
    "insufficient_quota": (K.QUOTA, FULL),
    # LookupError and sessions
    "not_found": (K.SESSION_LOST, None),
    "incorrect_offset": (K.SESSION_LOST, None),
    "closed": (K.SESSION_LOST, None),
    "not_closed": (K.SESSION_LOST, None),
    "too_large": (K.TOO_LARGE, "Files have at most 2 TiB."),
    "payload_too_large": (K.CONFIG, "Lower direct_limit and chunk_size."),
    "content_hash_mismatch": (K.INTEGRITY, None),
    "restricted_content": (K.REJECTED, "Dropbox has blocked this content."),
    "no_permission": (K.CONFIG, "Check namespace_id: the account may not use that space."),
    "invalid_root": (K.CONFIG, "Check namespace_id."),
    "email_unverified": (K.CONFIG, "Confirm the account's e-mail address at Dropbox."),
}
"""Tag of an error → kind and hint."""

_ACCOUNT = frozenset({K.AUTH_EXPIRED, K.AUTH_REVOKED, K.THROTTLED, K.QUOTA})
"""What concerns the whole account."""


class Taken(Exception):
    """Something stands under the path already. Never leaves the connector.

    Args:
        kind: ``file``, ``folder`` or ``file_ancestor``.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def tags(value: Any) -> Iterator[str]:
    """The tags of a typed error, the outermost first: ``path``, ``conflict``, ``file``."""
    while value is not None:
        tag = getattr(value, "_tag", None)
        if isinstance(tag, str):
            yield tag
            value = getattr(value, "_value", None)
        else:  # structures with a reason: UploadWriteFailed, RateLimitError
            value = getattr(value, "reason", None)


def conflict(error: BaseException) -> Taken | None:
    """What stands in the way, where that is the error."""
    if not isinstance(error, sdk.ApiError):
        return None
    found = list(tags(error.error))
    if "conflict" not in found:
        return None
    at = found.index("conflict")
    return Taken(found[at + 1] if len(found) > at + 1 else "file")


def kept_in(error: BaseException) -> str | None:
    """The session in which Dropbox keeps the bytes of an upload that it could not commit: they can be
    committed later, and under another path, without being sent again (files.stone, UploadWriteFailed).
    """
    session = getattr(getattr(getattr(error, "error", None), "_value", None), "upload_session_id", None)
    return session if isinstance(session, str) else None


def correct_offset(error: BaseException) -> int | None:
    """Where the session stands, where another offset was the error."""
    value = getattr(error, "error", None)
    while value is not None:
        if getattr(value, "_tag", None) == "incorrect_offset":
            return int(value._value.correct_offset)
        value = getattr(value, "_value", None)
    return None


def rejected(error: BaseException) -> bool:
    """The token was not accepted, and another one may be."""
    found = set(tags(error.error)) if isinstance(error, sdk.AuthError) else set()
    return bool(found & {"expired_access_token", "invalid_access_token"})


def classify(
    error: BaseException, doing: str, *, sent: bool = False, delay: float | None = None
) -> DeliveryError:
    """Turn any exception of the SDK into the one error of the contract.

    Args:
        error: What the SDK raised.
        doing: What was being done, for the message: ``"upload the file"``.
        sent: The whole of a publishing request was sent: without a clear answer its outcome is unknown.
        delay: Seconds that the answer's header asked to wait.
    """
    if (wrapped := ours(error)) is not None:
        return wrapped
    if isinstance(error, sdk.RateLimitError):
        text = f"could not {doing}: {_deepest(error) or 'too many requests'}"
        # The SDK takes one second from an answer whose document states none.
        said = getattr(error, "backoff", None) if delay is None else delay
        wait = None if said is None else float(said)
        return DeliveryError(K.THROTTLED, text, retry_after=wait, scope=Scope.CONNECTION, code="429")
    if isinstance(error, sdk.HttpError):
        return _from_status(error, doing, sent, delay)
    if isinstance(error, sdk.ApiError):
        return _typed(list(tags(getattr(error, "error", None))), doing, delay)
    if isinstance(error, BadInputException):
        return DeliveryError(K.CONFIG, f"could not {doing}: the SDK refuses the request")
    if isinstance(error, AssertionError | ValueError | KeyError | TypeError | ValidationError):
        # Something else than Dropbox has answered: a proxy's page, say.
        kind = K.UNKNOWN_OUTCOME if sent else K.TRANSIENT
        text = f"could not {doing}: the answer is not Dropbox's"
        return DeliveryError(kind, text, code=type(error).__name__)
    return from_transport(error, doing, sent=sent)


def _from_status(error: Any, doing: str, sent: bool, delay: float | None) -> DeliveryError:
    found = list(tags(getattr(error, "error", None)))
    if found:
        return _typed(found, doing, delay)
    status = int(getattr(error, "status_code", 0) or 0)
    kind = by_status(status)
    if status >= 500 and sent:
        kind = K.UNKNOWN_OUTCOME
    elif status == 503 and delay is not None:
        kind = K.THROTTLED
    said = str(getattr(error, "message", None) or "") if isinstance(error, sdk.BadInputError) else ""
    if said.lstrip().startswith("<"):  # a page of something in between: Dropbox answers in a line of text
        said = ""
    text = f"could not {doing}: HTTP {status}" + (f" ({said.splitlines()[0][:200]})" if said else "")
    return DeliveryError(kind, text, retry_after=delay, code=status)


def _typed(found: list[str], doing: str, delay: float | None) -> DeliveryError:
    known = next((tag for tag in reversed(found) if tag in TAGS), None)
    kind, hint = TAGS[known] if known is not None else (K.TRANSIENT, None)
    scope = Scope.CONNECTION if kind in _ACCOUNT else Scope.DESTINATION
    text = f"could not {doing}: {'/'.join(found) or 'an unknown error'}"
    wait = delay if kind is K.THROTTLED else None
    return DeliveryError(kind, text, retry_after=wait, scope=scope, hint=hint, code=known)


def _deepest(error: Any) -> str:
    found = list(tags(getattr(error, "error", None)))
    return found[-1] if found else ""
