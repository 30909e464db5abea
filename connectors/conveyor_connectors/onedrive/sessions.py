"""Uploads in fragments that another worker can continue (graph/api/driveitem-createuploadsession)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel, State
from conveyor.kit.bodies import Body, Counting, Publishing
from conveyor_connectors.onedrive.drive import Drive, Stored, pause, stamp, stored
from conveyor_connectors.onedrive.graph import BEHAVIOR, item

HELD = 10.0
"""Seconds that another upload of the same name may take to end, where it holds the name (business)."""
FAIL, REPLACE = "fail", "replace"
_START = re.compile(r"(\d+)-")


class Taken(Exception):
    """Something stands under the name already. Never leaves the connector."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload session, as it is saved: its address is a secret, and the ledger encrypts it.

    Attributes:
        url: Where fragments go.
        folder: The id of the folder.
        path: Of the file, below the destination's folder; it was free when the session began.
        behavior: What happens to a file that has the name at the end.
    """

    url: str
    folder: str
    path: str
    behavior: str

    @classmethod
    def load(cls, state: State) -> Upload | None:
        """The saved session, if there is one."""
        saved = state.get("session")
        if not isinstance(saved, Mapping):
            return None
        try:
            return cls(**saved)  # type: ignore[arg-type]
        except TypeError:
            return None


class Sessions:
    """Sends files."""

    def __init__(self, drive: Drive, fragment: int) -> None:
        self._drive = drive
        self._graph = drive.graph
        self._fragment = fragment

    def begin(
        self,
        parcel: Parcel,
        folder: str,
        path: str,
        behavior: str,
        context: AttemptContext,
        *,
        patient: bool,
    ) -> Upload:
        """Open a session, which is saved.

        Args:
            parcel: What will be sent.
            folder, path: Where to.
            behavior: What happens to a file that has the name at the end.
            context: The attempt.
            patient: Wait a little for a name that another session holds; else it counts as taken.

        Raises:
            Taken: The name is in use.
            DeliveryError: TRANSIENT, when somebody else's session holds the name.
        """
        name, when = path.rpartition("/")[2], stamp(parcel.submitted_at)
        times = {"createdDateTime": when, "lastModifiedDateTime": when}
        body = {"item": {BEHAVIOR: behavior, "name": name, "fileSystemInfo": times}}
        made = self._begun(folder, name, body, context, patient=patient)
        upload = Upload(str(made["uploadUrl"]), folder, path, behavior)
        context.save(session=asdict(upload))
        return upload

    def _begun(self, folder: str, name: str, body: Any, context: AttemptContext, *, patient: bool) -> Any:
        """The answer to createUploadSession; waits a little for another upload of the same name to end."""
        end = time.monotonic() + HELD
        while True:
            try:
                return self._graph.ask(
                    "begin the upload", "POST", item(folder, name, "/createUploadSession"), json=body
                )
            except DeliveryError as error:
                if error.code != "nameAlreadyExists":
                    raise
            if self._drive.look(folder, name) is not None or not patient:
                raise Taken
            if time.monotonic() > end:
                text = f"another upload that is not finished holds the name {name}"
                hint = "It ends by itself within days; Microsoft gives no way to see it."
                raise DeliveryError(ErrorKind.TRANSIENT, text, hint=hint, code="nameAlreadyExists")
            pause(0.5, context)

    def send(self, parcel: Parcel, upload: Upload, context: AttemptContext, *, resumed: bool) -> Stored:
        """Send what is missing; the last fragment makes the file.

        Raises:
            Taken: The name was taken meanwhile; the session can be committed under another.
            DeliveryError: SESSION_LOST, when it is gone.
        """
        offset = self._standing(upload) if resumed else 0
        for _ in range(4):
            try:
                return self._from(parcel, upload, offset, context)
            except DeliveryError as error:
                if error.code not in ("invalidRange", "416"):
                    raise
            offset = self._standing(upload)  # a fragment whose answer was lost
        raise DeliveryError(ErrorKind.TRANSIENT, "another worker writes to the same upload session")

    def _from(self, parcel: Parcel, upload: Upload, offset: int, context: AttemptContext) -> Stored:
        with parcel.open() as stream, context.phase("transfer"):
            while True:
                size = min(self._fragment, parcel.size - offset)
                last = offset + size == parcel.size
                meter = Publishing(context) if last else Counting(context)
                body = Body(stream, offset, size, meter)
                answer = self._graph.upload(
                    "upload a fragment",
                    "PUT",
                    upload.url,
                    data=body,
                    headers={"Content-Range": f"bytes {offset}-{offset + size - 1}/{parcel.size}"},
                    sent=(lambda body=body: body.finished) if last else None,  # type: ignore[misc]
                )
                if answer.status_code != 202:
                    return stored(_document(answer))
                offset = _next(_document(answer), offset + size)

    def _standing(self, upload: Upload) -> int:
        """How many bytes the session holds."""
        answer = self._graph.upload("ask how far the upload got", "GET", upload.url)
        return _next(_document(answer), 0)

    def commit_as(self, upload: Upload, path: str, context: AttemptContext) -> Stored:
        """Make the file of a session that holds all bytes under another name.

        Raises:
            Taken: That name is in use, too.
        """
        body = {
            "name": path.rpartition("/")[2],
            BEHAVIOR: FAIL,
            "@microsoft.graph.sourceUrl": upload.url,
        }
        context.before_commit()
        try:
            return stored(self._graph.ask("commit the file", "PUT", item(upload.folder), json=body))
        except DeliveryError as error:
            if error.code == "nameAlreadyExists":
                raise Taken from None
            raise

    def abandon(self, upload: Upload) -> None:
        """Delete a session, which would hold its name; one that is gone is fine."""
        try:
            self._graph.upload("remove the upload session", "DELETE", upload.url)
        except DeliveryError as error:
            if error.kind is not ErrorKind.SESSION_LOST:
                raise


def _document(answer: Any) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise DeliveryError(ErrorKind.UNKNOWN_OUTCOME, "the answer to a fragment is not Graph's")
    return found


def _next(document: Mapping[str, Any], otherwise: int) -> int:
    """Where to go on."""
    ranges = document.get("nextExpectedRanges")
    first = ranges[0] if isinstance(ranges, list) and ranges else None
    match = _START.match(first) if isinstance(first, str) else None
    return int(match[1]) if match else otherwise
