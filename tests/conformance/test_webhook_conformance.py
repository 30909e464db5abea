"""The suite on the webhook, once per body format, against a real receiver.

A webhook has no paths that a sender could read back, so its spec does not declare ``observable``. The
receiver here saves each file with the path that came with it: that is the second route.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import urllib3.exceptions

from conveyor.contract import DeliveryError
from conveyor.network import NetworkRefused, Reach
from conveyor.receiver import Answer, Receiver
from conveyor.testing import Bench, ConnectorSuite, FolderObserver
from conveyor.testing.bench import Overrides
from conveyor_connectors.webhook.outcome import unreachable
from conveyor_connectors.webhook.spec import SPEC

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSBjb25mb3JtYW5jZSBzdWl0ZQ=="
TRANSIENT = frozenset({"TRANSIENT"})
SHOWN = replace(SPEC.capabilities, observable=True, atomic=True, digest="sha256", conflicts=frozenset())
"""What this receiver adds to a webhook: it can be looked at, places whole files only, compares the digest."""


class SavedFiles(FolderObserver):
    """Looks at what the receiver saved, by the path that came with each file."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(receiver.folder)
        self._receiver = receiver

    def _saved(self) -> dict[str, Path]:
        saved = {unquote(one.headers["x-aptr-path"]): one.path for one in list(self._receiver.received)}
        return {path: file for path, file in saved.items() if file.exists()}

    def read(self, path: str) -> bytes | None:
        file = self._saved().get(path)
        return None if file is None else file.read_bytes()

    def sha256(self, path: str) -> str | None:
        file = self._saved().get(path)
        return None if file is None else super().sha256(str(file))

    def names(self) -> set[str]:
        saved = self._saved()
        strays = {self.root / name for name in super().names()} - set(saved.values())
        return set(saved) | {str(stray) for stray in strays if not stray.name.startswith(".incoming-")}

    def leftovers(self) -> set[str]:
        return {name for name in super().names() if ".incoming-" in name}

    def wipe(self) -> None:
        """The receiver forgets the delivery ids too."""
        self._receiver.forget()
        super().wipe()


def every_exception() -> Iterator[BaseException]:
    """What opening a connection can raise: urllib3's classes, TLS's, the socket's, the policy's."""
    yield from (
        ssl.SSLError(1, "handshake"),
        ssl.SSLEOFError(8, "eof"),
        ssl.SSLCertVerificationError(1, "expired"),
    )
    yield from (
        OSError(111, "refused"),
        TimeoutError("slow"),
        ConnectionResetError(104, "reset"),
        ValueError("x"),
    )
    yield NetworkRefused("private", host="h", address="10.0.0.1", reach=Reach.PRIVATE, cure="add it")
    for made in vars(urllib3.exceptions).values():
        if isinstance(made, type) and issubclass(made, Exception):
            error = made.__new__(made)
            Exception.__init__(error, "made for the test")
            yield error


def classify(error: Exception) -> DeliveryError:
    return unreachable(error, "https://receiver.example")


def make_bench(receiver: Receiver, body_format: str) -> Bench:
    @contextmanager
    def answering(answer: Answer) -> Iterator[Overrides]:
        receiver.answer_always(answer)
        try:
            yield {}
        finally:
            receiver.answer_always(None)

    address = urlsplit(receiver.url)
    return Bench(
        spec=replace(SPEC, capabilities=SHOWN),
        options={"url": receiver.url, "secret": SECRET, "format": body_format},
        observer=SavedFiles(receiver),
        address=(str(address.hostname), int(address.port or 0)),
        through=lambda host, port: {"url": f"http://{host}:{port}/"},
        wrong_credentials={"secret": "another secret"},
        missing_place=lambda: answering(Answer(404)),
        forbidden=lambda: answering(Answer(403)),
        throttle=lambda seconds: answering(Answer(429, retry_after=seconds)),
        sdk_exceptions=every_exception,
        classify=classify,
        expected=dict.fromkeys(("wrong_credentials", "missing_place", "forbidden"), TRANSIENT),
        unavailable={"full": "a webhook has no quota; whatever it answers follows the schedule"},
        memory_limit=30 << 20,
    )


class WebhookSuite(ConnectorSuite):
    FORMAT = ""

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
        folder: Path = tmp_path_factory.mktemp("received")
        with Receiver(folder, secrets=[SECRET]) as receiver:
            yield make_bench(receiver, cls.FORMAT)


class TestWebhookMultipart(WebhookSuite):
    FORMAT = "multipart"


class TestWebhookJson(WebhookSuite):
    FORMAT = "json_base64"


class TestWebhookBinary(WebhookSuite):
    FORMAT = "binary"
