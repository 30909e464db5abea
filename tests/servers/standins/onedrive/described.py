"""Requests and answers held to Graph's description; errors in its form."""

from __future__ import annotations

import datetime
import json
import uuid
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from servers.standins.messages import Answer, Refused, Request


@cache
def _validator(kind: str) -> Draft202012Validator:
    document = json.loads(Path(__file__).with_name("graph.json").read_text())
    return Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": document["$defs"]})


def stamp(seconds: float) -> str:
    """Seconds since the epoch as Graph writes a time."""
    return (
        datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    )


def described(kind: str, document: Any, status: int = 200, **headers: str) -> Answer:
    """An answer that is what the description says it is.

    Raises:
        jsonschema.ValidationError: The stand-in has a defect.
    """
    _validator(kind).validate(document)
    return Answer(status, document, headers)


def failed(status: int, code: str, message: str, *inner: str, **headers: str) -> Refused:
    """An error; ``inner`` are the nested codes, the most exact one last (onedrive concepts/errors)."""
    nested: dict[str, Any] = {"date": stamp(0)[:-5], "request-id": str(uuid.uuid4())}
    for name in reversed(inner):
        nested = {"code": name, "innererror": nested} if "code" in nested else {"code": name, **nested}
    document = {"error": {"code": code, "message": message, "innererror": nested}}
    _validator("error").validate(document)
    return Refused(status, document, **headers)


def asked(kind: str, request: Request) -> dict[str, Any]:
    """The body of a request, as described; an absent one is an empty object.

    Raises:
        Refused: 415 or 400: it is no JSON, or has an unknown property, or one of another type.
    """
    data = request.data()
    if data and not (request.headers.get("Content-Type") or "").startswith("application/json"):
        raise failed(415, "invalidRequest", "Content-Type must be application/json.")
    try:
        document = json.loads(data) if data else {}
    except ValueError:
        raise failed(400, "invalidRequest", "Unable to read JSON request payload.") from None
    problem = next(iter(_validator(kind).iter_errors(document)), None)
    if problem is not None:
        raise failed(400, "invalidRequest", problem.message, "invalidParameterFormat")
    return dict(document)
