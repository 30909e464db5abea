"""What only happens on a terminal: the question of ``trust``, the bar of ``send``."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.commandline import PATIENCE, CommandLine
from servers.ssh import SshServer

from conveyor.receiver import Receiver


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "received") as receiver:
        yield receiver


def on_terminal(line: CommandLine, *words: str, types: str = "", out: int | None = None) -> tuple[int, str]:
    """Run a command on a pseudo-terminal; returns its exit code and all it wrote there."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "conveyor", *words],
        cwd=line.folder,
        env={**line.environment, "TERM": "xterm", "COLUMNS": "100"},
        stdin=slave,
        stdout=slave if out is None else out,
        stderr=slave,
    ) as process:
        os.close(slave)
        os.write(master, types.encode())
        written = b"".join(iter(lambda: _read(master), b""))
        os.close(master)
        return process.wait(PATIENCE), written.decode()


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # Linux: the other side is closed
        return b""


def test_trust_asks(line: CommandLine, asyncssh_server: SshServer) -> None:
    server = asyncssh_server
    more = f"  partner: {{type: sftp, host: {server.host}, port: {server.port}, username: u, password: pass}}"
    line.config("http://127.0.0.1:9/", more=more)

    refused, first = on_terminal(line, "trust", "partner", types="n\n")
    nothing = line.rows("SELECT * FROM memory")
    agreed, second = on_terminal(line, "trust", "partner", types="y\n")

    assert (refused, agreed) == (1, 0)
    assert "SHA256:" in first
    assert "nothing was changed" in first
    assert nothing == []
    assert "trusts this key from now on" in second
    assert len(line.rows("SELECT * FROM memory")) == 1


def test_many_files_show_a_bar_that_no_pipe_sees(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    for number in range(25):
        line.file(f"in/{number:02}.txt")
    with (line.folder / "out").open("w") as out:
        code, written = on_terminal(line, "send", "-r", "in", "--wait", out=out.fileno())

    lines = (line.folder / "out").read_text().splitlines()
    assert code == 0
    assert "delivering" in written
    assert "25/25" in written
    assert sorted(text[:4] for text in lines) == ["deli"] * 25 + ["job_"] * 25
    assert "\x1b" not in "".join(lines)


def test_one_small_file_shows_none(line: CommandLine) -> None:
    line.config("http://127.0.0.1:9/")
    line.file("photo.jpg")

    code, written = on_terminal(line, "send", "photo.jpg")

    assert code == 0
    assert written.splitlines()[0].endswith("photo.jpg")
    assert "sending" not in written
