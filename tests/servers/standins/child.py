"""A stand-in in a process of its own: for benchmarks, demonstrations and campaigns.

``python -m servers.standins.child MODULE:CLASS`` serves until its standard input ends, and prints one JSON
line: the stand-in's :meth:`~servers.standins.kit.StandIn.facts`.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers.process import python_path
from servers.standins.kit import running

TESTS = Path(__file__).resolve().parents[2]


@contextmanager
def launched(name: str) -> Iterator[dict[str, Any]]:
    """Run the stand-in of that ``module:class``; yields its facts."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path(TESTS)},
        start_new_session=True,  # Ctrl-C is for whoever launched it
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def main() -> None:
    """Serve until the input ends, as it does when the parent dies."""
    module, _, name = sys.argv[1].partition(":")
    with running(getattr(importlib.import_module(module), name)()) as standin:
        print(json.dumps(standin.facts()), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
