"""Puts files into one bucket of Google Cloud Storage."""

from __future__ import annotations

from conveyor.contract import (
    AttemptContext,
    CheckReport,
    ConnectorEnv,
    DeliveryError,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor.kit.errors import guarded
from conveyor.kit.naming import saved_path
from conveyor.kit.shared import Shared
from conveyor_gcs.checking import check
from conveyor_gcs.client import CLIENTS, Client, acquire
from conveyor_gcs.errors import classify, forbidden
from conveyor_gcs.objects import SHA256, Bucket, Stored
from conveyor_gcs.options import GcsOptions
from conveyor_gcs.placing import Placer
from conveyor_gcs.sessions import Upload


class GcsConnector:
    """Implements :class:`conveyor.contract.Connector`.

    The delivery's id and the payload's digest stand in each object's metadata, so that a delivery recognises
    its own object after a lost answer.
    """

    def __init__(self, options: GcsOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env
        self._shared: Shared[Client] | None = None

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel at the target by its conflict policy."""
        with guarded("deliver", classify):
            return self._placer().place(parcel, target, context)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Whether an earlier attempt of this delivery arrived."""
        with guarded("look for the object", classify):
            placer = self._placer()
            path = saved_path(context) or target.path
            try:
                there = self._bucket().head(placer.name(path), context)
            except DeliveryError as error:
                if forbidden(error):
                    return Found(FoundKind.UNSURE)
                raise
            if there is None:
                return Found(FoundKind.ABSENT)
            kind = _whose(there, parcel)
            if kind is FoundKind.OTHER:
                return Found(kind)
            return Found(kind, placer.receipt(parcel, target, path, there))

    def abandon(self, state: State, context: AttemptContext) -> None:
        """End an upload that nobody will complete. An object that was made stays."""
        upload = Upload.load(state)
        if upload is not None:
            with guarded("end the upload", classify):
                self._placer().abandon(upload, context)

    def check(self, context: AttemptContext) -> CheckReport:
        """Sign in; write, verify and delete a small object."""
        with guarded("test the bucket", classify):
            return check(self._bucket(), self._options.prefix, self._env.clock(), context)

    def close(self) -> None:
        """Give the shared client back; its last user closes the connections."""
        shared, self._shared = self._shared, None
        if shared is not None:
            CLIENTS.release(shared)

    def _bucket(self) -> Bucket:
        if self._shared is None:
            self._shared = acquire(self._options, self._env)
        return Bucket(self._shared.client, self._options)

    def _placer(self) -> Placer:
        return Placer(self._bucket(), self._options)


def _whose(there: Stored, parcel: Parcel) -> FoundKind:
    """MD5 alone can be made to agree, so that the SHA-256 which Conveyor wrote beside it has to, too."""
    if there.written_by(parcel):
        return FoundKind.MINE
    same = there.metadata.get(SHA256) == parcel.digests["sha256"]
    if same and there.md5 is not None and there.holds(parcel):
        return FoundKind.SAME_BYTES
    return FoundKind.OTHER
