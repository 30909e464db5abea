"""The process dies on each line of a put: what is left is an orphan, never a half file under a final name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conveyor.payloads import LocalStore
from conveyor.payloads.local import MARKER

_CHILD = """
import io, os, sys
from pathlib import Path
from conveyor.payloads import LocalStore
root, call, turn = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = LocalStore(root)
store.put(io.BytesIO(b"first"))
real, seen = getattr(os, call), 0
def dies(*arguments):
    global seen
    seen += 1
    if seen == turn:
        os._exit(9)
    return real(*arguments)
setattr(os, call, dies)
store.put(io.BytesIO(bytes(3_000_000)))
os._exit(0)
"""


@pytest.mark.parametrize(
    ("call", "turn", "complete"),
    [("write", 1, False), ("write", 2, False), ("fsync", 1, False), ("rename", 1, False), ("fsync", 2, True)],
)
def test_dying_leaves_at_most_an_orphan(tmp_path: Path, call: str, turn: int, complete: bool) -> None:
    root = tmp_path / "payloads"
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(root), call, str(turn)], timeout=60, check=False
    )
    assert child.returncode == 9
    found = sorted(path for path in root.rglob("*") if path.is_file() and path.name != MARKER)
    finals = [path for path in found if not path.name.startswith(".")]
    assert len(found) == 2
    assert len(finals) == (2 if complete else 1)
    assert all(path.stat().st_size in (5, 3_000_000) for path in finals), "half a file under a final name"
    first = next(path for path in finals if path.stat().st_size == 5)
    for path in found:
        os.utime(path, (1, 1))
    store = LocalStore(root)
    location = str(first.relative_to(root))
    assert store.sweep(lambda locations: {location} & set(locations), 86_400) == 1
    assert [path for path in root.rglob("*") if path.is_file() and path.name != MARKER] == [first]
