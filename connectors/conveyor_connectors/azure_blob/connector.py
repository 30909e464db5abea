"""The connector of type ``azure_blob``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from conveyor.contract import (
    AttemptContext,
    CheckReport,
    ConnectorEnv,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor.kit.naming import saved_path
from conveyor_connectors.azure_blob.blob import SHA256, Head, Stored
from conveyor_connectors.azure_blob.blocks import Upload
from conveyor_connectors.azure_blob.checking import check
from conveyor_connectors.azure_blob.client import CLIENTS, acquire
from conveyor_connectors.azure_blob.container import Container
from conveyor_connectors.azure_blob.errors import classify, forbidden
from conveyor_connectors.azure_blob.options import AzureBlobOptions
from conveyor_connectors.azure_blob.placing import Placer

REFUSED = frozenset({"AuthenticationFailed", "InvalidAuthenticationInfo"})
"""Codes for a sign-in that is not accepted, a token that has run out among them."""

if TYPE_CHECKING:
    from conveyor.kit.shared import Shared
    from conveyor_connectors.azure_blob.client import SignedIn


def open_azure_blob(options: AzureBlobOptions, env: ConnectorEnv) -> AzureBlobConnector:
    """The factory named in the spec."""
    return AzureBlobConnector(options, env)


class AzureBlobConnector:
    """Puts files into one container. See :class:`conveyor.contract.Connector`.

    Atomic by nature: a blob is visible only when it is whole. The delivery's id and the payload's digest
    stand in its metadata, so that a delivery recognises its own blob after a lost answer.
    """

    def __init__(self, options: AzureBlobOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env
        self._shared: Shared[SignedIn] | None = None

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel at the target by its conflict policy."""
        with self._guard("deliver"):
            return Placer(self._open(), self._options).place(parcel, target, context)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Whether an earlier attempt of this delivery arrived."""
        with self._guard("look for the blob"):
            container = self._open()
            path = saved_path(context) or target.path
            try:
                head = container.head(path, context)
            except DeliveryError as error:
                if forbidden(error):  # may not look
                    return Found(FoundKind.UNSURE)
                raise
            if head is None:
                return Found(FoundKind.ABSENT)
            kind = _whose(head, parcel)
            if kind is FoundKind.OTHER:
                return Found(kind)
            placer = Placer(container, self._options)
            return Found(kind, placer.receipt(parcel, target, path, Stored.of(head, parcel)))

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Nothing can be removed: blocks that nobody commits are invisible and expire after a week."""
        upload = Upload.load(state)
        if upload is not None:
            context.log.info("blocks that were not committed expire by themselves", path=upload.path)

    def check(self, context: AttemptContext) -> CheckReport:
        """Sign in; write, verify and delete a canary where permitted."""
        with self._guard("test the container"):
            return check(self._open(), self._options.check_prefix, self._env.clock(), context)

    def close(self) -> None:
        """Give the shared client back; the last user closes its connections."""
        shared, self._shared = self._shared, None
        if shared is not None:
            CLIENTS.release(shared)

    def _open(self) -> Container:
        if self._shared is None:
            self._shared = acquire(self._options, self._env.network)
        return Container(self._shared.client.container, self._options)

    @contextmanager
    def _guard(self, doing: str) -> Iterator[None]:
        """Let nothing but the contract's error out; drop a client whose token was refused."""
        try:
            yield
        except DeliveryError as error:
            raise self._judge(error) from None
        except Exception as error:
            raise classify(error, doing) from None

    def _judge(self, error: DeliveryError) -> DeliveryError:
        """A token that is refused is fetched anew with the next client; a key or SAS is not."""
        refused = error.kind is ErrorKind.AUTH_REVOKED and error.code in REFUSED
        if not refused and error.kind is not ErrorKind.AUTH_EXPIRED:
            return error
        if not self._options.identity:
            kind = ErrorKind.AUTH_REVOKED
        else:
            kind = ErrorKind.AUTH_EXPIRED
            if self._shared is not None:
                CLIENTS.discard(self._shared)
            self.close()
        return DeliveryError(kind, error.message, hint=error.hint, code=error.code)


def _whose(head: Head, parcel: Parcel) -> FoundKind:
    if head.written_by(parcel.delivery_id, parcel.size):
        return FoundKind.MINE
    digests = parcel.digests
    if head.size == parcel.size and head.metadata.get(SHA256) == digests["sha256"]:
        return FoundKind.SAME_BYTES
    return FoundKind.OTHER
