"""What stands in a backup: the names in its folder, and the file that is written last."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from conveyor.errors import BackupError
from conveyor.ledger.schema import HEAD

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
LEDGER: Final = "ledger.db"
PAYLOADS: Final = "payloads"
KEY: Final = "conveyor.key"

SHOWN: Final = 1_000
"""Paths of files in place that a manifest names."""

_TOO_LARGE: Final = 64 << 20


class Steps(Protocol):
    """Shows how far a step of long work is."""

    def __call__(
        self, label: str, total: int | None, *, size: bool = False
    ) -> AbstractContextManager[Callable[[int], object]]:
        """For the length of a step: what is called with how much more is done.

        Args:
            label: What goes on.
            total: Of what is counted; None when unknown.
            size: What is counted are bytes.
        """


class LedgerPart(BaseModel):
    """The copy of the ledger."""

    model_config = ConfigDict(frozen=True)
    database: Literal["sqlite", "postgresql"]
    """Where it was."""
    version: str
    """Of its tables."""
    size: int
    sha256: str
    deliveries: dict[str, int]
    """By status."""


class PayloadsPart(BaseModel):
    """The bytes."""

    model_config = ConfigDict(frozen=True)
    count: int
    size: int
    removed: int
    """Went by retention, or were forgotten, while the backup was made; not in it."""
    damaged: dict[str, str]
    """By id, why: these were not there, or not what was submitted. Not in it."""
    in_place: int
    """Files that lie where their submitters have them. Not in it."""
    in_place_paths: list[str]
    """The first ``SHOWN`` of them."""


class Manifest(BaseModel):
    """What a backup holds, and what it does not."""

    model_config = ConfigDict(frozen=True)
    format: int = FORMAT
    conveyor: str
    created_at: str
    ledger: LedgerPart
    payloads: PayloadsPart
    key: Literal["included", "left out", "in a setting"]


def read(folder: Path) -> Manifest:
    """The manifest of a backup.

    Raises:
        BackupError: There is none, it cannot be read, or it is of a newer version than this program.
    """
    file = folder / MANIFEST
    try:
        with file.open("rb") as stream:
            text = stream.read(_TOO_LARGE)
    except OSError as error:
        raise BackupError(
            f"{folder} is no backup: {MANIFEST}: {error.strerror}",
            cure="name the folder that `conveyor backup` has made",
        ) from None
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError:
        raise BackupError(
            f"{file} cannot be read: it is damaged, or of a newer version",
            cure="use the version of Conveyor that made the backup, or another backup",
        ) from None
    if manifest.format > FORMAT or manifest.ledger.version > HEAD:
        raise BackupError(
            f"{folder} was made by Conveyor {manifest.conveyor}, with a ledger of version "
            f"{manifest.ledger.version}; this program knows {HEAD}",
            cure="upgrade Conveyor on this machine",
        )
    return manifest
