"""What the interpreter of each engine of a proof imports first: its clock is shifted, a bug is planted.

The folder is on the PYTHONPATH of engines that :mod:`e2e.crew` starts, and of no other process.
"""

from __future__ import annotations

import os
import time


def _shift(seconds: float) -> None:
    real, real_ns = time.time, time.time_ns
    ahead = round(seconds * 1e9)
    time.time = lambda: real() + seconds  # type: ignore[assignment]
    time.time_ns = lambda: real_ns() + ahead  # type: ignore[assignment]


if _seconds := float(os.environ.get("PROVE_CLOCK") or 0):
    _shift(_seconds)
if _plant := os.environ.get("PROVE_PLANT"):
    from e2e.plants import PLANTS

    PLANTS[_plant]()
