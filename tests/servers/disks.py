"""Small disks of a test's own, to be filled to the last byte and emptied again."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

WHY_NOT = "mounting a small disk takes root and the right to mount"


@dataclass(frozen=True)
class Disk:
    """A small disk.

    Attributes:
        root: Its uppermost folder.
    """

    root: Path

    def fill(self) -> None:
        """Not one more byte fits."""
        with contextlib.suppress(OSError), (self.root / "filler").open("ab", buffering=0) as file:
            while file.write(bytes(1 << 20)):
                pass

    def empty(self) -> None:
        """There is room again."""
        (self.root / "filler").unlink(missing_ok=True)


@contextmanager
def mounted(root: Path, size: int) -> Iterator[Disk | None]:
    """A disk of ``size`` bytes at the new folder ``root``; None, and no folder, where none may be."""
    root.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "conveyor", str(root)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        root.rmdir()
        yield None
        return
    try:
        yield Disk(root)
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)
