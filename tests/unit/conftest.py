"""A small destination type with one option of every kind, and a writer of config files."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import model_validator

from conveyor.config import Config, load
from conveyor.config.options import Duration, Field, LocalPath, Options, SecretStr, Size
from conveyor.contract import Capabilities, ConflictPolicy, ConnectorSpec
from conveyor.registry import Registry


class Proof(Options):
    name: str = Field(description="Whose.")
    max_age: Duration = Field(60, description="How old.")


class BoxOptions(Options):
    access_key: SecretStr = Field(description="The key.")
    place: str = Field("root", description="Where.")
    port: int = Field(22, ge=1, description="The port.")
    mode: Literal["fast", "slow"] = Field("fast", description="How.")
    part_size: Size = Field(1024, description="How much.")
    proof: Proof | None = Field(None, description="A group.")
    headers: dict[str, str] = Field(default_factory=dict, description="More.")
    secrets: SecretStr | tuple[SecretStr, ...] | None = Field(None, description="One or many.")
    cert: LocalPath | None = Field(None, description="A file.")

    @model_validator(mode="after")
    def _belongs_together(self) -> BoxOptions:
        if self.mode == "slow" and self.port == 80:
            raise ValueError("port 80 is never slow")
        return self


OPTIONS = f"{__name__}:BoxOptions"
FACTORY = f"{__name__}:BoxOptions"


@pytest.fixture
def registry() -> Registry:
    return Registry(
        [
            ConnectorSpec("box", "A box", FACTORY, OPTIONS, Capabilities(concurrency=4, max_size=1000)),
            ConnectorSpec("slowbox", "A slow box", FACTORY, OPTIONS, presets={"mode": "slow"}),
            ConnectorSpec(
                "hole",
                "Keeps what is there",
                FACTORY,
                OPTIONS,
                Capabilities(conflicts=frozenset({ConflictPolicy.SKIP, ConflictPolicy.OVERWRITE})),
            ),
            ConnectorSpec("signed", "Signed in to", FACTORY, "conveyor.contract:OAuthOptions", oauth="acme"),
        ]
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes an indented text as a file below the test's folder."""

    def write_file(text: str, name: str = "conveyor.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def read(write: Callable[..., Path], registry: Registry) -> Callable[..., Config]:
    """Writes a config and loads it."""

    def load_text(text: str, env: dict[str, str] | None = None, **options: bool) -> Config:
        return load(write(text), env=env or {}, registry=registry, **options)

    return load_text
