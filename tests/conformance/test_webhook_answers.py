"""What the webhook makes of every answer, and of none: statuses, early answers, dribbling, resets."""

from __future__ import annotations

import contextlib
import email.utils
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conveyor.contract import AttemptCancelled, ConflictPolicy, DeliveryError, ErrorKind, Receipt, Target
from conveyor.network import Network
from conveyor.receiver import Answer, Receiver
from conveyor.testing import HarnessContext, free_port, make_env, make_parcel
from conveyor_connectors.webhook.connector import open_webhook
from conveyor_connectors.webhook.options import WebhookOptions
from conveyor_connectors.webhook.outcome import retry_after

TARGET = Target("photo.jpg", ConflictPolicy.RENAME)
BIG = 24 << 20
"""More than socket buffers hold: the sender cannot be done before the receiver reads."""


class Script:
    """A TCP server that runs one function per connection."""

    def __init__(self, play: Callable[[socket.socket], None]) -> None:
        self._play = play
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.connections = 0
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Script:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(10)
                    self._play(connection)


def read_head(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    return data


def read_request(connection: socket.socket) -> bytes:
    data = read_head(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length")
    )
    while len(body) < length:
        body += connection.recv(1 << 20)
    return body


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def post(url: str, size: int = 1000, context: HarnessContext | None = None, **options: Any) -> Receipt:
    webhook = open_webhook(WebhookOptions.model_validate({"url": url, **options}), make_env())
    try:
        return webhook.deliver(make_parcel(size), TARGET, context or HarnessContext())
    finally:
        webhook.close()


def refused(play: Callable[[socket.socket], None], size: int = 1000, **options: Any) -> DeliveryError:
    with Script(play) as script, pytest.raises(DeliveryError) as caught:
        post(script.url, size, **options)
    return caught.value


def answering(raw: bytes) -> Callable[[socket.socket], None]:
    def play(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(raw)

    return play


def status(code: int, *headers: str, body: bytes = b"why") -> bytes:
    lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def receiver(tmp_path: Any) -> Iterator[Receiver]:
    with Receiver(tmp_path / "received") as receiver:
        yield receiver


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(code: int) -> None:
    with Script(answering(status(code, body=b"" if code == 204 else b"ok"))) as script:
        assert post(script.url).verified == "accepted"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (301, ErrorKind.TRANSIENT),
        (302, ErrorKind.TRANSIENT),
        (307, ErrorKind.TRANSIENT),
        (400, ErrorKind.TRANSIENT),
        (401, ErrorKind.TRANSIENT),
        (403, ErrorKind.TRANSIENT),
        (404, ErrorKind.TRANSIENT),
        (408, ErrorKind.TRANSIENT),
        (410, ErrorKind.GONE),
        (413, ErrorKind.TOO_LARGE),
        (422, ErrorKind.TRANSIENT),
        (429, ErrorKind.THROTTLED),
        (500, ErrorKind.TRANSIENT),
        (503, ErrorKind.TRANSIENT),
        (599, ErrorKind.TRANSIENT),
    ],
)
def test_every_other_status_has_its_kind(code: int, kind: ErrorKind) -> None:
    error = refused(answering(status(code)))
    assert (error.kind, error.code, error.response, error.retry_after) == (kind, str(code), "why", None)


def test_permanent_statuses_are_final() -> None:
    assert refused(answering(status(422)), permanent_statuses=[422, 404]).kind is ErrorKind.REJECTED
    assert refused(answering(status(400)), permanent_statuses=[422, 404]).kind is ErrorKind.TRANSIENT


def test_a_redirect_is_not_followed_and_says_where_it_points() -> None:
    error = refused(answering(status(302, "Location: https://new.example/in?token=abc")))
    assert error.hint is not None
    assert "https://new.example/in" in error.hint
    assert "abc" not in error.hint


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_told_in_both_forms(code: int) -> None:
    error = refused(answering(status(code, "Retry-After: 7")))
    assert (error.kind, error.retry_after) == (ErrorKind.THROTTLED, 7.0)
    date = email.utils.formatdate(time.time() + 120, usegmt=True)
    error = refused(answering(status(code, f"Retry-After: {date}")))
    assert error.kind is ErrorKind.THROTTLED
    assert error.retry_after == pytest.approx(120, abs=2)


def test_a_date_is_held_against_the_answers_own() -> None:
    now, stated = (email.utils.formatdate(time.time() - 3600 + more, usegmt=True) for more in (0, 30))
    error = refused(answering(status(429, f"Date: {now}", f"Retry-After: {stated}")))
    assert error.retry_after == 30
    error = refused(answering(status(429, "Date: some day", "Retry-After: 7")))
    assert error.retry_after == 7


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 30 ", 30.0),
        ("99999999999999", 999999999.0),
        ("Thu, 01 Jan 1970 00:16:45 GMT", 5.0),
        ("Thursday, 01-Jan-70 00:16:45 GMT", 5.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("٣", None),
    ],
)
def test_retry_after_forms(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, 1000.0) == seconds


def test_an_early_answer_ends_the_upload_and_is_read() -> None:
    """The receiver answers after the headers and reads no more."""

    def play(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(status(413, "Connection: close", body=b"at most 1 MB"))
        connection.shutdown(socket.SHUT_WR)

    for body_format in ("binary", "multipart"):
        error = refused(play, BIG, format=body_format)
        assert (error.kind, error.code, error.response) == (ErrorKind.TOO_LARGE, "413", "at most 1 MB")


def test_an_early_401_before_a_reset_is_read() -> None:
    """The send breaks by the reset; the answer that arrived before it still tells the reason."""

    def play(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(status(401, body=b"bad signature"))
        connection.close()

    error = refused(play, BIG)
    assert (error.kind, error.code, error.response) == (ErrorKind.TRANSIENT, "401", "bad signature")


def test_an_early_answer_that_keeps_the_connection_open_does_not_hang() -> None:
    with Script(lambda connection: None) as script:

        def play(connection: socket.socket) -> None:
            read_head(connection)
            connection.sendall(status(401))
            script.over.wait(20)

        script._play = play
        started = time.monotonic()
        with pytest.raises(DeliveryError) as caught:
            post(script.url, BIG)
    assert caught.value.code == "401"
    assert time.monotonic() - started < 10


def test_a_2xx_before_the_file_was_read_is_no_success() -> None:
    def play(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(status(200))
        connection.close()

    error = refused(play, BIG)
    assert error.kind is ErrorKind.TRANSIENT
    assert "before the whole file was sent" in error.message


def test_a_2xx_before_the_end_counts_when_the_rest_is_taken_too() -> None:
    taken: list[int] = []

    def play(connection: socket.socket) -> None:
        connection.sendall(status(200))
        taken.append(len(read_request(connection)))

    with Script(play) as script:
        post(script.url, BIG, format="binary")
    assert taken == [BIG]


def test_interim_answers_mean_nothing() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        read_request(connection)
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" + status(202))

    with Script(play) as script:
        assert post(script.url, BIG).extra["status"] == 202


@pytest.mark.parametrize("when", ["before the body", "after it", "for ever"])
def test_a_flood_of_interim_answers_is_no_answer(when: str) -> None:
    flood = b"HTTP/1.1 102 Processing\r\n\r\n" * 5_000

    def play(connection: socket.socket) -> None:
        read = read_head if when == "before the body" else read_request
        read(connection)
        connection.sendall(flood)
        while when == "for ever":
            connection.sendall(flood)
        with contextlib.suppress(TimeoutError):
            while connection.recv(1 << 20):
                pass

    error = refused(play, BIG if when == "before the body" else 1_000)
    wanted = ErrorKind.TRANSIENT if when == "before the body" else ErrorKind.UNKNOWN_OUTCOME
    assert (error.kind, "not HTTP" in error.message) == (wanted, True)


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nX: 1\r\n"]
)
def test_half_of_an_answers_head_is_no_success(raw: bytes) -> None:
    """RFC 9112 §8: what breaks off within the header section is incomplete."""
    assert refused(answering(raw)).kind is ErrorKind.UNKNOWN_OUTCOME


def test_closed_before_the_whole_file_was_sent_is_transient() -> None:
    for end in (reset, socket.socket.close):

        def play(connection: socket.socket, end: Callable[[socket.socket], None] = end) -> None:
            read_head(connection)
            end(connection)

        assert refused(play, BIG).kind is ErrorKind.TRANSIENT


def test_closed_after_the_whole_file_and_before_an_answer_is_unknown() -> None:
    for end in (reset, socket.socket.close):

        def play(connection: socket.socket, end: Callable[[socket.socket], None] = end) -> None:
            read_request(connection)
            end(connection)

        assert refused(play, 3_000_000).kind is ErrorKind.UNKNOWN_OUTCOME


@pytest.mark.parametrize(
    "raw", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 2xx\r\n\r\n", b"HTTP/1.1 200", b"\r\n", b"x" * 99999]
)
def test_nonsense_instead_of_an_answer_is_unknown(raw: bytes) -> None:
    assert refused(answering(raw)).kind is ErrorKind.UNKNOWN_OUTCOME


@pytest.mark.parametrize("dribble", ["status line", "headers", "nothing"])
def test_a_dribbling_answer_ends_by_the_total_deadline(dribble: str) -> None:
    """One byte each tenth of a second: no single read ever times out."""
    begun = {"status line": b"", "headers": b"HTTP/1.1 200 OK\r\nX-Slow: ", "nothing": b""}[dribble]
    with Script(lambda connection: None) as script:

        def play(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(begun)
            while not script.over.wait(0.1):
                if dribble != "nothing":
                    connection.sendall(b"x" if dribble == "headers" else b"H")

        script._play = play
        started = time.monotonic()
        with pytest.raises(DeliveryError) as caught:
            post(script.url, context=HarnessContext(deadline=1.0))
        assert caught.value.kind is ErrorKind.UNKNOWN_OUTCOME
        assert time.monotonic() - started < 4


def test_a_dribbling_answer_body_does_not_undo_a_2xx() -> None:
    with Script(lambda connection: None) as script:

        def play(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not script.over.wait(0.1):
                connection.sendall(b"x")

        script._play = play
        started = time.monotonic()
        assert post(script.url, context=HarnessContext(deadline=1.0)).extra["status"] == 200
        assert time.monotonic() - started < 4


def test_a_huge_answer_is_cut() -> None:
    def play(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 500 X\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(200):
                connection.sendall(b"y" * 65536)

    error = refused(play)
    assert error.response is not None
    assert 0 < len(error.response) <= 65536


def test_chunked_answers_are_read_and_the_connection_kept() -> None:
    def play(connection: socket.socket) -> None:
        for _ in range(2):
            read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    with Script(play) as script:
        webhook = open_webhook(WebhookOptions(url=script.url), make_env())
        for _ in range(2):
            webhook.deliver(make_parcel(10), TARGET, HarnessContext())
        webhook.close()
    assert script.connections == 1


def test_a_connection_that_was_closed_meanwhile_is_replaced() -> None:
    def play(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(status(200))

    with Script(play) as script:
        webhook = open_webhook(WebhookOptions(url=script.url), make_env())
        for number in range(3):
            webhook.deliver(make_parcel(10), TARGET, HarnessContext())
            deadline = time.monotonic() + 5
            while webhook._wire is not None and not webhook._wire.heard() and time.monotonic() < deadline:
                time.sleep(0.001)
            assert script.connections == number + 1
        webhook.close()


def test_the_answers_time_begins_after_the_last_byte(receiver: Receiver) -> None:
    """``uploaded`` is reported once the body is out, and the fence is asked before its last piece."""
    order: list[str] = []

    class Watching(HarnessContext):
        def before_commit(self) -> None:
            order.append(f"commit at {self.sent}")
            super().before_commit()

        def uploaded(self) -> None:
            order.append(f"uploaded at {self.sent}")
            super().uploaded()

    size = 1_000_000
    post(receiver.url, size, Watching(), format="binary")
    commit, uploaded = order
    assert commit.startswith("commit at ")
    assert 0 < int(commit.split()[-1]) < size
    assert uploaded == f"uploaded at {size}"


def test_a_worker_that_lost_its_delivery_completes_no_request(receiver: Receiver) -> None:
    for size in (0, 10, 1_000_000):
        for body_format in ("binary", "multipart"):
            with pytest.raises(AttemptCancelled):
                post(receiver.url, size, HarnessContext(fenced_out=True), format=body_format)
    assert receiver.received == []


def test_a_cancelled_attempt_stops_while_the_receiver_reads_nothing() -> None:
    context = HarnessContext(cancel_at=1_000_000)
    with Script(lambda connection: None) as script:

        def play(connection: socket.socket) -> None:
            script.over.wait(20)

        script._play = play
        with pytest.raises(AttemptCancelled):
            post(script.url, BIG, context)


def test_no_connection_is_transient_and_a_refused_address_is_config() -> None:
    with pytest.raises(DeliveryError) as caught:
        post(f"http://127.0.0.1:{free_port()}/")
    assert caught.value.kind is ErrorKind.TRANSIENT
    webhook = open_webhook(WebhookOptions(url="http://127.0.0.1:9/"), make_env(network=Network()))
    for call in (
        lambda: webhook.deliver(make_parcel(1), TARGET, HarnessContext()),
        lambda: webhook.check(HarnessContext()),
    ):
        with pytest.raises(DeliveryError) as caught:
            call()
        assert caught.value.kind is ErrorKind.CONFIG
        assert "127.0.0.1/32" in (caught.value.hint or "")


def test_an_unknown_name_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kw: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DeliveryError) as caught:
        post("http://nowhere.invalid/")
    assert caught.value.kind is ErrorKind.TRANSIENT
    assert "not found" in caught.value.message


def test_secrets_that_a_receiver_echoes_are_not_recorded() -> None:
    error = refused(
        answering(status(500, body=b"you sent Bearer t0ken-9 and s3cret-9")),
        secret="s3cret-9",
        custom_headers={"Authorization": "Bearer t0ken-9"},
    )
    assert error.response == "you sent *** and ***"


def test_check_connects_and_posts_nothing(receiver: Receiver) -> None:
    receiver.answer_always(Answer(500))
    webhook = open_webhook(WebhookOptions(url=receiver.url), make_env())
    report = webhook.check(HarnessContext())
    webhook.close()
    assert {step.name: step.done for step in report.steps} == {"connect": True, "tls": False, "post": False}
    assert receiver.requests == []
