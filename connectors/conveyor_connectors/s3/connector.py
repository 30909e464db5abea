"""The connector of type ``s3``."""

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
from conveyor_connectors.s3.checking import check
from conveyor_connectors.s3.client import CLIENTS, acquire
from conveyor_connectors.s3.errors import classify
from conveyor_connectors.s3.multipart import Upload
from conveyor_connectors.s3.objects import SHA256, Bucket, Head, forbidden, stored_from
from conveyor_connectors.s3.options import S3Options
from conveyor_connectors.s3.placing import Placer, is_own
from conveyor_connectors.s3.preconditions import Preconditions

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from conveyor.kit.shared import Shared


def open_s3(options: S3Options, env: ConnectorEnv) -> S3Connector:
    """The factory named in the spec."""
    return S3Connector(options, env)


class S3Connector:
    """Puts files into one bucket. See :class:`conveyor.contract.Connector`.

    Atomic by nature: an object is visible only when it is whole. The delivery's id and the payload's
    digest stand in its user metadata, so that a delivery recognises its own object after a lost answer.
    """

    def __init__(self, options: S3Options, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env
        self._preconditions = Preconditions(options, env.memory)
        self._shared: Shared[S3Client] | None = None
        self._bucket: Bucket | None = None
        self._placer: Placer | None = None

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel at the target by its conflict policy."""
        with self._guard("deliver"):
            return self._open().place(parcel, target, context)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Whether an earlier attempt of this delivery arrived."""
        with self._guard("look for the object"):
            placer = self._open()
            key = saved_path(context) or target.path
            try:
                head = self._require().head(key, context)
            except DeliveryError as error:
                if forbidden(error):
                    return Found(FoundKind.UNSURE)
                raise
            if head is None:
                return Found(FoundKind.ABSENT)
            kind = _whose(head, parcel, context)
            if kind is FoundKind.OTHER:
                return Found(kind)
            return Found(kind, placer.receipt(parcel, target, key, stored_from(head, parcel)))

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Remove the parts of an upload that nobody will complete."""
        upload = Upload.load(state)
        if upload is None:
            return
        with self._guard("abort the upload"):
            self._open()
            self._require().abort(upload.key, upload.id, context)

    def check(self, context: AttemptContext) -> CheckReport:
        """Log in; write, verify and delete a canary where permitted."""
        with self._guard("test the bucket"):
            self._open()
            return check(self._require(), self._options, self._preconditions, self._env.clock(), context)

    def close(self) -> None:
        """Give the shared client back; the last user closes its connections."""
        shared, self._shared, self._bucket, self._placer = self._shared, None, None, None
        if shared is not None:
            CLIENTS.release(shared)

    def _open(self) -> Placer:
        if self._placer is None:
            self._shared = acquire(self._options, self._env.network)
            self._bucket = Bucket(self._shared.client, self._options)
            self._placer = Placer(self._bucket, self._options, self._preconditions)
        return self._placer

    def _require(self) -> Bucket:
        self._open()
        assert self._bucket is not None
        return self._bucket

    @contextmanager
    def _guard(self, doing: str) -> Iterator[None]:
        """Let nothing but the contract's error out; replace credentials that have run out."""
        try:
            yield
        except DeliveryError as error:
            if error.kind is ErrorKind.AUTH_EXPIRED:
                raise self._expired(error) from None
            raise
        except Exception as error:
            raise classify(error, doing) from None

    def _expired(self, error: DeliveryError) -> DeliveryError:
        if self._options.session_token is not None:
            hint = "The session_token of the configuration has run out: put a new one there."
            return DeliveryError(ErrorKind.AUTH_REVOKED, error.message, hint=hint, code=error.code)
        if self._shared is not None:
            CLIENTS.discard(self._shared)
        self.close()
        return error


def _whose(head: Head, parcel: Parcel, context: AttemptContext) -> FoundKind:
    if is_own(head, parcel, context):
        return FoundKind.MINE
    sha256 = parcel.digests["sha256"]
    if head.size == parcel.size and sha256 in (head.sha256, head.metadata.get(SHA256)):
        return FoundKind.SAME_BYTES
    return FoundKind.OTHER
