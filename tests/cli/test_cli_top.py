"""``conveyor top``: what it shows, to people, to programs, and on a terminal until Ctrl-C."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

from cli.operator_line import OperatorLine
from e2e.kit import until

from conveyor.status.figures import Login, Place, Reading


def test_it_shows_what_is_due_held_and_late(operator: OperatorLine) -> None:
    operator.simulation.submit(to=["backend", "partner"])
    operator("pause", "partner")
    operator.simulation.clock.advance(90)
    told = operator.json("top")
    assert told["destinations"]["backend"] == {"due": 1, "running": 0, "oldest_due": 90.0, "reason": None}
    assert told["destinations"]["partner"]["reason"] == "paused"
    assert told["stuck"] == {"claim": 0, "expiry": 0, "payload": 0, "cleanup": 0}
    said = operator("top", "--once").out
    assert said.startswith("2 due, 0 running on ")
    assert "paused" in said
    assert "not-to-be-shown" not in said


def test_what_ended_since_it_began_is_counted(operator: OperatorLine) -> None:
    from rich.console import Console

    from conveyor.cli.verbs.top import picture
    from conveyor.ledger.figures import Ended

    figures = Reading(
        at=0,
        places={f"d{n:02}": Place(running=1) for n in range(45)},
        lateness={0.5: 0.25, 0.99: 3.0},
        ended={Ended("d00", "delivered", ""): 7, Ended("d00", "failed", "TRANSIENT"): 2},
        sent={"d00": 2048},
        logins={"drive": Login("google", "revoked", None)},
        stuck={"claim": 3},
        workers=1,
        threads=16,
    )
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    try:
        console.print(picture(figures))
        said = console.export_text()
    finally:
        console.file.close()
    assert "late by: half 250 ms, 99 % 3 s" in said
    (row,) = (line.split() for line in said.splitlines() if line.startswith("d00"))
    assert row[:6] == ["d00", "0", "1", "-", "7", "2"]
    assert "and 5 more destinations" in said
    assert "3 stuck: claim (conveyor doctor)" in said
    assert "login drive: revoked" in said


def test_on_a_terminal_it_goes_on_until_ctrl_c(operator: OperatorLine) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "conveyor", "--config", str(operator.folder / "conveyor.yaml")]
    process = subprocess.Popen([*command, "top", "--every", "0.2s"], stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    try:

        def drawn_twice() -> bool:
            nonlocal shown
            shown += os.read(master, 65536)
            return shown.count(b"0 due, 0 running") >= 2

        until(drawn_twice, "two looks")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert b"backend" in shown
