"""The JSON Schema of the config file, for editors: completion, help and early warnings while typing.

It is made from the same models as the validation, and is as strict as an editor can be: it cannot know the
environment, so that every value may also be a reference ``${VARIABLE}``.
"""

from __future__ import annotations

import contextlib
from typing import Any

from pydantic.json_schema import models_json_schema

from conveyor.config.model import CommonModel
from conveyor.config.options import Options
from conveyor.config.settings import Settings
from conveyor.config.shape import shape_of
from conveyor.contract import ConnectorSpec
from conveyor.errors import ConveyorError
from conveyor.registry import Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {"type": "string", "pattern": r"\$\{"}

Schema = dict[str, Any]


def json_schema(registry: Registry) -> Schema:
    """The schema of a config with the destination types of ``registry``.

    Args:
        registry: A type whose plugin does not load is left out.
    """
    types = _loadable(registry)
    definitions, names = _definitions((Settings, CommonModel, *types.values()))
    settings = definitions.pop(names[Settings])
    common = definitions.pop(names[CommonModel])
    branches = [
        _branch(registry.spec(name), definitions[names[model]], common) for name, model in types.items()
    ]
    for model in set(types.values()):
        definitions.pop(names[model], None)
    known = {"type": "object", "required": ["type"], "properties": {"type": {"enum": sorted(types)}}}
    return {
        "$schema": DIALECT,
        "title": "Conveyor configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **settings["properties"],
            "destinations": {
                "description": "The places to deliver to, by id.",
                "type": ["object", "null"],
                "additionalProperties": {
                    "if": {"required": ["extends"]},
                    "else": {**known, "allOf": branches},
                },
            },
            "presets": {
                "description": "Named sets of options that destinations build on with `extends`.",
                "type": ["object", "null"],
                "additionalProperties": {"type": ["object", "null"]},
            },
        },
        "$defs": definitions,
    }


def _loadable(registry: Registry) -> dict[str, type[Options]]:
    types = {}
    for name in registry.types():
        with contextlib.suppress(ConveyorError):
            types[name] = registry.options_model(name)
    return types


def _definitions(models: tuple[type[Options], ...]) -> tuple[dict[str, Schema], dict[type[Options], str]]:
    """The schemas of the models and of those inside them, and the name that each got."""
    every = list(dict.fromkeys(models))
    for model in every:  # grows while it is walked
        every.extend(inner for inner in shape_of(model).inner.values() if inner not in every)
    references, document = models_json_schema(
        [(model, "validation") for model in every], by_alias=False, ref_template="#/$defs/{model}"
    )
    names = {model: references[model, "validation"]["$ref"].rpartition("/")[2] for model in every}
    by_name = {name: model for model, name in names.items()}
    definitions: dict[str, Schema] = document["$defs"]
    lenient = {
        name: _lenient(definition, by_name[name]) if name in by_name else definition
        for name, definition in definitions.items()
    }
    return lenient, names


def _lenient(definition: Schema, model: type[Options]) -> Schema:
    """A model's schema that also takes references and the camelCase spelling."""
    properties: Schema = {}
    aliases = {name: alias for alias, name in shape_of(model).aliases.items()}
    for name, value in definition.get("properties", {}).items():
        properties[name] = option = _with_reference(value)
        if name in aliases:
            properties[aliases[name]] = {**option, "deprecated": True}
    required = [
        {"anyOf": [{"required": [name]}, {"required": [aliases[name]]}]}
        if name in aliases
        else {"required": [name]}
        for name in definition.get("required", ())
    ]
    lenient = {**definition, "properties": properties}
    lenient.pop("required", None)
    return {**lenient, "allOf": required} if required else lenient


def _with_reference(option: Schema) -> Schema:
    about: Schema = {key: option[key] for key in ("description", "default") if key in option}
    rest = {key: value for key, value in option.items() if key not in (*about, "title", "secret")}
    if _is_secret(rest):
        about.pop("default", None)
    if rest.get("type") == "string" and not {"enum", "format", "minLength", "pattern"} & set(rest):
        return {**about, **rest}
    return {**about, "anyOf": [rest, _REFERENCE]}


def _is_secret(schema: Any) -> bool:
    if isinstance(schema, dict):
        return schema.get("format") == "password" or any(map(_is_secret, schema.values()))
    return isinstance(schema, list) and any(map(_is_secret, schema))


def _branch(spec: ConnectorSpec, options: Schema, common: Schema) -> Schema:
    """``if type is this then`` its options and the common ones, and no others."""
    required = (*common.get("allOf", ()), *options.get("allOf", ()))
    implied = set(spec.presets)
    return {
        "if": {"properties": {"type": {"const": spec.type}}, "required": ["type"]},
        "then": {
            "description": spec.summary,
            "properties": {**options["properties"], **common["properties"], "type": {"const": spec.type}},
            "additionalProperties": False,
            "allOf": [rule for rule in required if not implied & set(rule.get("required", ()))],
        },
    }
