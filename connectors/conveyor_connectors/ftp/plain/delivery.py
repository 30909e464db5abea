"""One delivery over an open FTP connection."""

from __future__ import annotations

import contextlib

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel, Target
from conveyor.kit.turns import Turns
from conveyor_connectors.ftp.delivery import MOST_NUMBERS, FileDelivery
from conveyor_connectors.ftp.options import FtpOptions, Verify
from conveyor_connectors.ftp.plain.client import Client
from conveyor_connectors.ftp.plain.control import Reply
from conveyor_connectors.ftp.plain.errors import kind_of_reply, of_reply
from conveyor_connectors.ftp.plain.facts import Entry
from conveyor_connectors.ftp.plain.folders import make_parents
from conveyor_connectors.ftp.server import LinkLost, Refused

_CLEAN_UP = 5.0
"""Seconds for removing the temporary file of a failed attempt."""

_PASSING = frozenset({ErrorKind.QUOTA, ErrorKind.TRANSIENT, ErrorKind.THROTTLED, ErrorKind.NAME})
"""Refusals of STOR that no missing folder explains."""

_publishing = Turns()


class FtpDelivery(FileDelivery):
    """Carries one parcel to one target.

    Args:
        client: The connection.
        options: The destination.
        parcel, target, context: As the contract says.
    """

    def __init__(
        self, client: Client, options: FtpOptions, parcel: Parcel, target: Target, context: AttemptContext
    ) -> None:
        super().__init__(options, parcel, target, context)
        self._client = client

    # --- transfer -------------------------------------------------------------------------------

    def _upload(self) -> tuple[Verify, int]:
        self._store()
        self._set_attributes()
        how, size = self._verified(self._look(self._temporary))
        return (Verify.SHA256 if how is Verify.SIZE and self._server_agrees() else how), size

    def _server_agrees(self) -> bool:
        """Whether the server computes digests and finds the payload's; no read-back here."""
        found = self._client.sha256(self._temporary)
        if found is not None and found != self._parcel.digests["sha256"]:
            raise DeliveryError(ErrorKind.INTEGRITY, "the server computes another SHA-256 digest")
        return found is not None

    def _store(self) -> None:
        """STOR says the same of a missing folder and of a forbidden one: making the folder tells."""
        try:
            self._client.store(self._temporary, self._parcel, self._context)
        except Reply as error:
            if self._client.control.spent or kind_of_reply(error) in _PASSING or not self._target.parents:
                raise self._refused(error) from None
        else:
            return
        make_parents(self._client, self._options.remote_path, self._target.parents)
        try:
            self._client.store(self._temporary, self._parcel, self._context)
        except Reply as error:
            raise self._refused(error) from None

    def _refused(self, error: Reply) -> DeliveryError:
        return of_reply(error, f"writing a file in {self._folder or '.'}")

    def _set_attributes(self) -> None:
        try:
            if self._options.mode_bits is not None:
                self._client.set_mode(self._temporary, self._options.mode_bits)
            if self._options.keep_time:
                self._client.set_time(self._temporary, self._parcel.submitted_at)
        except Reply as error:
            refused = of_reply(error, "setting mode or time", kind=ErrorKind.CONFIG)
            option = "keep_time" if error.verb == "MFMT" else "file_mode"
            refused.hint = f"remove {option}: this server does not allow it"
            raise refused from None

    def _has_bytes(self, path: str) -> bool:
        """By the server's own digest when it says yes, else the file is read back."""
        wanted = self._parcel.digests["sha256"]
        if self._client.sha256(path) == wanted:
            return True
        found = self._client.read_back(path, self._parcel.size, lambda: self._context.progress(0))
        return found == wanted

    # --- publication ----------------------------------------------------------------------------

    def _replace(self, final: str) -> bool:
        try:
            self._client.rename(self._temporary, final, self._context.before_commit)
        except Reply as error:
            there = self._look(final) if error.verb == "RNTO" else None
            if there is None or there.is_folder:
                raise
        else:
            return True
        self._context.log.warning("the server's rename refuses to replace; removing the old file first")
        self._context.before_commit()
        self._client.remove(final)
        self._client.rename(self._temporary, final)
        return False

    def _create_at(self, final: str) -> bool:
        """Look, then rename: FTP has nothing better. Threads of this process take turns."""
        control = self._client.control
        with _publishing.take(f"{control.host}:{control.port} {final}", self._context.check):
            if self._look(final) is not None:
                return False
            try:
                self._client.rename(self._temporary, final, self._context.before_commit)
            except Reply as error:
                if error.verb != "RNTO" or self._look(final) is None:
                    raise
                return False
        return True

    def _creates_safely(self) -> bool:
        return False

    def _free_number(self, first: int) -> int:
        for number in range(first, MOST_NUMBERS):
            if self._look(self._full(self._target.numbered(number))) is None:
                return number
        raise self._no_free_name()

    def _rename_refused(self, error: Refused) -> DeliveryError:
        assert isinstance(error, Reply)
        final = self._full(self._target.path)
        there = self._look(final)
        if there is not None and there.is_folder:
            return DeliveryError(ErrorKind.NAME, f"a folder stands where {final} is needed")
        if error.verb == "RNFR" and self._look(self._temporary) is None:
            return DeliveryError(ErrorKind.TRANSIENT, "the temporary file vanished before it got its name")
        return of_reply(error, f"renaming to {final}")

    # --- helpers --------------------------------------------------------------------------------

    def _look(self, path: str) -> Entry | None:
        try:
            return self._client.look(path)
        except Reply as error:
            raise of_reply(error, f"looking at {path}") from None

    def _remove_earlier(self) -> None:
        temporary = self._context.state.get("temporary")
        if isinstance(temporary, str):
            self._client.removed(temporary)

    def _remove_temporary(self) -> None:
        self._client.removed(self._temporary)

    def _discard(self) -> None:
        if self._client.control.poisoned:
            return
        with contextlib.suppress(LinkLost), self._client.control.patience.limited(_CLEAN_UP):
            self._remove_temporary()
