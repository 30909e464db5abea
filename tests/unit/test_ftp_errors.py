"""Every way in which FTP servers refuse has its kind. The texts are recorded from servers."""

from __future__ import annotations

import ssl

import pytest

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.network.policy import NetworkRefused, Reach
from conveyor_connectors.ftp.plain import facts
from conveyor_connectors.ftp.plain.control import Reply, TlsRefused
from conveyor_connectors.ftp.plain.errors import kind_of_reply, of_exception, of_reply

K = ErrorKind


@pytest.mark.parametrize(
    ("verb", "code", "text", "kind"),
    [
        # vsftpd 3.0.3
        ("PASS", 530, "Login incorrect.", K.AUTH_REVOKED),
        ("USER", 530, "Non-anonymous sessions must use encryption.", K.CONFIG),
        (
            "STOR",
            522,
            "SSL connection failed; session reuse required: see require_ssl_reuse option",
            K.CONFIG,
        ),
        ("STOR", 553, "Could not create file.", K.CONFIG),
        ("STOR", 451, "Failure writing to local file.", K.QUOTA),
        ("STOR", 426, "Failure reading network stream.", K.TRANSIENT),
        ("greeting", 421, "There are too many connections from your internet address.", K.THROTTLED),
        ("MKD", 550, "Create directory operation failed.", K.CONFIG),
        # ProFTPD 1.3.8
        (
            "PASS",
            530,
            "Sorry, the maximum number of clients (3) for this user are already connected.",
            K.THROTTLED,
        ),
        ("STOR", 425, "Unable to build data connection: Operation not permitted", K.TRANSIENT),
        ("STOR", 552, "Transfer aborted. Disk quota exceeded", K.QUOTA),
        ("STOR", 450, "Transfer aborted. Link to file server lost", K.TRANSIENT),
        # pure-ftpd 1.0.50
        (
            "USER",
            421,
            "Sorry, cleartext sessions and weak ciphers are not accepted on this server.",
            K.CONFIG,
        ),
        ("greeting", 421, "50 users (the maximum) are already logged in, sorry", K.THROTTLED),
        ("STOR", 452, "Can't write: No space left on device", K.QUOTA),
        # pyftpdlib 2.2
        ("USER", 550, "SSL/TLS required on the control channel.", K.CONFIG),
        ("STOR", 550, "Not enough privileges.", K.CONFIG),
        ("STOR", 426, "No space left on device; transfer aborted.", K.QUOTA),
        ("STOR", 550, "File name too long.", K.NAME),
        # IIS, FileZilla and the RFC's own words
        (
            "STOR",
            550,
            "The process cannot access the file because it is being used by another process.",
            K.TRANSIENT,
        ),
        ("RNTO", 553, "File name not allowed.", K.NAME),
        ("STOR", 552, "Requested file action aborted.", K.QUOTA),
        ("STOR", 550, "Insufficient permissions to create the file.", K.CONFIG),
        ("STOR", 451, "Insufficient space on the disk.", K.QUOTA),
        ("AUTH", 502, "Command not implemented.", K.CONFIG),
        ("AUTH", 431, "Service is temporarily unavailable.", K.TRANSIENT),
        ("PROT", 534, "Fallback to [C]", K.CONFIG),
        ("NOOP", 421, "Timeout.", K.TRANSIENT),
        ("STOR", 530, "Please login with USER and PASS.", K.AUTH_REVOKED),
        ("PASS", 430, "Invalid username or password", K.AUTH_REVOKED),
        ("SITE CHMOD", 500, "Unknown SITE command.", K.CONFIG),
    ],
)
def test_replies(verb: str, code: int, text: str, kind: ErrorKind) -> None:
    assert kind_of_reply(Reply(code, text, verb)) is kind
    told = of_reply(Reply(code, text, verb), "the request")
    assert (told.code, text in told.message) == (str(code), True)


def test_a_server_that_wants_tls_is_answered_with_the_cure() -> None:
    told = of_reply(Reply(530, "Non-anonymous sessions must use encryption.", "USER"), "the login")
    assert "protocol: ftps" in (told.hint or "")
    told = of_reply(Reply(502, "Command not implemented.", "AUTH"), "the login")
    assert "implicit: true" in (told.hint or "")


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (tls_error("WRONG_VERSION_NUMBER"), K.CONFIG, "does not agree on TLS"),
        (tls_error("SSLV3_ALERT_HANDSHAKE_FAILURE"), K.CONFIG, "does not agree on TLS"),
        (tls_error("DH_KEY_TOO_SMALL"), K.CONFIG, "does not agree on TLS"),
        (ssl.SSLEOFError(8, "EOF occurred"), K.TRANSIENT, "TLS connection failed"),
        (ssl.SSLCertVerificationError(1, "self-signed"), K.CONFIG, "certificate is not accepted"),
        (TlsRefused(ssl.SSLEOFError(8, "EOF"), data=True), K.TRANSIENT, "data connection"),
        (ConnectionResetError(104, "Connection reset by peer"), K.TRANSIENT, "reset by peer"),
        (TimeoutError(), K.TRANSIENT, "in time"),
        (ValueError("secret"), K.NAME, "cannot be sent"),
        (KeyError("odd"), K.TRANSIENT, "unexpected KeyError"),
        (
            NetworkRefused(
                "10.0.0.1 is private", host="h", address="10.0.0.1", reach=Reach.PRIVATE, cure="add"
            ),
            K.CONFIG,
            "is private",
        ),
    ],
)
def test_exceptions(error: BaseException, kind: ErrorKind, words: str) -> None:
    told = of_exception(error, "h:21")
    assert (told.kind, words in told.message, "secret" in told.message) == (kind, True, False)


def test_an_error_of_ours_stays_as_it_is() -> None:
    known = DeliveryError(K.SOURCE, "gone")
    assert of_exception(known, "h:21") is known


def test_features_and_facts_are_read() -> None:
    told = "211-Features:\n MLST type*;size*;modify*;\n UTF8\n HASH SHA-1;SHA-256*\n MFMT\n211 End"
    assert facts.features(told) == {
        "MLST": "type*;size*;modify*;",
        "UTF8": "",
        "HASH": "SHA-1;SHA-256*",
        "MFMT": "",
    }
    name, entry = facts.entry("modify=20261122115249.123;Size=12;Type=file;UNIX.mode=0644; a b;c=d.jpg")
    assert (name, entry.size, entry.is_folder, entry.changed) == ("a b;c=d.jpg", 12, False, 1795348369.0)
    assert facts.as_moment(1795348369.5) == "20261122115249"
    reply = "250-Listing x:\n type=dir;modify=20261122115249; /x\n250 End"
    assert facts.entry_of_reply(reply) == facts.Entry(None, True, 1795348369.0)
    assert facts.entry_of_reply("250 nothing") is None


@pytest.mark.parametrize(
    "reply",
    [
        "213 SHA-256 0-49 {} photo.jpg",  # draft-bryan-ftpext-hash
        "250 {}",
        '250 "photo.jpg" {}',
    ],
)
def test_digests_are_found_in_every_form(reply: str) -> None:
    assert facts.sha256(reply.format("AB" * 32)) == "ab" * 32
    assert facts.sha256(reply.format("12345")) is None


@pytest.mark.parametrize("said", ["", "-1", "1.5", "²", "9" * 5_000])
def test_a_size_that_is_none_is_not_known(said: str) -> None:
    assert facts.entry(f"type=file;size={said}; a.jpg") == ("a.jpg", facts.Entry())
