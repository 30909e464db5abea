"""Dropbox's own description of its calls, as the package ``dropbox`` has it compiled in.

Arguments, results and errors come from the Stone specification (dropbox/files.py and its neighbours; text at
https://github.com/dropbox/dropbox-api-spec); the scope of a call is told only in the documentation of the
SDK's method (dropbox/base.py, "Route attributes"): the compiled routes leave it out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dropbox import auth, check, common, files, users
from dropbox.base import DropboxBase
from dropbox.stone_base import Union
from dropbox.stone_serializers import json_decode, json_encode
from dropbox.stone_validators import ValidationError

from servers.standins.kit import route
from servers.standins.messages import Answer, Refused

CORS = "text/plain; charset=dropbox-cors-hack"
MEDIA_TYPES = {
    "rpc": ("application/json", "application/json; charset=utf-8", CORS),
    "upload": ("application/octet-stream", CORS),
    "download": ("application/octet-stream", "text/plain", "text/plain; charset=utf-8", CORS),
}
"""By style of call (https://www.dropbox.com/developers/documentation/http/documentation, Request formats)."""


@dataclass(frozen=True)
class Described:
    """One call.

    Attributes:
        name: As in the path and in messages: ``files/upload_session/append_v2``.
        style: ``rpc``, ``upload`` or ``download``.
        scope: What a token needs; None where any will do.
        takes: Validator of the argument.
    """

    name: str
    style: str
    scope: str | None
    takes: Any


def _described() -> dict[Any, Described]:
    found = {}
    for module, namespace in ((files, "files"), (users, "users"), (check, "check"), (auth, "auth")):
        for known in module.ROUTES.values():
            version = "" if known.version == 1 else f"_v{known.version}"
            method = getattr(DropboxBase, f"{namespace}_{known.name.replace('/', '_')}{version}", None)
            told = re.search(r"scope: (\S+)", getattr(method, "__doc__", None) or "")
            found[known] = Described(
                f"{namespace}/{known.name}{version}",
                known.attrs["style"],
                told.group(1) if told else None,
                known.arg_type,
            )
    return found


DESCRIBED = _described()


def call(where: Any) -> Callable[[Any], Any]:
    """Mark a method as serving this call of the description."""
    return route("POST", f"/2/{DESCRIBED[where].name}")


def decoded(described: Described, text: str, source: str) -> Any:
    """The argument, held to its description: unknown fields and tags, wrong types, patterns and lengths.

    Raises:
        Refused: 400, in text.
    """
    try:
        return json_decode(described.takes, text, strict=True)
    except (ValidationError, ValueError) as error:
        raise Bad(described.name, f"{source}: {error}") from None


def answered(where: Any, value: Any) -> Answer:
    """A result, as described. The media type has nothing behind it: the SDK takes no other."""
    return Answer(200, body=json_encode(where.result_type, value).encode())


def failed(where: Any, error: Any) -> Refused:
    """An error of the call itself: 409."""
    return _typed(409, where.error_type, error)


def unauthorized(error: Any) -> Refused:
    """401, an :class:`auth.AuthError`."""
    return _typed(401, auth.AuthError_validator, error)


def another_root(error: Any) -> Refused:
    """422, a :class:`common.PathRootError`."""
    return _typed(422, common.PathRootError_validator, error)


def rate_limited(reason: str, seconds: int) -> Answer:
    """429; ``reason`` is ``too_many_requests`` or ``too_many_write_operations``. For rules and for faults."""
    error = auth.RateLimitError(getattr(auth.RateLimitReason, reason), seconds)
    told = json.loads(json_encode(auth.RateLimitError_validator, error))
    document = {"error_summary": f"{reason}/..", "error": told}
    return Answer(429, document, {"Retry-After": str(seconds)})


class Bad(Refused):
    """400, in text (documentation, Errors by status code)."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(400)
        text = f'Error in call to API function "{name}": {message}'
        self.answer = Answer(400, body=text.encode(), media_type="text/plain; charset=utf-8")


def _typed(status: int, kind: Any, error: Any) -> Refused:
    told = json.loads(json_encode(kind, error))
    return Refused(status, {"error_summary": f"{_summary(error)}/..", "error": told})


def _summary(error: Any) -> str:
    """The tags, from the outermost in."""
    deeper = getattr(error, "_value", None)
    deeper = getattr(deeper, "reason", deeper)  # files.UploadWriteFailed
    return f"{error._tag}/{_summary(deeper)}" if isinstance(deeper, Union) else str(error._tag)
