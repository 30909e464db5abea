"""The connector of type ``google_drive``."""

from __future__ import annotations

from conveyor.contract import (
    AttemptContext,
    CheckReport,
    ConnectorEnv,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor.kit.errors import guarded
from conveyor.kit.folders import Folders
from conveyor.kit.naming import saved_path
from conveyor_connectors.google_drive.checking import check
from conveyor_connectors.google_drive.client import Client
from conveyor_connectors.google_drive.errors import FOLDER, classify
from conveyor_connectors.google_drive.options import GoogleDriveOptions
from conveyor_connectors.google_drive.placing import Placer
from conveyor_connectors.google_drive.service import FolderIds, Ids, Service, moved
from conveyor_connectors.google_drive.sessions import Sessions, Upload


def open_google_drive(options: GoogleDriveOptions, env: ConnectorEnv) -> GoogleDriveConnector:
    """The factory named in the spec."""
    return GoogleDriveConnector(options, env)


class GoogleDriveConnector:
    """Puts files into one folder of Drive. See :class:`conveyor.contract.Connector`.

    Atomic by nature: a file is there when its last chunk is. Each file is made under an id that was asked for
    and saved before, so that no repetition makes a second one.
    """

    def __init__(self, options: GoogleDriveOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env
        self._client: Client | None = None
        self._folders: Folders | None = None
        self._ids = Ids()

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel at the target by its conflict policy."""
        with guarded("deliver", classify):
            return self._placer(self._service(context)).place(parcel, target, context)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Whether an earlier attempt of this delivery arrived."""
        with guarded("look for the file", classify):
            service = self._service(context)
            placer = self._placer(service)
            path = saved_path(context) or target.path
            if (made := placer.earlier(parcel, context)) is not None:
                return Found(FoundKind.MINE, placer.receipt(made, parcel, path, target))
            name = path.rpartition("/")[2]
            there = self._folders_by(service).look(
                placer.parents(target), lambda folder: placer.there(folder, name)
            )
            if not there:
                return Found(FoundKind.ABSENT)
            for file in reversed(there):
                if file.holds(parcel):
                    own = file.delivery == parcel.delivery_id
                    kind = FoundKind.MINE if own else FoundKind.SAME_BYTES
                    return Found(kind, placer.receipt(file, parcel, path, target))
            return Found(FoundKind.OTHER)

    def abandon(self, state: State, context: AttemptContext) -> None:
        """End the upload that a dead delivery left."""
        upload = Upload.load(state)
        if upload is not None:
            with guarded("end the upload", classify):
                Sessions(self._service(context), self._options.chunk_size).abandon(upload)

    def check(self, context: AttemptContext) -> CheckReport:
        """Sign in; write, verify and delete a canary."""
        with guarded("test the folder", classify):
            service = self._service(context)
            return check(service, self._placer(service), self._env.clock(), context)

    def prepare(self, context: AttemptContext) -> str:
        """See :class:`conveyor.contract.PreparesPlace`: finds the folder, or makes one of its own."""
        with guarded("make the folder", classify):
            service = self._service(context)
            folder = self._folders_by(service).ensure(self._options.levels, context)
            there = service.by_id(folder)
            if there is None or there.trashed:
                raise DeliveryError(
                    ErrorKind.CONFIG, "the folder cannot be seen by this sign-in", hint=FOLDER
                )
            return f"folder {there.name} (id {there.id})"

    def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # --- inside ---------------------------------------------------------------------------------

    def _service(self, context: AttemptContext) -> Service:
        if self._client is None:
            self._client = Client(self._options, self._env)
        return Service(self._client, self._ids, context)

    def _placer(self, service: Service) -> Placer:
        return Placer(service, self._folders_by(service), self._options)

    def _folders_by(self, service: Service) -> Folders:
        """The folders as this connector knows them, asked about in this attempt."""
        if self._folders is None:
            self._folders = Folders(
                FolderIds(service),
                self._env.memory,
                self._options.root,
                clock=self._env.clock,
                missing=moved,
            )
        self._folders.service = FolderIds(service)
        return self._folders
