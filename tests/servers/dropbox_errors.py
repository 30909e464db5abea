"""An instance of every exception class that the Dropbox SDK, and what it sends with, can raise."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import dropbox.exceptions as sdk
import requests.exceptions
import urllib3.exceptions
from dropbox import auth, files
from dropbox.stone_validators import ValidationError


def write_errors() -> Iterator[Any]:
    """Each of the reasons of a refused write."""
    for kind in ("file", "folder", "file_ancestor", "other"):
        yield files.WriteError.conflict(getattr(files.WriteConflictError, kind))
    for name in (
        "no_write_permission", "insufficient_space", "disallowed_name", "team_folder",
        "operation_suppressed", "too_many_write_operations", "access_restricted",
        "team_folder_insufficient_space", "other",
    ):  # fmt: skip
        if hasattr(files.WriteError, name):
            yield getattr(files.WriteError, name)
    yield files.WriteError.malformed_path(None)


def upload_error(reason: Any, session: str = "pid:1") -> sdk.ApiError:
    """What ``files/upload`` answers when it cannot commit."""
    error = files.UploadError.path(files.UploadWriteFailed(reason, session))
    return sdk.ApiError("req-1", error, None, None)


def sdk_exceptions() -> Iterator[BaseException]:
    """One of each class and each reason."""
    yield from (upload_error(reason) for reason in write_errors())
    for name in ("payload_too_large", "content_hash_mismatch", "other"):
        yield sdk.ApiError("req-1", getattr(files.UploadError, name), None, None)
    for name in ("not_found", "closed", "not_closed", "too_large", "other"):
        lookup = files.UploadSessionFinishError.lookup_failed(getattr(files.UploadSessionLookupError, name))
        yield sdk.ApiError("req-1", lookup, None, None)
    for name in ("expired_access_token", "invalid_access_token", "user_suspended", "other"):
        yield sdk.AuthError("req-1", getattr(auth.AuthError, name))
    yield sdk.AuthError("req-1", auth.AuthError.missing_scope(auth.TokenScopeError("files.content.write")))
    yield sdk.AuthError("req-1", None)
    yield sdk.RateLimitError("req-1", None, 3.0)
    yield sdk.RateLimitError(
        "req-1", auth.RateLimitError(auth.RateLimitReason.too_many_write_operations), None
    )
    yield sdk.BadInputError("req-1", "Error in call to API function: Authorization: Bearer at-secret")
    yield from (sdk.HttpError("req-1", status, "<html>") for status in (400, 404, 408, 418, 502))
    yield from (sdk.InternalServerError("req-1", status, "busy") for status in (500, 503))
    yield from (
        AssertionError("content-type"),
        json.JSONDecodeError("x", "y", 0),
        KeyError("x"),
        TypeError("x"),
    )
    yield ValidationError("did not match pattern")
    for module in (sdk, requests.exceptions, urllib3.exceptions):
        for found in vars(module).values():
            if inspect.isclass(found) and issubclass(found, Exception) and not issubclass(found, Warning):
                yield found.__new__(found)
