"""One delivery over one open session: temporary file, verification, publication; and what was left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from conveyor.contract import (
    AttemptContext,
    ConflictPolicy,
    DeliveryError,
    ErrorKind,
    Json,
    Parcel,
    Receipt,
    Target,
)
from conveyor_connectors.ftp.options import FtpOptions, Verify
from conveyor_connectors.ftp.sftp import names, transfer, wire
from conveyor_connectors.ftp.sftp.client import Client, LinkLost, StatusError
from conveyor_connectors.ftp.sftp.errors import kind_of_status, of_status
from conveyor_connectors.ftp.sftp.folders import make_folders, removed
from conveyor_connectors.ftp.sftp.publish import CreateBy, Publisher
from conveyor_connectors.ftp.sftp.session import Session
from conveyor_connectors.ftp.sftp.wire import Status

_NEW = wire.Open.WRITE | wire.Open.CREAT | wire.Open.EXCL
_MISSING = (Status.NO_SUCH_FILE, Status.NO_SUCH_PATH)

_CLEAN_UP = 5.0
"""Seconds for removing the temporary file of a failed attempt."""

_MOST_NUMBERS = 10_000
_LOOK_AT_ONCE = 16


class Delivery:
    """Carries one parcel to one target.

    Args:
        session: The connection.
        publisher: Knows how the server renames.
        options: The destination.
        parcel, target, context: As the contract says.
    """

    def __init__(
        self,
        session: Session,
        publisher: Publisher,
        options: FtpOptions,
        parcel: Parcel,
        target: Target,
        context: AttemptContext,
    ) -> None:
        self._session = session
        self._client = session.client
        self._publisher = publisher
        self._options = options
        self._parcel = parcel
        self._target = target
        self._context = context
        self._extra: dict[str, Json] = {}
        folder = "/".join(target.parents)
        self._temporary = names.temporary(self._full(folder), parcel.delivery_id, context.fence)

    def run(self) -> Receipt:
        """Deliver, or raise and leave nothing.

        Raises:
            DeliveryError: Classified; UNKNOWN_OUTCOME when the connection broke while publishing.
            LinkLost: The connection broke before.
        """
        receipt = self.earlier() or self._taken_already()
        if receipt is not None:
            return receipt
        self._clear_earlier()
        self._context.save(temporary=self._temporary, path=self._target.path)
        with self._discarded_on_failure():
            with self._context.phase("transfer"):
                verified, size = self._upload()
            with self._context.phase("commit"):
                path = self._publish()
        return self._receipt(path, size, verified)

    def earlier(self) -> Receipt | None:
        """The receipt, when an earlier attempt of this delivery arrived although nobody heard of it.

        Its temporary file is gone, so it was renamed or never made: the bytes at the chosen name decide.
        """
        temporary, path = self._context.state.get("temporary"), self._context.state.get("path")
        if not isinstance(temporary, str) or not isinstance(path, str):
            return None
        left = self._lstat(temporary) is not None
        if left and not self._context.state.get("linked"):
            return None
        size = self.same_bytes_at(path)
        if size is None:
            return None
        self._clear_earlier()
        return self.receipt_for(path, size)

    def same_bytes_at(self, path: str) -> int | None:
        """The size of the file at ``path`` when it is the payload byte for byte, else None."""
        there = self._lstat(self._full(path))
        if there is None or there.is_folder or there.size != self._parcel.size:
            return None
        same = transfer.has_bytes(self._session, self._full(path), self._parcel, self._context)
        return there.size if same else None

    def exists(self, path: str) -> bool:
        """Whether anything stands at ``path``, below the destination's folder."""
        return self._lstat(self._full(path)) is not None

    def receipt_for(self, path: str, size: int) -> Receipt:
        """The receipt of a file whose bytes were compared."""
        return self._receipt(path, size, Verify.SHA256)

    # --- before the transfer --------------------------------------------------------------------

    def _taken_already(self) -> Receipt | None:
        if self._target.conflict not in (ConflictPolicy.SKIP, ConflictPolicy.FAIL):
            return None
        return self._taken() if self.exists(self._target.path) else None

    def _taken(self) -> Receipt:
        """What ``skip`` and ``fail`` answer to a name that is taken."""
        path = self._target.path
        if self._target.conflict is ConflictPolicy.FAIL:
            raise DeliveryError(ErrorKind.CONFLICT, f"{self._full(path)} is there already")
        there = self._lstat(self._full(path))
        size = there.size if there is not None else None
        return Receipt(self._full(path), size, path=path, skipped=True)

    def _clear_earlier(self) -> None:
        """Remove what earlier attempts left; a server that does not allow it keeps it, until the sweep."""
        if "temporary" in self._context.state:
            with contextlib.suppress(StatusError):
                discard(self._client, self._context.state)

    # --- transfer -------------------------------------------------------------------------------

    def _upload(self) -> tuple[Verify, int]:
        handle = self._open_temporary()
        try:
            transfer.send(self._client, handle, self._parcel, self._context)
            self._set_attributes(handle)
        except StatusError as error:
            self._close_quietly(handle)
            raise self._refused(error, "writing") from None
        except DeliveryError:
            self._close_quietly(handle)
            raise
        try:
            self._client.close(handle)
        except StatusError as error:
            raise self._refused(error, "closing the file after writing") from None
        return self._verified()

    def _open_temporary(self) -> bytes:
        try:
            return self._client.open(self._temporary, _NEW, mode=self._options.mode_bits)
        except StatusError as error:
            refused = error
        if refused.code in _MISSING or not removed(self._client, self._temporary):
            # Some servers answer a missing folder with a plain failure; making it tells.
            make_folders(self._client, self._options.remote_path, self._target.parents)
        try:
            return self._client.open(self._temporary, _NEW, mode=self._options.mode_bits)
        except StatusError as error:
            raise self._refused(error, f"creating a file in {self._folder or '.'}") from None

    def _set_attributes(self, handle: bytes) -> None:
        mode = self._options.mode_bits
        mtime = int(self._parcel.submitted_at) if self._options.keep_time else None
        if mode is None and mtime is None:
            return
        try:
            self._client.set_attributes(handle, mode=mode, mtime=mtime)
        except StatusError as error:
            refused = of_status(error, "setting mode or time", kind=ErrorKind.CONFIG)
            refused.hint = "remove file_mode and keep_time: this server does not allow them"
            raise refused from None

    def _verified(self) -> tuple[Verify, int]:
        there = self._lstat(self._temporary)
        if there is None:
            raise DeliveryError(ErrorKind.TRANSIENT, "the temporary file vanished after it was written")
        size = self._parcel.size
        if there.size is not None and there.size != size:
            raise DeliveryError(ErrorKind.INTEGRITY, f"the server holds {there.size} of {size} bytes")
        if there.size is not None and self._options.verify is Verify.SIZE:
            return Verify.SIZE, size
        if not transfer.has_bytes(self._session, self._temporary, self._parcel, self._context):
            raise DeliveryError(ErrorKind.INTEGRITY, "the file on the server has another SHA-256 digest")
        return Verify.SHA256, size

    # --- publication ----------------------------------------------------------------------------

    def _publish(self) -> str | None:
        """Move to the final name; returns the path used, None when ``skip`` met a taken name."""
        final = self._full(self._target.path)
        try:
            if self._target.conflict is ConflictPolicy.OVERWRITE:
                if not self._publisher.replace(self._temporary, final, self._context):
                    self._extra["replaced_atomically"] = False
                return self._target.path
            path = self._create()
            if self._publisher.create_by(self._temporary, self._context) is CreateBy.LOOK:
                self._extra["create_only"] = False
        except StatusError as error:
            raise self._rename_refused(error) from None
        except LinkLost as error:
            raise DeliveryError(
                ErrorKind.UNKNOWN_OUTCOME, f"the connection broke while publishing: {error}"
            ) from None
        return path

    def _create(self) -> str | None:
        path, number = self._target.path, 0
        while not self._publisher.create(self._temporary, self._full(path), self._context):
            if self._target.conflict is not ConflictPolicy.RENAME:
                removed(self._client, self._temporary)
                return None
            number = self._free_number(number + 1)
            path = self._target.numbered(number)
            self._context.save(path=path)
        return path

    def _free_number(self, first: int) -> int:
        """The first number whose name is free, looked for many at a time."""
        for start in range(first, _MOST_NUMBERS, _LOOK_AT_ONCE):
            batch = range(start, start + _LOOK_AT_ONCE)
            paths = [self._full(self._target.numbered(number)) for number in batch]
            asked = [self._client.ask(wire.Packet.LSTAT, wire.path(path)) for path in paths]
            there = [self._client.attributes(number) for number in asked]
            for number, attributes in zip(batch, there, strict=True):
                if attributes is None:
                    return number
        raise DeliveryError(ErrorKind.CONFLICT, f"no free name like {self._target.numbered(1)}")

    def _rename_refused(self, error: StatusError) -> DeliveryError:
        final = self._full(self._target.path)
        if kind_of_status(error) is ErrorKind.TRANSIENT:
            there = self._lstat(final)
            if there is not None and there.is_folder:
                return DeliveryError(ErrorKind.NAME, f"a folder stands where {final} is needed")
        return of_status(error, f"renaming to {final}")

    # --- helpers --------------------------------------------------------------------------------

    @property
    def _folder(self) -> str:
        return self._temporary.rpartition("/")[0]

    def _full(self, path: str) -> str:
        return names.join(self._options.remote_path, path)

    def _lstat(self, path: str) -> wire.Attributes | None:
        try:
            return self._client.lstat(path)
        except StatusError as error:
            raise of_status(error, f"looking at {path}") from None

    def _refused(self, error: StatusError, doing: str) -> DeliveryError:
        """OpenSSH says only ``Failure`` when the disk is full: the free space tells."""
        kind = kind_of_status(error)
        if kind is ErrorKind.TRANSIENT and self._is_full():
            kind = ErrorKind.QUOTA
        return of_status(error, doing, kind=kind)

    def _is_full(self) -> bool:
        try:
            space = self._client.space(self._folder or ".")
        except StatusError:
            return False
        if space is None:
            return False
        return space.free_bytes < min(self._parcel.size, 64 * 1024) or space.free_files == 0

    def _close_quietly(self, handle: bytes) -> None:
        with contextlib.suppress(StatusError):
            self._client.close(handle)

    @contextlib.contextmanager
    def _discarded_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        if self._client.broken or not self._session.transport.is_active():
            return
        with contextlib.suppress(LinkLost), self._session.limited(_CLEAN_UP):
            removed(self._client, self._temporary)

    def _receipt(self, path: str | None, size: int, verified: str) -> Receipt:
        if path is None:
            return self._taken()
        digest = self._parcel.digests["sha256"] if verified == Verify.SHA256 else None
        return Receipt(
            reference=self._full(path),
            size=size,
            digest=f"sha256:{digest}" if digest else None,
            verified=str(verified),
            path=path,
            renamed=path != self._target.path,
            extra=self._extra,
        )


def discard(client: Client, state: Mapping[str, Json]) -> None:
    """Remove the temporary file that ``state`` remembers; one that is gone already is no matter.

    Raises:
        StatusError: It is there and may not be removed.
    """
    temporary = state.get("temporary")
    if not isinstance(temporary, str):
        return
    try:
        client.remove(temporary)
    except StatusError:
        if client.lstat(temporary) is not None:
            raise
