"""Nothing lost, nothing twice, under faults: ``python -m benchmarks.prove --pair postgres+redis``.

Real engine processes deliver to real servers while a schedule of faults, made from ``--seed`` alone, is
carried out; afterwards the destinations' own files are held against the ledger. What it cannot do is printed
as not run. The exit code is 1 when the checker found anything. A line every few seconds (on stderr) says how
far it is; Ctrl-C ends everything and says what was done, without a judgement: exit code 130. ``--plant`` puts
a bug into the engines, to see that the checker would find it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import _kit  # puts tests/ on the path
from e2e.checker import WRONG
from e2e.plants import PLANTS
from e2e.proving import PAIRS, TYPES, prove, stage

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def tell(line: str) -> None:
    """Say how far it is."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", choices=PAIRS, default="sqlite", help="ledger and broker")
    parser.add_argument("--seed", type=int, default=1, help="decides on files and faults")
    parser.add_argument("--deliveries", type=int, default=2400, help="over all destinations")
    parser.add_argument("--time", type=float, default=60.0, help="seconds during which faults happen")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds to wait after the last fault")
    parser.add_argument("--types", default=",".join(TYPES), help="destination types, by comma")
    parser.add_argument("--plant", choices=sorted(PLANTS), default="", help="a bug for the engines")
    wanted = parser.parse_args(arguments)
    types = tuple(wanted.types.split(","))
    print(f"pair {wanted.pair}, seed {wanted.seed}, on {_kit.machine()}", flush=True)
    try:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            stage(wanted.pair, Path(folder), types=types, plant=wanted.plant) as on,
        ):
            found = prove(
                on,
                files=wanted.deliveries // len(types),
                seed=wanted.seed,
                seconds=wanted.time,
                patience=wanted.patience,
                tell=tell,
            )
    except KeyboardInterrupt:
        tell("everything has been ended")
        return INTERRUPTED
    print(found.table())
    print(found)
    for reason in on.not_run:
        print(f"not run: {reason}")
    for name, what in found.wrong.items():
        print(f"{name} ({WRONG.get(name, 'not everything came to its end')}): {len(what)}")
        for each in what[:5]:
            print(f"  {each}")
    return int(bool(found.wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
