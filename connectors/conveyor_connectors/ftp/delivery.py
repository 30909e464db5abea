"""One delivery to a file server, whatever it speaks: temporary file, verification, publication, and what an
earlier attempt left behind. The protocols say how each step is asked of the server.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator

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
from conveyor_connectors.ftp import names
from conveyor_connectors.ftp.options import FtpOptions, Verify
from conveyor_connectors.ftp.server import Entry, LinkLost, Refused

MOST_NUMBERS = 10_000
"""Numbers that ``rename`` tries."""


class FileDelivery(ABC):
    """Carries one parcel to one target.

    Args:
        options: The destination.
        parcel, target, context: As the contract says.
    """

    def __init__(self, options: FtpOptions, parcel: Parcel, target: Target, context: AttemptContext) -> None:
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
        left = self._look(temporary) is not None
        if left and not self._context.state.get("linked"):
            return None
        size = self.same_bytes_at(path)
        if size is None:
            return None
        self._remove_earlier()
        return self.receipt_for(path, size)

    def same_bytes_at(self, path: str) -> int | None:
        """The size of the file at ``path`` when it is the payload byte for byte, else None."""
        there = self._look(self._full(path))
        if there is None or there.is_folder or there.size != self._parcel.size:
            return None
        return there.size if self._has_bytes(self._full(path)) else None

    def exists(self, path: str) -> bool:
        """Whether anything stands at ``path``, below the destination's folder."""
        return self._look(self._full(path)) is not None

    def receipt_for(self, path: str, size: int) -> Receipt:
        """The receipt of a file whose bytes were compared."""
        return self._receipt(path, size, Verify.SHA256)

    # --- what each protocol asks in its own way -------------------------------------------------

    @abstractmethod
    def _look(self, path: str) -> Entry | None:
        """What is at ``path``; None when nothing is. Raises DeliveryError."""

    @abstractmethod
    def _upload(self) -> tuple[Verify, int]:
        """Write the temporary file, folders included, and verify it; how, and its size."""

    @abstractmethod
    def _has_bytes(self, path: str) -> bool:
        """Whether the file at ``path`` is byte for byte the payload."""

    @abstractmethod
    def _replace(self, final: str) -> bool:
        """Rename the temporary file over whatever is at ``final``; True when that was atomic."""

    @abstractmethod
    def _create_at(self, final: str) -> bool:
        """Rename the temporary file to ``final`` unless something is there; False when something is."""

    @abstractmethod
    def _creates_safely(self) -> bool:
        """Whether the server itself refused to replace, rather than that we looked first."""

    @abstractmethod
    def _free_number(self, first: int) -> int:
        """The first number from ``first`` on whose name is free."""

    @abstractmethod
    def _remove_earlier(self) -> None:
        """Remove the temporary file that the state remembers, where the server allows it."""

    @abstractmethod
    def _remove_temporary(self) -> None:
        """Remove this attempt's temporary file, where the server allows it."""

    @abstractmethod
    def _discard(self) -> None:
        """The same after a failure: within seconds, not cancelled by anything, never raising."""

    @abstractmethod
    def _rename_refused(self, error: Refused) -> DeliveryError:
        """Why the temporary file could not get its name."""

    # --- conflicts ------------------------------------------------------------------------------

    def _taken_already(self) -> Receipt | None:
        if self._target.conflict not in (ConflictPolicy.SKIP, ConflictPolicy.FAIL):
            return None
        return self._taken() if self.exists(self._target.path) else None

    def _taken(self) -> Receipt:
        """What ``skip`` and ``fail`` answer to a name that is taken."""
        path = self._target.path
        if self._target.conflict is ConflictPolicy.FAIL:
            raise DeliveryError(ErrorKind.CONFLICT, f"{self._full(path)} is there already")
        there = self._look(self._full(path))
        size = there.size if there is not None else None
        return Receipt(self._full(path), size, path=path, skipped=True)

    def _clear_earlier(self) -> None:
        """Remove what earlier attempts left; a server that does not allow it keeps it, until the sweep."""
        temporary = self._context.state.get("temporary")
        if temporary is not None:
            self._context.abandon_later(temporary=temporary)
            self._remove_earlier()

    # --- publication ----------------------------------------------------------------------------

    def _publish(self) -> str | None:
        """Move to the final name; returns the path used, None when ``skip`` met a taken name."""
        try:
            if self._target.conflict is ConflictPolicy.OVERWRITE:
                if not self._replace(self._full(self._target.path)):
                    self._extra["replaced_atomically"] = False
                return self._target.path
            path = self._create()
            if not self._creates_safely():
                self._extra["create_only"] = False
        except Refused as error:
            raise self._rename_refused(error) from None
        except LinkLost as error:
            raise DeliveryError(
                ErrorKind.UNKNOWN_OUTCOME, f"the connection broke while publishing: {error}"
            ) from None
        return path

    def _create(self) -> str | None:
        path, number = self._target.path, 0
        while not self._create_at(self._full(path)):
            if self._target.conflict is not ConflictPolicy.RENAME:
                self._remove_temporary()
                return None
            number = self._free_number(number + 1)
            path = self._target.numbered(number)
            self._context.save(path=path)
        return path

    def _no_free_name(self) -> DeliveryError:
        return DeliveryError(ErrorKind.CONFLICT, f"no free name like {self._target.numbered(1)}")

    # --- helpers --------------------------------------------------------------------------------

    def _verified(self, there: Entry | None) -> tuple[Verify, int]:
        """The temporary file, as a look at it told, compared with the payload."""
        if there is None:
            raise DeliveryError(ErrorKind.TRANSIENT, "the temporary file vanished after it was written")
        size = self._parcel.size
        if there.size is not None and there.size != size:
            raise DeliveryError(ErrorKind.INTEGRITY, f"the server holds {there.size} of {size} bytes")
        if there.size is not None and self._options.verify is Verify.SIZE:
            return Verify.SIZE, size
        if not self._has_bytes(self._temporary):
            raise DeliveryError(ErrorKind.INTEGRITY, "the file on the server has another SHA-256 digest")
        return Verify.SHA256, size

    @property
    def _folder(self) -> str:
        return self._temporary.rpartition("/")[0]

    def _full(self, path: str) -> str:
        return names.join(self._options.remote_path, path)

    @contextlib.contextmanager
    def _discarded_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._discard()
            raise

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
