"""The payload store in a local or shared folder.

What stands there if the process dies on a given line:

* before the rename, ``<shard>/.pay_….part``: no row names it, the sweep takes it after a day;
* after the rename and before the ledger's commit, ``<shard>/pay_…``: likewise;
* after the commit: the row promises bytes that are on the disk, since file and folder were fsynced before.

A removal is the ledger's ``removing`` first and the unlink afterwards: dying in between leaves a row that the
next worker finishes. Shards are named after the id's time (about 34 s each), so that a batch shares one
folder's fsync and old shards become empty and go.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from conveyor import ids
from conveyor.clock import Clock, SystemClock
from conveyor.errors import PayloadError, SubmissionError
from conveyor.ledger.records import PayloadRecord
from conveyor.ownership import inherit, make_folder
from conveyor.payloads import copying, inplace
from conveyor.payloads.digests import Readable
from conveyor.payloads.problems import FORBIDDEN, GONE, payload_error, store_errors
from conveyor.payloads.reader import BUFFER, PayloadFile, source_error
from conveyor.payloads.sealing import PayloadKeys, as_stored, opened
from conveyor.payloads.sweep import batches, sweep
from conveyor.payloads.watched import fingerprint
from conveyor.payloads.writing import Staged, publish, stage, sync_folder

MARKER: Final = ".conveyor-payloads"
"""Shows that the folder is the store and not the bare mount point of a share that is away."""

_SHARD = slice(4, 10)
_VERIFIED_MAX = 1024


def location_of(identifier: str) -> str:
    """Where in a store a payload lies."""
    return f"{identifier[_SHARD]}/{identifier}"


class LocalStore:
    """Payloads as files: 0600 in folders 0700, one per job.

    Args:
        root: The folder; made with the first payload.
        clock: Stamps the payloads' ids.
        keys: Encrypt what is stored, where they are to, and decrypt what was.
    """

    def __init__(self, root: Path, *, clock: Clock | None = None, keys: PayloadKeys | None = None) -> None:
        self.root = Path(os.path.abspath(root))
        self._clock = clock or SystemClock()
        self._keys = keys or PayloadKeys()
        self._prepared = False
        self._verified: dict[tuple[str, str], str] = {}

    def put(
        self,
        stream: Readable,
        *,
        digests: Collection[str] = (),
        size_hint: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> PayloadRecord:
        """Store a stream, durable when this returns.

        Args:
            stream: Read to its end, once.
            digests: Digests to compute beside sha256 and md5, by hashlib name.
            size_hint: Bytes expected; refused at once when the disk has no room for them.
            progress: Told the number of bytes of each chunk.

        Raises:
            PayloadError: The store refuses: full, read-only, forbidden. Nothing is left.
            SubmissionError: The source cannot be read. Nothing is left.
        """
        staged = self.stage(stream, digests=digests, size_hint=size_hint, progress=progress)
        self.publish([staged])
        return staged.record

    def stage(
        self,
        stream: Readable,
        *,
        digests: Collection[str] = (),
        size_hint: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Staged:
        """The first half of :meth:`put`: written, not yet durable; each holds a file descriptor open."""
        self._prepare()
        needed = None if size_hint is None else self._keys.stored_size(size_hint)
        if needed is not None and needed > (free := self.free_space):
            raise PayloadError(
                f"the payload store {self.root} has {free} bytes free; the file needs {needed}",
                cure="free some space, or set 'payloads:' to a folder on a larger disk",
            )
        identifier = ids.new("pay", self._clock)
        return stage(
            self.root,
            identifier,
            location_of(identifier),
            stream,
            digests=digests,
            size_hint=size_hint,
            progress=progress,
            sealer=self._keys.sealer(identifier),
        )

    def publish(self, staged: Sequence[Staged]) -> None:
        """The second half: all of them durable, or none left."""
        publish(self.root, staged)

    def adopt(
        self,
        path: Path,
        digests: Collection[str] = (),
        progress: Callable[[int], object] | None = None,
    ) -> PayloadRecord:
        """Take a file in place: nothing is copied, every worker must see the same path.

        Raises:
            SubmissionError: It is no regular file, cannot be read, or changed while it was.
        """
        return inplace.adopt(ids.new("pay", self._clock), path, digests, progress)

    def open(self, record: PayloadRecord) -> BinaryIO:
        """A fresh seekable stream at byte 0. Never gives bytes that differ from the submitted ones.

        Raises:
            DeliveryError: SOURCE: the payload is gone, shorter or longer, or changed; also later, from
                reading it.
            PayloadError: The store itself cannot be reached, or the key is missing; worth trying again later.
        """
        chunks = self._keys.opener(record)
        return opened(self.stored(record), chunks, record, max(4096, min(BUFFER, record.size)))

    def stored(self, record: PayloadRecord) -> io.RawIOBase:
        """The bytes as they lie in the store, encrypted or not. Needs no key; raises as :meth:`open`."""
        path = self._path(record)
        fd = self._open_fd(record, path)
        try:
            mtime = self._checked(fd, record)
            size = as_stored(record).size
            return PayloadFile(
                fd, size=size, path=path, root=self.root, in_place=record.in_place, mtime_ns=mtime
            )
        except BaseException:
            os.close(fd)
            raise

    def verify(self, record: PayloadRecord) -> None:
        """Check before an attempt that the payload is what was submitted.

        A file in place is read again only when its size, time stamp or inode moved since.

        Raises:
            DeliveryError: SOURCE: gone or changed.
            PayloadError: The store itself cannot be reached, or the key is missing.
        """
        self._keys.opener(record)
        path = self._path(record)
        if not record.in_place:
            self._same_size(self._status(record, path), record)
            return
        with contextlib.suppress(OSError):  # opening it says what is wrong
            if self._is_known(fingerprint(os.stat(path)), record):
                return
        fd = self._open_fd(record, path)
        try:
            self._checked(fd, record)
        finally:
            os.close(fd)

    def remove(self, record: PayloadRecord) -> None:
        """Remove the bytes; a file in place is the submitter's and stays. Nothing there is success."""
        if record.in_place:
            return
        with store_errors(self.root, "remove a file"):
            Path(self._path(record)).unlink(missing_ok=True)

    def sweep(self, known: Callable[[list[str]], set[str]], older_than: float) -> int:
        """Remove what no ledger row names.

        Args:
            known: Which of these locations does the ledger know?
            older_than: Seconds since a file's last write, by the clock that stamps files there: a share's
                server has its own, and this machine's may be days off.

        Returns:
            How many files were removed.
        """
        return sweep(self.root, known, self._time_there() - older_than) if self.root.is_dir() else 0

    def _time_there(self) -> float:
        with store_errors(self.root, "tell the time"):
            os.utime(self.root / MARKER)
            return os.stat(self.root / MARKER).st_mtime

    def check(self) -> None:
        """Raise PayloadError when payloads cannot be read here just now."""
        with store_errors(self.root, "be read"):
            os.stat(self.root / MARKER)

    def file(self, record: PayloadRecord) -> Path | None:
        """Where the bytes lie as a file; None where they do not."""
        return Path(self._path(record))

    def locations(self) -> Iterator[list[str]]:
        """Where payloads lie, whether or not a row names them, in batches. Raises PayloadError."""
        return batches(self.root)

    def restore(
        self, record: PayloadRecord, source: Path, progress: Callable[[int], object]
    ) -> PayloadRecord:
        """Have a payload where a ledger that comes out of a backup says it lies, durable when this returns.

        Args:
            record: As the ledger has it.
            source: A file with the bytes as they were stored. It has to stay what it is: it may become the
                store's under a second name.
            progress: Told the number of bytes of each chunk.

        Returns:
            As the ledger should have it from now on.

        Raises:
            PayloadError: The store refuses.
        """
        self._prepare()
        with store_errors(self.root, "take a payload back"):
            copying.bring(source, Path(self._path(record)), progress)
        return replace(record, fingerprint=None)

    @property
    def free_space(self) -> int:
        """Bytes that an ordinary user can still write."""
        with store_errors(self.root, "tell its free space"):
            status = os.statvfs(self.root)
        return status.f_bavail * status.f_frsize

    def _prepare(self) -> None:
        if self._prepared and self.root.is_dir():
            return
        with store_errors(self.root, "be created"):
            new = not self.root.is_dir()
            make_folder(self.root)
            marker = self.root / MARKER
            if not marker.exists():
                fd = os.open(marker, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                try:
                    inherit(fd, self.root)
                finally:
                    os.close(fd)
                sync_folder(self.root)
            if new:
                sync_folder(self.root.parent)
        self._prepared = True

    def _path(self, record: PayloadRecord) -> str:
        if record.in_place:
            return record.location
        if record.location.startswith("/") or ".." in record.location.split("/"):
            raise PayloadError(f"the ledger names a payload outside the store: {record.location!r}")
        return os.path.join(self.root, record.location)

    def _open_fd(self, record: PayloadRecord, path: str) -> int:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            return os.open(path, flags if record.in_place else flags | os.O_NOFOLLOW)
        except OSError as error:
            if record.in_place and error.errno in GONE | FORBIDDEN:
                raise source_error(
                    f"the payload {path} cannot be read: {error.strerror}", in_place=True
                ) from None
            raise self._missing(record, path, error) from None

    def _status(self, record: PayloadRecord, path: str) -> os.stat_result:
        try:
            return os.lstat(path)
        except OSError as error:
            raise self._missing(record, path, error) from None

    def _missing(self, record: PayloadRecord, path: str, error: OSError) -> Exception:
        if error.errno not in GONE:
            return payload_error(error, self.root, f"open {os.path.basename(path)}")
        self.check()  # a share that is away is no lost payload
        return source_error(f"the payload {record.id} is gone from the store", in_place=False)

    def _checked(self, fd: int, record: PayloadRecord) -> int | None:
        """Compare the open file with the record; returns the time stamp that must not move while reading."""
        status = os.fstat(fd)
        if not record.in_place:
            self._same_size(status, record)
            return None
        current = fingerprint(status)
        if not self._is_known(current, record):
            self._read_again(fd, record)
            if len(self._verified) >= _VERIFIED_MAX:
                self._verified.clear()
            self._verified[_content(record)] = current
        return status.st_mtime_ns

    def _is_known(self, current: str, record: PayloadRecord) -> bool:
        """Whether a file in place that looks like this has been read, and had the payload's bytes."""
        return current == record.fingerprint or current == self._verified.get(_content(record))

    def _same_size(self, status: os.stat_result, record: PayloadRecord) -> None:
        size = as_stored(record).size
        if status.st_size != size:
            raise source_error(
                f"the payload {record.id} has {status.st_size} bytes in the store, not {size}",
                in_place=False,
            )

    def _read_again(self, fd: int, record: PayloadRecord) -> None:
        try:
            inplace.same_bytes(fd, record)
        except SubmissionError as error:
            raise source_error(error.message, in_place=True) from None


def _content(record: PayloadRecord) -> tuple[str, str]:
    return record.location, record.digests["sha256"]
