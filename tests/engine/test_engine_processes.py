"""Real processes: signals, the end of an idle run, and the supervisor."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest

from conveyor import log
from conveyor.api import Conveyor
from conveyor.delivery import identity
from conveyor.delivery.runner import Signals, run_engine, run_supervisor
from conveyor.delivery.supervisor import Supervisor
from conveyor.errors import Exit, LedgerUnavailable
from conveyor.receiver import Answer, Receiver

PATIENCE = 30.0


def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    return identity.process_start(pid) is not None


# --- conveyor run ----------------------------------------------------------------------------------


class Installed:
    """A folder with a config whose webhook destination ``backend`` is a receiver of ours."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.folder = folder
        self.receiver = receiver
        self.path = folder / "conveyor.yaml"
        self.write()

    def write(
        self, settings: str = "", *, retry: str = "{schedule: [2s], jitter: 0}", active: str = "true"
    ) -> None:
        self.path.write_text(
            textwrap.dedent(
                f"""\
                network: {{allow_private: [127.0.0.0/8]}}
                default_destinations: [backend]
                workers: {{threads: 2, grace: 20s, lease: 6s}}
                {settings}
                destinations:
                  backend:
                    type: webhook
                    url: {self.receiver.url}
                    retry: {retry}
                    is_active: {active}
                """
            )
        )

    def submit(self, data: bytes = b"photo") -> str:
        with Conveyor.from_config(self.path) as conveyor:
            return conveyor.submit(data, filename="photo.jpg").deliveries["backend"]

    def statuses(self) -> list[str]:
        with Conveyor.from_config(self.path) as conveyor:
            return sorted(d.status for d in conveyor.deliveries(limit=None))

    def attempts(self) -> list[str]:
        with Conveyor.from_config(self.path) as conveyor:
            ledger = conveyor._installation.ledger
            return [
                str(attempt.outcome)
                for delivery in conveyor.deliveries(limit=None)
                for attempt in ledger.deliveries.attempts(delivery.id)
            ]

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "conveyor", "--config", str(self.path), "run", *arguments]
        return subprocess.Popen(command, stderr=subprocess.PIPE)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    folder = tmp_path / "received"
    folder.mkdir()
    receiver = Receiver(folder)
    receiver.start()
    yield Installed(tmp_path, receiver)
    receiver.stop()


def ended(process: subprocess.Popen[bytes]) -> int:
    try:
        _, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert b"Traceback" not in errors
    return process.returncode


def test_until_idle_ends_with_0_when_all_was_delivered(installed: Installed) -> None:
    installed.submit()
    assert ended(installed.run("--until-idle")) == Exit.OK
    assert installed.statuses() == ["delivered"]
    assert ended(installed.run("--until-idle")) == Exit.OK  # nothing to do


def test_until_idle_ends_with_1_when_something_failed(installed: Installed) -> None:
    installed.receiver.answer_next(Answer(503), Answer(503))
    installed.submit()
    assert ended(installed.run("--until-idle", "--idle-horizon", "10")) == Exit.FAILED
    assert installed.statuses() == ["failed"]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_until_idle_ends_with_1_and_the_cure_when_something_is_left_on_hold(
    installed: Installed, processes: str
) -> None:
    installed.submit()
    installed.submit()
    with Conveyor.from_config(installed.path) as conveyor:
        installation = conveyor._installation
        installation.ledger.health.pause(["backend"], "their move", installation.clock.now())
    engine = installed.run("--until-idle", "--processes", processes)
    _, said = engine.communicate(timeout=2 * PATIENCE)
    assert engine.returncode == Exit.FAILED
    held = "2 deliveries left on hold:\nbackend: 2 held, paused: their move\n  → conveyor resume backend\n"
    assert held in said.decode()
    assert installed.statuses() == ["held", "held"]


def test_the_horizon_decides_whether_a_retry_is_waited_for(installed: Installed) -> None:
    installed.receiver.answer_next(Answer(503))
    installed.submit()
    assert ended(installed.run("--until-idle")) == Exit.OK
    assert installed.statuses() == ["pending"]
    assert ended(installed.run("--until-idle", "--idle-horizon", "5")) == Exit.OK
    assert installed.statuses() == ["delivered"]


class Slow:
    """A server that takes each request and answers only when told to."""

    def __init__(self) -> None:
        import http.server

        self.taken = threading.Semaphore(0)
        self.answer = threading.Event()
        slow = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                slow.taken.release()
                slow.answer.wait(PATIENCE)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.answer.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def slow(installed: Installed) -> Iterator[Slow]:
    with closing(Slow()) as slow:
        installed.path.write_text(installed.path.read_text().replace(installed.receiver.url, slow.url))
        yield slow


def test_sigterm_drains_and_ends_with_0(installed: Installed, slow: Slow) -> None:
    installed.submit()
    process = installed.run()
    assert slow.taken.acquire(timeout=PATIENCE)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    until(lambda: b"stopping" in process.stderr.readline(), "said so")  # type: ignore[union-attr]
    assert process.poll() is None
    slow.answer.set()
    assert ended(process) == Exit.OK
    assert installed.statuses() == ["delivered"]
    assert installed.attempts() == ["delivered"]


def test_a_second_signal_leaves_at_once_and_nothing_is_lost(installed: Installed, slow: Slow) -> None:
    installed.submit()
    process = installed.run()
    assert slow.taken.acquire(timeout=PATIENCE)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    until(lambda: b"stopping" in process.stderr.readline(), "said so")  # type: ignore[union-attr]
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert ended(process) == 128 + signal.SIGINT
    assert time.monotonic() - begun < 5
    assert installed.statuses() == ["delivering"]
    slow.answer.set()
    # On this machine the next process sees at once that the first is gone.
    assert ended(installed.run("--until-idle", "--idle-horizon", "10")) == Exit.OK
    assert installed.statuses() == ["delivered"]
    assert installed.attempts() == ["lost", "delivered"]


def test_two_processes_under_a_supervisor_deliver_survive_a_kill_and_end_together(
    installed: Installed,
) -> None:
    process = installed.run("--processes", "2")
    until(lambda: len(children(process.pid)) == 2, "two children")
    installed.submit()
    until(lambda: installed.statuses() == ["delivered"], "delivered")
    one, two = children(process.pid)
    os.kill(one, signal.SIGKILL)
    until(lambda: len(children(process.pid)) == 2 and one not in children(process.pid), "replaced")
    assert two in children(process.pid)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == Exit.OK
    assert not alive(two)


def test_children_end_with_a_parent_that_was_killed(installed: Installed) -> None:
    process = installed.run("--processes", "2")
    until(lambda: len(children(process.pid)) == 2, "two children")
    pids = children(process.pid)
    until(lambda: all(pdeathsig_is_set(pid) for pid in pids), "children are up")
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    until(lambda: not any(alive(pid) for pid in pids), "children gone")


def children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split() if alive(int(word))]


def pdeathsig_is_set(pid: int) -> bool:
    """The child has come so far that it works: it holds the ledger open."""
    try:
        return any("conveyor.db" in os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


@pytest.mark.parametrize("processes", ["1", "2"])
def test_until_idle_goes_by_a_config_that_was_edited_meanwhile(installed: Installed, processes: str) -> None:
    installed.receiver.answer_next(Answer(503))
    installed.write(retry="{schedule: [1h]}")
    installed.submit()
    process = installed.run("--until-idle", "--idle-horizon", "7200", "--processes", processes)
    until(lambda: installed.attempts() == ["failed"], "attempted")
    installed.write(retry="{schedule: [1h]}", active="false")
    assert ended(process) == Exit.FAILED
    assert installed.statuses() == ["held"]


@pytest.mark.parametrize("verb", ["run", "worker"])
def test_the_processes_of_a_supervisor_log_as_it_was_told(installed: Installed, verb: str) -> None:
    installed.submit()
    command = [sys.executable, "-m", "conveyor", "--config", str(installed.path), "--log-level", "error"]
    process = subprocess.Popen([*command, "--log-text", verb, "--processes", "2"], stderr=subprocess.PIPE)
    until(lambda: installed.statuses() == ["delivered"], "delivered")
    process.terminate()
    _, told = process.communicate(timeout=PATIENCE)
    assert set(told.splitlines()) == {b"stopping: finishing what runs; once more to leave at once"}


# --- the supervisor --------------------------------------------------------------------------------

QUIET: Any = cast(log.EngineLog, log.get())


class Child:
    """A process as the supervisor sees it."""

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.signals: list[int] = []
        self.pid = id(self)

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        self.signals.append(number)
        if number == signal.SIGTERM:
            self.returncode = 0

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            raise subprocess.TimeoutExpired("child", timeout or 0)
        return self.returncode

    def kill(self) -> None:
        self.returncode = -9


@pytest.fixture
def moment() -> list[float]:
    """The time, in a box."""
    return [1000.0]


def supervised(count: int, moment: list[float] | None = None) -> tuple[Supervisor, list[Child]]:
    now = moment or [0.0]
    spawned: list[Child] = []

    def spawn(command: Any) -> Any:
        spawned.append(Child())
        return spawned[-1]

    return Supervisor(["x"], count, log=QUIET, spawn=spawn, monotonic=lambda: now[0]), spawned


def test_only_the_process_that_died_is_started_again_and_with_growing_delay(moment: list[float]) -> None:
    keeper, spawned = supervised(2, moment)
    keeper.step()
    assert len(spawned) == 2
    for wait in (0.5, 1.0, 2.0, 4.0):
        spawned[-1].returncode = 1
        keeper.step()
        count = len(spawned)
        moment[0] += wait - 0.01
        keeper.step()
        assert len(spawned) == count
        moment[0] += 0.02
        keeper.step()
        assert len(spawned) == count + 1
    assert spawned[0].returncode is None
    # One that ran for a minute starts over.
    moment[0] += 60
    spawned[-1].returncode = 1
    keeper.step()
    moment[0] += 0.51
    count = len(spawned)
    keeper.step()
    assert len(spawned) == count + 1


def test_a_process_that_cannot_be_started_is_tried_again_and_the_others_go_on(moment: list[float]) -> None:
    """The system is short of memory, or the user has as many processes as allowed."""
    spawned: list[Child] = []
    tries: list[float] = []

    def spawn(command: Any) -> Any:
        tries.append(moment[0])
        if 1 < len(tries) < 4:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        spawned.append(Child())
        return spawned[-1]

    keeper = Supervisor(["x"], 2, log=QUIET, spawn=spawn, monotonic=lambda: moment[0])
    began = moment[0]
    for _ in range(40):
        keeper.step()
        moment[0] += 0.1
    assert [round(at - began, 1) for at in tries] == [0.0, 0.0, 0.5, 1.5]
    assert [child.returncode for child in spawned] == [None, None]


def test_a_worn_out_process_is_replaced_at_once_but_not_in_a_storm(moment: list[float]) -> None:
    keeper, spawned = supervised(1, moment)
    keeper.step()
    moment[0] += 40
    spawned[-1].returncode = 0
    keeper.step()
    assert len(spawned) == 2
    spawned[-1].returncode = 0
    keeper.step()
    assert len(spawned) == 2
    moment[0] += 0.51
    keeper.step()
    assert len(spawned) == 3


def test_a_reload_that_is_asked_for_while_a_process_begins_does_not_end_it() -> None:
    begins = """
import sys
from conveyor.delivery.runner import Signals
signals = Signals(None)
signals.install()
sys.exit(0 if signals.reload.wait(30) else 1)
"""
    keeper = Supervisor([sys.executable, "-c", begins], 1, log=QUIET)
    keeper.step()
    keeper.signal(signal.SIGHUP)
    (child,) = keeper._children
    assert child.process is not None
    assert child.process.wait(PATIENCE) == 0


def test_stop_asks_waits_and_kills() -> None:
    keeper, spawned = supervised(2)
    keeper.step()
    deaf = spawned[1]
    deaf.send_signal = lambda number: deaf.signals.append(number)  # type: ignore[method-assign]
    assert keeper.stop(0.1) == 9
    assert spawned[0].returncode == 0
    assert deaf.signals == [signal.SIGTERM]
    assert deaf.returncode == -9


# --- the runner ------------------------------------------------------------------------------------


WEARS_OUT = """
import os, signal, sys

from conveyor.delivery import runner

real, hold_back, told = runner.run_engine, runner.Signals.hold_back, sys.argv.pop(1)


def tell(when):
    if told == when:
        os.kill(os.getpid(), signal.SIGTERM)


def run_engine(engine, signals, **more):
    stop, idle = engine.stop, engine.idle

    def wears_out(horizon):
        if idle(horizon):
            engine.worn_out.set()
        return False

    engine.idle = wears_out
    engine.stop = lambda: tell("as it stops") or stop()
    if told != "never":
        engine.worn_out.set()
    return real(engine, signals, **more)


def held_back(self):
    hold_back(self)
    tell("at the last moment")


runner.run_engine, runner.Signals.hold_back = run_engine, held_back

from conveyor.__main__ import main

main()
"""
"""``conveyor run`` with an engine that wears out: at once, or when it has nothing left to do."""


def worn_out(installed: Installed, told: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WEARS_OUT, told, "--config", str(installed.path), "run", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


@pytest.mark.parametrize("told", ["as it stops", "at the last moment"])
def test_a_process_that_is_told_to_end_while_it_is_replaced_ends(installed: Installed, told: str) -> None:
    assert ended(worn_out(installed, told)) == Exit.OK


def test_what_failed_before_the_process_was_replaced_counts_too(installed: Installed) -> None:
    installed.receiver.answer_next(Answer(503), Answer(503))
    installed.submit()
    process = worn_out(installed, "never", "--until-idle", "--idle-horizon", "10")
    assert ended(process) == Exit.FAILED
    assert installed.statuses() == ["failed"]


class FakeEngine:
    """An engine whose idleness a test decides."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.worn_out = threading.Event()
        self.answers = list(answers)
        self.stopped = 0

    def start(self) -> None:
        pass

    def drain(self) -> None:
        pass

    def stop(self) -> bool:
        self.stopped += 1
        return True

    def idle(self, horizon: float) -> bool:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(engine: FakeEngine, **more: Any) -> tuple[Exit, bool]:
    options: dict[str, Any] = {"until_idle": True, "horizon": 0.0, "reload": lambda asked: None}
    options["failed"] = lambda: False
    return run_engine(engine, Signals(QUIET), **{**options, **more})


def test_a_signal_is_heeded_at_whatever_line_of_the_wait_it_comes() -> None:
    lines = 0

    def waits(signals: Signals, comes_at: int) -> None:
        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal lines
            lines += event == "line"
            if event == "line" and lines == comes_at:
                signals._on_stop(signal.SIGTERM, frame)  # as Python does, between two steps of this thread
            return trace

        sys.settrace(trace)
        signals.stop.wait(0.001)
        sys.settrace(None)

    comes_at = 0
    while comes_at <= lines:
        comes_at, lines = comes_at + 1, 0
        signals = Signals(QUIET)
        thread = threading.Thread(target=waits, args=(signals, comes_at), daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"hangs for ever at line {comes_at} of the wait"
        assert signals.stop.is_set() or lines < comes_at
    assert comes_at > 3


def test_a_ledger_away_is_not_idle() -> None:
    engine = FakeEngine(False, LedgerUnavailable("gone fishing"), True)
    assert run(engine) == (Exit.OK, False)
    assert (engine.answers, engine.stopped) == ([], 1)


def test_the_engine_is_stopped_whatever_happens() -> None:
    engine = FakeEngine(RuntimeError("a defect"))
    with pytest.raises(RuntimeError):
        run(engine)
    assert engine.stopped == 1


def test_a_worn_out_engine_is_stopped_and_replaced() -> None:
    engine = FakeEngine()
    engine.worn_out.set()
    assert run(engine, until_idle=False) == (Exit.OK, True)
    assert engine.stopped == 1


def test_the_supervisors_run_survives_a_ledger_away_and_ends_its_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("conveyor.delivery.runner.TICK", 0.5)
    keeper, spawned = supervised(1)
    answers: list[bool | Exception] = [LedgerUnavailable("gone fishing"), False, True]

    def idle() -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    code = run_supervisor(
        keeper, Signals(QUIET), idle=idle, failed=lambda: True, grace=1.0, reload=lambda asked: None
    )
    assert code == Exit.FAILED
    assert spawned[0].signals == [signal.SIGTERM]
