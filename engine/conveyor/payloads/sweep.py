"""Finds what no ledger row names: left by a submission that died, or by a removal that did."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from conveyor.ids import ALPHABET
from conveyor.payloads.problems import store_errors

_BATCH = 500

_SHARD = re.compile(f"[0-9][{ALPHABET}]{{5}}")
"""The beginning of an id's time, a digit first for centuries; ``lost+found`` and others' folders are none."""


def sweep(root: Path, known: Callable[[list[str]], set[str]], before: float) -> int:
    """Remove files last written before ``before`` (seconds since the epoch) that no row names.

    Only names that the store itself makes are touched; anything else in the folder is left alone.

    Args:
        root: The store's folder.
        known: Tells which of the given locations the ledger names.
        before: Younger files may belong to a submission that has not committed yet.

    Returns:
        The number of files removed.
    """
    removed = 0
    old = _old_files(root, before)
    while batch := list(islice(old, _BATCH)):
        named = [location for location in batch if not _is_temporary(location)]
        kept = known(named) if named else set()
        for location in batch:
            if location in kept:
                continue
            with store_errors(root, "remove an orphaned file"), contextlib.suppress(FileNotFoundError):
                (root / location).unlink()
                removed += 1
    _drop_empty_shards(root, before)
    return removed


def batches(root: Path) -> Iterator[list[str]]:
    """The locations of all files with a final name."""
    named = (found for found in _old_files(root, math.inf) if not _is_temporary(found))
    while batch := list(islice(named, _BATCH)):
        yield batch


def _is_temporary(location: str) -> bool:
    return location.rpartition("/")[2].startswith(".")


def _is_ours(name: str) -> bool:
    return name.startswith("pay_") or (name.startswith(".pay_") and name.endswith(".part"))


def _shards(root: Path) -> list[str]:
    with store_errors(root, "list its files"):
        try:
            with os.scandir(root) as entries:
                return sorted(entry.name for entry in entries if _is_shard(entry))
        except FileNotFoundError:
            return []


def _is_shard(entry: os.DirEntry[str]) -> bool:
    return _SHARD.fullmatch(entry.name) is not None and entry.is_dir(follow_symlinks=False)


def _old_files(root: Path, before: float) -> Iterator[str]:
    for shard in _shards(root):
        with contextlib.suppress(FileNotFoundError), os.scandir(root / shard) as entries:
            for entry in list(entries):
                with contextlib.suppress(FileNotFoundError):
                    if _is_ours(entry.name) and entry.stat(follow_symlinks=False).st_mtime < before:
                        yield f"{shard}/{entry.name}"


def _drop_empty_shards(root: Path, before: float) -> None:
    for shard in _shards(root):
        with contextlib.suppress(OSError):  # not empty, or somebody was quicker
            if (root / shard).lstat().st_mtime < before:
                (root / shard).rmdir()
