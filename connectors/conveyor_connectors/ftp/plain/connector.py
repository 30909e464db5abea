"""The connector for FTP and FTPS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from conveyor.contract import AttemptContext, CheckStep, DeliveryError, Parcel, Target
from conveyor_connectors.ftp.connector import CANARY, FileConnector, not_what_was_written
from conveyor_connectors.ftp.plain.client import Client
from conveyor_connectors.ftp.plain.control import Reply
from conveyor_connectors.ftp.plain.delivery import FtpDelivery
from conveyor_connectors.ftp.plain.errors import of_reply
from conveyor_connectors.ftp.plain.folders import require_folder
from conveyor_connectors.ftp.plain.session import connect
from conveyor_connectors.ftp.server import Refused
from conveyor_connectors.ftp.spec import FTP_CAPABILITIES

_PING = 5.0
_TRUSTED_FOR = 1.0
"""Seconds after its last use in which a connection that says nothing by itself is used without a NOOP."""


class FtpConnector(FileConnector[Client]):
    """Delivers files over FTP, plain or over TLS."""

    rules = FTP_CAPABILITIES.names

    def _connect(self, context: AttemptContext) -> Client:
        return connect(self._options, self._env, context.check)

    def _is_alive(self, session: Client, unused: float) -> bool:
        return (unused < _TRUSTED_FOR and session.quiet) or session.answers(_PING)

    def _delivery(
        self, session: Client, parcel: Parcel, target: Target, context: AttemptContext
    ) -> FtpDelivery:
        return FtpDelivery(session, self._options, parcel, target, context)

    def _discard(self, session: Client, temporary: str) -> None:
        try:
            session.remove(temporary)
        except Reply:
            if session.look(temporary) is not None:
                raise

    def _explained(self, error: Refused, doing: str) -> DeliveryError:
        assert isinstance(error, Reply)
        return of_reply(error, doing)

    def _login_steps(self, session: Client) -> Iterator[CheckStep]:
        yield CheckStep("log in", True, f"{self._options.username} at {self._options.host}")
        sock = session.control.sock
        if isinstance(sock, ssl.SSLSocket):
            yield CheckStep("encryption", True, f"{sock.version()}, certificate verified")
        else:
            clear = "none: password and files travel in clear text; use ftps or sftp where the server has it"
            yield CheckStep("encryption", True, clear)

    def _require_base(self, session: Client) -> None:
        require_folder(session, self._options.remote_path)

    def _listing(self, session: Client, folder: str) -> list[tuple[str, float | None]]:
        return session.listing(folder)

    def _changed(self, session: Client, path: str) -> float | None:
        return session.changed(path)

    def _write_canary(self, session: Client, path: str) -> None:
        session.write(path, CANARY)
        there = session.look(path)
        if there is None or there.size not in (None, len(CANARY)):
            raise not_what_was_written(path)

    def _rename(self, session: Client, source: str, target: str) -> None:
        session.rename(source, target)

    def _removed(self, session: Client, path: str) -> bool:
        return session.removed(path)
