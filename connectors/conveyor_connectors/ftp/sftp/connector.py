"""The connector: one SSH connection, kept open between deliveries."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator

from conveyor.contract import (
    AttemptContext,
    CheckReport,
    CheckStep,
    ConnectorEnv,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    ServerKey,
    State,
    Target,
)
from conveyor_connectors.ftp.options import FtpOptions
from conveyor_connectors.ftp.sftp import names, wire
from conveyor_connectors.ftp.sftp.client import Client, LinkLost, StatusError
from conveyor_connectors.ftp.sftp.delivery import Delivery, discard
from conveyor_connectors.ftp.sftp.errors import of_status
from conveyor_connectors.ftp.sftp.folders import removed, require_folder, sweep
from conveyor_connectors.ftp.sftp.publish import Publisher
from conveyor_connectors.ftp.sftp.session import Session, connect, scan_host_key
from conveyor_connectors.ftp.sftp.trust import is_known, remember
from conveyor_connectors.ftp.spec import CAPABILITIES

_TRUSTED_FOR = 2.0
"""Seconds after its last use in which an open connection is used without asking whether it still answers."""

_PING = 5.0
_CANARY = b"Conveyor checks that it may write here. This file may be deleted.\n"
_PATH_MAX = 4095
"""Bytes of a whole path, the destination's folder included: Linux's limit."""


class SftpConnector:
    """Delivers files over SFTP.

    Args:
        options: The destination.
        env: What the engine lends.
    """

    def __init__(self, options: FtpOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env
        self._session: Session | None = None
        self._publisher: Publisher | None = None
        self._used = 0.0
        self._swept = False

    # --- the contract ---------------------------------------------------------------------------

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Upload to a temporary name beside the target, verify, rename."""
        self._require_legal(target)
        with self._using(context) as session:
            assert self._publisher is not None
            delivery = Delivery(session, self._publisher, self._options, parcel, target, context)
            self._sweep_once(session, target)
            return delivery.run()

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Tell what stands at the target; MINE by the saved names and the bytes."""
        with self._using(context) as session:
            assert self._publisher is not None
            delivery = Delivery(session, self._publisher, self._options, parcel, target, context)
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
        if "temporary" not in state:
            return
        with self._using(context) as session:
            try:
                discard(session.client, state)
            except StatusError as error:
                raise of_status(error, "removing a temporary file") from None

    def check(self, context: AttemptContext) -> CheckReport:
        """Log in, find the folder, write, rename and delete a small file."""
        with self._using(context) as session:
            steps = [CheckStep("log in", True, f"{self._options.username} at {session.server}")]
            require_folder(session.client, self._options.remote_path)
            steps.append(CheckStep("folder", True, self._options.remote_path or "the login's own"))
            return CheckReport((*steps, *self._try_out(session)))

    def close(self) -> None:
        """Hang up."""
        session, self._session, self._publisher = self._session, None, None
        if session is not None:
            session.close()

    # --- trust ----------------------------------------------------------------------------------

    def host_key(self) -> ServerKey:
        """The key that the server shows now. For ``conveyor trust``."""
        line, fingerprint = scan_host_key(self._options.host, self._options.port, self._env.network)
        return ServerKey(line, fingerprint, is_known(line, self._options, self._env))

    def trust(self, line: str) -> None:
        """Remember ``line`` as the server's key, in place of an older one. For ``conveyor trust``."""
        remember(line, self._options, self._env)

    # --- helpers --------------------------------------------------------------------------------

    def _require_legal(self, target: Target) -> None:
        rules = CAPABILITIES.names
        longest = max(_size(segment) for segment in target.segments)
        whole = _size(names.join(self._options.remote_path, target.path))
        if longest > rules.segment_max or _size(target.path) > rules.path_max or whole > _PATH_MAX:
            raise DeliveryError(
                ErrorKind.NAME, f"a name of {longest} bytes in a path of {whole} is longer than servers take"
            )

    @contextlib.contextmanager
    def _using(self, context: AttemptContext) -> Iterator[Session]:
        """An open session; kept afterwards only when nothing is left unsaid on it."""
        session = self._open(context)
        try:
            with session.pulsing(context.check):
                yield session
        except StatusError as error:
            raise of_status(error, "a request") from None
        except LinkLost as error:
            raise DeliveryError(ErrorKind.TRANSIENT, self._where(str(error))) from None
        finally:
            self._used = time.monotonic()
            if not session.sound:
                self.close()

    def _open(self, context: AttemptContext) -> Session:
        session = self._session
        if session is not None:
            fresh = time.monotonic() - self._used < _TRUSTED_FOR
            if session.sound and (fresh or session.answers(_PING)):
                return session
            self.close()
        with context.phase("connect"):
            session = connect(self._options, self._env, context.check)
        self._session = session
        self._publisher = Publisher(session.client, f"{self._options.host}:{self._options.port}")
        return session

    def _where(self, what: str) -> str:
        return f"{self._options.host}:{self._options.port}: {what}"

    def _sweep_once(self, session: Session, target: Target) -> None:
        """Once per connector, in the folder of its first file; a crash elsewhere may have left something."""
        if self._swept:
            return
        self._swept = True
        folder = names.join(self._options.remote_path, "/".join(target.parents))
        count = sweep(session.client, folder, self._env.clock())
        if count:
            self._env.log.info("removed temporary files older than a day", folder=folder, count=count)

    def _try_out(self, session: Session) -> Iterator[CheckStep]:
        client, base = session.client, self._options.remote_path
        first = names.temporary(base, f"check-{uuid.uuid4().hex}", 1)
        second = names.temporary(base, f"check-{uuid.uuid4().hex}", 2)
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("write", lambda: _write_canary(client, first)),
            ("rename", lambda: client.rename(first, second)),
        )
        try:
            for name, step in steps:
                try:
                    step()
                except StatusError as error:
                    raise of_status(error, f"{name} in {base or 'the login folder'}") from None
                yield CheckStep(name, True)
        finally:
            removed(client, first)
            deleted = removed(client, second)
        yield CheckStep("delete", deleted, "" if deleted else f"not permitted: {second} stays there")


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _write_canary(client: Client, path: str) -> None:
    handle = client.open(path, wire.Open.WRITE | wire.Open.CREAT | wire.Open.EXCL)
    client.settle(client.write(handle, 0, _CANARY))
    client.close(handle)
    there = client.lstat(path)
    if there is None or there.size not in (None, len(_CANARY)):
        raise DeliveryError(ErrorKind.INTEGRITY, f"{path} was written, and is not what was written")
