"""Filling the temporary file: by one PUT or in chunks; and then making sure of what the server holds."""

from __future__ import annotations

import contextlib

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel
from conveyor.kit.bodies import Body, Counting
from conveyor_connectors.webdav.chunks import ChunkedUpload, NoChunks
from conveyor_connectors.webdav.client import Answer
from conveyor_connectors.webdav.dav import Dav
from conveyor_connectors.webdav.errors import of_answer
from conveyor_connectors.webdav.folders import Folders
from conveyor_connectors.webdav.options import Chunked, Verify

_FOLDER_IN_DOUBT = (400, 403, 404, 405, 409, 410, 500)
"""Answers to PUT by which servers tell, among other things, that the folder is missing."""


class Uploader:
    """Fills temporary files.

    Args:
        dav: The server.
        folders: Makes the folders above them.
    """

    def __init__(self, dav: Dav, folders: Folders) -> None:
        self._dav = dav
        self._folders = folders
        self._options = dav.options
        self._no_chunks = False

    def chunked(self, parcel: Parcel) -> bool:
        """Whether the parcel goes in chunks."""
        options = self._options
        wanted = options.chunked_upload is not Chunked.OFF and options.uploads is not None
        return wanted and not self._no_chunks and parcel.size > options.chunk_size

    def fill(self, parcel: Parcel, temporary: str, context: AttemptContext) -> tuple[str, str | None]:
        """Store the parcel's bytes under its temporary name.

        Returns:
            What verified them, and the digest as ``algorithm:hex`` where a digest did.

        Raises:
            DeliveryError: INTEGRITY, the server holds something else.
        """
        answer = self._send(parcel, temporary, context)
        return self._verified(parcel, temporary, answer, context)

    def _send(self, parcel: Parcel, temporary: str, context: AttemptContext) -> Answer:
        parents = tuple(temporary.split("/")[:-1])
        self._folders.ensure(parents, context)
        if self.chunked(parcel):
            try:
                return ChunkedUpload(self._dav, parcel, temporary, context).run(self.headers(parcel))
            except NoChunks:
                if self._options.chunked_upload is Chunked.ON:
                    raise DeliveryError(
                        ErrorKind.CONFIG,
                        "the server does not take chunked uploads",
                        hint="Set chunked_upload to auto or off.",
                    ) from None
                self._no_chunks = True  # ownCloud Infinite Scale
                context.save(upload=None, chunk=None)
        answer = self._put(parcel, temporary, context)
        if answer.status in _FOLDER_IN_DOUBT and self._folders.missing(parents, context):
            self._folders.ensure(parents, context)
            answer = self._put(parcel, temporary, context)
        if not answer.done:
            refusal = self._folders.refusal(temporary, context) if answer.status == 500 else None
            raise refusal or of_answer(answer, "store the file")
        return answer

    def _put(self, parcel: Parcel, temporary: str, context: AttemptContext) -> Answer:
        media_type = parcel.media_type
        plain = media_type.isascii() and media_type.isprintable() and media_type
        headers = {"Content-Type": media_type if plain else "application/octet-stream"}
        if self._options.is_cloud:
            headers |= {**self.headers(parcel), "X-Hash": "sha256"}
        with contextlib.closing(parcel.open()) as stream:
            body = Body(stream, 0, parcel.size, Counting(context))
            # requests sends a body of length 0 as chunked, unless it is plainly no bytes.
            data = body if parcel.size else b""
            place = self._dav.file_at(temporary)
            return self._dav.ask("upload", place, "store the file", context, data=data, headers=headers)

    def headers(self, parcel: Parcel) -> dict[str, str]:
        """What ownCloud checks and Nextcloud keeps: checksum and time.

        https://docs.nextcloud.com/server/latest/developer_manual/client_apis/WebDAV/basic.html#request-headers
        """
        name = "sha1" if "sha1" in parcel.digests else "md5"
        headers = {"OC-Checksum": f"{name.upper()}:{parcel.digests[name]}"}
        if self._options.keep_time:
            headers["X-OC-MTime"] = str(int(parcel.submitted_at))
        return headers

    def _verified(
        self, parcel: Parcel, temporary: str, answer: Answer, context: AttemptContext
    ) -> tuple[str, str | None]:
        there = self._dav.stat(temporary, context)
        if there is None:
            raise DeliveryError(ErrorKind.TRANSIENT, "the temporary file vanished after it was written")
        if there.is_folder or (there.size is not None and there.size != parcel.size):
            raise DeliveryError(ErrorKind.INTEGRITY, f"the server holds {there.size} of {parcel.size} bytes")
        sha256 = parcel.digests["sha256"]
        hashed = answer.headers.get("X-Hash-SHA256", "").strip().lower()
        if hashed and hashed != sha256:
            raise DeliveryError(ErrorKind.INTEGRITY, "the server computed another SHA-256 digest")
        if hashed:
            return "sha256", f"sha256:{sha256}"
        if self._options.verify is Verify.SHA256 or there.size is None:
            return self._read_back(parcel, temporary, context)
        return self._by_checksum(parcel, there.checksums)

    def _read_back(self, parcel: Parcel, temporary: str, context: AttemptContext) -> tuple[str, str]:
        found = self._dav.sha256(temporary, context)
        if found is None:
            raise DeliveryError(
                ErrorKind.CONFIG,
                "the stored file may not be read back",
                hint="Let the login read what it writes, or set verify to size.",
            )
        if found != parcel.digests["sha256"]:
            raise DeliveryError(ErrorKind.INTEGRITY, "the file on the server has another SHA-256 digest")
        return "sha256", f"sha256:{found}"

    def _by_checksum(self, parcel: Parcel, told: dict[str, str]) -> tuple[str, str | None]:
        """Compare the server's checksums.

        Nextcloud only repeats what it was sent. One of a kind that was not sent it must have computed.
        """
        sent = "sha1" if "sha1" in parcel.digests else "md5"
        for name in ("sha256", "sha1", "md5"):
            if name not in told or name not in parcel.digests:
                continue
            if told[name] != parcel.digests[name]:
                raise DeliveryError(ErrorKind.INTEGRITY, f"the server's {name} checksum is another one")
            if name != sent:
                return name, f"{name}:{told[name]}"
        return "size", None
