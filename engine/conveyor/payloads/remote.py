"""The payload store in a bucket that every machine reaches: S3, Azure Blob Storage, Google Cloud Storage.

An object appears whole or not at all, so there are no temporary names. What stands there if the process dies:

* before the upload's end: nothing, but on S3 the parts of an unfinished multipart upload, which a lifecycle
  rule of the bucket (``AbortIncompleteMultipartUpload``) should remove;
* after it and before the ledger's commit: an object that no row names; the sweep takes it after a day.

A removal is the ledger's ``removing`` first and the deletion afterwards, as in a folder.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from conveyor import ids
from conveyor.clock import Clock, SystemClock
from conveyor.errors import PayloadError
from conveyor.ledger.records import PayloadRecord
from conveyor.payloads.bucket import bucket_errors
from conveyor.payloads.digests import Digests, Readable, pieces
from conveyor.payloads.local import LocalStore, location_of
from conveyor.payloads.reader import BUFFER, source_error
from conveyor.payloads.remote_file import RemoteFile, refused
from conveyor.payloads.sealing import PayloadKeys, as_stored, opened

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART: Final = 8 << 20
"""Bytes of a part; S3 takes 10,000 of them, so those of a payload beyond 80 GB are larger."""

_PARTS: Final = 10_000
_TOGETHER: Final = 4
_BATCH: Final = 500
_REMOVERS: Final = 8

CLOCK: Final = ".conveyor-clock"
"""The object that is written to learn the service's time."""


@dataclass(slots=True)
class StagedObject:
    """A payload whose object is complete, and not yet named by any row."""

    record: PayloadRecord
    bucket: ObjectStore = field(repr=False)
    gone: bool = False

    def discard(self) -> None:
        """Remove the object; a store that is away leaves it to the sweep. A second call does nothing."""
        import obstore
        from obstore.exceptions import BaseError

        if not self.gone:
            self.gone = True
            with contextlib.suppress(BaseError, OSError):
                obstore.delete(self.bucket, self.record.location)


class RemoteStore:
    """Payloads as objects, one per job.

    Args:
        bucket: obstore's client, below the prefix.
        name: The bucket as people know it.
        clock: Stamps the payloads' ids.
        keys: Encrypt what is stored, where they are to, and decrypt what was.
    """

    def __init__(
        self,
        bucket: ObjectStore,
        name: str,
        *,
        clock: Clock | None = None,
        keys: PayloadKeys | None = None,
    ) -> None:
        self.name = name
        self._keys = keys or PayloadKeys()
        self._bucket = bucket
        self._clock = clock or SystemClock()
        # A file in place lies where its submitter has it, whatever the store is.
        self._in_place = LocalStore(Path("/"), clock=self._clock)

    def put(
        self,
        stream: Readable,
        *,
        digests: Collection[str] = (),
        size_hint: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> PayloadRecord:
        """Store a stream, durable when this returns. See :meth:`conveyor.payloads.LocalStore.put`."""
        return self.stage(stream, digests=digests, size_hint=size_hint, progress=progress).record

    def stage(
        self,
        stream: Readable,
        *,
        digests: Collection[str] = (),
        size_hint: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> StagedObject:
        """Upload a stream; durable when this returns, but named by no row yet.

        Raises:
            PayloadError: The store refuses, or holds something else than was sent. Nothing is left.
            SubmissionError: The source cannot be read. Nothing is left.
        """
        identifier = ids.new("pay", self._clock)
        location = location_of(identifier)
        hashes = Digests(digests)
        plain = _Counted(pieces(stream, hashes, size_hint=size_hint, progress=progress))
        sealer = self._keys.sealer(identifier)
        expected = self._keys.stored_size(size_hint or 0)
        with self._uploading():
            tag = self._upload(location, plain if sealer is None else sealer.each(plain), expected)
        record = PayloadRecord(
            identifier,
            location,
            in_place=False,
            size=plain.total,
            digests=hashes.hex(),
            fingerprint=tag,
            sealed_key=None if sealer is None else sealer.sealed_key,
        )
        staged = StagedObject(record, self._bucket)
        try:
            self._compare(record)
        except BaseException:
            staged.discard()
            raise
        return staged

    def publish(self, staged: Sequence[StagedObject]) -> None:
        """Nothing: an object that is complete is durable."""

    def adopt(
        self,
        path: Path,
        digests: Collection[str] = (),
        progress: Callable[[int], object] | None = None,
    ) -> PayloadRecord:
        """Take a file in place: nothing is copied, every worker must see the same path."""
        return self._in_place.adopt(path, digests, progress)

    def open(self, record: PayloadRecord) -> BinaryIO:
        """A fresh seekable stream at byte 0. Never gives bytes that differ from the submitted ones.

        Raises:
            DeliveryError: SOURCE: the payload is gone or changed; also later, from reading it.
            PayloadError: The store itself cannot be reached, also later, or the key is missing. Worth trying
                again.
        """
        if record.in_place:
            return self._in_place.open(record)
        chunks = self._keys.opener(record)
        return opened(self.stored(record), chunks, record, BUFFER)

    def stored(self, record: PayloadRecord) -> io.RawIOBase:
        """The bytes as they lie in the bucket, encrypted or not. Needs no key; raises as :meth:`open`."""
        return RemoteFile(self._bucket, as_stored(record), self.name)

    def verify(self, record: PayloadRecord) -> None:
        """Check before an attempt that the object is the one that was submitted: size and version.

        Raises:
            DeliveryError: SOURCE: gone or changed.
            PayloadError: The store itself cannot be reached, or the key is missing.
        """
        if record.in_place:
            self._in_place.verify(record)
            return
        self._keys.opener(record)
        found, size = self._head(record), as_stored(record).size
        if found["size"] != size:
            raise source_error(
                f"the payload {record.id} has {found['size']} bytes in the store, not {size}",
                in_place=False,
            )
        if record.fingerprint is not None and found["e_tag"] != record.fingerprint:
            raise source_error(f"the payload {record.id} was overwritten in the store", in_place=False)

    def remove(self, record: PayloadRecord) -> None:
        """Remove the object; a file in place is the submitter's and stays. Nothing there is success."""
        if not record.in_place:
            self._delete(record.location)

    def sweep(self, known: Callable[[list[str]], set[str]], older_than: float) -> int:
        """Remove the store's objects that no ledger row names.

        Args:
            known: Which of these locations does the ledger know?
            older_than: Seconds since an object was written, by the service's clock.

        Returns:
            How many objects were removed.
        """
        before = self._time_there() - timedelta(seconds=older_than)
        removed = 0
        for batch in self._listed(before):
            kept = known(batch)
            orphans = [location for location in batch if location not in kept]
            with ThreadPoolExecutor(_REMOVERS) as pool:
                for _ in pool.map(self._delete, orphans):
                    removed += 1
        return removed

    def check(self) -> None:
        """Raise PayloadError when the bucket cannot be read from here just now."""
        import obstore

        try:
            with bucket_errors(self.name, "be read"):
                next(iter(obstore.list(self._bucket, chunk_size=1)), None)
        except FileNotFoundError as error:
            raise PayloadError(
                f"the payload store {self.name} does not exist: {error}", cure="create the bucket"
            ) from None

    def file(self, record: PayloadRecord) -> Path | None:
        """None: objects are no files."""
        return self._in_place.file(record) if record.in_place else None

    def locations(self) -> Iterator[list[str]]:
        """Where payloads lie, whether or not a row names them, in batches. Raises PayloadError."""
        self.check()
        return self._listed(datetime.max.replace(tzinfo=UTC))

    def restore(
        self, record: PayloadRecord, source: Path, progress: Callable[[int], object]
    ) -> PayloadRecord:
        """Upload a payload of a backup to where its ledger says it lies; see :class:`LocalStore`."""
        expected = as_stored(record).size
        with source.open("rb") as stream, self._uploading():
            tag = self._upload(record.location, _told(stream, progress), expected)
        restored = replace(record, fingerprint=tag)
        self._compare(restored)
        return restored

    # --- inside ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _uploading(self) -> Iterator[None]:
        try:
            with bucket_errors(self.name, "take a file"):
                yield
        except FileNotFoundError as error:
            raise PayloadError(
                f"the payload store {self.name} does not exist: {error}", cure="create the bucket"
            ) from None

    def _upload(self, location: str, chunks: Iterator[bytes], expected: int) -> str | None:
        """One request for what fits into a part, a multipart upload for more; the object's version."""
        import obstore

        part = max(PART, -(-expected // _PARTS))
        first = bytearray()
        for chunk in chunks:
            first += chunk
            if len(first) >= part:
                break
        else:
            answer = obstore.put(self._bucket, location, bytes(first), use_multipart=False)
            return answer["e_tag"]
        source = itertools.chain([bytes(first)], chunks)
        del first
        answer = obstore.put(
            self._bucket, location, source, use_multipart=True, chunk_size=part, max_concurrency=_TOGETHER
        )
        return answer["e_tag"]

    def _compare(self, record: PayloadRecord) -> None:
        """Hold what the store says it has against what was sent."""
        held, size = self._head(record)["size"], as_stored(record).size
        if held != size:
            raise PayloadError(
                f"the payload store {self.name} holds {held} of {size} bytes", cure="submit it again"
            )

    def _head(self, record: PayloadRecord) -> Any:
        import obstore
        from obstore.exceptions import BaseError

        try:
            return obstore.head(self._bucket, record.location)
        except (BaseError, OSError) as error:
            refused(error, record, self.check)
            with bucket_errors(self.name, f"find {record.location}"):
                raise

    def _time_there(self) -> datetime:
        """The clock that stamps the objects; this machine's may be days off."""
        import obstore

        with self._uploading():
            obstore.put(self._bucket, CLOCK, b"", use_multipart=False)
            return obstore.head(self._bucket, CLOCK)["last_modified"]

    def _delete(self, location: str) -> None:
        import obstore

        try:
            with bucket_errors(self.name, "remove an object"):
                obstore.delete(self._bucket, location)
        except FileNotFoundError:
            return

    def _listed(self, before: datetime) -> Iterator[list[str]]:
        import obstore

        with bucket_errors(self.name, "list its objects"):
            for batch in obstore.list(self._bucket, chunk_size=_BATCH):
                old = [
                    found["path"]
                    for found in batch
                    if found["last_modified"] < before and found["path"].rpartition("/")[2].startswith("pay_")
                ]
                if old:
                    yield old


def _told(stream: BinaryIO, progress: Callable[[int], object]) -> Iterator[bytes]:
    while chunk := stream.read(1 << 20):
        progress(len(chunk))
        yield chunk


class _Counted:
    """Passes bytes on and counts them."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.total = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.total += len(chunk)
        return chunk
