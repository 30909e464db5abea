"""Pydantic's findings in the words of a YAML file: place, field, one sentence, the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from conveyor.config.expand import Found
from conveyor.config.nodes import Fault, Mark, Node, Path
from conveyor.config.options import Options
from conveyor.config.shape import shape_of
from conveyor.nearest import did_you_mean, nearest

_NOWHERE = Mark("", 0, 0)
_QUOTED = re.compile(r"'([^']*)'")

_WORDS = {
    "missing": "required, but missing",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "set_type": "expected a list",
    "frozen_set_type": "expected a list",
    "dict_type": "expected a mapping of names to values",
    "model_type": "expected a mapping of options to values",
    "model_attributes_type": "expected a mapping of options to values",
    "path_type": "expected a path",
    "url_type": "expected a URL",
}
"""Our words for pydantic's error types; others keep pydantic's own."""

_DECIDING = frozenset({"value_error", "assertion_error", "literal_error", "enum"})
"""Of the members of a union these say most: the text had the right form and was refused for its content."""


def report(error: ValidationError, model: type[Options], node: Node, path: Path, found: Found) -> None:
    """Add what pydantic found.

    Args:
        error: Its error for ``model`` and the data of ``node``.
        model: The model.
        node: The tree that was validated, keys in snake_case.
        path: The path of ``node`` from the root.
        found: Where the mistakes go.
    """
    by_place: dict[Path, list[Any]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        by_place.setdefault(_tree_path(detail["loc"], detail["type"], model, node), []).append(detail)
    told = {place for place, _ in found}
    for place, details in by_place.items():
        if (*path, *place) in told or (not place and told):
            continue  # follows from what is reported already
        if any(place == other[: len(place)] for other in by_place if len(other) > len(place)):
            continue  # a union: the member that reached deeper is the one that was meant
        message, cure = _sentence(details, node, place, model)
        is_key = any(detail["type"] == "extra_forbidden" for detail in details)
        mark = node.place(place, key=is_key) or _NOWHERE
        found.append(((*path, *place), Fault(message, mark, cure)))


def _tree_path(loc: Sequence[int | str], kind: str, model: type[Options], node: Node) -> Path:
    """The part of pydantic's location that is a path in the tree; the rest names members of unions."""
    path: list[int | str] = []
    current: type[Options] | None = model
    here: Node | None = node
    for index, part in enumerate(loc):
        name = shape_of(current).aliases.get(str(part), part) if current is not None else part
        child = here.child(name) if here is not None else None
        if child is None and not (kind == "missing" and index == len(loc) - 1):
            continue
        here = child
        path.append(name)
        current = shape_of(current).inner.get(str(name)) if current is not None else None
    return tuple(path)


def _sentence(details: list[Any], node: Node, place: Path, model: type[Options]) -> tuple[str, str | None]:
    deciding = [detail for detail in details if detail["type"] in _DECIDING] or details
    sentences = list(dict.fromkeys(_words(detail) for detail in deciding))
    message = " or ".join(sentences)
    cures = (_cure(detail, node, place, model) for detail in deciding)
    return message, next((cure for cure in cures if cure), None)


def _words(detail: Mapping[str, Any]) -> str:
    kind = str(detail["type"])
    context = detail.get("ctx") or {}
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", detail["msg"]))
    if kind == "extra_forbidden":
        return "unknown option"
    if kind in ("literal_error", "enum"):
        return f"expected {context.get('expected', 'another value')}"
    words = _WORDS.get(kind)
    return words if words is not None else str(detail["msg"]).replace("Input should be", "must be")


def _cure(detail: Mapping[str, Any], node: Node, place: Path, model: type[Options]) -> str | None:
    kind = detail["type"]
    here = node.at(place)
    value = here.value if here is not None else None
    if kind == "extra_forbidden":
        return did_you_mean(str(place[-1]), _names_at(model, place[:-1]), label="known options")
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "put it in quotes"
    if kind in ("literal_error", "enum") and isinstance(value, str):
        valid = _QUOTED.findall(str((detail.get("ctx") or {}).get("expected", "")))
        close = nearest(value, valid)
        return f"did you mean {close!r}?" if close else None
    return None


def _names_at(model: type[Options], place: Path) -> frozenset[str]:
    current: type[Options] | None = model
    for part in place:
        current = shape_of(current).inner.get(str(part)) if current is not None else None
    return shape_of(current).names if current is not None else frozenset()
