"""The suite on ``gcs``, twice: at a service that keeps to every documented rule, and at fake-gcs-server."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import replace

import google.auth.exceptions
import pytest
import urllib3.exceptions

from conveyor.contract import DeliveryError
from conveyor.testing import Bench, ConnectorSuite, Observer
from conveyor_gcs import SPEC
from conveyor_gcs.errors import REASONS, classify, refused

from .fake_server import FakeObjects, fake_server
from .rules import BUCKET, UNIT, CloudStorage, Refused, serving

PREFIX = "incoming/"
LARGE = 3 * UNIT + 4_711
"""Three pieces and a smaller one."""


class Objects(Observer):
    """Looks into the service's memory."""

    def __init__(self, storage: CloudStorage) -> None:
        self._storage = storage

    def read(self, path: str) -> bytes | None:
        there = self._storage.objects.get(PREFIX + path)
        return None if there is None else there.content

    def names(self) -> set[str]:
        return {name.removeprefix(PREFIX) for name in self._storage.objects}

    def put(self, path: str, data: bytes) -> None:
        with self._storage.lock:
            about = {"name": PREFIX + path}
            self._storage.insert(about, data, None)

    def leftovers(self) -> set[str]:
        return self._storage.open_sessions()

    def wipe(self) -> None:
        with self._storage.lock:
            self._storage.objects.clear()
            self._storage.sessions.clear()


def every_exception() -> Iterator[BaseException]:
    """One of each class that the transport or google-auth can raise, and of what an answer can lack."""
    yield from (OSError(104, "reset"), TimeoutError("slow"), ValueError("x"), KeyError("x"), TypeError("x"))
    for module in (urllib3.exceptions, google.auth.exceptions):
        for found in vars(module).values():
            if inspect.isclass(found) and issubclass(found, Exception) and not issubclass(found, Warning):
                yield found.__new__(found)
    for status, reason in ((403, "forbidden"), (429, "rateLimitExceeded"), (503, "backendError")):
        yield from (refused(status, {}, told(reason), "test"), refused(status, {}, b"<html>", "test"))
    yield from (refused(403, {}, told(reason), "test") for reason in REASONS)


def told(reason: str) -> bytes:
    return json.dumps({"error": {"message": "made up", "errors": [{"reason": reason}]}}).encode()


def kind_of(error: Exception) -> DeliveryError:
    return classify(error, "test")


class TestGcs(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with serving() as storage, serving() as other:
            yield Bench(
                SPEC,
                {
                    "bucket": BUCKET,
                    "prefix": PREFIX,
                    "endpoint": storage.url,
                    "credentials": storage.account(),
                    "resumable_above": UNIT,
                    "chunk_size": UNIT,
                },
                observer=Objects(storage),
                address=("127.0.0.1", storage.port),
                through=lambda host, port: {"endpoint": f"http://{host}:{port}"},
                wrong_credentials={"credentials": other.account(token_uri=f"{storage.url}/token")},
                missing_place={"bucket": "nobody-s-bucket"},
                forbidden=lambda: storage.refusing(Refused(403, "forbidden"), "/upload"),
                full=lambda: storage.refusing(Refused(403, "quotaExceeded"), "/upload"),
                throttle=lambda seconds: storage.refusing(
                    Refused(429, "rateLimitExceeded", Retry_After=f"{seconds:g}"), "/upload"
                ),
                sdk_exceptions=every_exception,
                classify=kind_of,
                large=LARGE,
                big=24 << 20,
                stall_deadline=1.0,
                quiet=0.1,
                memory_limit=8 << 20,
            )


class TestFakeGcsServer(ConnectorSuite):
    """Another's idea of the service: uploads in one request, conditions, digests, names.

    It is told of no half-sent upload: it makes an empty object of the question how far one got. It keeps
    bytes that differ from the digest sent with them, so that the connector has to notice.
    """

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with fake_server() as server:
            yield Bench(
                replace(SPEC, capabilities=replace(SPEC.capabilities, resumable=False)),
                {"bucket": server.bucket, "endpoint": server.url, "anonymous": True},
                observer=FakeObjects(server),
                address=("127.0.0.1", server.port),
                through=lambda host, port: {"endpoint": f"http://{host}:{port}"},
                missing_place={"bucket": "nobody-s-bucket"},
                sdk_exceptions=every_exception,
                classify=kind_of,
                unavailable={
                    "wrong_credentials": "fake-gcs-server asks for no login",
                    "forbidden": "fake-gcs-server forbids nothing",
                    "full": "fake-gcs-server is never full",
                    "throttle": "fake-gcs-server never asks to wait",
                },
                large=LARGE,
                big=8 << 20,
                stall_deadline=1.0,
                quiet=0.1,
                memory_limit=8 << 20,
            )
