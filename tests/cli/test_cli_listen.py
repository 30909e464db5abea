"""``conveyor listen``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli.commandline import PATIENCE, CommandLine, Ended, interrupt

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def send(line: CommandLine, url: str, *words: str) -> Ended:
    line.config(url, more=f"    secret: {SECRET}", settings="defaults: {retry: {schedule: [10ms, 10ms]}}")
    return line.run("send", "photo.jpg", "--wait", *words)


def requests(ended: Ended) -> list[dict[str, Any]]:
    return [json.loads(text) for text in ended.out.splitlines() if '"request"' in text]


def test_receives_verifies_saves_and_ends_cleanly(line: CommandLine) -> None:
    data = os.urandom(70_001)
    line.file("photo.jpg", data)
    with line.started("listen", "--port", "0", "--secret", SECRET, "--folder", "in", "--json") as listener:
        hello = json.loads(first_line(listener))
        sent = send(line, hello["url"], "--tag", "order:7", "--session", "s1")
        ended = interrupt(listener)

    (request,) = requests(ended)
    assert (sent.code, ended.code, ended.err) == (0, 0, "")
    assert hello["signatures"] is True
    assert (request["status"], request["tags"], request["session_id"]) == (200, ["order:7"], "s1")
    assert set(request["signatures"]) >= {"x-aptr-signature", "webhook-signature"}
    assert all(request["signatures"].values())
    assert (line.folder / request["path"]).read_bytes() == data
    assert json.loads(ended.out.splitlines()[-1]) == {"event": "ended", "requests": 1, "files": 1}


def test_refuses_another_secret(line: CommandLine) -> None:
    line.file("photo.jpg")
    with line.started("listen", "--port", "0", "--secret", SECRET[:-2] + "AA", "--json") as listener:
        sent = send(line, json.loads(first_line(listener))["url"])
        ended = interrupt(listener)

    assert sent.code == 1
    assert {request["status"] for request in requests(ended)} == {401}
    assert set(requests(ended)[0]["signatures"].values()) == {False}
    assert list((line.folder / "received").iterdir()) == []


def test_fails_as_often_as_asked(line: CommandLine) -> None:
    line.file("photo.jpg")
    with line.started("listen", "--port", "0", "--fail", "500", "--times", "2", "--json") as listener:
        sent = send(line, json.loads(first_line(listener))["url"])
        ended = interrupt(listener)

    assert sent.code == 0
    assert [request["status"] for request in requests(ended)] == [500, 500, 200]


def test_says_when_to_come_back(line: CommandLine) -> None:
    line.file("photo.jpg")
    with line.started("listen", "--port", "0", "--fail", "503:3600") as listener:
        hello = first_line(listener)
        url = hello.split()[2].rstrip(",")
        sent = send(line, url, "--timeout", "1", "--json")
        listener.send_signal(signal.SIGTERM)
        out, _ = listener.communicate(timeout=PATIENCE)

    assert sent.code == 75
    assert sent.json[0]["deliveries"][0]["state_reason"] == "throttled"
    assert listener.returncode == 0
    assert "  503  " in out
    assert "x-aptr-signature" not in out  # no secret: nothing is checked
    assert "1 requests, 0 files" in out


def test_mistakes(line: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        busy = line.run("listen", "--port", port)
    odd = line.run("listen", "--fail", "later")
    times = line.run("listen", "--times", "2")

    assert (busy.code, odd.code, times.code) == (2, 2, 2)
    assert f"cannot listen on 127.0.0.1:{port}" in busy.err
    assert "503:30" in odd.err
    assert "--fail" in times.err
