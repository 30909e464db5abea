"""Drive's own description: the discovery document that ships in google-api-python-client.

Source: ``googleapiclient/discovery_cache/documents/drive.v3.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import googleapiclient.discovery_cache as cached

from servers.standins.messages import Refused


@cache
def document() -> dict[str, Any]:
    """The description, read once."""
    path = Path(cached.__file__).parent / "documents" / "drive.v3.json"
    return dict(json.loads(path.read_text()))


def method(name: str) -> dict[str, Any]:
    """One method, named ``files.create``."""
    resource, _, verb = name.partition(".")
    return dict(document()["resources"][resource]["methods"][verb])


def error(status: int, reason: str, message: str, **place: str) -> Refused:
    """An error in the form of https://developers.google.com/workspace/drive/api/guides/handle-errors."""
    domain = "usageLimits" if reason in _USAGE else "global"
    entry = {"message": message, "domain": domain, "reason": reason, **place}
    return Refused(status, {"error": {"code": status, "message": message, "errors": [entry]}})


_USAGE = {"userRateLimitExceeded", "rateLimitExceeded", "dailyLimitExceeded"}
_PATTERNS = {"boolean": r"true|false", "integer": r"-?\d+"}


def check_query(name: str, query: Mapping[str, str]) -> None:
    """Refuse parameters that the method has not, and values of another type.

    Raises:
        Refused: 400.
    """
    known = {
        **document()["parameters"],
        **method(name).get("parameters", {}),
        "upload_id": {"type": "string"},
    }
    for key, value in query.items():
        if key not in known:
            raise error(
                400, "invalidParameter", f"Unknown parameter: {key}", location=key, locationType="parameter"
            )
        kind = known[key]
        pattern = _PATTERNS.get(kind.get("type", ""))
        number = kind.get("type") == "integer" and re.fullmatch(r"-?\d+", value)
        outside = number and not (
            int(kind.get("minimum", -(2**31))) <= int(value) <= int(kind.get("maximum", 2**31 - 1))
        )
        wrong = pattern is not None and not re.fullmatch(pattern, value)
        if wrong or outside or ("enum" in kind and value not in kind["enum"]):
            message = f"Invalid value '{value}' for parameter {key}."
            raise error(400, "invalidParameter", message, location=key, locationType="parameter")


_TYPES: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
}


def check_body(value: Any, schema: str = "File") -> None:
    """Hold a JSON document to a schema of the description.

    Raises:
        Refused: 400.
    """
    problem = mismatch(value, {"$ref": schema}, schema)
    if problem:
        raise error(400, "badRequest", f"Invalid JSON payload received. {problem}")


def mismatch(value: Any, kind: Mapping[str, Any], where: str) -> str | None:
    """What is wrong with a value; None when it fits."""
    if "$ref" in kind:
        kind = {"type": "object", **document()["schemas"][kind["$ref"]]}
    if kind["type"] == "object":
        return _object(value, kind, where)
    if kind["type"] == "any":
        return None
    expected = _TYPES[kind["type"]]
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        return f"{where}: not a {kind['type']}"
    if kind["type"] == "array":
        return next(filter(None, (mismatch(v, kind["items"], where) for v in value)), None)
    return None


def _object(value: Any, kind: Mapping[str, Any], where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where}: not an object"
    properties, other = kind.get("properties", {}), kind.get("additionalProperties")
    for key, inner in value.items():
        known = properties.get(key, other)
        if known is None:
            return f'Unknown name "{key}" at {where}: Cannot find field.'
        if inner is not None and (problem := mismatch(inner, known, f"{where}.{key}")):
            return problem
    return None


DEFAULT = "kind,id,name,mimeType"
"""What files.get and its like answer without ``fields``."""


def select(fields: str, value: Mapping[str, Any], schema: str) -> dict[str, Any]:
    """Partial response: ``fields`` as ``a,b(c,d),e/f`` or ``*``.

    Raises:
        Refused: 400, a field that the schema has not, or a malformed mask.
    """
    tokens = re.findall(r"[A-Za-z0-9_*]+|[(),/]", fields)
    if "".join(tokens) != re.sub(r"\s", "", fields) or not tokens:
        raise _bad(fields)
    tree, rest = _mask(tokens, fields)
    if rest:
        raise _bad(fields)
    return dict(_take(tree, value, {"$ref": schema}, fields))


def _bad(fields: str) -> Refused:
    message = f"Invalid field selection {fields}"
    return error(400, "invalidParameter", message, location="fields", locationType="parameter")


def _mask(tokens: list[str], whole: str) -> tuple[dict[str, Any], list[str]]:
    tree: dict[str, Any] = {}
    while True:
        if not tokens or tokens[0] in "(),/":
            raise _bad(whole)
        inner, tokens = tree, tokens
        inner, tokens = inner.setdefault(tokens[0], {}), tokens[1:]
        while tokens[:1] == ["/"]:
            if len(tokens) < 2:
                raise _bad(whole)
            inner, tokens = inner.setdefault(tokens[1], {}), tokens[2:]
        if tokens[:1] == ["("]:
            sub, tokens = _mask(tokens[1:], whole)
            if tokens[:1] != [")"]:
                raise _bad(whole)
            inner.update(sub)
            tokens = tokens[1:]
        if tokens[:1] != [","]:
            return tree, tokens
        tokens = tokens[1:]


def _take(tree: Mapping[str, Any], value: Any, kind: Mapping[str, Any], whole: str) -> Any:
    if not tree or "*" in tree:
        return value
    if kind.get("type") == "array":
        _take(tree, {}, kind["items"], whole)  # a wrong mask is refused for an empty list too
        return [_take(tree, one, kind["items"], whole) for one in value]
    if "$ref" in kind:
        kind = document()["schemas"][kind["$ref"]]
    taken = {}
    for key, sub in tree.items():
        known = kind.get("properties", {}).get(key, kind.get("additionalProperties"))
        if known is None:
            raise _bad(key)
        if key in value:
            taken[key] = _take(sub, value[key], known, whole)
    return taken
