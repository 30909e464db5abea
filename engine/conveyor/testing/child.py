"""A worker in a process of its own, so that it can really be killed, frozen and measured.

It makes one attempt and prints how it ended. :mod:`conveyor.testing.children` starts it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, cast

from conveyor.contract import (
    AttemptCancelled,
    ConflictPolicy,
    Connector,
    DeliveryError,
    Json,
    Parcel,
    State,
    Target,
)
from conveyor.testing.content import Pattern
from conveyor.testing.harness import HarnessContext, make_env, with_tokens
from conveyor.testing.parcels import make_parcel


class _Fate:
    """Stops this process for good or for a while, once, at a named moment."""

    def __init__(self, moment: str | None, sign: str) -> None:
        self._moment = moment
        self._signal = signal.Signals[f"SIG{sign}"]

    def meets(self, moment: str) -> None:
        """Strike if this is the moment."""
        if moment == self._moment:
            self._moment = None
            os.kill(os.getpid(), self._signal)


class _Context(HarnessContext):
    """A context whose state and fence live in files, as the ledger's would outlive the worker."""

    def __init__(self, job: dict[str, Any], fate: _Fate) -> None:
        self._fate = fate
        self._state_file = Path(job["state_file"])
        self._fence_file = Path(job["fence_file"])
        state = json.loads(self._state_file.read_text())
        super().__init__(
            state, fence=job["fence"], attempt=job["attempt"], on_save=self._keep, owns=self._still
        )

    def before_commit(self) -> None:
        """Perhaps die before the fence is asked."""
        self._fate.meets("commit")
        super().before_commit()

    def save(self, **state: Json) -> None:
        """Perhaps die before the state is kept."""
        self._fate.meets(f"unsaved {len(self.saves) + 1}")
        super().save(**state)

    def _keep(self, state: State) -> None:
        scratch = self._state_file.with_suffix(".new")
        scratch.write_text(json.dumps(state))
        scratch.replace(self._state_file)
        self._fate.meets(f"save {len(self.saves)}")

    def _still(self) -> bool:
        return int(self._fence_file.read_text()) == self.fence


def _parcel(job: dict[str, Any], fate: _Fate) -> Parcel:
    size = job["size"]

    def on_read(offset: int) -> None:
        if offset >= size // 2:
            fate.meets("read")

    return make_parcel(Pattern(size), delivery_id=job["delivery_id"], digests=job["digests"], on_read=on_read)


def _deliver(connector: Connector, parcel: Parcel, target: Target, context: HarnessContext) -> dict[str, Any]:
    try:
        receipt = connector.deliver(parcel, target, context)
    except DeliveryError as error:
        return {"ended": "error", "kind": error.kind, "message": error.message}
    except AttemptCancelled:
        return {"ended": "cancelled"}
    return {"ended": "delivered", "path": receipt.path}


def _peak() -> int:
    """Peak resident bytes. Not getrusage's, which begins with the peak of whoever started this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("the kernel tells no VmHWM")


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Make the attempt that ``job`` describes."""
    from conveyor.testing.bench import load

    options = load(job["options_model"]).model_validate(job["options"])
    connector = cast(Connector, load(job["factory"])(options, with_tokens(make_env(), job["tokens"])))
    fate = _Fate(job.get("moment"), job.get("signal", "KILL"))
    target = Target(job["path"], ConflictPolicy(job["conflict"]))
    parcel = _parcel(job, fate)
    try:
        if job.get("measure"):
            return _measure(job, connector, parcel, target)
        result = _deliver(connector, parcel, target, _Context(job, fate))
        fate.meets("done")
        return result
    finally:
        connector.close()


def _measure(job: dict[str, Any], connector: Connector, parcel: Parcel, target: Target) -> dict[str, Any]:
    """Deliver a small file, then the big one; the peak's growth is what the big one cost."""
    small = make_parcel(Pattern(job["measure"]), digests=job["digests"])
    _deliver(connector, small, Target("measure/small.bin", target.conflict), HarnessContext())
    before = _peak()
    result = _deliver(connector, parcel, target, HarnessContext(deadline=300))
    return {**result, "grown": _peak() - before}


def work(job: dict[str, Any]) -> None:
    """Make the attempt, and tell how it ended."""
    sys.stdout.write(json.dumps(run(job)) + "\n")
    sys.stdout.flush()
    os._exit(0)  # whatever threads a frozen worker has left
