"""What an option model looks like from the YAML's side: its names, both spellings, and models inside it."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from conveyor.config.expand import Found
from conveyor.config.nodes import Fault, Mark, Node, Path
from conveyor.config.options import Options
from conveyor.nearest import did_you_mean

_NOWHERE = Mark("", 0, 0)


@dataclass(frozen=True, slots=True)
class Shape:
    """Names of one model.

    Attributes:
        names: Its fields, in snake_case.
        aliases: Field by the published camelCase name, where that differs.
        inner: Model by field, where the field is a model itself.
    """

    names: frozenset[str]
    aliases: Mapping[str, str]
    inner: Mapping[str, type[Options]]


@cache
def shape_of(model: type[Options]) -> Shape:
    """The shape of a model."""
    fields = model.model_fields
    aliases = {f.alias: name for name, f in fields.items() if f.alias is not None and f.alias != name}
    inner = {name: found for name, f in fields.items() if (found := inner_model(f.annotation)) is not None}
    return Shape(frozenset(fields), aliases, inner)


def inner_model(annotation: Any) -> type[Options] | None:
    """The option model that an annotation is, or is a union of with None."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            found = inner_model(member)
            if found is not None:
                return found
    return None


def canonical(node: Node, *models: type[Options]) -> Node:
    """A mapping with its keys in snake_case, as the models together spell them.

    An option given in both spellings becomes a fault of the node; the snake_case one is kept, so that
    everything else can still be checked.
    """
    if not isinstance(node.value, dict):
        return node
    shapes = [shape_of(model) for model in models]
    values: dict[str, Node] = {}
    keys = dict(node.keys)
    faults = list(node.faults)
    for key, child in node.value.items():
        name = next((shape.aliases[key] for shape in shapes if key in shape.aliases), key)
        if name != key:
            if name in node.value:
                mark = node.keys.get(key, node.mark or _NOWHERE)
                faults.append(Fault(f"{key} and {name} are the same option", mark, f"keep {name}"))
                continue
            if key in keys:
                keys[name] = keys[key]
        inner = next((shape.inner[name] for shape in shapes if name in shape.inner), None)
        values[name] = canonical(child, inner) if inner is not None else child
    return Node(values, node.mark, keys, faults)


def unknown_keys(node: Node, path: Path, known: frozenset[str], found: Found) -> Node:
    """Report the keys that mean nothing, with the nearest that would; returns the node without them."""
    mapping = node.mapping
    if mapping is None:
        return node
    strange = [key for key in mapping if key not in known]
    for key in strange:
        mark = node.keys.get(key, node.mark or _NOWHERE)
        cure = did_you_mean(key, known, label="known options")
        found.append(((*path, key), Fault("unknown option", mark, cure)))
    return node.without(strange) if strange else node
