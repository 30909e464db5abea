"""The connector of type ``onedrive``."""

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
from conveyor.kit.errors import from_transport, guarded
from conveyor.kit.folders import Folders
from conveyor.kit.naming import saved_path
from conveyor_connectors.onedrive.checking import check
from conveyor_connectors.onedrive.drive import Drive, FolderIds, Stored, missing
from conveyor_connectors.onedrive.graph import Graph, Wire
from conveyor_connectors.onedrive.options import OneDriveOptions
from conveyor_connectors.onedrive.placing import Placer
from conveyor_connectors.onedrive.sessions import Sessions, Upload


def open_onedrive(options: OneDriveOptions, env: ConnectorEnv) -> OneDriveConnector:
    """The factory named in the spec."""
    return OneDriveConnector(options, env)


class OneDriveConnector:
    """Puts files into one folder of a drive. See :class:`conveyor.contract.Connector`.

    Atomic by nature: a file is there when its last fragment is. Names are unique in a folder, so that Graph
    itself refuses a second file of one name.
    """

    def __init__(self, options: OneDriveOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env
        self._wire: Wire | None = None
        self._folders: Folders | None = None

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel at the target by its conflict policy."""
        with guarded("deliver", from_transport):
            return self._placer(self._drive(context)).place(parcel, target, context)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Whether an earlier attempt of this delivery arrived."""
        with guarded("look for the file", from_transport):
            drive = self._drive(context)
            placer = self._placer(drive)
            path = saved_path(context) or target.path
            name = path.rpartition("/")[2]
            there = self._folders_by(drive).look(
                placer.parents(target), lambda folder: drive.look(folder, name)
            )
            if there is None:
                return Found(FoundKind.ABSENT)
            if not isinstance(there, Stored):
                return Found(FoundKind.OTHER)
            if placer.own(there, path, parcel, self._ended(drive, parcel, context.state)):
                return Found(FoundKind.MINE, placer.receipt(there, parcel, path, target))
            if there.hash is None or not there.holds(parcel):
                return Found(FoundKind.OTHER if there.hash is not None else FoundKind.UNSURE)
            return Found(FoundKind.SAME_BYTES, placer.receipt(there, parcel, path, target))

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Remove the upload session that a dead delivery left; it would hold the name."""
        upload = Upload.load(state)
        if upload is not None:
            with guarded("remove the upload session", from_transport):
                Sessions(self._drive(context), self._options.fragment_size).abandon(upload)

    def check(self, context: AttemptContext) -> CheckReport:
        """Sign in; write, verify and delete a canary."""
        with guarded("test the folder", from_transport):
            drive = self._drive(context)
            return check(drive, self._placer(drive), self._env.clock(), context)

    def prepare(self, context: AttemptContext) -> str:
        """See :class:`conveyor.contract.PreparesPlace`: makes the folder."""
        with guarded("make the folder", from_transport):
            drive = self._drive(context)
            self._folders_by(drive).ensure(self._options.levels, context)
            return f"folder /{'/'.join(self._options.levels)} of the drive {drive.describe()}"

    def close(self) -> None:
        """Close the connections."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    # --- inside ---------------------------------------------------------------------------------

    def _drive(self, context: AttemptContext) -> Drive:
        if self._wire is None:
            self._wire = Wire(self._options, self._env)
        return Drive(Graph(self._wire, context))

    def _placer(self, drive: Drive) -> Placer:
        return Placer(drive, self._folders_by(drive), self._options)

    def _folders_by(self, drive: Drive) -> Folders:
        """The folders as this connector knows them, asked about in this attempt."""
        if self._folders is None:
            self._folders = Folders(
                FolderIds(drive),
                self._env.memory,
                "root",
                clock=self._env.clock,
                key=str.casefold,
                missing=missing,
            )
        self._folders.service = FolderIds(drive)
        return self._folders

    def _ended(self, drive: Drive, parcel: Parcel, state: State) -> State:
        """The state without a session that lives yet: it has made no file."""
        upload = Upload.load(state)
        if upload is None:
            return state
        try:
            Sessions(drive, self._options.fragment_size).standing(upload, parcel)
        except DeliveryError as error:
            if error.kind is not ErrorKind.SESSION_LOST:
                raise
            return state
        return {**state, "session": None}
