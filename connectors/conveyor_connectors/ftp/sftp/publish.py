"""The publishing step: from the temporary name to the final one, atomically where the server lets us."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable

from conveyor.contract import AttemptContext, ErrorKind
from conveyor.kit.turns import Turns
from conveyor_connectors.ftp import names
from conveyor_connectors.ftp.sftp import wire
from conveyor_connectors.ftp.sftp.client import Client, StatusError
from conveyor_connectors.ftp.sftp.errors import kind_of_status
from conveyor_connectors.ftp.sftp.folders import removed
from conveyor_connectors.ftp.sftp.wire import Status

_NEW = wire.Open.WRITE | wire.Open.CREAT | wire.Open.EXCL


class CreateBy(enum.StrEnum):
    """How a file appears under a name only if the name is free."""

    RENAME = "rename"
    """The server's rename refuses a taken name: OpenSSH, mod_sftp, asyncssh, and the protocol's own words."""
    LINK = "link"
    """Its rename replaces, but a hard link refuses: link, then remove the temporary name."""
    LOOK = "look"
    """Its rename replaces and it has no links (rclone): look, then rename. Threads of this process take
    turns; between two processes a file can be lost."""


_publishing = Turns()


class Publisher:
    """Publishes over one connection; learns once how its server behaves.

    Args:
        client: The session.
        server: Names the server, so that threads which publish there can take turns.
    """

    def __init__(self, client: Client, server: str) -> None:
        self._client = client
        self._server = server
        self._create_by: CreateBy | None = None

    def replace(self, temporary: str, final: str, context: AttemptContext) -> bool:
        """Rename over whatever is at ``final``. Returns True when that was atomic.

        Raises:
            StatusError: Refused.
        """
        context.before_commit()
        if wire.POSIX_RENAME in self._client.extensions:
            try:
                self._client.posix_rename(temporary, final)
            except StatusError as error:
                if error.code != Status.OP_UNSUPPORTED:
                    raise
            else:
                return True
        return self._replace_in_steps(temporary, final, context)

    def _replace_in_steps(self, temporary: str, final: str, context: AttemptContext) -> bool:
        try:
            self._client.rename(temporary, final)
        except StatusError:
            there = self._client.lstat(final)
            if there is None or there.is_folder:
                raise
        else:
            return True
        context.log.warning("the server cannot replace a file atomically; removing the old one first")
        context.before_commit()
        self._client.remove(final)
        self._client.rename(temporary, final)
        return False

    def create(self, temporary: str, final: str, context: AttemptContext) -> bool:
        """Publish only if ``final`` is free. Returns False when it is taken.

        Raises:
            StatusError: Refused for another reason.
        """
        way = self.create_by(temporary, context)
        if way is CreateBy.RENAME:
            return self._try(final, context, lambda: self._client.rename(temporary, final))
        if way is CreateBy.LINK:
            context.save(linked=True)
            if not self._try(final, context, lambda: self._client.hardlink(temporary, final)):
                return False
            self._client.remove(temporary)
            return True
        context.before_commit()  # no waiting for a turn that may not be used
        with _publishing.take(f"{self._server} {final}", context.check):
            if self._client.lstat(final) is not None:
                return False
            return self._try(final, context, lambda: self._client.rename(temporary, final))

    def create_by(self, temporary: str, context: AttemptContext) -> CreateBy:
        """How this server can be made to refuse a taken name, learnt beside ``temporary`` on first use."""
        if self._create_by is None:
            self._create_by = self._probe(temporary)
            if self._create_by is CreateBy.LOOK:
                context.log.warning(
                    "this server's rename replaces silently: deliver to it from one process only, or files "
                    "of one name can replace each other"
                )
        return self._create_by

    def _try(self, final: str, context: AttemptContext, publish: Callable[[], None]) -> bool:
        context.before_commit()
        try:
            publish()
        except StatusError as error:
            if kind_of_status(error) is ErrorKind.NAME or self._client.lstat(final) is None:
                raise
            return False
        return True

    def _probe(self, temporary: str) -> CreateBy:
        first, second = names.probes(temporary)
        try:
            for path in (first, second):
                removed(self._client, path)
                self._client.close(self._client.open(path, _NEW))
            return self._probe_with(first, second)
        finally:
            removed(self._client, first)
            removed(self._client, second)

    def _probe_with(self, first: str, second: str) -> CreateBy:
        with contextlib.suppress(StatusError):
            self._client.rename(first, second)
            if wire.HARDLINK not in self._client.extensions:
                return CreateBy.LOOK
            try:
                self._client.hardlink(second, first)
            except StatusError:
                return CreateBy.LOOK
            with contextlib.suppress(StatusError):
                self._client.hardlink(second, first)
                return CreateBy.LOOK
            return CreateBy.LINK
        return CreateBy.RENAME
