"""One delivery over an open SFTP session."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Json, Parcel, Target
from conveyor_connectors.ftp import names
from conveyor_connectors.ftp.delivery import MOST_NUMBERS, FileDelivery
from conveyor_connectors.ftp.options import FtpOptions, Verify
from conveyor_connectors.ftp.server import LinkLost, Refused
from conveyor_connectors.ftp.sftp import transfer, wire
from conveyor_connectors.ftp.sftp.client import Client, StatusError
from conveyor_connectors.ftp.sftp.errors import kind_of_status, of_status
from conveyor_connectors.ftp.sftp.folders import make_parents, removed
from conveyor_connectors.ftp.sftp.publish import CreateBy, Publisher
from conveyor_connectors.ftp.sftp.session import Session
from conveyor_connectors.ftp.sftp.wire import Status

_NEW = wire.Open.WRITE | wire.Open.CREAT | wire.Open.EXCL
_MISSING = (Status.NO_SUCH_FILE, Status.NO_SUCH_PATH)

_CLEAN_UP = 5.0
"""Seconds for removing the temporary file of a failed attempt."""

_LOOK_AT_ONCE = 16


class SftpDelivery(FileDelivery):
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
        super().__init__(options, parcel, target, context)
        self._session = session
        self._client = session.client
        self._publisher = publisher

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
        return self._verified(self._closed(handle))

    def _closed(self, handle: bytes) -> wire.Attributes | None:
        """Close the file and look at it, in one round trip.

        Requests about one file are processed in the order in which they arrive, as if each had waited for the
        answer to the one before (draft-ietf-secsh-filexfer-02, 6.1). A server that does not keep to it may
        look too early, and is asked again.
        """
        closing, looking = self._client.ask_to_close(handle), self._client.ask_lstat(self._temporary)
        try:
            self._client.settle(closing)
        except StatusError as error:
            with contextlib.suppress(StatusError):
                self._client.attributes(looking)
            raise self._refused(error, "closing the file after writing") from None
        try:
            there = self._client.attributes(looking)
        except StatusError as error:
            raise of_status(error, f"looking at {self._temporary}") from None
        early = there is None or there.size != self._parcel.size
        return self._look(self._temporary) if early else there

    def _open_temporary(self) -> bytes:
        try:
            return self._client.open(self._temporary, _NEW, mode=self._options.mode_bits)
        except StatusError as error:
            refused = error
        if refused.code in _MISSING or not removed(self._client, self._temporary):
            # Some servers answer a missing folder with a plain failure; making it tells.
            make_parents(self._client, self._options.remote_path, self._target.parents)
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

    def _has_bytes(self, path: str) -> bool:
        return transfer.has_bytes(self._session, path, self._parcel, self._context)

    # --- publication ----------------------------------------------------------------------------

    def _replace(self, final: str) -> bool:
        return self._publisher.replace(self._temporary, final, self._context)

    def _create_at(self, final: str) -> bool:
        return self._publisher.create(self._temporary, final, self._context)

    def _creates_safely(self) -> bool:
        return self._publisher.create_by(self._temporary, self._context) is not CreateBy.LOOK

    def _free_number(self, first: int) -> int:
        """Looks for many at a time."""
        for start in range(first, MOST_NUMBERS, _LOOK_AT_ONCE):
            batch = range(start, start + _LOOK_AT_ONCE)
            paths = [self._full(self._target.numbered(number)) for number in batch]
            asked = [self._client.ask_lstat(path) for path in paths]
            there = [self._client.attributes(number) for number in asked]
            for number, attributes in zip(batch, there, strict=True):
                if attributes is None:
                    return number
        raise self._no_free_name()

    def _rename_refused(self, error: Refused) -> DeliveryError:
        assert isinstance(error, StatusError)
        final = self._full(self._target.path)
        if kind_of_status(error) is ErrorKind.TRANSIENT:
            there = self._look(final)
            if there is not None and there.is_folder:
                return DeliveryError(ErrorKind.NAME, f"a folder stands where {final} is needed")
        return of_status(error, f"renaming to {final}")

    # --- helpers --------------------------------------------------------------------------------

    def _look(self, path: str) -> wire.Attributes | None:
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

    def _remove_earlier(self) -> None:
        with contextlib.suppress(StatusError):
            discard(self._client, self._context.state)

    def _remove_temporary(self) -> None:
        removed(self._client, self._temporary)

    def _discard(self) -> None:
        if self._client.broken or not self._session.transport.is_active():
            return
        with contextlib.suppress(LinkLost), self._session.limited(_CLEAN_UP):
            self._remove_temporary()


def discard(client: Client, state: Mapping[str, Json]) -> None:
    """Remove the temporary file that ``state`` remembers, and what was tried out beside it.

    What is gone already is no matter.

    Raises:
        StatusError: One of them is there and may not be removed.
    """
    temporary = state.get("temporary")
    if not isinstance(temporary, str):
        return
    for path in (temporary, *names.probes(temporary)):
        try:
            client.remove(path)
        except StatusError:
            if client.lstat(path) is not None:
                raise
