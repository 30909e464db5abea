"""The base of every option model: connectors' options and the engine's own settings.

An option is declared once, as a pydantic field: its type, its default, its help (``description``) and, by
the type :class:`pydantic.SecretStr`, that it is secret. Validation, ``conveyor connectors show``, the JSON
Schema, the documentation and redaction are all made from that declaration::

    class S3Options(Options):
        bucket: str = Field(description="Name of the bucket.")
        secret_key: SecretStr = Field(description="The secret access key.")

YAML uses snake_case; the camelCase of the published contract (``secretKey``) is accepted as an alias, both
at once is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from conveyor.config.units import parse_duration, parse_rate, parse_size

__all__ = ["Duration", "EndpointUrl", "Field", "LocalPath", "Options", "Rate", "SecretStr", "Size"]

BOTH_SPELLINGS = "both_spellings"
"""The pydantic error type for an option that is given in snake_case and in camelCase."""

_QUANTITY_SCHEMA = {"type": ["string", "number"]}

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({**_QUANTITY_SCHEMA, "examples": ["30s", "2m", "7d"]}),
]
"""Seconds, written as ``30s``, ``2m``, ``1h30m``, ``7d`` or a bare number of seconds."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({**_QUANTITY_SCHEMA, "examples": ["32KiB", "5GB"]}),
]
"""Bytes (or bytes per second), written as ``65536``, ``32KiB``, ``5MB``."""


Rate = Annotated[
    float,
    BeforeValidator(parse_rate),
    WithJsonSchema({**_QUANTITY_SCHEMA, "examples": ["10/s", "600/m"]}),
]
"""So many a second, written as ``10/s``, ``600/m``, ``1000/h`` or a bare number."""


def expanded(name: str | Path) -> Path:
    """A path as it is written in the config, ``~`` and ``~user`` replaced.

    Raises:
        ValueError: It names nobody's home, or cannot be a path at all.
    """
    if "\0" in str(name):
        raise ValueError("a path cannot hold the character U+0000")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise ValueError(f"this machine knows no home folder for {Path(name).parts[0]!r}") from None


def _under_base(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base")
    return Path(base) / expanded(path) if base is not None else path


LocalPath = Annotated[Path, AfterValidator(_under_base)]
"""A path on this machine; a relative one is relative to the config file."""


_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _endpoint(url: str) -> str:
    """RFC 6749 §3.1 and §3.2 require TLS; a test server on this machine is no network."""
    parts = urlsplit(url)
    if parts.hostname and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    ):
        return url
    raise ValueError("expected https://host/path (http only on this machine)")


EndpointUrl = Annotated[str, AfterValidator(_endpoint)]
"""An address that gets tokens: https, or http on this machine."""


def _folder(value: str) -> str:
    path = "/" + value.strip("/")
    if path != "/" and any(level in ("", ".", "..") for level in path.split("/")[1:]):
        raise ValueError("is a path such as /Photos/Incoming, without empty levels, . and ..")
    return path


FolderPath = Annotated[str, AfterValidator(_folder)]
"""A folder at a service, from its top on: ``/``, or levels with one slash before each and none at the end."""


class Options(BaseModel):
    """Base of option models: frozen, unknown keys refused, camelCase accepted, no values in error texts."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_by_name=True,
        validate_by_alias=True,
        alias_generator=to_camel,
        hide_input_in_errors=True,
        coerce_numbers_to_str=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, data: Any) -> Any:
        """Refuse an option that is given under both of its names: which one was meant?"""
        if not isinstance(data, Mapping):
            return data
        for name, field in cls.model_fields.items():
            alias = field.alias
            if alias is not None and alias != name and name in data and alias in data:
                raise PydanticCustomError(
                    BOTH_SPELLINGS,
                    "{field} and {alias} are the same option; keep one of them",
                    {"field": name, "alias": alias},
                )
        return data
