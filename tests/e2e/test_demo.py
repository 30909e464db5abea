"""The demonstration, for real: with and without a terminal, interrupted, killed, and lacking its packages."""

from __future__ import annotations

import dataclasses
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conveyor.demo import stage
from conveyor.demo.compare import compare
from conveyor.demo.photos import photos
from conveyor.errors import ConveyorError
from e2e.kit import until

COMMAND = [sys.executable, "-m", "conveyor", "demo"]
LIMIT = 60
PLAYING = re.compile(rb"again in \d s")


@pytest.fixture
def temp(tmp_path: Path) -> Iterator[Path]:
    """The folder for temporary files: empty at the end, and no process that was given it is left."""
    folder = tmp_path / "temp"
    folder.mkdir()
    yield folder
    assert not processes(folder)


def environment(temp: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(temp), "COLUMNS": "100", "TERM": "xterm"}


def processes(temp: Path) -> list[str]:
    """The processes that were started with this folder for temporary files, zombies aside."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={temp}".encode() in (each / "environ").read_bytes():
                found.append((each / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def playing(temp: Path) -> subprocess.Popen[bytes]:
    """A demo in the middle of its play: deliveries have failed and wait for a retry."""
    process = subprocess.Popen(
        COMMAND, env=environment(temp), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    seen = b""
    while not PLAYING.search(seen):
        line = process.stdout.readline()
        assert line, seen.decode()
        seen += line
    assert len(processes(temp)) >= 3, "the demo and its two servers"
    return process


def test_without_a_terminal_it_tells_all_and_leaves_nothing(temp: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(
        COMMAND,
        env=environment(temp),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert time.monotonic() - began < LIMIT
    told = done.stdout
    assert "\x1b" not in told
    assert "That is shortened: the default is 5 s, 30 s, 2 min, 10 min, 1 h" in told
    assert re.search(r"shop .*answered 503: again in 2 s", told)
    assert re.search(r"shop .*answered 429: the whole destination pauses for 3 s", told)
    assert told.count("failed for good after 3 tries") == 3
    assert told.index("the receiver is repaired") < told.index("3 of 3 failed deliveries replayed")
    assert told.count("3 files") == told.count("identical, one copy each") == 4
    assert "delivered as IMG_0001 (1).png" in told
    assert told.index("conveyor init") < told.index("conveyor run")
    assert not list(temp.iterdir())


def test_on_a_terminal_it_shows_a_table(temp: Path) -> None:
    ours, its = pty.openpty()
    process = subprocess.Popen(
        COMMAND, env=environment(temp), stdin=its, stdout=its, stderr=its, start_new_session=True
    )
    os.close(its)
    seen = b""
    try:
        while piece := os.read(ours, 65536):
            seen += piece
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(ours)
    assert process.wait(LIMIT) == 0, seen.decode()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    for state in ("queued", "paused: 429", "retry in 2 s", "✗ failed", "✓ on try 4"):
        assert state in shown, state
    assert seen.rstrip().endswith(b"lists all verbs")
    assert seen.count(b"\x1b[?25l") <= seen.count(b"\x1b[?25h"), "the cursor is shown again"
    assert not list(temp.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_nothing(temp: Path, number: signal.Signals) -> None:
    process = playing(temp)
    process.send_signal(number)
    process.send_signal(number)
    rest, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + number, rest.decode()
    assert "Traceback" not in rest.decode()
    assert not list(temp.iterdir())


def test_its_servers_end_with_it_even_when_it_is_killed(temp: Path) -> None:
    process = playing(temp)
    process.kill()
    process.communicate(timeout=LIMIT)
    until(lambda: not processes(temp), "the servers have ended")


def test_its_first_line_comes_at_once(temp: Path) -> None:
    began = time.monotonic()
    process = subprocess.Popen(
        COMMAND,
        env=environment(temp),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    # Two seconds for a person; ten here, where many tests share two cores.
    assert time.monotonic() - began < 10
    assert line.startswith(b"Conveyor demo")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT)
    assert not list(temp.iterdir())


def test_missing_packages_are_named_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PACKAGES", ("json", "no_such_package", "none_either"))
    with pytest.raises(ConveyorError) as caught:
        stage.require_packages()
    assert caught.value.message == "the demo needs further packages: no_such_package, none_either"
    assert caught.value.cure == "pip install 'conveyor[demo]'"


class Held:
    """A place with these files, seen as the comparison sees receivers, servers and buckets."""

    def __init__(self, folder: Path, *data: bytes) -> None:
        self.folder = folder
        self._data = data
        folder.mkdir()
        for number, each in enumerate(data):
            (folder / f"{number}.png").write_bytes(each)

    def files(self) -> dict[str, bytes]:
        return {str(number): each for number, each in enumerate(self._data)}


@pytest.mark.parametrize("place", ["shop", "archive", "partner", "crm"])
@pytest.mark.parametrize("fault", ["none", "missing", "twice", "changed"])
def test_the_comparison_notices_what_is_wrong(tmp_path: Path, place: str, fault: str) -> None:
    right = [photo.data for photo in photos()]
    wrong = {
        "none": right,
        "missing": right[1:],
        "twice": [*right, right[0]],
        "changed": [right[0][:-1] + b"\0", *right[1:]],
    }[fault]
    held = {name: Held(tmp_path / name, *(wrong if name == place else right)) for name in NAMES}
    fields = {field.name: None for field in dataclasses.fields(stage.Stage)}
    seen = {**held, "partner": held["partner"].folder}
    results = compare(stage.Stage(**{**fields, **seen}), photos())  # type: ignore[arg-type]
    assert {result.destination: result.right for result in results} == {
        name: name != place or fault == "none" for name in NAMES
    }


NAMES = ("shop", "archive", "partner", "crm")
