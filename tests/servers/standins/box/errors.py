"""Box's errors: their JSON, and which status goes with which code.

Source: https://developer.box.com/guides/api-calls/permissions-and-errors/common-errors/; those of an upload
session from the description of ``POST /files/upload_sessions``; ``parts_mismatch`` from rclone's
backend/box/upload.go (``commitUpload``).
"""

from __future__ import annotations

import secrets
from typing import Any

from servers.standins.messages import Refused

HELP = "https://developer.box.com/guides/api-calls/permissions-and-errors/common-errors/"

CODES: dict[str, tuple[int, str]] = {
    "bad_digest": (400, "The specified content-md5 did not match what we received"),
    "bad_request": (400, "Bad Request"),
    "cyclical_folder_structure": (400, "Folder move creates cyclical folder structure"),
    "file_size_too_small": (400, "The file size is too small for this method of upload"),
    "folder_not_empty": (400, "Cannot delete - folder not empty"),
    "invalid_file_size": (400, "The file size is not a valid number"),
    "invalid_folder_id": (400, "The folder ID is not valid"),
    "invalid_limit": (400, "Limit is not a valid number"),
    "invalid_offset": (400, "Offset is not a valid number"),
    "invalid_upload_session_id": (400, "The upload session ID provided in the URL is not of a valid format"),
    "item_name_invalid": (400, "Item name invalid"),
    "item_name_too_long": (400, "Item name too long"),
    "metadata_after_file_contents": (
        400,
        "Metadata is included after file contents in an upload",
    ),
    "missing_destination": (400, "No folder ID was provided"),
    "missing_file_name": (400, "No file name was provided"),
    "missing_file_size": (400, "No file size was provided"),
    "parts_mismatch": (400, "The parts listed do not match the parts uploaded"),
    "password_reset_required": (400, "User needs to reset password"),
    "terms_of_service_required": (
        400,
        "User must accept custom terms of service before action can be taken",
    ),
    "access_denied_insufficient_permissions": (403, "Access denied - insufficient permission"),
    "file_size_limit_exceeded": (403, "File size exceeds the folder owner's file size limit"),
    "forbidden": (403, "Only the user who initiated the upload session may upload to it"),
    "insufficient_scope": (403, "The request requires higher privileges than provided by the access token."),
    "operation_limit_exceeded": (403, "Too many operations in one request"),
    "storage_limit_exceeded": (403, "Account storage limit reached"),
    "not_found": (404, "Not Found"),
    "trashed": (404, "Item is trashed"),
    "method_not_allowed": (405, "Method Not Allowed"),
    "conflict": (409, "A resource with this value already exists"),
    "item_name_in_use": (409, "Item with the same name already exists"),
    "name_temporarily_reserved": (
        409,
        "The item name is reserved by another processing item. Wait and then retry the request, or wait and "
        "check the parent folder to see if the name is in use.",
    ),
    "operation_blocked_temporary": (409, "The operation is blocked by another ongoing operation"),
    "session_expired": (410, "The upload session has expired"),
    "upload_failed": (410, "The upload session is in an unrecoverable state and cannot continue"),
    "length_required": (411, "content-length header was required, but not provided"),
    "precondition_failed": (
        412,
        "The resource has been modified. Please retrieve the resource again and retry",
    ),
    "request_entity_too_large": (413, "Request Entity too Large"),
    "requested_range_not_satisfiable": (416, "The content range does not match a range of the session"),
    "rate_limit_exceeded": (429, "Request rate limit exceeded, please try again later"),
    "internal_server_error": (500, "Internal Server Error"),
    "bad_gateway": (502, "Bad Gateway"),
    "unavailable": (503, "Unavailable"),
}


def document(code: str, message: str | None = None, context: Any = None) -> dict[str, Any]:
    """An error as Box words it; for faults, too."""
    status, usual = CODES[code]
    found = {
        "type": "error", "status": status, "code": code, "help_url": HELP, "message": message or usual,
        "request_id": secrets.token_hex(8),
    }  # fmt: skip
    return found if context is None else {**found, "context_info": context}


def refused(code: str, message: str | None = None, context: Any = None, **headers: str) -> Refused:
    """To be raised."""
    return Refused(CODES[code][0], document(code, message, context), **headers)


def invalid(name: str, message: str, code: str = "bad_request") -> Refused:
    """A parameter or field that breaks a rule."""
    context = {"errors": [{"reason": "invalid_parameter", "name": name, "message": message}]}
    return refused(code, context=context)
