"""Run the benchmarks, each in a process of its own: ``python -m benchmarks [NAME…]`` (``make bench``).

A benchmark is a module ``bench_NAME.py`` beside this file that prints its figures when it is run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(wanted: list[str]) -> int:
    """Run the named benchmarks, or all of them; the number of those that failed is the exit code."""
    known = sorted(file.stem.removeprefix("bench_") for file in Path(__file__).parent.glob("bench_*.py"))
    unknown = sorted(set(wanted) - set(known))
    if unknown or not known:
        print(
            f"unknown: {', '.join(unknown) or 'every name'}; there are: {', '.join(known) or 'none'}",
            file=sys.stderr,
        )
        return 2
    failed = 0
    for name in wanted or known:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.bench_{name}"]
        failed += subprocess.run(command, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
