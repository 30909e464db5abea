"""Nextcloud's and ownCloud's chunked upload, version 2.

https://docs.nextcloud.com/server/latest/developer_manual/client_apis/WebDAV/chunking.html: a folder is made
below ``uploads/USER``, numbered chunks (1 to 10000, 5 MB to 5 GB, the last one any size) are stored in it,
each request naming the file they are meant for, and MOVE of its ``.file`` assembles them. The folder is
forgotten by the server after 24 hours of silence. What lies in it is what another worker continues with.

The file that it assembles is the temporary one: it is verified and gets its name as every other does.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from urllib.parse import quote

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel, State
from conveyor.kit.bodies import Body, Counting
from conveyor_connectors.webdav import multistatus, names
from conveyor_connectors.webdav.client import Answer
from conveyor_connectors.webdav.dav import Dav, outcome_unknown
from conveyor_connectors.webdav.errors import of_answer

MOST_CHUNKS = 10_000
LISTING_LIMIT = 16 << 20
"""Bytes of a listing of 10,000 chunks, and room."""

_STILL_ASSEMBLING = 423
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0
_GONE = (404, 409, 410)


class NoChunks(Exception):
    """The server has no such uploads. Never leaves the connector."""


class _Lost(Exception):
    """The upload's folder is gone. Never leaves this module."""


class ChunkedUpload:
    """Brings one parcel to its temporary file in chunks.

    Args:
        dav: The server; its options name the place for uploads.
        parcel: What.
        temporary: The file to assemble. A saved upload has its own, which ``state`` remembers.
        context: The attempt.
    """

    def __init__(self, dav: Dav, parcel: Parcel, temporary: str, context: AttemptContext) -> None:
        self._dav = dav
        self._parcel = parcel
        self._temporary = temporary
        self._context = context
        self._chunk = dav.options.chunk_size
        while self._chunk * MOST_CHUNKS < parcel.size:
            self._chunk *= 2
        self._folder = ""

    def run(self, headers: Mapping[str, str]) -> Answer:
        """Send what is missing, and assemble.

        Args:
            headers: Sent with the request that assembles: checksum and time.

        Raises:
            NoChunks: the server has no such uploads.
            DeliveryError: SESSION_LOST, when the upload vanished twice.
        """
        stored = self._resume()
        if stored is None and self._assembled():
            return Answer(204, {})
        for _ in range(2):
            if stored is None:
                self._begin()
                stored = set()
            try:
                self._send(stored)
                return self._assemble(headers)
            except _Lost:
                stored = None
        raise DeliveryError(ErrorKind.SESSION_LOST, "the server lost the upload twice")

    @property
    def _count(self) -> int:
        return -(-self._parcel.size // self._chunk)

    def _size_of(self, number: int) -> int:
        return min(self._chunk, self._parcel.size - (number - 1) * self._chunk)

    # --- the upload's folder ----------------------------------------------------------------------

    def _resume(self) -> set[int] | None:
        """Numbers of the chunks that the saved upload holds whole; None without one."""
        state = self._context.state
        folder, chunk = state.get("upload"), state.get("chunk")
        if not isinstance(folder, str) or not isinstance(chunk, int) or chunk <= 0:
            return None
        self._folder, self._chunk = folder, chunk
        doing = "list the chunks"
        headers = {"Depth": "1", "Content-Type": "application/xml; charset=utf-8"}
        answer = self._dav.ask(
            "list",
            f"{folder}/",
            doing,
            self._context,
            data=multistatus.PROPFIND,
            headers=headers,
            limit=LISTING_LIMIT,
        )
        if answer.status in _GONE:
            return None
        if answer.status != 207:
            raise of_answer(answer, doing)
        held = {entry.path.rpartition("/")[2]: entry.size for entry in self._dav.parse(answer, doing)}
        wanted = range(1, self._count + 1)
        return {n for n in wanted if held.get(_name(n)) == self._size_of(n)}

    def _begin(self) -> None:
        """Make the folder, its name saved before."""
        uploads = self._dav.options.uploads or ""
        own = f"conveyor-{names.plain(self._parcel.delivery_id)}-{self._context.fence}-{time.time_ns():x}"
        self._folder = f"{uploads}/{quote(own, safe='')}"
        self._context.save(upload=self._folder, chunk=self._chunk)
        answer = self._dav.ask(
            "mkdir", f"{self._folder}/", "begin the upload", self._context, headers=self._to()
        )
        if answer.status in (404, 405, 409, 501):
            raise NoChunks
        if not answer.done:
            raise of_answer(answer, "begin the upload")

    def _to(self) -> dict[str, str]:
        """Headers of every request of an upload."""
        target = self._dav.url_of(self._temporary)
        return {"Destination": target, "OC-Total-Length": str(self._parcel.size)}

    # --- chunks -----------------------------------------------------------------------------------

    def _send(self, stored: set[int]) -> None:
        missing = [number for number in range(1, self._count + 1) if number not in stored]
        if not missing:
            return
        with contextlib.closing(self._parcel.open()) as stream:
            for number in missing:
                offset = (number - 1) * self._chunk
                body = Body(stream, offset, self._size_of(number), Counting(self._context))
                place = f"{self._folder}/{_name(number)}"
                doing = f"store chunk {number} of {self._count}"
                answer = self._dav.ask("upload", place, doing, self._context, data=body, headers=self._to())
                if answer.status in _GONE:
                    raise _Lost
                if not answer.done:
                    raise of_answer(answer, doing)

    # --- assembling -------------------------------------------------------------------------------

    def _assemble(self, headers: Mapping[str, str]) -> Answer:
        """MOVE ``.file``; large files take the server longer than a proxy in front of it waits."""
        wait, begun = _FIRST_WAIT, False
        while True:
            self._context.before_commit()
            answer = self._order(headers)
            if answer is not None and answer.done:
                return answer
            if answer is not None and answer.status in _GONE:
                if self._assembled():
                    return Answer(204, {})
                if begun:
                    raise DeliveryError(ErrorKind.SESSION_LOST, "the upload ended without a file")
                raise _Lost
            if answer is not None and answer.status != _STILL_ASSEMBLING and not outcome_unknown(answer):
                raise of_answer(answer, "assemble the chunks")
            begun = True
            self._wait(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _order(self, headers: Mapping[str, str]) -> Answer | None:
        """Ask the server to assemble; None when it did not answer in time and may be at it."""
        try:
            return self._dav.move(
                f"{self._folder}/.file",
                self._dav.file_at(self._temporary),
                self._context,
                overwrite=True,
                headers={**self._to(), **headers, "Destination": self._dav.url_of(self._temporary)},
            )
        except DeliveryError as error:
            if error.kind is ErrorKind.UNKNOWN_OUTCOME and self._context.remaining() > 0:
                return None
            raise

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._context.check()
            if self._context.remaining() <= 0:
                raise DeliveryError(ErrorKind.TRANSIENT, "the server is still assembling the chunks")
            time.sleep(min(left, 0.2))

    def _assembled(self) -> bool:
        there = self._dav.stat(self._temporary, self._context)
        return there is not None and there.size == self._parcel.size


def _name(number: int) -> str:
    """Chunks are put together in the order of their names."""
    return f"{number:05d}"


def folder_of(state: State) -> str | None:
    """Where the chunks of a saved upload lie, percent-encoded."""
    folder = state.get("upload")
    return folder if isinstance(folder, str) else None
