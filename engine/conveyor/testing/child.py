"""A worker in a process of its own, so that it can really be killed, frozen and measured.

``python -m conveyor.testing.child MODULE:FACTORY PATH`` imports the connector once, with its SDK. For each
job that it reads as a line of JSON it forks a worker that makes one attempt and writes into a file how it
ended, and answers with its process id; for ``{"wait": PID}`` it answers with that worker's status. The parent
is :mod:`conveyor.testing.children`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
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


def _die_with_parent() -> None:
    """A frozen worker must not outlive killed tests: prctl(2)'s PR_SET_PDEATHSIG, Linux alone."""
    import ctypes

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _born(job: dict[str, Any]) -> int:
    """Fork a worker for the job; returns its process id."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        _die_with_parent()
        os.chdir(job["folder"])
        os.environ.clear()
        os.environ.update(job["environment"])
        for number, name in ((1, "result_file"), (2, "errors_file")):
            os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout.write(json.dumps(run(job)) + "\n")
        sys.stdout.flush()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)  # what else this process was forked with is its parent's


def main() -> None:
    """Start workers, and wait for them, as told."""
    _die_with_parent()
    sys.path[:0] = [entry for entry in json.loads(sys.argv[2]) if entry not in sys.path]
    from conveyor.testing.bench import load

    load(sys.argv[1])
    for line in sys.stdin:
        told = json.loads(line)
        answer = os.waitpid(told["wait"], 0)[1] if "wait" in told else _born(told)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
