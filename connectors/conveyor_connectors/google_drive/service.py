"""Drive's operations as the connector needs them: each one request, its errors the contract's."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from googleapiclient.http import HttpRequest, MediaIoBaseUpload

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel
from conveyor_connectors.google_drive.client import Client
from conveyor_connectors.google_drive.errors import classify, status_of

FOLDER = "application/vnd.google-apps.folder"
FIELDS = (
    "id,name,size,md5Checksum,mimeType,parents,trashed,explicitlyTrashed,"
    "appProperties,headRevisionId,createdTime"
)
OWN = "conveyorDelivery"
"""The property of a file that names the delivery which made it."""
BATCH = 50
"""Ids asked for at once (files.generateIds gives up to 1000)."""
IN_TRASH = "trashed"
"""The code of an error: the folder is in the trash, and what is put into it is, too."""
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file or folder at Drive.

    Attributes:
        trashed: In the trash, by itself or with a folder above it.
        discarded: In the trash by itself: somebody has put it there.
        version: Of its content.
        created: RFC 3339, as Drive tells it.
    """

    id: str
    name: str
    size: int
    md5: str | None
    trashed: bool
    discarded: bool
    parents: tuple[str, ...]
    folder: bool
    delivery: str | None
    version: str | None
    created: str

    def holds(self, parcel: Parcel) -> bool:
        """It has the parcel's bytes."""
        return self.size == parcel.size and self.md5 == parcel.digests["md5"]


def stored(found: Mapping[str, Any]) -> Stored:
    """The SDK's document as ours.

    Raises:
        DeliveryError: UNKNOWN_OUTCOME, when it does not name a file.
    """
    try:
        return Stored(
            str(found["id"]),
            str(found.get("name", "")),
            int(found.get("size", 0)),
            found.get("md5Checksum"),
            bool(found.get("trashed", False)),
            bool(found.get("explicitlyTrashed", False)),
            tuple(str(each) for each in found.get("parents") or ()),
            found.get("mimeType") == FOLDER,
            (found.get("appProperties") or {}).get(OWN),
            found.get("headRevisionId"),
            str(found.get("createdTime", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DeliveryError(ErrorKind.UNKNOWN_OUTCOME, "Drive's answer does not name the file") from None


@dataclass
class Ids:
    """What one connector keeps between attempts.

    Attributes:
        left: Ids that Drive has made in advance.
        top: The id of My Drive; empty where the sign-in does not see it.
    """

    left: deque[str] = field(default_factory=deque)
    top: str | None = None


class Service:
    """Requests to Drive, for one attempt: none waits longer than the attempt may take."""

    def __init__(self, client: Client, ids: Ids, context: AttemptContext) -> None:
        self.client = client
        self._ids = ids
        self.context = context

    def call(
        self, doing: str, request: Callable[[], _Answer], *, sent: Callable[[], bool] | None = None
    ) -> _Answer:
        """Make a request; once more with another token when Drive rejects the first.

        Raises:
            DeliveryError: Anything but a success.
        """
        self.client.limit(self.context.remaining())
        try:
            try:
                return request()
            except Exception as error:
                if status_of(error) != 401:
                    raise
            self.client.http.renew()
            return request()
        except Exception as error:
            raise classify(error, doing, sent=bool(sent and sent())) from None

    def ask(self, doing: str, asked: HttpRequest) -> Any:
        """Make one of the SDK's requests; what it answers.

        Raises:
            DeliveryError: Anything but a success.
        """
        return self.call(doing, lambda: asked.execute(http=self.client.http))

    def new_id(self) -> str:
        """An id for a file that will be made: a second create under it is refused, and makes no twin."""
        if not self._ids.left:
            asked = self.client.files.generateIds(count=BATCH, space="drive", type="files")
            self._ids.left.extend(self.ask("ask for ids", asked)["ids"])
        return self._ids.left.popleft()

    # --- looking ---------------------------------------------------------------------------------

    def by_id(self, number: str) -> Stored | None:
        """What has this id, as far as the sign-in sees it."""
        asked = self.client.files.get(fileId=number, fields=FIELDS, supportsAllDrives=True)
        try:
            return stored(self.ask("look at the file", asked))
        except DeliveryError as error:
            if missing(error):
                return None
            raise

    def at_top(self, folder: Stored) -> bool:
        """Whether a folder lies directly in My Drive; yes, where that cannot be known."""
        if self._ids.top is None:
            there = self.by_id("root")
            self._ids.top = "" if there is None else there.id
        return not self._ids.top or self._ids.top in folder.parents

    def named(self, parent: str, name: str, *, folders: bool) -> list[Stored]:
        """Files (or folders) of this name, the oldest first; names are not unique."""
        sign = "=" if folders else "!="
        query = f"name = {quoted(name)} and {quoted(parent)} in parents and trashed = false"
        asked = self.client.files.list(
            q=f"{query} and mimeType {sign} {quoted(FOLDER)}",
            fields=f"nextPageToken,files({FIELDS})",
            orderBy="createdTime",
            pageSize=100,
            supportsAllDrives=True,
            includeItemsFromAllDrives=True,
            spaces="drive",
        )
        found: list[Mapping[str, Any]] = []
        while asked is not None:  # a page may be short, or empty, and not be the last
            page = self.ask("list the folder", asked)
            found += page.get("files", [])
            asked = self.client.files.list_next(asked, page)
            self.context.check()
        same = [stored(each) for each in found if each.get("name") == name]
        return sorted(same, key=lambda each: (each.created, each.id))

    # --- changing --------------------------------------------------------------------------------

    def make_folder(self, parent: str, name: str, planned: str) -> str:
        """A folder under an id of ours; one that has this id already is the one.

        Raises:
            DeliveryError: Of the code IN_TRASH, where ``parent`` is there.
        """
        body = {"id": planned, "name": name, "mimeType": FOLDER, "parents": [parent]}
        asked = self.client.files.create(body=body, fields=FIELDS, supportsAllDrives=True)
        try:
            made = stored(self.ask("create the folder", asked))
        except DeliveryError as error:
            if error.code != "fileIdInUse":
                raise
            there = self.by_id(planned)
            if there is not None and not there.trashed:
                return planned
            return self.make_folder(parent, name, self.new_id())  # ours was made, and is gone
        if made.trashed:
            raise in_trash()
        return made.id

    def upload(self, media: MediaIoBaseUpload, body: Mapping[str, Any], over: str | None) -> HttpRequest:
        """The SDK's request for a new file, or for new content of ``over``; not sent here."""
        common = {"body": dict(body), "media_body": media, "fields": FIELDS, "supportsAllDrives": True}
        if over is None:
            return self.client.files.create(**common)
        return self.client.files.update(fileId=over, **common)

    def move(self, there: Stored, folder: str, name: str) -> Stored:
        """Into another folder, under this name."""
        asked = self.client.files.update(
            fileId=there.id,
            addParents=folder,
            removeParents=",".join(there.parents),
            body={"name": name},
            fields=FIELDS,
            supportsAllDrives=True,
        )
        return stored(self.ask("move the file", asked))

    def drop_version(self, number: str, version: str) -> None:
        """Remove the newest content of a file: the one before it is the newest again."""
        asked = self.client.revisions.delete(fileId=number, revisionId=version)
        self.ask("remove the content that differs", asked)

    def delete(self, number: str) -> None:
        """Remove for good; what is gone is fine. Who may not, as a content manager of a shared drive, puts it
        into the trash (https://developers.google.com/workspace/drive/api/guides/delete).
        """
        try:
            try:
                asked = self.client.files.delete(fileId=number, supportsAllDrives=True)
                self.ask("delete the file", asked)
            except DeliveryError as error:
                if error.code != "insufficientFilePermissions":
                    raise
                asked = self.client.files.update(
                    fileId=number, body={"trashed": True}, fields="id", supportsAllDrives=True
                )
                self.ask("put the file into the trash", asked)
        except DeliveryError as error:
            if not missing(error):
                raise


def body_of(parcel: Parcel, number: str, parent: str, name: str) -> dict[str, Any]:
    """The metadata of a new file."""
    return {
        "id": number,
        "name": name,
        "parents": [parent],
        "mimeType": media_type(parcel),
        "appProperties": {OWN: parcel.delivery_id},
        "modifiedTime": stamp(parcel.submitted_at),
    }


def media_type(parcel: Parcel) -> str:
    """What the sender said it is, unless Drive would take that for a document of its own."""
    said = parcel.media_type.partition(";")[0].strip()
    usable = _TYPE.fullmatch(said) and not said.startswith("application/vnd.google-apps")
    return said if usable else "application/octet-stream"


def stamp(seconds: float) -> str:
    """RFC 3339, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def quoted(text: str) -> str:
    """A string of a query (https://developers.google.com/workspace/drive/api/guides/ref-search-terms)."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def missing(error: DeliveryError) -> bool:
    """What was asked for is gone, or out of sight."""
    return error.code in ("notFound", "404")


def in_trash() -> DeliveryError:
    """A folder that was remembered is in the trash."""
    return DeliveryError(
        ErrorKind.CONFIG,
        "the folder is in Drive's trash",
        hint="Restore the folder from the trash, or use another folder_id.",
        code=IN_TRASH,
    )


def moved(error: DeliveryError) -> bool:
    """A remembered folder is no longer the one."""
    return missing(error) or error.code == IN_TRASH


class FolderIds:
    """Folders for :class:`conveyor.kit.folders.Folders`: of twins the oldest, new ones under a planned id."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def find(self, parent: str, name: str) -> str | None:
        """The oldest folder of this name."""
        found = self._service.named(parent, name, folders=True)
        return found[0].id if found else None

    def create(self, parent: str, name: str, planned: str | None) -> str:
        """Make it, once however often it is asked."""
        return self._service.make_folder(parent, name, planned or self._service.new_id())

    def is_still(self, folder: str, parent: str, name: str) -> bool:
        """Whether it lies there under this name."""
        there = self._service.by_id(folder)
        if there is None or there.trashed or not there.folder or there.name != name:
            return False
        return self._service.at_top(there) if parent == "root" else parent in there.parents

    def plan(self) -> str | None:
        """An id of our own."""
        return self._service.new_id()
