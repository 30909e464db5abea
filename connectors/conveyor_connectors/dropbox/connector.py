"""The connector of type ``dropbox``."""

from __future__ import annotations

from conveyor.contract import (
    AttemptContext,
    CheckReport,
    ConnectorEnv,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor.kit.errors import guarded
from conveyor.kit.naming import tried_before
from conveyor_connectors.dropbox.checking import check
from conveyor_connectors.dropbox.client import Client
from conveyor_connectors.dropbox.errors import classify
from conveyor_connectors.dropbox.options import DropboxOptions
from conveyor_connectors.dropbox.placing import Placer
from conveyor_connectors.dropbox.service import Service, Stored


def open_dropbox(options: DropboxOptions, env: ConnectorEnv) -> DropboxConnector:
    """The factory named in the spec."""
    return DropboxConnector(options, env)


class DropboxConnector:
    """Puts files into one folder of Dropbox. See :class:`conveyor.contract.Connector`.

    Atomic by nature: a file is there when it is committed. Folders come by themselves.
    """

    def __init__(self, options: DropboxOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env
        self._client: Client | None = None

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel at the target by its conflict policy."""
        with guarded("deliver", classify):
            return Placer(self._service(context), self._options).place(parcel, target, context)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Whether an earlier attempt of this delivery arrived."""
        with guarded("look for the file", classify):
            service = self._service(context)
            placer = Placer(service, self._options)
            tried = tried_before(target, context)
            path = tried or target.path
            there = service.look(placer.full(path))
            if there is None:
                return Found(FoundKind.ABSENT)
            if not isinstance(there, Stored) or not there.holds(parcel):
                return Found(FoundKind.OTHER)
            kind = FoundKind.MINE if placer.own(there, path, parcel, tried) else FoundKind.SAME_BYTES
            return Found(kind, placer.receipt(there, path, target))

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Nothing can be removed: a session that nobody commits is invisible and ends after a week."""
        if "session" in state:
            context.log.info("an upload session that was not committed ends by itself")

    def check(self, context: AttemptContext) -> CheckReport:
        """Sign in; write, verify and delete a canary."""
        with guarded("test the folder", classify):
            return check(self._service(context), self._options.root, self._env.clock(), context)

    def prepare(self, context: AttemptContext) -> str:
        """See :class:`conveyor.contract.PreparesPlace`: makes the folder."""
        with guarded("make the folder", classify):
            root = self._options.root
            if root:
                self._service(context).make_folder(root)
            return f"folder {root or '/'}"

    def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _service(self, context: AttemptContext) -> Service:
        if self._client is None:
            self._client = Client(self._options, self._env)
        return Service(self._client, context)
