"""Resumable uploads (https://developers.google.com/workspace/drive/api/guides/manage-uploads#resumable).

The SDK makes the request that begins one; its chunks are sent here, streamed, each once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import googleapiclient.errors as sdk
from googleapiclient.http import MediaIoBaseUpload

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel, State
from conveyor.kit.bodies import Body, Counting, Publishing
from conveyor.kit.saved import load, save_or_undo
from conveyor_connectors.google_drive.service import Service, Stored, media_type, missing, stored

ENDED = ("410", "499")
"""Statuses of an upload that has ended: 499 of one that was cancelled
(https://cloud.google.com/storage/docs/performing-resumable-uploads#cancel-upload, the same upload server)."""
_RANGE = re.compile(r"bytes=0-(\d+)")


@dataclass(frozen=True, slots=True)
class Upload:
    """A resumable upload, as it is saved: its address is a secret, and the ledger encrypts it.

    Attributes:
        url: Where chunks go.
        id: Of the file that it makes, or renews.
    """

    url: str
    id: str

    @classmethod
    def load(cls, state: State) -> Upload | None:
        """The saved upload, if there is one."""
        return load(cls, state, "upload")


class Sessions:
    """Sends files."""

    def __init__(self, service: Service, chunk: int) -> None:
        self._service = service
        self._http = service.client.http
        self._chunk = chunk

    def begin(
        self, parcel: Parcel, body: Mapping[str, Any], context: AttemptContext, *, over: str | None = None
    ) -> Upload:
        """Open an upload of a new file, or of new content of ``over``; it is saved.

        Raises:
            DeliveryError: CONFLICT with the code ``fileIdInUse``, when the file is there already.
        """
        with parcel.open() as stream:
            media = MediaIoBaseUpload(stream, media_type(parcel), chunksize=self._chunk, resumable=True)
            asked = self._service.upload(media, body, over)
        headers = {
            **asked.headers,
            "content-type": "application/json; charset=UTF-8",
            "x-upload-content-type": media_type(parcel),
            "x-upload-content-length": str(parcel.size),
        }

        def request() -> str:
            answer, content = self._http.request(asked.uri, asked.method, body=asked.body, headers=headers)
            if answer.status != 200 or "location" not in answer:
                raise sdk.HttpError(answer, content, uri=None)
            return self._service.client.check_address(str(answer["location"]))

        upload = Upload(self._service.call("begin the upload", request), over or str(body["id"]))
        save_or_undo(lambda: context.save(upload=asdict(upload)), lambda: self.abandon(upload))
        return upload

    def send(self, parcel: Parcel, upload: Upload, context: AttemptContext, *, resumed: bool) -> Stored:
        """Send what is missing; the last chunk makes the file.

        Raises:
            DeliveryError: SESSION_LOST, when it is gone.
        """
        offset = 0
        if resumed:
            standing = self._standing(parcel, upload)
            if isinstance(standing, Stored):
                return standing
            offset = standing
            if offset >= parcel.size:
                raise DeliveryError(
                    ErrorKind.SESSION_LOST, "Drive holds every byte, and makes no file of them"
                )
        with parcel.open() as stream, context.phase("transfer"):
            while True:
                size = min(self._chunk, parcel.size - offset)
                last = offset + size == parcel.size
                meter = Publishing(context) if last else Counting(context)
                body = Body(stream, offset, size, meter)
                told = self._put(upload, body, f"bytes {offset}-{offset + size - 1}/{parcel.size}", last)
                if isinstance(told, Stored):
                    return told
                if told <= offset:
                    raise DeliveryError(ErrorKind.TRANSIENT, "Drive has kept nothing of the last chunk")
                offset = told

    def _standing(self, parcel: Parcel, upload: Upload) -> Stored | int:
        """How many bytes the upload holds; the file, when it is whole."""
        return self._put(upload, None, f"bytes */{parcel.size}", last=False)

    def _put(self, upload: Upload, body: Body | None, content_range: str | None, last: bool) -> Stored | int:
        address = self._service.client.check_address(upload.url)
        headers = {"content-length": str(0 if body is None else len(body))}
        if content_range is not None:
            headers["content-range"] = content_range

        def request() -> Stored | int:
            if body is not None:
                body.begin()
            answer, content = self._http.request(
                address, "PUT", body=b"" if body is None else body, headers=headers
            )
            if answer.status == 308:
                match = _RANGE.fullmatch(answer.get("range", ""))
                return int(match[1]) + 1 if match else 0
            if answer.status not in (200, 201):
                raise sdk.HttpError(answer, content, uri=None)
            return stored(document_of(content))

        finished = (lambda: body is None or body.finished) if last else None
        doing = "upload a chunk" if body is not None else "ask how far the upload got"
        try:
            return self._service.call(doing, request, sent=finished)
        except DeliveryError as error:
            # The guide: after a 4xx the upload begins anew; a question that Drive does not understand is one.
            asking = body is None and error.code in ("badRequest", "invalid", "400")
            if missing(error) or error.code in ENDED or asking:
                text = "the upload session is gone"
                raise DeliveryError(ErrorKind.SESSION_LOST, text, code=error.code) from None
            raise

    def abandon(self, upload: Upload) -> None:
        """End an upload; Google answers 499. One that is gone is fine."""

        def request() -> None:
            address = self._service.client.check_address(upload.url)
            answer, content = self._http.request(address, "DELETE", headers={"content-length": "0"})
            if answer.status not in (204, 404, 410, 499):
                raise sdk.HttpError(answer, content, uri=None)

        self._service.call("end the upload", request)


def document_of(content: bytes) -> Mapping[str, Any]:
    """The object that an answer holds.

    Raises:
        ValueError, TypeError: It holds none.
    """
    found = json.loads(content)
    if not isinstance(found, Mapping):
        raise TypeError("no object")
    return found
