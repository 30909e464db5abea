"""Drive's own description: the discovery document that ships in google-api-python-client.

Source: ``googleapiclient/discovery_cache/documents/drive.v3.json``. Requests and answers are both held to it.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import googleapiclient.discovery_cache as cached

from servers.standins.google_drive.errors import bad, error
from servers.standins.messages import Refused


class Broken(AssertionError):
    """An answer of the stand-in that is not as described: its own mistake."""


def document() -> dict[str, Any]:
    """The description; a copy, which the SDK may write into."""
    return copy.deepcopy(_document())


@cache
def _document() -> dict[str, Any]:
    path = Path(cached.__file__).parent / "documents" / "drive.v3.json"
    return dict(json.loads(path.read_text()))


def properties(schema: str) -> Mapping[str, Any]:
    """Of a schema, by name."""
    found: Mapping[str, Any] = _document()["schemas"][schema]["properties"]
    return found


@cache
def method(name: str) -> dict[str, Any]:
    """One method, named ``files.create``."""
    resource, _, verb = name.partition(".")
    return dict(_document()["resources"][resource]["methods"][verb])


# --- parameters ----------------------------------------------------------------------------------------

_PATTERNS = {"boolean": r"true|false", "integer": r"-?\d+"}


def wrong_parameter(name: str, message: str, reason: str = "invalidParameter") -> Refused:
    """400 of a parameter."""
    return error(400, reason, message, location=name, locationType="parameter")


def check_query(name: str, query: Mapping[str, str], *, upload: bool = False, session: bool = False) -> None:
    """Refuse parameters that the method has not, values of another type, and missing ones.

    Args:
        name: Of the method.
        query: As sent.
        upload: By the method's ``/upload`` address, which ``uploadType`` belongs to.
        session: By the address of a session, which has an ``upload_id``.

    Raises:
        Refused: 400.
    """
    own = {
        key: kind for key, kind in method(name).get("parameters", {}).items() if kind["location"] == "query"
    }
    known = {**_document()["parameters"], **own}
    if session:
        known["upload_id"] = {"type": "string"}
    for key, value in query.items():
        if key not in known or (key == "uploadType" and not upload):
            raise wrong_parameter(key, f"Unknown parameter: {key}")
        if not _fits(value, known[key]):
            raise wrong_parameter(key, f"Invalid value '{value}' for parameter {key}.")
    needed = {key for key, kind in own.items() if kind.get("required")}
    if "Required: The `fields` parameter" in method(name)["description"]:
        needed.add("fields")
    for key in sorted(needed - set(query)):
        message = f"The '{key}' parameter is required for this method."
        raise wrong_parameter(key, message, "required")
    if "fields" in query and "response" in method(name):
        select(query["fields"], {}, method(name)["response"]["$ref"])  # before anything is done
    if query.get("alt", "json") != "json" and not method(name).get("supportsMediaDownload"):
        raise wrong_parameter("alt", f"Invalid value '{query['alt']}' for parameter alt.")


def _fits(value: str, kind: Mapping[str, Any]) -> bool:
    pattern = _PATTERNS.get(kind.get("type", ""))
    if pattern is not None and not re.fullmatch(pattern, value, re.ASCII):
        return False
    if kind.get("type") == "integer":
        low, high = int(kind.get("minimum", -(2**31))), int(kind.get("maximum", 2**31 - 1))
        return low <= int(value) <= high
    return "enum" not in kind or value in kind["enum"]


# --- documents -----------------------------------------------------------------------------------------

_TYPES: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
}
TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FORMATS = {"int64": re.compile(r"-?\d+", re.ASCII), "date-time": TIME}


def check_body(value: Any, schema: str = "File") -> None:
    """Hold a JSON document that was sent to a schema of the description; null is nothing.

    Raises:
        Refused: 400.
    """
    if problem := mismatch(value, {"$ref": schema}, schema):
        raise bad(f"Invalid JSON payload received. {problem}")


def check_answer(value: Any, schema: str) -> None:
    """Hold an answer to a schema, formats included.

    Raises:
        Broken: It is not as described.
    """
    if problem := mismatch(value, {"$ref": schema}, schema, strict=True):
        raise Broken(problem)


def mismatch(value: Any, kind: Mapping[str, Any], where: str, *, strict: bool = False) -> str | None:
    """What is wrong with a value; None when it fits. ``strict``: no null, and formats as they are said."""
    if "$ref" in kind:
        kind = {"type": "object", **_document()["schemas"][kind["$ref"]]}
    if kind["type"] == "object":
        return _object(value, kind, where, strict)
    if kind["type"] == "any":
        return None
    expected = _TYPES[kind["type"]]
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        return f"{where}: not a {kind['type']}"
    if kind["type"] == "array":
        found = (mismatch(each, kind["items"], where, strict=strict) for each in value)
        return next(filter(None, found), None)
    form = _FORMATS.get(kind.get("format", ""))
    if strict and form is not None and not form.fullmatch(value):
        return f"{where}: not a {kind['format']}"
    return None


def _object(value: Any, kind: Mapping[str, Any], where: str, strict: bool) -> str | None:
    if not isinstance(value, dict):
        return f"{where}: not an object"
    properties, other = kind.get("properties", {}), kind.get("additionalProperties")
    for key, inner in value.items():
        known = properties.get(key, other)
        if known is None:
            return f'Unknown name "{key}" at {where}: Cannot find field.'
        if inner is None and not strict:
            continue
        if problem := mismatch(inner, known, f"{where}.{key}", strict=strict):
            return problem
    return None


# --- partial answers -----------------------------------------------------------------------------------

DEFAULT = "kind,id,name,mimeType"
"""What files.get and its like answer without ``fields``."""


def select(fields: str, value: Mapping[str, Any], schema: str) -> dict[str, Any]:
    """Partial response: ``fields`` as ``a,b(c,d),e/f`` or ``*``
    (https://developers.google.com/workspace/drive/api/guides/fields-parameter).

    Raises:
        Refused: 400, a field that the schema has not, or a malformed mask.
    """
    tokens = re.findall(r"[A-Za-z0-9_*]+|[(),/]", fields)
    if "".join(tokens) != re.sub(r"\s", "", fields) or not tokens:
        raise _bad_field(fields)
    tree, rest = _mask(tokens, fields)
    if rest:
        raise _bad_field(fields)
    return dict(_take(tree, value, {"$ref": schema}))


def _bad_field(fields: str) -> Refused:
    return wrong_parameter("fields", f"Invalid field selection {fields}")


def _mask(tokens: list[str], whole: str) -> tuple[dict[str, Any], list[str]]:
    tree: dict[str, Any] = {}
    while True:
        if not tokens or tokens[0] in "(),/":
            raise _bad_field(whole)
        inner = tree.setdefault(tokens[0], {})
        tokens = tokens[1:]
        while tokens[:1] == ["/"]:
            if len(tokens) < 2 or tokens[1] in "(),/":
                raise _bad_field(whole)
            inner, tokens = inner.setdefault(tokens[1], {}), tokens[2:]
        if tokens[:1] == ["("]:
            sub, tokens = _mask(tokens[1:], whole)
            if tokens[:1] != [")"]:
                raise _bad_field(whole)
            inner.update(sub)
            tokens = tokens[1:]
        if tokens[:1] != [","]:
            return tree, tokens
        tokens = tokens[1:]


def _take(tree: Mapping[str, Any], value: Any, kind: Mapping[str, Any]) -> Any:
    if not tree or "*" in tree:
        return value
    if kind.get("type") == "array":
        _take(tree, {}, kind["items"])  # a wrong mask is refused for an empty list too
        return [_take(tree, one, kind["items"]) for one in value]
    if "$ref" in kind:
        kind = _document()["schemas"][kind["$ref"]]
    taken = {}
    for key, sub in tree.items():
        known = kind.get("properties", {}).get(key, kind.get("additionalProperties"))
        if known is None:
            raise _bad_field(key)
        if key in value:
            taken[key] = _take(sub, value[key], known)
    return taken
