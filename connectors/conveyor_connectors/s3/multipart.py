"""A large file in parts: our own loop, so that another worker can continue a half-sent file.

The upload's id is saved as soon as the service has named it. A worker that finds it asks the service which
parts it holds, keeps those whose digest is the payload's, and sends the rest. Each part is hashed in one
pass over its range and streamed in a second, so that memory does not grow with the part size.

Between the service naming the upload and the save there is one moment in which a dying worker leaves an empty
upload behind; a lifecycle rule (AbortIncompleteMultipartUpload) is the net for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Json, Parcel
from conveyor.kit.bodies import Body, Pooled, digest_of
from conveyor.kit.saved import save_or_undo
from conveyor_connectors.s3.objects import Bucket, Limits, Part, Stored, Taken, md5_etag, stored_from
from conveyor_connectors.s3.options import S3Options

UPLOAD = "upload"
"""The key in the delivery's state."""

REPORT_EVERY = 0.2
"""Seconds between two reports of the helpers' progress; also how fast a cancelled upload stops."""

FINAL = frozenset(
    {ErrorKind.SOURCE, ErrorKind.TOO_LARGE, ErrorKind.NAME, ErrorKind.CONFLICT, ErrorKind.SESSION_LOST}
)
"""Errors after which the upload is of no use to anybody."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in progress, as it is saved."""

    id: str
    key: str
    part_size: int
    opaque: bool = False
    """The endpoint's part ETags are not MD5: they prove nothing, and disprove nothing."""

    @classmethod
    def load(cls, state: Mapping[str, object]) -> Upload | None:
        """The saved upload, or None."""
        saved = state.get(UPLOAD)
        if not isinstance(saved, Mapping):
            return None
        return cls(
            str(saved["id"]), str(saved["key"]), int(str(saved["part_size"])), bool(saved.get("opaque"))
        )

    def save(self, context: AttemptContext) -> None:
        """Commit it to the delivery's state."""
        saved: Json = {"id": self.id, "key": self.key, "part_size": self.part_size, "opaque": self.opaque}
        context.save(**{UPLOAD: saved})


def part_size(size: int, options: S3Options) -> int:
    """The size of a part: doubled until ``max_parts`` suffice.

    Raises:
        DeliveryError: TOO_LARGE, when no part size that S3 allows (5 GiB) does.
    """
    chosen = options.part_size
    while -(-size // chosen) > options.max_parts:
        chosen *= 2
    if chosen > 5 * 1024**3:
        raise DeliveryError(ErrorKind.TOO_LARGE, f"{size} bytes are more than {options.max_parts} parts hold")
    return chosen


class MultipartSender:
    """Sends one parcel in parts.

    Args:
        bucket: Where to.
        options: The destination's options.
    """

    def __init__(self, bucket: Bucket, options: S3Options) -> None:
        self._bucket = bucket
        self._options = options

    def send(self, parcel: Parcel, key: str, context: AttemptContext, *, create: bool) -> Stored:
        """Send what is missing and put it together.

        Raises:
            Taken: ``create``, and something stands at the key. The upload is removed.
            NoPreconditions: the endpoint refuses the precondition; the upload stays.
        """
        opened = self._open(parcel, key, context)
        if isinstance(opened, Stored):
            return opened
        upload, have = opened
        try:
            upload, parts = self._fill(upload, have, parcel, context)
            context.before_commit()
            etag, version = self._bucket.complete(key, upload.id, parts, context, create=create)
        except Taken:
            self._drop(upload, context)
            raise
        except DeliveryError as error:
            if error.kind is ErrorKind.SESSION_LOST and (own := self._own(parcel, key, context)) is not None:
                context.save(**{UPLOAD: None})
                return own
            if error.kind in FINAL or error.code == "ConditionalRequestConflict":
                self._drop(upload, context)
            if error.code == "ConditionalRequestConflict":
                # Two completions raced; S3 wants a new upload:
                # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
                raise DeliveryError(ErrorKind.SESSION_LOST, error.message, code=error.code) from None
            raise
        return _judge(etag, version, parts)

    def _open(
        self, parcel: Parcel, key: str, context: AttemptContext
    ) -> tuple[Upload, dict[int, Part]] | Stored:
        """The saved upload and its parts, or a new one; or what it has become already."""
        saved = Upload.load(context.state)
        if saved is not None and saved.key == key:
            try:
                have = {part.number: part for part in self._bucket.parts(key, saved.id, context)}
            except DeliveryError as error:
                if error.kind is not ErrorKind.SESSION_LOST:
                    raise
                if (own := self._own(parcel, key, context)) is not None:
                    return own
                context.log.info("the saved upload is gone; a new one is begun")
            else:
                context.log.info("a half-sent upload is continued", parts=len(have))
                return saved, have
        elif saved is not None:
            self._drop(saved, context)
        size = part_size(parcel.size, self._options)
        upload = Upload(self._bucket.create_upload(parcel, key, context), key, size)
        save_or_undo(
            lambda: upload.save(context), lambda: self._bucket.abort(key, upload.id, _Unbounded(context))
        )
        return upload, {}

    def _own(self, parcel: Parcel, key: str, context: AttemptContext) -> Stored | None:
        """An upload that is gone may have been completed, and only the answer was lost."""
        try:
            head = self._bucket.head(key, context)
        except DeliveryError as error:
            if error.kind is ErrorKind.CONFIG:
                return None
            raise
        if head is None or not head.written_by(parcel.delivery_id, parcel.size):
            return None
        return stored_from(head, parcel)

    def _drop(self, upload: Upload, context: AttemptContext) -> None:
        """Remove the upload and forget it; the state keeps for ``abandon`` what cannot be removed now."""
        try:
            self._bucket.abort(upload.key, upload.id, context)
        except DeliveryError as error:
            context.log.warning("the upload could not be removed yet", error=error.message)
            return
        context.save(**{UPLOAD: None})

    def _fill(
        self, upload: Upload, have: dict[int, Part], parcel: Parcel, context: AttemptContext
    ) -> tuple[Upload, list[Part]]:
        """Send the missing parts, several at once; returns all in order."""
        job = _Parts(self._bucket, self._options, upload, parcel, context)
        count = -(-parcel.size // upload.part_size)
        with context.phase("transfer"):
            parts = job.run(count, have)
        if job.opaque and not upload.opaque:
            upload = Upload(upload.id, upload.key, upload.part_size, opaque=True)
            upload.save(context)
        return upload, parts


class _Parts:
    """The parts of one upload: helper threads send, the attempt's thread reports and cancels."""

    def __init__(
        self, bucket: Bucket, options: S3Options, upload: Upload, parcel: Parcel, context: AttemptContext
    ) -> None:
        self._bucket = bucket
        self._options = options
        self._upload = upload
        self._parcel = parcel
        self._context = context
        self._meter = Pooled()
        self.opaque = upload.opaque

    def run(self, count: int, have: dict[int, Part]) -> list[Part]:
        """All ``count`` parts, by number."""
        workers = min(self._options.parallel_parts, count)
        with ThreadPoolExecutor(workers, thread_name_prefix="s3-part") as pool:
            try:
                done = self._collect(pool, count, have, workers)
            except BaseException:
                self._meter.stop()
                raise
        return [done[number] for number in range(1, count + 1)]

    def _collect(
        self, pool: ThreadPoolExecutor, count: int, have: dict[int, Part], workers: int
    ) -> dict[int, Part]:
        """Keep the helpers busy, never far ahead, and report what they sent."""
        done: dict[int, Part] = {}
        running: set[Future[Part]] = set()
        numbers = iter(range(1, count + 1))
        more = True
        while more or running:
            while more and len(running) < workers:
                number = next(numbers, None)
                if number is None:
                    more = False
                else:
                    running.add(pool.submit(self._part, number, have.get(number)))
            finished, running = wait(running, REPORT_EVERY, FIRST_COMPLETED)
            self._context.progress(self._meter.drain())
            for future in finished:
                part = future.result()
                done[part.number] = part
        return done

    def _part(self, number: int, have: Part | None) -> Part:
        """One part: kept when the service holds it, else sent."""
        offset = (number - 1) * self._upload.part_size
        size = min(self._upload.part_size, self._parcel.size - offset)
        algorithm = "sha256" if self._options.digest == "sha256" else "md5"
        with self._parcel.open() as stream:
            digest = digest_of(stream, offset, size, algorithm).hex()
            if have is not None and have.size == size and self._proved(have, digest) is not False:
                return have
            part = self._send(Body(stream, offset, size, self._meter, sending=False), number, digest)
            if self._proved(part, digest) is False:
                # Damaged on the way past a service that does not check, or an ETag that is no MD5. A second
                # try tells: only the former is cured by it.
                again = self._send(Body(stream, offset, size, self._meter, sending=False), number, digest)
                self.opaque = self.opaque or self._proved(again, digest) is False
                part = again
        return part

    def _send(self, body: Body, number: int, digest: str) -> Part:
        return self._bucket.put_part(
            self._upload.key, self._upload.id, number, body, digest, _Unbounded(self._context)
        )

    def _proved(self, part: Part, digest: str) -> bool | None:
        """Whether the service's word agrees with the digest; None when its word says nothing."""
        if part.sha256 is not None and self._options.digest == "sha256":
            return part.sha256 == digest
        if self.opaque or self._options.digest == "sha256":
            return None
        etag = md5_etag(part.etag)
        return None if etag is None else etag == digest


class _Unbounded:
    """The attempt's limits without its cancellation: for helper threads and for cleaning up."""

    def __init__(self, context: Limits) -> None:
        self._context = context

    def check(self) -> None:
        """Nothing: the attempt's own thread decides."""

    def remaining(self) -> float:
        """Seconds until the attempt's deadline."""
        return self._context.remaining()


def _judge(etag: str, version: str | None, parts: list[Part]) -> Stored:
    """What the parts and the final answer prove."""
    if all(part.sha256 for part in parts):
        return Stored(etag, version, "sha256", None, len(parts))
    digests = [md5_etag(part.etag) for part in parts]
    if all(digests):
        whole = hashlib.md5(b"".join(bytes.fromhex(d) for d in digests if d), usedforsecurity=False)
        if etag.strip('"') == f"{whole.hexdigest()}-{len(parts)}":
            return Stored(etag, version, "md5", None, len(parts))
    return Stored(etag, version, "accepted", None, len(parts))
