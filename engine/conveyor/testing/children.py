"""Starts workers in processes of their own: to kill them, freeze them, measure them."""

from __future__ import annotations

import atexit
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from conveyor.contract import State, Target
from conveyor.testing.bench import Bench
from conveyor.testing.nursery import Nursery
from conveyor.testing.ports import wait_until

PATIENCE = 120.0


class Records:
    """What a ledger would keep of one delivery: its saved state and its current fence, in files."""

    def __init__(self, folder: Path) -> None:
        self.state_file = folder / "state"
        self.fence_file = folder / "fence"
        self.state_file.write_text("{}")
        self.fence_file.write_text("1")

    def scratch(self, name: str) -> Path:
        """A file beside them that is not there yet."""
        return next(path for n in count() if not (path := self.state_file.with_name(f"{name}-{n}")).exists())

    @property
    def state(self) -> State:
        """What was saved last."""
        return cast(State, json.loads(self.state_file.read_text()))

    @property
    def fence(self) -> int:
        """Whose delivery it is."""
        return int(self.fence_file.read_text())

    def take(self) -> int:
        """Give the delivery to the next worker; returns its fence."""
        fence = self.fence + 1
        self.fence_file.write_text(str(fence))
        return fence


@contextmanager
def records() -> Iterator[Records]:
    """Fresh records in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="conveyor-suite-") as folder:
        yield Records(Path(folder))


_nurseries: dict[str, Nursery] = {}
"""The one in use: a suite's tests follow each other."""


def _nursery(factory: str) -> Nursery:
    if factory not in _nurseries:
        _close_nurseries()
        _nurseries[factory] = Nursery("conveyor.testing.child", factory.partition(":")[0])
    return _nurseries[factory]


@atexit.register
def _close_nurseries() -> None:
    for nursery in _nurseries.values():
        nursery.close()
    _nurseries.clear()


class Child:
    """One attempt in its own process; a context manager that leaves no process behind.

    Args:
        bench: Where to.
        target: Under which name.
        kept: The delivery's records.
        size: Bytes of pattern to send.
        delivery_id: Of the parcel.
        moment: When to strike: ``read`` (at half the file), ``commit`` (as ``before_commit`` is called),
            ``unsaved N`` and ``save N`` (before and after the Nth state is
            kept), ``done`` (delivered, not yet told).
        sign: ``KILL`` or ``STOP``.
        measure: Deliver a file of so many bytes first, and tell how much the peak memory grew after it.
    """

    def __init__(
        self,
        bench: Bench,
        target: Target,
        kept: Records,
        *,
        size: int,
        delivery_id: str,
        moment: str | None = None,
        sign: str = "KILL",
        measure: int | None = None,
    ) -> None:
        self._job: dict[str, Any] = {
            "factory": bench.spec.factory,
            "options_model": bench.spec.options,
            "options": bench.raw_options(),
            "tokens": bench.tokens,
            "digests": bench.spec.capabilities.digests,
            "path": target.path,
            "conflict": target.conflict.value,
            "size": size,
            "delivery_id": delivery_id,
            "fence": kept.fence,
            "attempt": kept.fence,
            "state_file": str(kept.state_file),
            "fence_file": str(kept.fence_file),
            "moment": moment,
            "signal": sign,
            "measure": measure,
        }
        self._out = kept.scratch("result")
        self._errors = kept.scratch("errors")
        self._status: int | None = None

    def __enter__(self) -> Child:
        self._nursery = _nursery(self._job["factory"])
        call = "conveyor.testing.child:work"
        self._pid = self._nursery.fork(call, self._job, out=self._out, errors=self._errors)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
            self._wait()

    def wait_killed(self) -> bool:
        """Wait for its end; True when it died of SIGKILL, False when it ended by itself before its moment."""
        return os.waitstatus_to_exitcode(self._wait()) == -signal.SIGKILL

    def wait_frozen(self) -> bool:
        """Wait until it stopped itself; False when it ended before."""
        wait_until(lambda: self._state() in "TZX", PATIENCE, "the worker to freeze")
        return self._state() == "T"

    def wake(self) -> None:
        """Let it go on."""
        os.kill(self._pid, signal.SIGCONT)

    def result(self) -> dict[str, Any]:
        """How it ended.

        Raises:
            AssertionError: It ended without saying how.
        """
        status, out = os.waitstatus_to_exitcode(self._wait()), self._out.read_text()
        assert out.strip(), f"the worker ended with {status} and said:\n{self._errors.read_text()[-3000:]}"
        return cast(dict[str, Any], json.loads(out))

    def _wait(self) -> int:
        if self._status is None:
            wait_until(lambda: self._state() in "ZX", PATIENCE, "the worker to end")
            self._status = self._nursery.wait(self._pid)
        return self._status

    def _state(self) -> str:
        try:
            stat = Path(f"/proc/{self._pid}/stat").read_text()
        except FileNotFoundError:
            return "X"
        return stat.rpartition(")")[2].split()[0]
