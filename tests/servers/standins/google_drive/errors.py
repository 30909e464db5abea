"""Errors as Drive words them, and faults that answer with them.

Source: https://developers.google.com/workspace/drive/api/guides/handle-errors (status, domain, reason and
message of each sample). By other sources: ``badContent`` and "Invalid MIME type …" are what Drive's users
report; ``accessNotConfigured`` is of Google's API console; ``cannotAddParent`` of
github.com/RobinBobin/react-native-google-drive-api-wrapper/issues/35.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from servers.standins.kit import Fault
from servers.standins.messages import Answer, Refused

GLOBAL, USAGE = "global", "usageLimits"


@dataclass(frozen=True)
class Documented:
    """One error of the page; ``reason`` where it is another than the key in :data:`DOCUMENTED`."""

    status: int
    message: str
    domain: str = GLOBAL
    reason: str = ""
    place: Mapping[str, str] = field(default_factory=dict)


_LOGIN = {"locationType": "header", "location": "Authorization"}
_FILE = {"locationType": "parameter", "location": "fileId"}

DOCUMENTED: Mapping[str, Documented] = {
    "badRequest": Documented(400, "Bad Request"),
    "authError": Documented(401, "Invalid Credentials", place=_LOGIN),
    "dailyLimitExceeded": Documented(403, "Daily Limit Exceeded", USAGE),
    "userRateLimitExceeded": Documented(403, "User Rate Limit Exceeded", USAGE),
    "rateLimitExceeded": Documented(403, "Rate Limit Exceeded", USAGE),
    "sharingRateLimitExceeded": Documented(403, "Rate limit exceeded."),
    "storageQuotaExceeded": Documented(403, "The user's Drive storage quota has been exceeded."),
    "teamDriveFileLimitExceeded": Documented(403, "The file limit for this shared drive has been exceeded."),
    "numChildrenInNonRootLimitExceeded": Documented(
        403, "The limit for this folder's number of children (files and folders) has been exceeded."
    ),
    "activeItemCreationLimitExceeded": Documented(
        403,
        "This account has exceeded the creation limit of 500 million items. To create more items, "
        "permanently delete some items.",
    ),
    "myDriveHierarchyDepthLimitExceeded": Documented(
        403, "Your My Drive can't contain more than 100 levels of folders."
    ),
    "teamDriveHierarchyTooDeep": Documented(403, "The shared drive hierarchy depth will exceed the limit."),
    "teamDrivesFolderMoveInNotSupported": Documented(
        403, "Moving folders into shared drives is not supported."
    ),
    "insufficientFilePermissions": Documented(
        403, "The user does not have sufficient permissions for this file."
    ),
    "insufficientPermissions": Documented(403, "Request had insufficient authentication scopes."),
    "appNotAuthorizedToFile": Documented(
        403, "The user has not granted the app app-1 write access to the file."
    ),
    "domainPolicy": Documented(403, "The domain administrators have disabled Drive apps."),
    "accessNotConfigured": Documented(403, "Access Not Configured.", USAGE),
    "cannotAddParent": Documented(403, "Increasing the number of parents is not allowed"),
    "notFound": Documented(404, "File not found: .", place=_FILE),
    "tooManyRequests": Documented(429, "Rate Limit Exceeded", USAGE, "rateLimitExceeded"),
    "backendError": Documented(500, "Backend Error"),
}


def error(status: int, reason: str, message: str, domain: str = GLOBAL, **place: str) -> Refused:
    """An error in Drive's form."""
    entry = {"message": message, "domain": domain, "reason": reason, **place}
    return Refused(status, {"error": {"code": status, "message": message, "errors": [entry]}})


def documented(name: str, message: str | None = None) -> Refused:
    """A documented error, by its reason (``tooManyRequests`` is 429), with another message if need be."""
    known = DOCUMENTED[name]
    text = message or known.message
    return error(known.status, known.reason or name, text, known.domain, **known.place)


def invalid(what: str, message: str = "Invalid Value", kind: str = "parameter") -> Refused:
    """400 ``invalid`` of a parameter, or of a field of the body."""
    place = {"location": what, "locationType": kind} if kind else {"location": what}
    return error(400, "invalid", message, **place)


def bad(message: str) -> Refused:
    """400 ``badRequest``."""
    return documented("badRequest", message)


def missing(file: str) -> Refused:
    """What an id gets that the caller cannot see."""
    return documented("notFound", f"File not found: {file}.")


def said(name: str, *, status: int | None = None, **headers: str) -> Answer:
    """The answer of a documented error, for faults.

    Args:
        name: Key of :data:`DOCUMENTED`.
        status: In place of the documented one: ``backendError`` comes as 502, 503 and 504, too.
        headers: ``Retry_After="7"``; Google documents none.
    """
    answer = documented(name).answer
    if status is not None:
        answer.status = status
        answer.document["error"]["code"] = status
    answer.headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return answer


def failing(route: str, name: str, **more: Any) -> Fault:
    """A fault that answers with a documented error; ``more`` as :class:`servers.standins.kit.Fault`."""
    return Fault(route, said(name), **more)
