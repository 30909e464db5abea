"""The suite on ``smtp``, against aiosmtpd behind STARTTLS and a login.

A mail cannot be looked at by its sender, so the spec does not declare ``observable``. The server here keeps
each attachment under the path that came with it: that is the second route.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import replace

import pytest

from conveyor.contract import DeliveryError
from conveyor.testing import Bench, ConnectorSuite
from conveyor_smtp import SPEC
from conveyor_smtp.errors import classified

from .mail_server import PASSWORD, USER, Mails, certificate, serving

SHOWN = replace(SPEC.capabilities, observable=True, conflicts=frozenset())
"""What this server adds to a mail: it can be looked at."""


def every_exception() -> Iterator[BaseException]:
    """smtplib's classes, those of TLS and of the socket."""
    yield from (ssl.SSLError(1, "handshake"), ssl.SSLCertVerificationError(1, "expired"))
    yield from (OSError(111, "refused"), TimeoutError("slow"), ConnectionResetError(104, "reset"))
    for made in vars(smtplib).values():
        if isinstance(made, type) and issubclass(made, smtplib.SMTPException):
            if issubclass(made, smtplib.SMTPSenderRefused):
                yield made(550, b"5.7.1 no", "a@example.com")
            elif issubclass(made, smtplib.SMTPResponseException):
                yield made(454, b"4.7.0 later")
            elif issubclass(made, smtplib.SMTPRecipientsRefused):
                yield made({"a@example.com": (550, b"5.1.1 no")})
            else:
                yield made("made for the test")


def classify(error: Exception) -> DeliveryError:
    return classified(error, "mail")


class TestSmtp(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
        pem = certificate(tmp_path_factory.mktemp("certificate"))
        with serving(tmp_path_factory.mktemp("mails"), pem, data_size_limit=64 << 20) as server:
            yield Bench(
                replace(SPEC, capabilities=SHOWN),
                {
                    "host": "127.0.0.1",
                    "port": server.port,
                    "username": USER,
                    "password": PASSWORD,
                    "sender": "photos@example.com",
                    "to": ["office@example.com"],
                    "ca_bundle": str(pem),
                },
                observer=Mails(server),
                address=("127.0.0.1", server.port),
                through=lambda host, port: {"host": host, "port": port},
                wrong_credentials={"password": "another password"},
                missing_place={"to": ["office@example.com", "nobody@example.com"]},
                full={"to": ["full@example.com"]},
                forbidden={"to": ["forbidden@example.com"]},
                sdk_exceptions=every_exception,
                classify=classify,
                unavailable={"throttle": "no answer of SMTP tells how long to wait"},
                big=16 << 20,
                memory_limit=8 << 20,
            )
