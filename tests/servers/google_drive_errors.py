"""An instance of every exception class that Google's SDK, and what it sends with, can raise."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator

import googleapiclient.errors as sdk
import httplib2
import urllib3.exceptions

from conveyor_connectors.google_drive.errors import REASONS


def http_error(status: int, reason: str = "", message: str = "made up", **headers: str) -> sdk.HttpError:
    """What the SDK raises for an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httplib2.Response({"status": str(status), **named})
    told = {"error": {"code": status, "message": message, "errors": [{"reason": reason, "domain": "global"}]}}
    uri = "https://www.googleapis.com/upload/drive/v3/files?upload_id=secret-7f3a"
    return sdk.HttpError(response, json.dumps(told).encode() if reason else b"<html>", uri=uri)


def sdk_exceptions() -> Iterator[BaseException]:
    """One of each class, and an answer with each reason and status."""
    yield from (http_error(403, reason) for reason in REASONS)
    yield from (http_error(status) for status in (400, 401, 403, 404, 409, 410, 413, 429, 500, 503))
    yield from (OSError(104, "reset"), ValueError("x"), KeyError("x"))
    for module in (sdk, urllib3.exceptions):
        for found in vars(module).values():
            if inspect.isclass(found) and issubclass(found, Exception) and not issubclass(found, Warning):
                yield found.__new__(found)
