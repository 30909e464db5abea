"""What each error of Box means.

Sources: https://developer.box.com/guides/api-calls/permissions-and-errors/common-errors/, the reference pages
of uploads and upload sessions; ``parts_mismatch`` from rclone's backend/box.
"""

from __future__ import annotations

from collections.abc import Mapping

from conveyor.contract import ErrorKind

K = ErrorKind

LOGIN = "The login no longer works: sign in again."
PERMISSION = "Give the account the role Editor in that folder, and the application read and write."
FOLDER = "Check folder_id: the number at the end of the folder's address; invite the account to the folder."

ADMIN = "Have an administrator of the enterprise authorize the application."
FULL = "The folder's owner has no space left: delete files, trash and older versions too, or buy more."

CODES: Mapping[str, tuple[ErrorKind, str | None]] = {
    # passes by itself
    "internal_server_error": (K.TRANSIENT, None),
    "bad_gateway": (K.TRANSIENT, None),
    "operation_blocked_temporary": (K.TRANSIENT, None),
    "name_temporarily_reserved": (K.TRANSIENT, None),
    "parts_mismatch": (K.TRANSIENT, None),
    # asks to slow down
    "rate_limit_exceeded": (K.THROTTLED, None),
    # the bytes differ
    "bad_digest": (K.INTEGRITY, None),
    "invalid_digest": (K.INTEGRITY, None),
    # the session is gone
    "session_expired": (K.SESSION_LOST, None),
    "upload_failed": (K.SESSION_LOST, None),
    "invalid_upload_session_id": (K.SESSION_LOST, None),
    # the login
    "unauthorized": (K.AUTH_EXPIRED, LOGIN),
    "invalid_grant": (K.AUTH_REVOKED, LOGIN),
    "unauthorized_client": (K.AUTH_REVOKED, ADMIN),
    "terms_of_service_required": (K.AUTH_REVOKED, "Sign in at box.com and accept the terms."),
    "password_reset_required": (K.AUTH_REVOKED, "Sign in at box.com and set a new password."),
    "insufficient_scope": (K.AUTH_REVOKED, "Allow the application read and write; sign in again."),
    # full
    "storage_limit_exceeded": (K.QUOTA, FULL),
    "folder_items_limit_exceeded": (K.QUOTA, "Box takes no more items there: use more folders."),
    # the configuration
    "access_denied_insufficient_permissions": (K.CONFIG, PERMISSION),
    "access_denied_item_locked": (K.REJECTED, "Somebody has locked that file in Box."),
    "forbidden": (K.CONFIG, PERMISSION),
    "forbidden_by_policy": (K.CONFIG, "A policy of the enterprise forbids it: ask its Box administrator."),
    "operation_limit_exceeded": (K.CONFIG, None),
    "not_found": (K.CONFIG, FOLDER),
    "trashed": (K.CONFIG, "The folder is in Box's trash: bring it back or choose another folder_id."),
    "invalid_folder_id": (K.CONFIG, FOLDER),
    "missing_destination": (K.CONFIG, FOLDER),
    "method_not_allowed": (K.CONFIG, "Check api_url and upload_url."),
    "length_required": (K.CONFIG, "A proxy before Box strips Content-Length."),
    # the item
    "item_name_in_use": (K.CONFLICT, None),
    "conflict": (K.CONFLICT, None),
    "precondition_failed": (K.CONFLICT, None),
    "sync_item_move_failure": (K.CONFLICT, None),
    "item_name_invalid": (K.NAME, "Box refuses this name: change path_template."),
    "item_name_too_long": (K.NAME, "Names have at most 255 characters: change path_template."),
    "file_size_limit_exceeded": (K.TOO_LARGE, "The account's plan takes no file of this size."),
    "request_entity_too_large": (K.TOO_LARGE, None),
    "file_size_too_small": (K.CONFIG, "Raise direct_limit: Box takes parts for files of 20 MB and more."),
}  # fmt: skip
"""Error code of Box → kind and hint."""

STATUSES: Mapping[int, tuple[ErrorKind, str | None]] = {
    401: (K.AUTH_EXPIRED, LOGIN),
    403: (K.CONFIG, PERMISSION),
    404: (K.CONFIG, FOLDER),
    405: (K.CONFIG, "Check api_url and upload_url."),
    408: (K.TRANSIENT, None),
    409: (K.CONFLICT, None),
    410: (K.SESSION_LOST, None),
    412: (K.CONFLICT, None),
    413: (K.TOO_LARGE, None),
    429: (K.THROTTLED, None),
    507: (K.QUOTA, "The account is full."),
}
"""HTTP status → kind and hint, where Box names no code."""
