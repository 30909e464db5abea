"""The bench of the Azure Blob connector at Azurite, and the errors that Azurite never sends."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from conveyor.testing import Bench, Observer
from conveyor_connectors.azure_blob.errors import classify
from conveyor_connectors.azure_blob.spec import SPEC
from servers.azure_errors import sdk_exceptions
from servers.azurite import KEY, WRONG_KEY, Azurite
from servers.s3_stub import Answer, answering

MIB = 1 << 20
LARGE = 3 * MIB + 4_711
"""Three blocks of 1 MiB and a little one."""


WRONG_KEY_AS_TOLD = {"wrong_credentials": frozenset({"CONFIG"})}
"""Azure says AuthenticationFailed, which is AUTH_REVOKED (test_azure_blob_errors); Azurite without --oauth
says what is Azure's word for a missing permission."""


class ContainerObserver(Observer):
    """Looks into a container by a client of its own.

    It names no leftovers: blocks that nobody commits are the service's to remove, after a week, and no call
    of a client can. ``waiting`` tells them.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    def read(self, path: str) -> bytes | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            data: bytes = self.client.download_blob(path).readall()
        except ResourceNotFoundError:
            return None
        return data

    def put(self, path: str, data: bytes) -> None:
        self.client.upload_blob(path, data, overwrite=True)

    def names(self) -> set[str]:
        return {blob.name for blob in self.client.list_blobs()}

    def waiting(self, path: str) -> list[Any]:
        """Blocks under that name that wait to be committed."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            waiting: list[Any] = self.client.get_blob_client(path).get_block_list("uncommitted")[1]
        except ResourceNotFoundError:
            return []
        return waiting

    def wipe(self) -> None:
        for blob in list(self.client.list_blobs(include=["uncommittedblobs"])):
            if blob.blob_type == "BlockBlob":
                self.drop_waiting(blob.name)
            self.client.delete_blob(blob.name)

    def drop_waiting(self, path: str) -> None:
        """Put an empty blob there, which drops the blocks that wait. At Azure any write does."""
        self.client.get_blob_client(path).commit_block_list([])

    def close(self) -> None:
        self.client.close()


class BlobObserver(ContainerObserver):
    """The same of a new container of that server."""

    def __init__(self, server: Azurite, container: str) -> None:
        super().__init__(server.client(container))
        self.client.create_container()


@contextmanager
def bench(server: Azurite, *, container: str = "conformance", **changes: Any) -> Iterator[Bench]:
    """A bench on a container of that server; ``changes`` replace fields of the bench."""
    observer = BlobObserver(server, container)
    signature = server.sas(container, "rl")
    extra = {"ca_bundle": str(server.certificates.ca)} if server.certificates else {}
    made: dict[str, Any] = {
        "spec": SPEC,
        "options": {
            "connection_string": server.connection_string(),
            "container": container,
            "single_put": MIB,
            "block_size": MIB,
            **extra,
        },
        "observer": observer,
        "address": (server.host, server.port),
        "through": lambda host, port: {
            "connection_string": server.connection_string(server.url_at(host, port))
        },
        "wrong_credentials": {"connection_string": server.connection_string(key=WRONG_KEY)},
        "expected": {} if server.certificates else WRONG_KEY_AS_TOLD,
        "missing_place": {"container": "no-such-container"},
        "forbidden": {"connection_string": f"BlobEndpoint={server.url};SharedAccessSignature={signature}"},
        "full": lambda: saying(refusal(507, "InsufficientStorage")),
        "throttle": lambda seconds: saying(refusal(503, "ServerBusy", **{"Retry-After": f"{seconds:g}"})),
        "sdk_exceptions": sdk_exceptions,
        "classify": lambda error: classify(error, "test"),
        "large": LARGE,
    }
    try:
        yield Bench(**{**made, **changes})
    finally:
        observer.wipe()
        observer.close()


def saying(*answers: Answer) -> AbstractContextManager[Mapping[str, Any]]:
    """Options that lead to a service which gives these answers."""

    @contextmanager
    def enter() -> Iterator[Mapping[str, Any]]:
        with answering(*answers) as stub:
            yield {"connection_string": at(stub.url)}

    return enter()


def refusal(status: int, code: str, *, message: str = "made up", **headers: str) -> Answer:
    """An answer in the service's form."""
    return Answer(
        status,
        code,
        {"x-ms-error-code": code, "Content-Type": "application/xml", **headers},
        message,
    )


def at(url: str) -> str:
    """A connection string for an account at that address."""
    return f"AccountName=stub;AccountKey={KEY};BlobEndpoint={url}"


def token() -> str:
    """A token as Entra would issue it, as far as Azurite looks: everything but the signature."""
    import json
    import time

    now = int(time.time())
    tenant = "ab1f708d-50f6-404c-a006-d71b2ac7a606"
    claims = {
        "aud": "https://storage.azure.com",
        "iss": f"https://sts.windows.net/{tenant}/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3600,
        "tid": tenant,
        "oid": "23657296-5cd5-45b0-a809-d972a7f4dfe1",
        "ver": "1.0",
    }
    parts = [{"alg": "RS256", "typ": "JWT"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, base64.urlsafe_b64encode(b"unsigned").rstrip(b"=").decode()])
