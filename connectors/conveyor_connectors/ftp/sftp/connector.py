"""The SFTP connector."""

from __future__ import annotations

from collections.abc import Iterator

from conveyor.contract import AttemptContext, CheckStep, DeliveryError, Parcel, ServerKey, Target
from conveyor_connectors.ftp.connector import CANARY, FileConnector, not_what_was_written
from conveyor_connectors.ftp.folders import SWEEP_MOST
from conveyor_connectors.ftp.server import Refused
from conveyor_connectors.ftp.sftp import wire
from conveyor_connectors.ftp.sftp.client import StatusError
from conveyor_connectors.ftp.sftp.delivery import SftpDelivery, discard
from conveyor_connectors.ftp.sftp.errors import of_status
from conveyor_connectors.ftp.sftp.folders import removed, require_folder
from conveyor_connectors.ftp.sftp.publish import Publisher
from conveyor_connectors.ftp.sftp.session import Session, connect, scan_host_key
from conveyor_connectors.ftp.sftp.trust import is_known, remember
from conveyor_connectors.ftp.spec import SFTP_CAPABILITIES

_TRUSTED_FOR = 2.0
"""Seconds after its last use in which an open connection is used without asking whether it still answers."""

_PING = 5.0


class SftpConnector(FileConnector[Session]):
    """Delivers files over SFTP."""

    rules = SFTP_CAPABILITIES.names

    # --- trust ----------------------------------------------------------------------------------

    def host_key(self) -> ServerKey:
        """The key that the server shows now. For ``conveyor trust``."""
        line, fingerprint = scan_host_key(self._options.host, self._options.port, self._env.network)
        return ServerKey(line, fingerprint, is_known(line, self._options, self._env))

    def trust(self, line: str) -> None:
        """Remember ``line`` as the server's key, in place of an older one. For ``conveyor trust``."""
        remember(line, self._options, self._env)

    # --- SFTP's own way -------------------------------------------------------------------------

    def _connect(self, context: AttemptContext) -> Session:
        session = connect(self._options, self._env, context.check)
        self._publisher = Publisher(session.client, f"{self._options.host}:{self._options.port}")
        return session

    def _is_alive(self, session: Session, unused: float) -> bool:
        return unused < _TRUSTED_FOR or session.answers(_PING)

    def _delivery(
        self, session: Session, parcel: Parcel, target: Target, context: AttemptContext
    ) -> SftpDelivery:
        return SftpDelivery(session, self._publisher, self._options, parcel, target, context)

    def _discard(self, session: Session, temporary: str) -> None:
        discard(session.client, {"temporary": temporary})

    def _explained(self, error: Refused, doing: str) -> DeliveryError:
        assert isinstance(error, StatusError)
        return of_status(error, doing)

    def _login_steps(self, session: Session) -> Iterator[CheckStep]:
        yield CheckStep("log in", True, f"{self._options.username} at {session.server}")

    def _require_base(self, session: Session) -> None:
        require_folder(session.client, self._options.remote_path)

    def _listing(self, session: Session, folder: str) -> list[tuple[str, float | None]]:
        found = session.client.listing(folder or ".", most=SWEEP_MOST)
        return [(name, attributes.mtime) for name, attributes in found]

    def _changed(self, session: Session, path: str) -> float | None:
        there = session.client.lstat(path)
        return None if there is None else there.mtime

    def _write_canary(self, session: Session, path: str) -> None:
        client = session.client
        handle = client.open(path, wire.Open.WRITE | wire.Open.CREAT | wire.Open.EXCL)
        client.settle(client.write(handle, 0, CANARY))
        client.close(handle)
        there = client.lstat(path)
        if there is None or there.size not in (None, len(CANARY)):
            raise not_what_was_written(path)

    def _rename(self, session: Session, source: str, target: str) -> None:
        session.client.rename(source, target)

    def _removed(self, session: Session, path: str) -> bool:
        return removed(session.client, path)
