"""An instance of every exception class that the Box SDK, and what it sends with, can raise."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import box_sdk_gen
import requests.exceptions
import urllib3.exceptions
from box_sdk_gen.box.errors import BoxAPIError, BoxSDKError, RequestInfo, ResponseInfo

from servers.standins.box.errors import CODES, document

SECRET_HEADERS = {"Authorization": "Bearer at-secret-9f2c"}


def api_error(status: int, body: dict[str, object] | None = None, **headers: str) -> BoxAPIError:
    """What the SDK raises for an answer."""
    body = body or {}
    asked = RequestInfo("POST", "https://upload.box.com/api/2.0/files/content", {}, SECRET_HEADERS)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    code, context = body.get("code"), body.get("context_info")
    told = ResponseInfo(status, named, body, "", code, context)  # type: ignore[arg-type]
    return BoxAPIError(asked, told, str(body.get("message", "")))


def sdk_exceptions() -> Iterator[BaseException]:
    """One of each class, and an answer with each code and status."""
    yield from (api_error(status, document(code)) for code, (status, _) in CODES.items())
    yield from (api_error(status) for status in (400, 401, 403, 404, 409, 410, 429, 500, 502, 503, 504, 599))
    for inner in (
        *_of(requests.exceptions),
        *_of(urllib3.exceptions),
        OSError(104, "reset"),
        ValueError("x"),
    ):
        yield BoxSDKError("failed", error=inner if isinstance(inner, Exception) else None)
        yield inner
    for found in _classes():
        yield found.__new__(found)


def _classes() -> Iterator[type[BaseException]]:
    """The exception classes that the SDK defines."""
    for module in pkgutil.walk_packages(box_sdk_gen.__path__, "box_sdk_gen."):
        if ".schemas." in module.name or ".managers." in module.name:
            continue
        for found in vars(importlib.import_module(module.name)).values():
            own = inspect.isclass(found) and found.__module__ == module.name
            if own and issubclass(found, Exception) and not issubclass(found, BoxSDKError):
                yield found


def _of(module: object) -> Iterator[BaseException]:
    for found in vars(module).values():
        if inspect.isclass(found) and issubclass(found, Exception) and not issubclass(found, Warning):
            yield found.__new__(found)
