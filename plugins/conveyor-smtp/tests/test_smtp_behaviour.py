"""What only a mail server can do: TLS of two kinds, sizes, refusals by recipient, answers that get lost."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, FoundKind, Receipt, Target
from conveyor.testing import FaultProxy, HarnessContext, make_env, make_parcel
from conveyor_smtp.connector import SmtpConnector
from conveyor_smtp.errors import answered
from conveyor_smtp.message import BLOCK, LINE, compose
from conveyor_smtp.options import SmtpOptions

from .mail_server import PASSWORD, USER, MailServer, certificate, serving

K = ErrorKind
BYTES = bytes(range(256)) * 3


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    """Without TLS and login."""
    with serving(tmp_path, data_size_limit=100_000) as running:
        yield running


def options(port: int, **changes: Any) -> SmtpOptions:
    fields = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "photos@example.com",
        "to": ["office@example.com"],
    }
    return SmtpOptions(**(fields | changes))


def deliver(port: int, content: bytes | int = BYTES, path: str = "in/photo.jpg", **changes: Any) -> Receipt:
    parcel = make_parcel(content, delivery_id=changes.pop("ident", None))
    connector = SmtpConnector(options(port, **changes), make_env())
    return connector.deliver(parcel, Target(path, ConflictPolicy.RENAME), HarnessContext())


def refused(*args: Any, **changes: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as told:
        deliver(*args, **changes)
    return told.value


def test_the_mail_says_what_it_is(server: MailServer) -> None:
    receipt = deliver(server.port, ident="dlv_1", to=["a@example.com", "b@example.com"])
    (mail,), (envelope,) = server.mails, server.envelopes
    assert (receipt.verified, receipt.reference) == ("accepted", "127.0.0.1 <dlv_1@example.com>")
    assert mail["Message-ID"] == "<dlv_1@example.com>"
    assert (mail["Subject"], mail["Auto-Submitted"]) == ("photo.jpg", "auto-generated")
    assert envelope.mail_from == "photos@example.com"
    assert envelope.rcpt_tos == ["a@example.com", "b@example.com"]
    body, attachment = mail.iter_parts()
    assert body.get_content().strip() == "in/photo.jpg"
    assert attachment.get_content_type() == "image/jpeg"
    assert (attachment.get_filename(), attachment.get_content()) == ("photo.jpg", BYTES)


def test_a_retry_has_the_same_message_id(server: MailServer) -> None:
    """By which a receiver can tell; this one does."""
    assert deliver(server.port, ident="dlv_1").reference == deliver(server.port, ident="dlv_1").reference
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    "name", ["Müller \U0001f4f7.jpg", 'a"b\\c.jpg', "x" * 251 + ".jpg", "é" * 120, ".hidden"]
)
def test_a_name_arrives_in_subject_and_attachment(server: MailServer, name: str) -> None:
    deliver(server.port, path=name)
    (mail,) = server.mails
    (attachment,) = mail.iter_attachments()
    assert (mail["Subject"], attachment.get_filename(), mail["X-Conveyor-Path"]) == (name, name, name)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x85", "\x0b", "\x00"])
def test_no_header_can_be_put_in_by_a_name(server: MailServer, end: str) -> None:
    deliver(server.port, path=f"a{end}Bcc: victim@example.com{end}{end}.jpg", subject="{path} {filename}")
    (mail,), (envelope,) = server.mails, server.envelopes
    assert mail["Bcc"] is None
    assert envelope.rcpt_tos == ["office@example.com"]
    assert len(list(mail.iter_attachments())) == 1


@pytest.mark.parametrize("size", [0, 1, 2, 3, LINE - 1, LINE, LINE + 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_the_announced_size_is_that_of_the_mail(size: int) -> None:
    """And no line of it is longer than 78 characters, or begins with a dot."""
    parcel = make_parcel(size)
    mail = compose(parcel, Target("a.jpg", ConflictPolicy.RENAME), options(25), 0.0)
    with parcel.open() as source:
        lines = b"".join(block for _, block in mail.body(source))
    assert len(mail.head) + len(lines) + len(mail.tail) == mail.size
    whole = (mail.head + lines + mail.tail).split(b"\r\n")
    assert max(map(len, whole)) <= 100
    assert not any(line.startswith(b".") or b"\n" in line for line in whole)
    with parcel.open() as source:
        assert base64.b64decode(lines) == source.read()


def test_a_mail_above_the_servers_limit_is_not_begun(server: MailServer) -> None:
    told = refused(server.port, 75_000)
    assert told.kind is K.TOO_LARGE
    assert "100000" in told.message
    deliver(server.port, 70_000)


def test_of_several_recipients_all_get_it_or_none(server: MailServer) -> None:
    told = refused(server.port, to=["a@example.com", "nobody@example.com"])
    assert (told.kind, told.code) == (K.CONFIG, "550")
    assert server.mails == []


def test_greylisting_passes(server: MailServer) -> None:
    assert refused(server.port, to=["grey@example.com"]).kind is K.TRANSIENT


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("554 5.7.1 looks like spam", K.REJECTED),
        ("550 virus found", K.REJECTED),
        ("552 5.3.4 too big", K.TOO_LARGE),
        ("552 too big", K.TOO_LARGE),
        ("552 5.2.2 mailbox full", K.QUOTA),
        ("452 4.3.1 disk full", K.TRANSIENT),
        ("421 4.3.2 going down", K.TRANSIENT),
    ],
)
def test_what_a_refused_content_means(server: MailServer, answer: str, kind: ErrorKind) -> None:
    server.answer = answer
    told = refused(server.port)
    assert (told.kind, told.code, told.response) == (kind, answer[:3], answer[4:])


@pytest.mark.parametrize(
    ("code", "text", "step", "kind"),
    [
        (535, b"5.7.8 bad credentials", "login", K.AUTH_REVOKED),
        (535, b"no", "login", K.AUTH_REVOKED),
        (454, b"4.7.0 try later", "login", K.TRANSIENT),
        (530, b"5.7.0 authentication required", "mail", K.AUTH_REVOKED),
        (554, b"5.7.1 your address is blocked", "connect", K.CONFIG),
        (421, b"too many connections", "connect", K.TRANSIENT),
        (553, b"5.1.8 sender refused", "mail", K.CONFIG),
        (550, b"no such user", "rcpt", K.CONFIG),
        (-1, b"", "mail", K.TRANSIENT),
    ],
)
def test_what_an_answer_means(code: int, text: bytes, step: str, kind: ErrorKind) -> None:
    assert answered(code, text, step).kind is kind


def test_an_answer_that_is_lost_after_the_last_dot_leaves_the_outcome_unknown(server: MailServer) -> None:
    with FaultProxy("127.0.0.1", server.port) as proxy:
        proxy.drop_answer(after=60_000)  # within the file: the next answer is the one to the dot
        told = refused(proxy.port, 50_000)
    assert len(server.mails) == 1
    assert told.kind is K.UNKNOWN_OUTCOME
    connector = SmtpConnector(options(server.port), make_env())
    target = Target("in/photo.jpg", ConflictPolicy.RENAME)
    assert connector.find(make_parcel(BYTES), target, HarnessContext()).kind is FoundKind.UNSURE


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_both_kinds_of_tls_with_a_login(tmp_path: Path, pem: Path, security: str) -> None:
    login: dict[str, Any] = {"security": security, "username": USER, "password": PASSWORD}
    with serving(tmp_path, pem, implicit=security == "tls") as server:
        deliver(server.port, ca_bundle=pem, **login)
        assert len(server.mails) == 1
        told = refused(server.port, **login)
        assert told.kind is K.CONFIG
        assert "certificate" in told.message
        told = refused(server.port, ca_bundle=pem, **(login | {"password": "another"}))
        assert told.kind is K.AUTH_REVOKED
        assert PASSWORD not in repr(told)
        assert len(server.mails) == 1


def test_without_starttls_nothing_is_sent_in_clear(server: MailServer) -> None:
    told = refused(server.port, security="starttls", username=USER, password=PASSWORD)
    assert told.kind is K.CONFIG
    assert server.mails == []


def test_check_asks_for_the_recipients_and_sends_nothing(server: MailServer) -> None:
    report = SmtpConnector(options(server.port), make_env()).check(HarnessContext())
    assert {step.name: step.done for step in report.steps} == {
        "connect": True, "tls": False, "recipients": True, "send": False, "size": True,
    }  # fmt: skip
    assert server.mails == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"to": []}, "at least 1"),
        ({"to": ["Office <office@example.com>"]}, "name@domain"),
        ({"sender": "a@example.com\r\nRCPT TO:<b@example.com>"}, "name@domain"),
        ({"username": "a"}, "belong together"),
        ({"username": "a", "password": "b", "security": "none"}, "in clear"),
    ],
)
def test_a_mistake_in_the_options(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        options(25, **changes)
