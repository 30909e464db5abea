"""The suite on ``folder``, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conveyor.testing import Bench, ConnectorSuite, FolderObserver
from conveyor_folder import SPEC
from conveyor_folder.errors import classify

NO_ADDRESS = "a folder has no address that a proxy could stand before"
NO_MOUNT = "mounting a small or read-only file system takes root"


def can_mount(folder: Path) -> bool:
    """This process may mount a file system of its own."""
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode == 0:
        subprocess.run(["umount", folder], check=True)
    return done.returncode == 0


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[dict[str, str]]:
    """A file system of its own; what is left in it afterwards is a fault."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield {"path": str(folder)}
        assert not [name for _, _, files in os.walk(folder) for name in files]
    finally:
        subprocess.run(["umount", folder], check=True)


class TestFolder(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, tmp_path_factory: pytest.TempPathFactory) -> Bench:
        root = tmp_path_factory.mktemp("folder")
        other = tmp_path_factory.mktemp("mounted")
        privileged = can_mount(other)
        return Bench(
            SPEC,
            {"path": str(root)},
            observer=FolderObserver(root),
            missing_place={"path": str(root / "missing")},
            full=(lambda: mounted(other, "size=200k")) if privileged else None,
            forbidden=(lambda: mounted(other, "ro")) if privileged else None,
            sdk_exceptions=lambda: [OSError(number, os.strerror(number)) for number in range(133)],
            classify=classify,
            unavailable={
                "through": NO_ADDRESS,
                "throttle": "a folder never asks to wait",
                "wrong_credentials": "a folder has no login",
                "full": NO_MOUNT,
                "forbidden": NO_MOUNT,
            },
            big=64 << 20,
            memory_limit=16 << 20,
        )
