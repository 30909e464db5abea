"""What the connectors to file servers share: one connection, kept open between deliveries."""

from __future__ import annotations

import contextlib
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import ClassVar, Generic, Protocol, TypeVar

from conveyor.contract import (
    AttemptContext,
    CheckReport,
    CheckStep,
    ConnectorEnv,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    NameRules,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor_connectors.ftp import names
from conveyor_connectors.ftp.delivery import FileDelivery
from conveyor_connectors.ftp.folders import outdated
from conveyor_connectors.ftp.options import FtpOptions
from conveyor_connectors.ftp.server import LinkLost, Refused

CANARY = b"Conveyor checks that it may write here. This file may be deleted.\n"
_PATH_MAX = 4095
"""Bytes of a whole path, the destination's folder included: Linux's limit."""


class OpenSession(Protocol):
    """A connection that is logged in. Not for concurrent use."""

    @property
    def sound(self) -> bool:
        """The connection is up, and nothing is owed in either direction."""

    def pulsing(self, pulse: Callable[[], None]) -> AbstractContextManager[None]:
        """Ask ``pulse`` at least twice a second while something is waited for."""

    def close(self) -> None:
        """Hang up. Never raises."""


S = TypeVar("S", bound=OpenSession)


class FileConnector(ABC, Generic[S]):
    """Delivers files to a server that has folders.

    Args:
        options: The destination.
        env: What the engine lends.

    Attributes:
        rules: Which names are legal.
    """

    rules: ClassVar[NameRules]

    def __init__(self, options: FtpOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env
        self._session: S | None = None
        self._used = 0.0
        self._swept = False

    # --- the contract ---------------------------------------------------------------------------

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Upload to a temporary name beside the target, verify, rename."""
        self._require_legal(target)
        with self._using(context) as session:
            delivery = self._delivery(session, parcel, target, context)
            self._sweep_once(session, target)
            return delivery.run()

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Tell what stands at the target; MINE by the saved names and the bytes."""
        with self._using(context) as session:
            delivery = self._delivery(session, parcel, target, context)
            receipt = delivery.earlier()
            if receipt is not None:
                return Found(FoundKind.MINE, receipt)
            if not delivery.exists(target.path):
                return Found(FoundKind.ABSENT)
            size = delivery.same_bytes_at(target.path)
            if size is None:
                return Found(FoundKind.OTHER)
            return Found(FoundKind.SAME_BYTES, delivery.receipt_for(target.path, size))

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Remove the temporary file that ``state`` remembers."""
        temporary = state.get("temporary")
        if not isinstance(temporary, str):
            return
        with self._using(context) as session:
            try:
                self._discard(session, temporary)
            except Refused as error:
                raise self._explained(error, "removing a temporary file") from None

    def check(self, context: AttemptContext) -> CheckReport:
        """Log in, find the folder, write, rename and delete a small file."""
        with self._using(context) as session:
            steps = list(self._login_steps(session))
            self._require_base(session)
            steps.append(CheckStep("folder", True, self._options.remote_path or "the login's own"))
            return CheckReport((*steps, *self._try_out(session)))

    def close(self) -> None:
        """Hang up."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    # --- what each protocol does in its own way -------------------------------------------------

    @abstractmethod
    def _connect(self, context: AttemptContext) -> S:
        """Open a session and log in. Raises DeliveryError."""

    @abstractmethod
    def _is_alive(self, session: S, unused: float) -> bool:
        """Whether a session that was sound when last used, ``unused`` seconds ago, still answers."""

    @abstractmethod
    def _delivery(
        self, session: S, parcel: Parcel, target: Target, context: AttemptContext
    ) -> FileDelivery: ...

    @abstractmethod
    def _discard(self, session: S, temporary: str) -> None:
        """Remove a temporary file; one that is gone already is no matter. Raises Refused."""

    @abstractmethod
    def _explained(self, error: Refused, doing: str) -> DeliveryError: ...

    @abstractmethod
    def _login_steps(self, session: S) -> Iterator[CheckStep]:
        """What ``check`` says of the login."""

    @abstractmethod
    def _require_base(self, session: S) -> None:
        """Raise CONFIG unless the destination's folder is there."""

    @abstractmethod
    def _listing(self, session: S, folder: str) -> list[tuple[str, float | None]]:
        """Names in a folder and when they changed by the server's clock, as many as one look gives.

        Raises Refused.
        """

    @abstractmethod
    def _changed(self, session: S, path: str) -> float | None:
        """When a file changed by the server's clock; None when the server does not say. Raises Refused."""

    @abstractmethod
    def _write_canary(self, session: S, path: str) -> None:
        """Write :data:`CANARY`; raises INTEGRITY when it is not what stands there then."""

    @abstractmethod
    def _rename(self, session: S, source: str, target: str) -> None:
        """Rename. Raises Refused."""

    @abstractmethod
    def _removed(self, session: S, path: str) -> bool:
        """Remove ``path`` if it is there and may be removed; True when it was."""

    # --- helpers --------------------------------------------------------------------------------

    def _require_legal(self, target: Target) -> None:
        rules = self.rules
        longest = max(_size(segment) for segment in target.segments)
        whole = _size(names.join(self._options.remote_path, target.path))
        if longest > rules.segment_max or _size(target.path) > rules.path_max or whole > _PATH_MAX:
            raise DeliveryError(
                ErrorKind.NAME, f"a name of {longest} bytes in a path of {whole} is longer than servers take"
            )

    @contextlib.contextmanager
    def _using(self, context: AttemptContext) -> Iterator[S]:
        """An open session; kept afterwards only when nothing is left unsaid on it."""
        session = self._open(context)
        try:
            with session.pulsing(context.check):
                yield session
        except Refused as error:
            raise self._explained(error, "a request") from None
        except LinkLost as error:
            raise DeliveryError(ErrorKind.TRANSIENT, self._where(str(error))) from None
        finally:
            self._used = time.monotonic()
            if not session.sound:
                self.close()

    def _open(self, context: AttemptContext) -> S:
        session = self._session
        if session is not None:
            if session.sound and self._is_alive(session, time.monotonic() - self._used):
                return session
            self.close()
        with context.phase("connect"):
            self._session = session = self._connect(context)
        return session

    def _where(self, what: str) -> str:
        return f"{self._options.host}:{self._options.port}: {what}"

    def _sweep_once(self, session: S, target: Target) -> None:
        """Once per connector, in the folder of its first file; a crash elsewhere may have left something."""
        if self._swept:
            return
        self._swept = True
        folder = names.join(self._options.remote_path, "/".join(target.parents))
        count = 0
        with contextlib.suppress(Refused):  # nothing here is worth failing a delivery for
            listing = self._listing(session, folder)
            # Seldom: the server is asked for its time only when ours says that there is something to remove.
            if outdated(listing, self._env.clock()):
                now = self._time_there(session, folder)
                old = [] if now is None else outdated(listing, now)
                count = sum(self._removed(session, names.join(folder, name)) for name in old)
        if count:
            self._env.log.info("removed temporary files older than a day", folder=folder, count=count)

    def _time_there(self, session: S, folder: str) -> float | None:
        """The server's clock, by a file that is written now: it and ours may be days apart."""
        path = names.temporary(folder, f"clock-{uuid.uuid4().hex}", 1)
        try:
            with contextlib.suppress(Refused, DeliveryError):  # on a full disk the empty file tells it, too
                self._write_canary(session, path)
            return self._changed(session, path)
        finally:
            self._removed(session, path)

    def _try_out(self, session: S) -> Iterator[CheckStep]:
        base = self._options.remote_path
        first = names.temporary(base, f"check-{uuid.uuid4().hex}", 1)
        second = names.temporary(base, f"check-{uuid.uuid4().hex}", 2)
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("write", lambda: self._write_canary(session, first)),
            ("rename", lambda: self._rename(session, first, second)),
        )
        try:
            for name, step in steps:
                try:
                    step()
                except Refused as error:
                    raise self._explained(error, f"{name} in {base or 'the login folder'}") from None
                yield CheckStep(name, True)
        except BaseException:
            with contextlib.suppress(LinkLost):  # the first error tells more
                self._removed(session, first)
                self._removed(session, second)
            raise
        deleted = self._removed(session, second)
        yield CheckStep("delete", deleted, "" if deleted else f"not permitted: {second} stays there")


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def not_what_was_written(path: str) -> DeliveryError:
    """The error for a canary that came out different."""
    return DeliveryError(ErrorKind.INTEGRITY, f"{path} was written, and is not what was written")
