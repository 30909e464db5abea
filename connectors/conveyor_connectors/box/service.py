"""Box's operations as the connector needs them: each one request, its errors the contract's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from box_sdk_gen.managers.folders import CreateFolderParent
from box_sdk_gen.managers.uploads import (
    PreflightFileUploadCheckParent,
    UploadFileAttributes,
    UploadFileAttributesParentField,
    UploadFileVersionAttributes,
)

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel
from conveyor.kit.bodies import Body, Publishing
from conveyor_connectors.box.client import Client
from conveyor_connectors.box.errors import Item, Taken, classify, conflict, status_of

FIELDS = ["id", "type", "name", "etag", "size", "sha1", "content_created_at", "file_version"]
"""Of these :func:`stored` makes a :class:`Stored`. Unless asked for fewer Box tells some thirty, and the
SDK makes objects of them all."""

PAGE = 1000
"""Items listed in one answer, the most that Box gives."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file at Box.

    Attributes:
        created: When its content was made, as whoever uploaded it said; whole seconds since the epoch.
    """

    id: str
    name: str
    etag: str
    size: int
    sha1: str
    version: str | None
    created: int | None

    def holds(self, parcel: Parcel) -> bool:
        """It has the parcel's bytes."""
        return self.size == parcel.size and self.sha1 == parcel.digests["sha1"]

    def written_for(self, parcel: Parcel) -> bool:
        """It has the parcel's bytes and its time of submission: what an upload of this delivery looks like.

        Box keeps no words of ours with an upload. The time is in whole seconds.
        """
        return self.holds(parcel) and self.created == int(parcel.submitted_at)


class Service:
    """Requests to Box, for one attempt: none waits longer than the attempt may take."""

    def __init__(self, client: Client, context: AttemptContext) -> None:
        self.client = client
        self._context = context

    def call(
        self, doing: str, request: Callable[[], _Answer], *, sent: Callable[[], bool] | None = None
    ) -> _Answer:
        """Make a request; once more with another token when Box rejects the first.

        Args:
            doing: For the message: ``"upload the file"``.
            request: Makes it; called again, it begins anew.
            sent: Whether the whole of a publishing request went out.

        Raises:
            Taken: The name is in use.
            DeliveryError: Anything else.
        """
        self.client.limit(self._context.remaining())
        try:
            try:
                return request()
            except Exception as error:
                if status_of(error) != 401:
                    raise
            self.client.auth.renew()
            return request()
        except Exception as error:
            if (taken := conflict(error)) is not None:
                raise taken from None
            raise classify(error, doing, sent=sent() if sent else False) from None

    # --- looking ---------------------------------------------------------------------------------

    def look(self, folder: str, name: str, size: int) -> Item | None:
        """What stands under a name, by the check that Box offers before an upload; None when it is free.

        It also tells whether a file of that size would fit (https://developer.box.com/guides/uploads/check/).

        Raises:
            DeliveryError: QUOTA, TOO_LARGE, NAME and what else an upload would meet.
        """
        try:
            self.call(
                "check the upload",
                lambda: self.client.uploads.preflight_file_upload_check(
                    name=name, size=size, parent=PreflightFileUploadCheckParent(id=folder)
                ),
            )
        except Taken as taken:
            if taken.item is None:
                raise DeliveryError(
                    ErrorKind.TRANSIENT, f"Box did not say what is in the way of {name}"
                ) from None
            return taken.item
        return None

    def file(self, number: str) -> Stored:
        """A file by its id."""
        return stored(
            self.call("look at the file", lambda: self.client.files.get_file_by_id(number, fields=FIELDS))
        )

    def folder_name(self, number: str) -> str:
        """The name of a folder, which is there and not in the trash."""
        found = self.call(
            "look at the folder",
            lambda: self.client.folders.get_folder_by_id(number, fields=["name", "item_status"]),
        )
        return str(found.name or "")

    # --- changing --------------------------------------------------------------------------------

    def upload(self, parcel: Parcel, folder: str, name: str, context: AttemptContext) -> Stored:
        """A new file in one request.

        Raises:
            Taken: The name is in use.
        """
        time = _time_of(parcel)
        attributes = UploadFileAttributes(
            name,
            UploadFileAttributesParentField(folder),
            content_created_at=time,
            content_modified_at=time,
        )

        def send(body: Body) -> Any:
            return self.client.uploads.upload_file(
                attributes,
                body,  # type: ignore[arg-type]  # as much of a stream as is read
                file_file_name=name,
                file_content_type="application/octet-stream",
                fields=FIELDS,
                content_md_5=parcel.digests["sha1"],  # the header's name lies: Box takes a SHA-1 there
            )

        return self._send(parcel, context, send)

    def upload_version(self, parcel: Parcel, over: Stored, context: AttemptContext) -> Stored:
        """New content of a file in one request, if the file is still as it was seen."""
        attributes = UploadFileVersionAttributes(over.name, content_modified_at=_time_of(parcel))

        def send(body: Body) -> Any:
            return self.client.uploads.upload_file_version(
                over.id,
                attributes,
                body,  # type: ignore[arg-type]
                file_file_name=over.name,
                file_content_type="application/octet-stream",
                fields=FIELDS,
                if_match=over.etag,
                content_md_5=parcel.digests["sha1"],
            )

        return self._send(parcel, context, send)

    def _send(self, parcel: Parcel, context: AttemptContext, send: Callable[[Body], Any]) -> Stored:
        with parcel.open() as stream, context.phase("transfer"):
            body = Body(stream, 0, parcel.size, Publishing(context))

            def request() -> Any:
                body.begin()
                if not parcel.size:
                    context.before_commit()  # there is no last byte to wait for
                return send(body)

            answer = self.call("upload the file", request, sent=lambda: body.finished)
        return self.checked(answer, parcel)

    def checked(self, answer: Any, parcel: Parcel) -> Stored:
        """The file that an upload answers with, which must be what was sent.

        Raises:
            DeliveryError: INTEGRITY; the file is removed.
        """
        try:
            made = stored(answer.entries[0])
        except (AttributeError, IndexError, TypeError, ValueError):
            text = "Box's answer to the upload does not name the file"
            raise DeliveryError(ErrorKind.UNKNOWN_OUTCOME, text) from None
        if not made.holds(parcel):
            self.delete(made.id)
            raise DeliveryError(
                ErrorKind.INTEGRITY,
                f"Box holds {made.size} bytes with SHA-1 {made.sha1}, which is not what was sent",
            )
        return made

    def delete(self, number: str) -> None:
        """Remove a file; one that is gone is fine."""
        try:
            self.call("delete the file", lambda: self.client.files.delete_file_by_id(number))
        except DeliveryError as error:
            if not missing(error):
                raise


class FolderIds:
    """Folders for :class:`conveyor.kit.folders.Folders`: names are unique, and a conflict tells the id."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def find(self, parent: str, name: str) -> str | None:
        """The folder of this name, from the list of what is in ``parent``."""
        marker, wanted = None, name.casefold()
        while True:
            page: Any = self._service.call("list the folder", partial(self._page, parent, marker))
            for entry in page.entries or []:
                if entry.type == "folder" and str(entry.name).casefold() == wanted:
                    return str(entry.id)
            marker = page.next_marker
            if not marker:
                return None

    def _page(self, parent: str, marker: str | None) -> Any:
        # As text: the SDK would write a bool with a capital letter.
        by_marker: Any = "true"
        return self._service.client.folders.get_folder_items(
            parent, fields=["name"], usemarker=by_marker, marker=marker, limit=PAGE
        )

    def create(self, parent: str, name: str, planned: str | None) -> str:
        """Make it; what is there already is taken."""
        folders = self._service.client.folders
        try:
            made = self._service.call(
                "create the folder",
                lambda: folders.create_folder(name, CreateFolderParent(parent), fields=["id"]),
            )
        except Taken as taken:
            if taken.item is None or not taken.item.folder:
                raise DeliveryError(
                    ErrorKind.NAME, f"a file is called {name} where the path needs a folder"
                ) from None
            return taken.item.id
        return str(made.id)

    def is_still(self, folder: str, parent: str, name: str) -> bool:
        """Whether it lies there under this name."""
        folders = self._service.client.folders
        try:
            found = self._service.call(
                "look at the folder",
                lambda: folders.get_folder_by_id(folder, fields=["name", "parent", "item_status"]),
            )
        except DeliveryError as error:
            if missing(error):
                return False
            raise
        here = found.parent is not None and found.parent.id == parent
        return here and str(found.name).casefold() == name.casefold()

    def plan(self) -> str | None:
        """Box gives ids itself."""
        return None


def missing(error: DeliveryError) -> bool:
    """What was asked for is gone, or in the trash."""
    return error.code in ("not_found", "trashed", "404")


def _time_of(parcel: Parcel) -> datetime:
    return datetime.fromtimestamp(int(parcel.submitted_at), UTC)


def times_of(parcel: Parcel) -> Mapping[str, str]:
    """What a file made for this parcel is told of its times."""
    time = _time_of(parcel).isoformat()
    return {"content_created_at": time, "content_modified_at": time}


def stored(found: Any) -> Stored:
    """The SDK's file as ours.

    Raises:
        AttributeError, TypeError, ValueError: It lacks what every file has.
    """
    created = found.content_created_at
    return Stored(
        str(found.id),
        str(found.name),
        str(found.etag),
        int(found.size),
        str(found.sha_1).lower(),
        None if found.file_version is None else str(found.file_version.id),
        None if created is None else int(created.timestamp()),
    )
