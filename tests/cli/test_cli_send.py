"""``conveyor send``: what it accepts, prints and waits for; its exit codes; Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.commandline import CommandLine, interrupt

from conveyor.receiver import Answer, Receiver
from conveyor.testing.ports import wait_until

SLOW = Answer(503, retry_after=3600)


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "received") as receiver:
        yield receiver


def test_prints_the_job_and_says_that_nobody_delivers(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    line.file("photo.jpg")

    ended = line.run(
        "send", "photo.jpg", "--tag", "order:7", "--meta", "shop=12", "--session", "s1", "-p", "5"
    )

    ((job, tags, meta, session, index),) = line.rows(
        "SELECT id, tags, meta, session_id, image_index FROM jobs"
    )
    assert (ended.code, ended.out) == (0, f"{job}  photo.jpg\n")
    assert "no worker is running" in ended.err
    assert "conveyor run" in ended.err
    assert "order:7" in tags
    assert '"shop"' in meta
    assert (session, index) == ("s1", None)
    assert line.rows("SELECT priority FROM deliveries") == [(5,)]
    assert receiver.requests == []


def test_wait_delivers_here_and_leaves_no_worker(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    line.file("photo.jpg", os.urandom(70_001))

    ended = line.run("send", "photo.jpg", "--wait", "--json")

    (delivery,) = ended.json[0]["deliveries"]
    assert (ended.code, delivery["status"], delivery["destination"]) == (0, "delivered", "backend")
    assert receiver.received[0].path.read_bytes() == (line.folder / "photo.jpg").read_bytes()
    assert line.rows("SELECT * FROM workers") == []


def test_wait_leaves_the_work_to_a_live_worker(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    line.file("photo.jpg")
    with line.started("run") as engine:
        wait_until(lambda: _workers(line), 30, "the worker")

        ended = line.run("send", "photo.jpg", "--wait")
        noted = line.run("send", "photo.jpg").err

        assert ended.code == 0
        assert interrupt(engine).code == 0
    assert noted == ""
    assert {worker[:4] for (worker,) in line.rows("SELECT worker FROM attempts")} == {"wrk_"}


def test_visitors_serve_their_own_destinations_only(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url, more=f"  other: {{type: webhook, url: '{receiver.url}'}}")
    line.file("photo.jpg")
    line.run("send", "photo.jpg", "--to", "other")

    assert line.run("send", "photo.jpg", "--wait").code == 0

    found = dict(line.rows("SELECT destination, status FROM deliveries"))
    assert found == {"other": "pending", "backend": "delivered"}


def test_many_files_of_a_folder(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    for name in ("in/b.txt", "in/a.txt", "in/deep/er/c.txt"):
        line.file(name, name.encode())
    os.mkfifo(line.folder / "in" / "pipe")
    (line.folder / "in" / "circle").symlink_to(line.folder / "in")

    ended = line.run("send", "in", "--recursive", "--wait")

    assert ended.code == 0
    sources = [row.split("  ")[1] for row in ended.out.splitlines() if row.startswith("job_")]
    assert sources == ["in/a.txt", "in/b.txt", "in/deep/er/c.txt"]
    assert {each.path.read_bytes() for each in receiver.received} == {
        b"in/a.txt",
        b"in/b.txt",
        b"in/deep/er/c.txt",
    }
    assert "in/pipe" in ended.err
    assert "in/circle" in ended.err


def test_a_key_is_the_same_job_again(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    line.file("photo.jpg")
    line.file("other.jpg", b"other bytes")

    first = line.run("send", "photo.jpg", "--key", "k")
    again = line.run("send", "photo.jpg", "--key", "k", "--json")
    other = line.run("send", "other.jpg", "--key", "k")
    two = line.run("send", "photo.jpg", "other.jpg", "--key", "k2")

    assert again.json[0]["job_id"] == first.out.split()[0]
    assert (again.code, again.json[0]["created"]) == (0, False)
    assert other.code == 1
    assert two.code == 2
    assert len(line.rows("SELECT id FROM jobs")) == 1
    assert len(line.payloads()) == 1


def test_in_place_copies_nothing(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    line.file("photo.jpg")

    assert line.run("send", "photo.jpg", "--in-place", "--wait").code == 0

    assert line.payloads() == []
    assert receiver.received[0].path.read_bytes() == b"a photo\n"


def test_a_url_as_source(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)

    ended = line.run("send", receiver.url + "greeting.txt", "--wait")  # a GET is answered with a greeting

    assert ended.code == 0, ended.err
    assert receiver.received[0].filename == "greeting.txt"
    assert b"POST deliveries here" in receiver.received[0].path.read_bytes()


# --- how waiting ends ------------------------------------------------------------------------------


def test_failed_is_1(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    line.file("photo.jpg")
    receiver.answer_always(Answer(413))

    ended = line.run("send", "photo.jpg", "--wait")

    assert ended.code == 1
    assert "failed" in ended.out
    assert "TOO_LARGE" in ended.out


def test_held_is_1_at_once_with_the_cure(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url, more="    is_active: false")
    line.file("photo.jpg")

    ended = line.run("send", "photo.jpg", "--wait", "--timeout", "5m")

    assert ended.code == 1
    assert "held" in ended.out
    assert "is_active: true" in ended.out


def test_still_waiting_is_75(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    line.file("photo.jpg")
    receiver.answer_always(SLOW)

    ended = line.run("send", "photo.jpg", "--wait", "--timeout", "1")

    assert ended.code == 75
    assert "the receiver answered 503" in ended.out
    assert line.rows("SELECT status FROM deliveries") == [("pending",)]


def test_a_template_that_renders_to_nothing(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url, more='    path_template: "{meta.folder}"')
    line.file("photo.jpg")

    ended = line.run("send", "photo.jpg", "--wait")

    assert ended.code == 1
    assert "NAME" in ended.out
    assert receiver.requests == []


# --- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("photo.jpg", "missing.jpg"), 1, "missing.jpg: there is no such file"),
        (("folder",), 2, "--recursive"),
        (("empty", "-r"), 2, "there is no file in the folder"),
        (("photo.jpg", "--to", "bakend"), 2, "did you mean 'backend'?"),
        (("photo.jpg", "--timeout", "5"), 2, "only with --wait"),
        (("photo.jpg", "--wait", "--timeout", "soon"), 2, "a duration such as"),
        (("photo.jpg", "--meta", "shop"), 2, "expected key=value"),
        (("photo.jpg", "large.jpg"), 1, "larger than the 100 bytes"),
        ((), 2, "source"),
    ],
)
def test_one_message_the_right_code_nothing_stored(
    line: CommandLine, words: tuple[str, ...], code: int, said: str
) -> None:
    line.config("http://127.0.0.1:9/", more="    limits: {max_size: 100}")
    line.file("photo.jpg")
    line.file("folder/photo.jpg")
    line.file("large.jpg", bytes(101))
    (line.folder / "empty").mkdir()

    ended = line.run("send", *words)

    assert ended.code == code
    assert said in ended.err
    accepted = 1 if "large.jpg" in words else 0  # the files before it were right
    assert len(line.rows("SELECT id FROM jobs")) == accepted
    assert len(line.payloads()) == accepted
    assert ended.out.count("job_") == accepted


def test_an_unreadable_file(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    from conveyor.cli.sources import resolve
    from conveyor.errors import SubmissionError

    path = line.file("photo.jpg")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything

    with pytest.raises(SubmissionError, match="may not be read"):
        resolve([str(path)], recursive=False, skipped=lambda path: None)


def test_no_destination_and_no_default(line: CommandLine) -> None:
    line.file("photo.jpg")
    (line.folder / "conveyor.yaml").write_text("destinations: {}\n")

    ended = line.run("send", "photo.jpg")

    assert ended.code == 2
    assert "no destination is named" in ended.err
    assert "default_destinations" in ended.err


def test_no_config_and_a_broken_one(line: CommandLine) -> None:
    line.file("photo.jpg")
    missing = line.run("send", "photo.jpg")
    (line.folder / "conveyor.yaml").write_text("leger: sqlite:///x.db\n")
    broken = line.run("send", "photo.jpg")

    assert (missing.code, broken.code) == (78, 78)
    assert "conveyor init" in missing.err
    assert "conveyor.yaml:1:1" in broken.err
    assert "did you mean 'ledger'?" in broken.err


# --- the ledger refuses ----------------------------------------------------------------------------

IMPATIENT = """
from conveyor.ledger.sqlite import SqliteDatabase
SqliteDatabase.__init__.__kwdefaults__["busy_timeout"] = 0.2
"""

AS_IF_READ_ONLY = """
import sqlite3
connect = sqlite3.connect
def guarded(*args, **named):
    connection = connect(*args, **named)
    connection.execute("PRAGMA query_only = ON")
    return connection
sqlite3.connect = sqlite3.dbapi2.connect = guarded
"""
"""SQLite's own refusal of writes: permissions mean nothing to root."""


def test_a_locked_ledger(line: CommandLine, receiver: Receiver) -> None:
    import sqlite3

    line.config(receiver.url)
    line.file("photo.jpg")
    line.run("send", "photo.jpg")
    with contextlib.closing(sqlite3.connect(line.folder / "conveyor.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        ended = line.run("send", "photo.jpg", before=IMPATIENT)

    assert ended.code == 1
    assert "locked by another process" in ended.err
    assert "→" in ended.err
    assert ended.out == ""
    assert len(line.rows("SELECT id FROM jobs")) == len(line.payloads()) == 1


def test_a_read_only_ledger(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    line.file("photo.jpg")
    line.run("send", "photo.jpg")

    ended = line.run("send", "photo.jpg", before=AS_IF_READ_ONLY)

    assert ended.code == 1
    assert "is read-only" in ended.err
    assert len(line.rows("SELECT id FROM jobs")) == len(line.payloads()) == 1


def test_a_ledger_of_a_newer_version(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    line.file("photo.jpg")
    line.run("send", "photo.jpg")
    line.outgrow()

    ended = line.run("send", "photo.jpg")

    assert ended.code == 1
    assert "9999" in ended.err
    assert len(line.rows("SELECT id FROM jobs")) == len(line.payloads()) == 1


# --- Ctrl-C ----------------------------------------------------------------------------------------


class HalfServer:
    """Answers a GET with half of what it announced; the rest comes when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/photo.jpg"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> HalfServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.go_on.set()
        self._socket.close()
        self._thread.join(10)

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bytes(1_000_000))
            self.asked.set()
            self.go_on.wait(30)
            connection.sendall(bytes(1_000_000))


def test_ctrl_c_while_sending_leaves_nothing_half_done(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    line.file("photo.jpg")
    with HalfServer() as server, line.started("send", "photo.jpg", server.url) as process:
        assert server.asked.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "stopping" in process.stderr.readline()
        server.go_on.set()
        out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert (out, err) == ("", "")
    assert line.rows("SELECT id FROM jobs") == []
    assert line.payloads() == []


def test_ctrl_c_while_waiting_keeps_what_waits(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    line.file("photo.jpg")
    receiver.answer_always(SLOW)
    with line.started("send", "photo.jpg", "--wait") as process:
        wait_until(lambda: receiver.requests, 30, "the first attempt")
        wait_until(lambda: ("THROTTLED",) in line.rows("SELECT kind FROM attempts"), 30, "its record")

        ended = interrupt(process)

    assert ended.code == 130
    assert "conveyor run" in ended.err
    assert line.rows("SELECT status FROM deliveries") == [("pending",)]
    assert line.rows("SELECT * FROM workers") == []


def _workers(line: CommandLine) -> list[tuple[str]]:
    with contextlib.suppress(Exception):
        return line.rows("SELECT id FROM workers")
    return []
