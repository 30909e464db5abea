"""The proof in small, and that its checker reports what is wrong at the destinations or in the ledger."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from servers import postgres, seaweed, sshd, wsgi_dav

from conveyor.testing.plugin import requires
from e2e import checker, faults
from e2e.crew import Post
from e2e.faults import Action
from e2e.kit import Place
from e2e.proving import TYPES, prove, stage

pytestmark = [pytest.mark.server]

SMALL = ("webhook", "sftp", "box", "google_drive")
"""Those whose servers and libraries start fast, and one with single-use tokens."""


def test_a_small_proof_and_its_checker(tmp_path: Path) -> None:
    requires(sshd.available(), sshd.PACKAGE)
    with stage("sqlite", tmp_path, types=SMALL) as on:
        found = prove(on, files=20, seed=5, seconds=4.0)
        assert not found.wrong, found
        assert found.deliveries == 20 * len(SMALL)

        digests = dict.fromkeys((name for name in _jobs(on.place)), "other bytes")
        posts: Counter[str] = Counter()
        spoilt = checker.check(on.place, digests, {**on.held, "sftp": dict}, {"webhook": posts})
        assert spoilt.lost
        assert spoilt.corrupt
        on.held["extra"] = lambda: {"a second copy": ""}
        with sqlite3.connect(_ledger(on.place)) as ledger:
            ledger.execute("DELETE FROM attempts WHERE attempt = 1")
        spoilt = checker.check(on.place, digests, on.held, {"webhook": posts})
        assert spoilt.strangers
        assert spoilt.gaps


def test_a_seed_is_a_schedule() -> None:
    actions = {
        name: Action(group, lambda _: None, lasts=(1.0, 2.0))
        for name, group in (("kill", "kill"), ("cut a", "connections"), ("stall a", "stalls"))
    }
    plan = faults.schedule(7, 60.0, actions)
    assert plan == faults.schedule(7, 60.0, actions)
    assert plan != faults.schedule(8, 60.0, actions)
    assert {fault.what for fault in plan} == set(actions)
    assert all(1.5 <= fault.at < 60 and 1 <= fault.lasts <= 2 for fault in plan)


@pytest.mark.parametrize("ahead", [90.0, -90.0])
def test_an_engines_clock_is_shifted_in_processes_that_it_starts_too(ahead: float) -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    told = subprocess.run(
        [sys.executable, "-c", child, "import time; print(time.time(), time.time_ns() / 1e9)"],
        env={**os.environ, **Post(("worker",), clock=ahead).variables()},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    for clock in told.stdout.split():
        assert abs(float(clock) - time.time() - ahead) < 20


def test_ctrl_c_ends_everything_and_says_what_was_done(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.prove", "--types", "webhook", "--deliveries", "20"]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # its engines work in a folder of this test
    told: list[str] = []
    with subprocess.Popen(
        command, cwd=root, env=environment, text=True, stderr=subprocess.PIPE, start_new_session=True
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            told.append(line)
            if "deliveries submitted" in line and len(told) == 2:
                os.killpg(run.pid, signal.SIGINT)
    assert run.returncode == 130, told
    assert told[0] == "the processes start\n"
    assert "deliveries submitted" in told[1]
    assert any(line.startswith("interrupted after") for line in told[2:])
    assert told[-1] == "everything has been ended\n"
    assert not _engines(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("plant", "pair", "what"),
    [("fence", "postgres", "twice"), ("abandon", "sqlite", "strangers"), ("twice", "sqlite", "twice")],
)
def test_a_planted_bug_is_reported(tmp_path: Path, plant: str, pair: str, what: str) -> None:
    """What a bug does depends on moments: one of a few runs meets them."""
    for module in (seaweed, sshd, wsgi_dav):
        requires(module.available(), module.PACKAGE)
    requires(pair == "sqlite" or postgres.binaries() is not None, postgres.PACKAGE)
    types = tuple(name for name in TYPES if name != "webhook")
    for seed in range(33, 37):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with stage(pair, folder, types=types, plant=plant) as on:
            found = prove(on, files=200, seed=seed, seconds=30.0, patience=60.0)
        if what in found.wrong:
            return
    pytest.fail(f"{plant}: {found}")


def _engines(folder: Path) -> list[str]:
    """The processes whose config lies in ``folder``."""
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in found.stdout.splitlines() if str(folder) in line]


def _ledger(place: Place) -> Path:
    with place.open() as installation:
        return Path(installation.config.settings.ledger.removeprefix("sqlite:///"))


def _jobs(place: Place) -> list[str]:
    with sqlite3.connect(_ledger(place)) as ledger:
        return [row[0] for row in ledger.execute("SELECT id FROM jobs")]
