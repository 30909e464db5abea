"""A receiver that answers 410: its destination is deactivated, says why, waits for ``conveyor resume``."""

from __future__ import annotations

from pathlib import Path

from cli.commandline import CommandLine

from conveyor.receiver import Answer, Receiver


def test_410_deactivates_the_destination_says_why_and_loses_nothing(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    with Receiver(tmp_path / "received") as receiver:
        line.config(receiver.url)
        line.file("photo.jpg")
        receiver.answer_always(Answer(410))

        assert line.run("send", "photo.jpg", "--wait", "--timeout", "20").code != 0
        line.run("send", "photo.jpg", "--wait", "--timeout", "1")

        assert len(receiver.requests) == 1, "nothing is sent to a deactivated destination"
        told = line.run("status")
        assert "deactivated" in told.out
        assert "410" in told.out + told.err
        assert "conveyor resume backend" in told.out + told.err

        receiver.answer_always(None)
        assert line.run("resume", "backend").code == 0
        assert line.run("send", "photo.jpg", "--wait").code == 0
        assert {status for (status,) in line.rows("SELECT DISTINCT status FROM deliveries")} == {"delivered"}
        assert len(receiver.received) == 3
