"""The control connection against servers that lie, dribble or never end."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from conveyor.contract import AttemptCancelled
from conveyor.network import Network
from conveyor_connectors.ftp.plain import waiting
from conveyor_connectors.ftp.plain.control import Control, Reply
from conveyor_connectors.ftp.plain.waiting import Lines, Patience
from conveyor_connectors.ftp.server import LinkLost


@contextmanager
def server(*answers: bytes, greeting: bytes = b"220 hello\r\n") -> Iterator[Control]:
    """A connection to a server that gives these answers, one for each line it reads."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as end:
            end.sendall(greeting)
            lines = end.makefile("rb")
            for answer in answers:
                lines.readline()
                end.sendall(answer)
            lines.read()
            lines.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    control = Control(Network(["127.0.0.0/8"]), None, "utf-8", Patience())
    try:
        control.open("127.0.0.1", listener.getsockname()[1], implicit=False)
        yield control
    finally:
        control.hang_up()
        thread.join(10)
        listener.close()


def test_an_answer_of_many_lines_is_read_whole() -> None:
    with server(b"211-Features:\r\n SIZE\r\n211 End\r\n", b"200 ok\r\n") as control:
        assert control.ask("FEAT").splitlines() == ["211-Features:", " SIZE", "211 End"]
        assert control.ask("NOOP") == "200 ok"
        assert not control.poisoned


def test_a_refusal_leaves_the_connection_in_step() -> None:
    with server(b"550-No\r\n550 such file\r\n", b"200 ok\r\n") as control:
        with pytest.raises(Reply) as caught:
            control.ask("DELE x")
        assert (caught.value.code, caught.value.text, caught.value.verb) == (550, "No such file", "DELE")
        assert control.ask("NOOP") == "200 ok"


def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_ANSWER", 10_000)
    with server(b"211-Features:\r\n" + b" again\r\n" * 10_000) as control:
        with pytest.raises(LinkLost, match="does not end"):
            control.ask("FEAT")
        assert control.poisoned
        with pytest.raises(LinkLost, match="out of step"):
            control.ask("NOOP")


@pytest.mark.parametrize("answer", [b"hello\r\n", b"x" * 20_000 + b"\r\n", b"\r\n"])
def test_what_is_not_ftp_is_given_up(answer: bytes) -> None:
    with server(answer) as control:
        with pytest.raises(LinkLost, match="does not speak FTP"):
            control.ask("NOOP")
        assert control.poisoned


def test_plain_text_after_the_consent_to_tls_is_refused() -> None:
    """Injected by somebody in between, it would be taken for the first encrypted answer (CVE-2011-0411)."""
    with server(b"234 go\r\n230 logged in\r\n") as control:
        control.tls = ssl.create_default_context()
        with pytest.raises(LinkLost, match="plain text"):
            control.start_tls()


def test_goodbye_from_the_server_ends_the_connection() -> None:
    with server(b"421 Timeout.\r\n") as control:
        with pytest.raises(Reply):
            control.ask("NOOP")
        assert control.poisoned


def test_silence_is_noticed_and_cancellation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "TICK", 0.01)

    def cancelled() -> None:
        raise AttemptCancelled

    with server() as control:
        with pytest.raises(LinkLost, match="silent"), control.patience.limited(0.05):
            control.ask("NOOP")
        assert control.poisoned
    with server() as control:
        with pytest.raises(AttemptCancelled), control.patience.pulsing(cancelled):
            control.ask("NOOP")
        assert control.poisoned


def test_a_command_is_one_line() -> None:
    with server(b"200 ok\r\n") as control:
        for text in ("DELE a\r\nDELE b", "DELE a\nb", "DELE a\rb"):
            with pytest.raises(ValueError, match="line break"):
                control.ask(text)
        assert control.ask("NOOP") == "200 ok"


@pytest.mark.parametrize(
    ("answer", "port"),
    [
        (b"227 Entering Passive Mode (10,0,0,9,%d,%d).\r\n", True),
        (b"227 Entering Passive Mode\r\n", None),
        (b"227 Entering Passive Mode (10,0,0,9,0,0).\r\n", None),
    ],
)
def test_only_the_port_of_a_passive_answer_counts(answer: bytes, port: bool | None) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    number = listener.getsockname()[1]
    filled = answer % divmod(number, 256) if port else answer
    with listener, server(filled) as control:
        if port is None:
            with pytest.raises(LinkLost, match="names no port"):
                control.passive()
            return
        with control.passive() as data:
            assert data.getpeername() == ("127.0.0.1", number)


def chunks(*pieces: bytes) -> tuple[socket.socket, Callable[[], None]]:
    ours, theirs = socket.socketpair()
    for piece in pieces:
        theirs.sendall(piece)
    return ours, theirs.close


def test_lines_are_decoded_and_bytes_of_other_encodings_survive() -> None:
    ours, close = chunks(b"250 \xe9t\xe9\r\n250 rest")
    close()
    with ours:
        lines = Lines(ours, "utf-8", Patience())
        assert lines.readline(100).encode("utf-8", "surrogateescape") == b"250 \xe9t\xe9\r\n"
        assert lines.readline(4) == "250 "
        assert (lines.readline(100), lines.readline(100)) == ("rest", "")
