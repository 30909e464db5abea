"""Uploads in fragments that another worker can continue (graph/api/driveitem-createuploadsession)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel, State
from conveyor.kit.bodies import Body, Counting, Publishing
from conveyor.kit.saved import load, save_or_undo
from conveyor.kit.waits import pause
from conveyor_connectors.onedrive.drive import Drive, Stored, missing, stamp, stored
from conveyor_connectors.onedrive.graph import BEHAVIOR, GONE, OTHER_RANGE, item

HELD = 10.0
"""Seconds that another upload of the same name may take to end, where it holds the name (business)."""
FAIL, REPLACE = "fail", "replace"
_START = re.compile(r"(\d+)-")
APPEARS = 5.0
"""Seconds after which a new session is known everywhere (rclone, backend/onedrive)."""
ASTRAY = 3
"""How often a session may ask for bytes that it has been sent."""


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
        return load(cls, state, "session")


class Sessions:
    """Sends files."""

    def __init__(self, drive: Drive, fragment: int) -> None:
        self._drive = drive
        self._graph = drive.graph
        self._fragment_size = fragment

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
        save_or_undo(lambda: context.save(session=asdict(upload)), lambda: self.abandon(upload))
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
                hint = (
                    "It ends by itself within days; Microsoft gives no way to see or remove it. Replay then."
                )
                raise DeliveryError(ErrorKind.TRANSIENT, text, hint=hint, code="nameAlreadyExists")
            pause(0.5, context)

    def send(self, parcel: Parcel, upload: Upload, context: AttemptContext, *, resumed: bool) -> Stored:
        """Send what is missing; the last fragment makes the file.

        Raises:
            Taken: The name was taken meanwhile; the session can be committed under another.
            DeliveryError: SESSION_LOST, when it is gone.
        """
        offset = self.standing(upload, parcel) if resumed else 0
        young, astray = not resumed, 0
        with parcel.open() as stream, context.phase("transfer"):
            while offset < parcel.size:
                try:
                    found = self._fragment(stream, offset, parcel, upload, context)
                except DeliveryError as error:
                    if error.code == GONE and young and offset == 0:
                        young = False
                        pause(APPEARS, context)
                        continue
                    if error.code != OTHER_RANGE:
                        raise
                    found = self.standing(upload, parcel)  # a fragment whose answer was lost
                if isinstance(found, Stored):
                    return found
                astray += found <= offset
                if astray > ASTRAY:
                    raise DeliveryError(ErrorKind.TRANSIENT, "the upload session stands still")
                offset = found
        return self.commit(upload, context)

    def _fragment(
        self, stream: Any, offset: int, parcel: Parcel, upload: Upload, context: AttemptContext
    ) -> Stored | int:
        """The file, when it is complete; otherwise where to go on."""
        size = min(self._fragment_size, parcel.size - offset)
        last = offset + size == parcel.size
        body = Body(stream, offset, size, Publishing(context) if last else Counting(context))
        answer = self._graph.upload(
            "upload a fragment",
            "PUT",
            upload.url,
            data=body,
            headers={"Content-Range": f"bytes {offset}-{offset + size - 1}/{parcel.size}"},
            sent=(lambda: body.finished) if last else None,
        )
        document = _document(answer)
        return _next(document, offset + size) if answer.status_code == 202 else stored(document)

    def standing(self, upload: Upload, parcel: Parcel) -> int:
        """How many bytes the session holds.

        Raises:
            DeliveryError: SESSION_LOST, when it has become a file, was deleted or ran out.
        """
        document = _document(self._graph.upload("ask how far the upload got", "GET", upload.url))
        # No range is missing where a last fragment met a name that was taken.
        full = document.get("nextExpectedRanges") == []
        return parcel.size if full else min(_next(document, 0), parcel.size)

    def commit(self, upload: Upload, context: AttemptContext) -> Stored:
        """Make the file of a session that holds all bytes, under the name that ``upload`` says.

        Raises:
            Taken: That name is in use, too.
            DeliveryError: SESSION_LOST, when the session is gone.
        """
        body = {
            "name": upload.path.rpartition("/")[2],
            BEHAVIOR: upload.behavior,
            "@microsoft.graph.sourceUrl": upload.url,
        }
        context.before_commit()
        try:
            made = self._graph.ask("commit the file", "PUT", item(upload.folder), json=body, publishes=True)
            return stored(made)
        except DeliveryError as error:
            if error.code == "nameAlreadyExists":
                raise Taken from None
            if missing(error):  # the folder or the session: Graph says the same of both
                raise DeliveryError(ErrorKind.SESSION_LOST, error.message, code=GONE) from None
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
