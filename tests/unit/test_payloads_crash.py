"""The process dies on each line of a put: what is left is an orphan, never a half file under a final name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conveyor.payloads import LocalStore
from conveyor.payloads.local import MARKER
from conveyor.payloads.sealing import sealed_size

_CHILD = """
import io, os, sys
from pathlib import Path
from cryptography.fernet import Fernet
from conveyor.keyring import Keyring
from conveyor.payloads import LocalStore, PayloadKeys
root, call, turn = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = LocalStore(root, keys=PayloadKeys(Keyring([Fernet.generate_key()]), encrypts=sys.argv[4] == "True"))
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
    ("call", "turn", "complete", "sealed"),
    [
        ("write", 1, False, False),
        ("write", 2, False, False),
        ("fsync", 1, False, False),
        ("rename", 1, False, False),
        ("fsync", 2, True, False),
        ("write", 2, False, True),
        ("write", 4, False, True),  # the last chunk
        ("fsync", 2, True, True),
    ],
)
def test_dying_leaves_at_most_an_orphan(
    tmp_path: Path, call: str, turn: int, complete: bool, sealed: bool
) -> None:
    root = tmp_path / "payloads"
    small, large = (sealed_size(size) if sealed else size for size in (5, 3_000_000))
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(root), call, str(turn), str(sealed)], timeout=60, check=False
    )
    assert child.returncode == 9
    found = sorted(path for path in root.rglob("*") if path.is_file() and path.name != MARKER)
    finals = [path for path in found if not path.name.startswith(".")]
    assert len(found) == 2
    assert len(finals) == (2 if complete else 1)
    assert all(path.stat().st_size in (small, large) for path in finals), "half a file under a final name"
    first = next(path for path in finals if path.stat().st_size == small)
    for path in found:
        os.utime(path, (1, 1))
    store = LocalStore(root)
    location = str(first.relative_to(root))
    assert store.sweep(lambda locations: {location} & set(locations), 86_400) == 1
    assert [path for path in root.rglob("*") if path.is_file() and path.name != MARKER] == [first]
