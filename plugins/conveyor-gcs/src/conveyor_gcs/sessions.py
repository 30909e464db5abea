"""Resumable uploads (https://cloud.google.com/storage/docs/performing-resumable-uploads).

The address of one is all that it takes to write to it: it is kept in the delivery's state, which the ledger
encrypts, and nowhere else. No token goes there.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel, State
from conveyor.kit.bodies import Body, Counting, Publishing
from conveyor.kit.errors import guarded
from conveyor.kit.saved import load, save_or_undo
from conveyor_gcs.errors import classify
from conveyor_gcs.objects import Bucket, Stored, media_type, stored

K = ErrorKind

ENDED = (404, 410, 499)
"""Statuses of an upload that has ended: by its age of a week, by us (499), or because Google says so."""
_RANGE = re.compile(r"bytes=0-(\d+)")


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload, as it is saved.

    Attributes:
        url: Where its bytes go. A secret.
        name: Of the object that it makes.
        create: It makes it only where nothing stands.
    """

    url: str
    name: str
    create: bool

    def __repr__(self) -> str:
        return f"Upload({self.name!r})"

    @classmethod
    def load(cls, state: State) -> Upload | None:
        """The saved one, if there is one."""
        return load(cls, state, "upload")


class Sessions:
    """Sends large parcels in pieces.

    Args:
        bucket: Where to.
        chunk: Bytes of a piece, a multiple of 256 KiB.
    """

    def __init__(self, bucket: Bucket, chunk: int) -> None:
        self._bucket = bucket
        self._client = bucket.client
        self._chunk = chunk

    def begin(self, parcel: Parcel, name: str, context: AttemptContext, *, create: bool) -> Upload:
        """Open an upload; it is saved.

        One whose answer is lost is known to nobody, shows nothing, and ends by itself within a week.

        Raises:
            Taken: ``create``, and something stands there.
        """
        doing = "begin the upload"
        about = json.dumps(self._bucket.about(parcel, name)).encode()
        answer = self._client.call(
            doing,
            context,
            "POST",
            self._bucket.upload_url("resumable", create=create),
            body=about,
            headers={
                "Content-Type": "application/json; charset=UTF-8",
                "Content-Length": str(len(about)),
                "X-Upload-Content-Type": media_type(parcel),
                "X-Upload-Content-Length": str(parcel.size),
            },
            accept=(200, 201),
        )
        with guarded(doing, classify):
            url = self._client.check_address(answer.headers["location"])
        upload = Upload(url, name, create)
        save_or_undo(lambda: context.save(upload=asdict(upload)), lambda: self.abandon(upload, context))
        return upload

    def send(self, parcel: Parcel, upload: Upload, context: AttemptContext, *, resumed: bool) -> Stored:
        """Send what is missing; the last piece makes the object.

        Raises:
            Taken: Something stands there meanwhile.
            DeliveryError: SESSION_LOST, when the upload has ended.
        """
        offset = 0
        if resumed:
            standing = self._put(upload, None, f"bytes */{parcel.size}", context)
            if isinstance(standing, Stored):
                return standing
            offset = standing
            if offset >= parcel.size:
                raise DeliveryError(
                    K.SESSION_LOST, "Cloud Storage holds every byte, and makes no object of them"
                )
        with parcel.open() as stream, context.phase("transfer"):
            while True:
                size = min(self._chunk, parcel.size - offset)
                last = offset + size == parcel.size
                body = Body(stream, offset, size, Publishing(context) if last else Counting(context))
                span = f"bytes {offset}-{offset + size - 1}/{parcel.size}"
                told = self._put(upload, body, span, context, last=last)
                if isinstance(told, Stored):
                    return told
                if told <= offset or told > parcel.size:
                    raise DeliveryError(K.TRANSIENT, "Cloud Storage has kept nothing of the last piece")
                offset = told

    def abandon(self, upload: Upload, context: AttemptContext) -> None:
        """End an upload; Google answers 499. One that is gone, or has become an object, is fine."""
        self._client.call(
            "end the upload",
            context,
            "DELETE",
            self._client.check_address(upload.url),
            headers={"Content-Length": "0"},
            accept=(200, 204, 400, 404, 410, 499),
            signed=False,
        )

    def _put(
        self, upload: Upload, body: Body | None, span: str, context: AttemptContext, *, last: bool = False
    ) -> Stored | int:
        """Send a piece, or ask; returns how many bytes are kept, or the object when they are all."""
        doing = "ask how far the upload got" if body is None else "upload a piece of the file"

        def finished() -> bool:
            return last and body is not None and body.finished

        try:
            answer = self._client.call(
                doing,
                context,
                "PUT",
                self._client.check_address(upload.url),
                body=b"" if body is None else body,
                headers={"Content-Length": str(0 if body is None else len(body)), "Content-Range": span},
                accept=(200, 201, 308, *ENDED),
                sent=finished,
                signed=False,
            )
        except DeliveryError as error:
            if body is None and error.kind is K.CONFIG:  # it does not understand the question
                raise DeliveryError(
                    K.SESSION_LOST, "the upload cannot be continued", code=error.code
                ) from None
            raise
        if answer.status in ENDED:
            raise DeliveryError(K.SESSION_LOST, "the upload has ended", code=answer.status)
        if last and body is not None:
            context.uploaded()
        if answer.status == 308:
            match = _RANGE.fullmatch(answer.headers.get("range", ""))
            return int(match[1]) + 1 if match else 0
        if not finished():  # made by a request of before, or by another worker: is the delivery still ours?
            context.before_commit()
        with guarded(doing, lambda error, doing: classify(error, doing, sent=True)):
            return stored(answer.document())
