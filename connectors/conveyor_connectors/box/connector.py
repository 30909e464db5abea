"""The connector of type ``box``."""

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
from conveyor.kit.folders import Folders
from conveyor.kit.naming import tried_before
from conveyor_connectors.box.checking import check
from conveyor_connectors.box.client import Client
from conveyor_connectors.box.errors import classify
from conveyor_connectors.box.options import BoxOptions
from conveyor_connectors.box.placing import Placer
from conveyor_connectors.box.service import FolderIds, Service, missing
from conveyor_connectors.box.sessions import Sessions, Upload


def open_box(options: BoxOptions, env: ConnectorEnv) -> BoxConnector:
    """The factory named in the spec."""
    return BoxConnector(options, env)


class BoxConnector:
    """Puts files into one folder of Box. See :class:`conveyor.contract.Connector`.

    Atomic by nature: a file is there when its upload is whole. Names are unique in a folder, so that Box
    itself refuses a second file of one name.
    """

    def __init__(self, options: BoxOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env
        self._client: Client | None = None
        self._folders: Folders | None = None

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel at the target by its conflict policy."""
        with guarded("deliver", classify):
            return self._placer(context).place(parcel, target, context)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Whether an earlier attempt of this delivery arrived."""
        with guarded("look for the file", classify):
            service, placer = self._service(context), self._placer(context)
            tried = tried_before(target, context)
            path = tried or target.path
            name = path.rpartition("/")[2]
            item = self._folders_by(service).look(
                target.parents, lambda folder: service.look(folder, name, parcel.size)
            )
            if item is None:
                return Found(FoundKind.ABSENT)
            if item.folder or item.sha1 not in (None, parcel.digests["sha1"]):
                return Found(FoundKind.OTHER)
            if (mine := placer.own(item, path, parcel, tried, Upload.load(context.state))) is not None:
                return Found(FoundKind.MINE, placer.receipt(mine, path, target))
            there = service.file(item.id)
            kind = FoundKind.SAME_BYTES if there.holds(parcel) else FoundKind.OTHER
            return Found(kind, placer.receipt(there, path, target) if there.holds(parcel) else None)

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Remove the upload session that a dead delivery left."""
        upload = Upload.load(state)
        if upload is not None:
            with guarded("remove the upload session", classify):
                Sessions(self._service(context)).abandon(upload)

    def check(self, context: AttemptContext) -> CheckReport:
        """Sign in; write, verify and delete a canary."""
        with guarded("test the folder", classify):
            return check(self._service(context), self._options.folder_id, self._env.clock(), context)

    def prepare(self, context: AttemptContext) -> str:
        """See :class:`conveyor.contract.PreparesPlace`: whether the folder can be seen."""
        with guarded("look at the folder", classify):
            name = self._service(context).folder_name(self._options.folder_id)
            return f"folder {name} (id {self._options.folder_id})"

    def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # --- inside ---------------------------------------------------------------------------------

    def _service(self, context: AttemptContext) -> Service:
        if self._client is None:
            self._client = Client.open(self._options, self._env)
        return Service(self._client, context)

    def _placer(self, context: AttemptContext) -> Placer:
        service = self._service(context)
        return Placer(service, self._folders_by(service), self._options)

    def _folders_by(self, service: Service) -> Folders:
        """The folders as this connector knows them, asked about in this attempt."""
        if self._folders is None:
            self._folders = Folders(
                FolderIds(service),
                self._env.memory,
                self._options.folder_id,
                clock=self._env.clock,
                key=str.casefold,
                finds_first=False,
                missing=missing,
            )
        self._folders.service = FolderIds(service)
        return self._folders
