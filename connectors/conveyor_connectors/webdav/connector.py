"""The connector of type ``webdav``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from conveyor.contract import (
    AttemptContext,
    CheckReport,
    ConflictPolicy,
    ConnectorEnv,
    DeliveryError,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor_connectors.webdav.checking import check
from conveyor_connectors.webdav.dav import Dav
from conveyor_connectors.webdav.errors import of_exception
from conveyor_connectors.webdav.folders import Folders
from conveyor_connectors.webdav.options import WebdavOptions
from conveyor_connectors.webdav.placing import Placer
from conveyor_connectors.webdav.upload import Uploader


class WebdavConnector:
    """Puts files into one folder of a WebDAV server. See :class:`conveyor.contract.Connector`.

    A file is sent under a temporary name, which carries delivery and fence, verified there, and renamed by
    MOVE: some servers write in place and keep the half of an upload that was cut off.
    ``Overwrite: F`` lets the server itself refuse a name that is taken; ``If-None-Match`` would not do, since
    nginx and rclone ignore it.
    """

    def __init__(self, options: WebdavOptions, env: ConnectorEnv) -> None:
        self._env = env
        self._dav = Dav(options, env)
        self._folders = Folders(self._dav)
        self._uploader = Uploader(self._dav, self._folders)
        self._placer = Placer(self._dav, self._folders, self._uploader)
        self._greeted = False

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Put the parcel at the target by its conflict policy."""
        with self._guard("deliver"):
            self._greet(context)
            return self._placer.place(parcel, target, context)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Whether an earlier attempt of this delivery arrived."""
        with self._guard("look for the file"):
            if (mine := self._placer.earlier(parcel, target, context)) is not None:
                return Found(FoundKind.MINE, mine)
            there = self._dav.stat(target.path, context)
            if there is None:
                return Found(FoundKind.ABSENT)
            if target.conflict not in (ConflictPolicy.OVERWRITE, ConflictPolicy.SKIP):
                return Found(FoundKind.OTHER)
            digest = self._placer.same_bytes(parcel, target.path, context)
            if digest is None:
                return Found(FoundKind.OTHER)
            url = self._dav.url_of(target.path)
            verified = digest.partition(":")[0]
            receipt = Receipt(url, parcel.size, digest=digest, verified=verified, path=target.path)
            return Found(FoundKind.SAME_BYTES, receipt)

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Remove the temporary file and the chunks of a delivery that has ended."""
        with self._guard("remove what was left"):
            self._placer.clear(state, context)

    def check(self, context: AttemptContext) -> CheckReport:
        """Log in; write, verify, rename and delete a canary."""
        with self._guard("test the destination"):
            return check(self._dav, self._uploader, self._env.clock(), context)

    def close(self) -> None:
        """Close the connection."""
        self._dav.close()

    def _greet(self, context: AttemptContext) -> None:
        """Once per connector, before the first body: a refusal then costs no upload.

        It also brings the challenge that digest authentication answers.
        """
        if not self._greeted:
            with context.phase("connect"):
                self._dav.require_base(context)
            self._greeted = True

    @contextlib.contextmanager
    def _guard(self, doing: str) -> Iterator[None]:
        """Let only the contract's errors out, and trust nothing remembered after one."""
        try:
            yield
        except DeliveryError:
            self._distrust()
            raise
        except Exception as error:
            self._distrust()
            raise of_exception(error, doing) from None

    def _distrust(self) -> None:
        self._greeted = False
        self._folders.forget()
