"""What an option model has to offer, for ``conveyor connectors show``, the reference and forms."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from conveyor.config.options import Options
from conveyor.config.shape import inner_model
from conveyor.config.units import (
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)

_SIMPLE = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
_PARSERS: dict[Any, tuple[str, Callable[[Any], str]]] = {
    parse_duration: ("duration", format_duration),
    parse_size: ("size", format_size),
    parse_rate: ("rate", format_rate),
}
"""Types that are told by what parses them."""


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One option.

    Attributes:
        name: In the YAML; dotted inside a group of options.
        alias: The published camelCase name, None where it is the same.
        type: For people: ``text``, ``duration``, ``a | b``, ``list of text``.
        required: It has no default.
        default: As it would be written in the YAML; None when required, empty when nothing is the default.
        secret: Never shown anywhere.
        help: What it does.
    """

    name: str
    alias: str | None
    type: str
    required: bool
    default: str | None
    secret: bool
    help: str


def describe_options(model: type[Options], prefix: str = "") -> list[OptionInfo]:
    """All options of a model in the order of their declaration, groups followed by what is in them."""
    found: list[OptionInfo] = []
    for name, field in model.model_fields.items():
        inner = inner_model(field.annotation)
        found.append(_describe(prefix + name, name, field, inner))
        if inner is not None:
            found.extend(describe_options(inner, f"{prefix}{name}."))
    return found


def _describe(full_name: str, name: str, field: FieldInfo, inner: type[Options] | None) -> OptionInfo:
    secret = _is_secret(field)
    if field.is_required() or inner is not None:
        default = None
    elif secret and field.get_default(call_default_factory=False) not in (None, ()):
        default = "(hidden)" if _mentions(field.annotation, SecretStr) else _default(field)
    else:
        default = _default(field)
    return OptionInfo(
        name=full_name,
        alias=field.alias if field.alias != name else None,
        type="group" if inner is not None else type_text(field.annotation, field.metadata),
        required=field.is_required(),
        default=default,
        secret=secret,
        help=field.description or "",
    )


def type_text(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """An annotation in words."""
    for item in metadata:
        if isinstance(item, BeforeValidator) and item.func in _PARSERS:
            return _PARSERS[item.func][0]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_text(arguments[0], arguments[1:])
    if origin in (typing.Union, types.UnionType):
        members = dict.fromkeys(type_text(member) for member in arguments if member is not type(None))
        return " or ".join(members)
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if origin in (tuple, list, set, frozenset):
        return f"list of {type_text(arguments[0])}"
    if origin is dict:
        return f"mapping of {type_text(arguments[0])} to {type_text(arguments[1])}"
    return _class_text(annotation)


def _class_text(annotation: Any) -> str:
    if annotation is SecretStr:
        return "text"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " | ".join(str(member.value) for member in annotation)
    return _SIMPLE.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _is_secret(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return _mentions(field.annotation, SecretStr) or (isinstance(extra, dict) and bool(extra.get("secret")))


def _mentions(annotation: Any, wanted: type) -> bool:
    return annotation is wanted or any(_mentions(part, wanted) for part in typing.get_args(annotation))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    return _value_text(value, _formatter(field.annotation, field.metadata))


def _formatter(annotation: Any, metadata: Iterable[Any] = ()) -> Callable[[Any], str]:
    for item in metadata:
        if isinstance(item, BeforeValidator) and item.func in _PARSERS:
            return _PARSERS[item.func][1]
    if typing.get_origin(annotation) is typing.Annotated:
        arguments = typing.get_args(annotation)
        return _formatter(arguments[0], arguments[1:])
    for part in typing.get_args(annotation):
        formatter = _formatter(part)
        if formatter is not str:
            return formatter
    return str


def _value_text(value: Any, formatter: Callable[[Any], str]) -> str:
    if value is None or isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, tuple | list | set | frozenset):
        return "[" + ", ".join(_value_text(item, formatter) for item in value) + "]"
    if isinstance(value, dict):
        return "{}" if not value else str(value)
    if isinstance(value, str):
        return value or '""'
    return formatter(value)
