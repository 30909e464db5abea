"""Holds what arrived against what was sent, by another way than the one it came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from conveyor.demo.photos import Photo
from conveyor.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Comparison:
    """One destination's result. ``right``: each photo is there once, byte for byte, and nothing else."""

    destination: str
    way: str
    files: int
    size: int
    right: bool


def compare(stage: Stage, photos: Iterable[Photo]) -> list[Comparison]:
    """Look at all four destinations."""
    wanted = sorted(photo.data for photo in photos)
    held = {
        "shop": (_below(stage.shop.folder), "the receiver's own folder"),
        "archive": (stage.archive.files(), "plain HTTP from the bucket"),
        "partner": (_below(stage.partner), "the server's own folder"),
        "crm": (_below(stage.crm.folder), "the receiver's own folder"),
    }
    return [
        Comparison(name, way, len(there), sum(map(len, there.values())), sorted(there.values()) == wanted)
        for name, (there, way) in held.items()
    ]


def _below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
