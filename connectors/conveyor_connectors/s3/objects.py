"""One bucket: the service's operations with our parameters, our limits and our errors."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel
from conveyor.kit.bodies import BLOCK, Body, BodyStopped, Publishing
from conveyor.kit.errors import causes
from conveyor.kit.pools import ANSWER_TIMEOUT
from conveyor_connectors.s3.errors import classify, code_of, status_of
from conveyor_connectors.s3.options import S3Options
from conveyor_connectors.s3.wire import READ_TIMEOUT, calling

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DELIVERY = "conveyor-delivery"
"""User metadata: the id of the delivery that wrote the object."""

SHA256 = "conveyor-sha256"
"""User metadata: the digest of the payload, hex."""

COMPLETE_TIMEOUT = 300.0
"""Seconds: putting many parts together takes the service minutes
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html)."""


class Taken(Exception):
    """A precondition failed: something stands at the key. Never leaves the connector."""


class NoPreconditions(Exception):
    """The endpoint refuses ``If-None-Match`` as not implemented. Never leaves the connector."""


class Limits(Protocol):
    """What a single call needs of an attempt."""

    def check(self) -> None:
        """Raise when the attempt must stop."""

    def remaining(self) -> float:
        """Seconds until the attempt's deadline."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a HEAD tells about an object."""

    size: int
    etag: str
    metadata: Mapping[str, str]
    version: str | None
    sha256: str | None
    """Of the whole object as the service computed it, hex; None where it has none."""

    def written_by(self, delivery_id: str, size: int) -> bool:
        """The object is this delivery's, and whole."""
        return self.metadata.get(DELIVERY) == delivery_id and self.size == size


@dataclass(frozen=True, slots=True)
class Stored:
    """What the service answered after it took the object."""

    etag: str
    version: str | None
    verified: str
    """``sha256`` or ``md5`` (checked by the service or against its answer), ``size`` or ``accepted``."""
    digest: str | None
    parts: int = 0
    doubtful: bool = False
    """The ETag looks like an MD5 and is not the payload's."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part as the service lists it or has taken it."""

    number: int
    size: int
    etag: str
    sha256: str | None


def md5_etag(etag: str) -> str | None:
    """The MD5 that an ETag looks like, hex; None when it has another form (parts, encryption)."""
    text = etag.strip('"').lower()
    return text if len(text) == 32 and all(c in "0123456789abcdef" for c in text) else None


def b64(hex_digest: str) -> str:
    """A hex digest as the base64 that headers carry."""
    return base64.b64encode(bytes.fromhex(hex_digest)).decode()


def unb64(text: str | None) -> str | None:
    """The hex digest of a checksum header; None for none and for a digest of digests (``…-3``)."""
    return base64.b64decode(text).hex() if text and "-" not in text else None


def stored_from(head: Head, parcel: Parcel) -> Stored:
    """What a HEAD proves about this delivery's own object."""
    if head.sha256 == parcel.digests["sha256"]:
        return Stored(head.etag, head.version, "sha256", f"sha256:{head.sha256}")
    if md5_etag(head.etag) == parcel.digests["md5"]:
        return Stored(head.etag, head.version, "md5", f"md5:{parcel.digests['md5']}")
    return Stored(head.etag, head.version, "size", None)


def forbidden(error: DeliveryError) -> bool:
    """The credentials are accepted and may not do this."""
    return error.code in ("403", "AccessDenied")


def version_of(answer: Any) -> str | None:
    """The version id of an answer; None without versioning (``null``: it is suspended)."""
    version = answer.get("VersionId")
    return None if version in (None, "", "null") else str(version)


def _context(pairs: Mapping[str, str]) -> str | None:
    """An encryption context as the header carries it."""
    return base64.b64encode(json.dumps(pairs).encode()).decode() if pairs else None


class Bucket:
    """Operations on the destination's bucket.

    Args:
        client: The shared SDK client.
        options: The destination's options.
    """

    def __init__(self, client: S3Client, options: S3Options) -> None:
        self._client = client
        self._options = options
        self._name = options.bucket
        key = options.sse_customer_key
        self._key: dict[str, Any] = (
            {}
            if key is None
            else {
                "SSECustomerAlgorithm": "AES256",
                "SSECustomerKey": base64.b64decode(key.get_secret_value()),
            }
        )

    # --- looking ---------------------------------------------------------------------------------

    def exists(self, context: Limits) -> None:
        """HEAD on the bucket."""
        with self._errors("look at the bucket"), self._limits(context):
            self._client.head_bucket(Bucket=self._name)

    def head(self, key: str, context: Limits) -> Head | None:
        """What stands at ``key``; None for nothing.

        Raises:
            DeliveryError: CONFIG with code 403 where the credentials may not look.
        """
        try:
            with self._limits(context):
                answer = self._client.head_object(
                    Bucket=self._name, Key=key, ChecksumMode="ENABLED", **self._key
                )
        except ClientError as error:
            if status_of(error) == 404 and code_of(error) != "NoSuchBucket":
                return None
            raise self._why(error, key, context) from None
        except Exception as error:
            raise classify(error, "look at the object") from None
        return Head(
            size=answer["ContentLength"],
            etag=answer.get("ETag", ""),
            metadata={name.lower(): value for name, value in answer.get("Metadata", {}).items()},
            version=version_of(answer),
            sha256=unb64(answer.get("ChecksumSHA256")),
        )

    def _why(self, error: ClientError, key: str, context: Limits) -> DeliveryError:
        """An answer to HEAD has no body that tells a wrong key from a missing permission; one to GET has."""
        if status_of(error) in (400, 401, 403):
            try:
                with self._limits(context):
                    self._client.get_object(Bucket=self._name, Key=key, Range="bytes=0-0", **self._key)[
                        "Body"
                    ].close()
            except ClientError as told:
                if status_of(told) == status_of(error):
                    error = told
            except Exception as failure:
                return classify(failure, "look at the object")
        return classify(error, "look at the object")

    def sha256(self, key: str, version: str | None, context: Limits) -> str:
        """Read the object back and hash it, hex."""
        extra: dict[str, Any] = {} if version is None else {"VersionId": version}
        digest = hashlib.sha256()
        with self._errors("read the object back"), self._limits(context):
            body = self._client.get_object(Bucket=self._name, Key=key, **self._key, **extra)["Body"]
            with body:
                for block in body.iter_chunks(BLOCK):
                    context.check()
                    digest.update(block)
        return digest.hexdigest()

    # --- one request -----------------------------------------------------------------------------

    def put(self, parcel: Parcel, key: str, context: AttemptContext, *, create: bool) -> Stored:
        """Store the parcel with one request, streamed.

        Args:
            parcel: What to store.
            key: Where.
            context: The attempt; its fence is checked before the last byte.
            create: Only where nothing stands (``If-None-Match: *``).

        Raises:
            Taken: something stands there.
            NoPreconditions: the endpoint refuses the precondition.
        """
        params = {**self._integrity(parcel.digests), **self._object(parcel), **self._key}
        if create:
            params["IfNoneMatch"] = "*"
        with parcel.open() as stream:
            body = Body(stream, 0, parcel.size, Publishing(context), sending=False)
            if parcel.size == 0:
                context.before_commit()
            sendable: Any = body if parcel.size else b""
            with (
                self._errors("put the object", body, create=create),
                self._limits(context, headers=self._options.custom_headers, body=body),
                context.phase("transfer"),
            ):
                answer = self._client.put_object(Bucket=self._name, Key=key, Body=sendable, **params)
        return self._judge(answer, parcel)

    def delete(self, key: str, context: Limits, version: str | None = None) -> None:
        """Remove the object."""
        extra: dict[str, Any] = {} if version is None else {"VersionId": version}
        with self._errors("delete the object"), self._limits(context):
            self._client.delete_object(Bucket=self._name, Key=key, **extra)

    # --- many requests ---------------------------------------------------------------------------

    def create_upload(self, parcel: Parcel, key: str, context: Limits) -> str:
        """Begin an upload in parts; returns its id."""
        params = {**self._object(parcel), **self._key}
        if self._options.digest == "sha256":
            params["ChecksumAlgorithm"] = "SHA256"
        with self._errors("begin the upload"), self._limits(context, headers=self._options.custom_headers):
            answer = self._client.create_multipart_upload(Bucket=self._name, Key=key, **params)
        return answer["UploadId"]

    def parts(self, key: str, upload: str, context: Limits) -> Iterator[Part]:
        """The parts that the service holds."""
        marker = 0
        while True:
            with self._errors("list the parts"), self._limits(context):
                page = self._client.list_parts(
                    Bucket=self._name, Key=key, UploadId=upload, PartNumberMarker=marker
                )
            for part in page.get("Parts", []):
                yield Part(part["PartNumber"], part["Size"], part["ETag"], unb64(part.get("ChecksumSHA256")))
            last = page.get("NextPartNumberMarker") or 0
            if not page.get("IsTruncated") or last <= marker:
                return
            marker = last

    def put_part(self, key: str, upload: str, number: int, body: Body, digest: str, context: Limits) -> Part:
        """Send one part. ``digest`` is the hex digest of its bytes by the algorithm of the options."""
        given: dict[str, str] = {self._options.digest: digest}
        sendable: Any = body
        with self._errors("send a part", body), self._limits(context, body=body):
            answer = self._client.upload_part(
                Bucket=self._name,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=sendable,
                **self._integrity(given),
                **self._key,
            )
        return Part(number, len(body), answer["ETag"], unb64(answer.get("ChecksumSHA256")))

    def complete(
        self, key: str, upload: str, parts: Sequence[Part], context: AttemptContext, *, create: bool
    ) -> tuple[str, str | None]:
        """Put the parts together: the object becomes visible. Returns ETag and version.

        Raises:
            Taken: ``create``, and something stands there.
            NoPreconditions: the endpoint refuses the precondition.
        """
        listed: list[Any] = [
            {"PartNumber": part.number, "ETag": part.etag}
            | ({"ChecksumSHA256": b64(part.sha256)} if part.sha256 else {})
            for part in parts
        ]
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if create else {}
        with (
            self._errors("complete the upload", create=create, publishes=True),
            # Amazon sends spaces while it is at it: they are an answer that has begun.
            self._limits(context, COMPLETE_TIMEOUT, whole=math.inf),
            context.phase("commit"),
        ):
            answer = self._client.complete_multipart_upload(
                Bucket=self._name,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": listed},
                **condition,
                **self._key,
            )
        return answer.get("ETag", ""), version_of(answer)

    def abort(self, key: str, upload: str, context: Limits) -> None:
        """Remove an upload and its parts; none there is success."""
        try:
            with self._errors("abort the upload"), self._limits(context):
                self._client.abort_multipart_upload(Bucket=self._name, Key=key, UploadId=upload)
        except DeliveryError as error:
            if error.kind is not ErrorKind.SESSION_LOST:
                raise

    # --- parameters, limits, errors ----------------------------------------------------------------

    def _integrity(self, digests: Mapping[str, str]) -> dict[str, Any]:
        """The digest that the service is asked to check the body against."""
        if self._options.digest == "sha256":
            return {"ChecksumSHA256": b64(digests["sha256"])}
        if self._options.digest == "md5":
            return {"ContentMD5": b64(digests["md5"])}
        return {}

    def _object(self, parcel: Parcel) -> dict[str, Any]:
        """What is stored with the object."""
        options = self._options
        media_type = parcel.media_type
        chosen = {
            "StorageClass": options.storage_class,
            "ACL": options.acl,
            "ServerSideEncryption": options.sse,
            "SSEKMSKeyId": options.sse_kms_key_id,
            "SSEKMSEncryptionContext": _context(options.sse_kms_context),
            "BucketKeyEnabled": options.sse_bucket_key,
        }
        plain = media_type.isascii() and media_type.isprintable()
        return {
            "ContentType": media_type if plain and media_type else "application/octet-stream",
            "Metadata": {
                **options.metadata,
                DELIVERY: parcel.delivery_id,
                SHA256: parcel.digests["sha256"],
            },
            **{name: value for name, value in chosen.items() if value is not None},
        }

    def _judge(self, answer: Any, parcel: Parcel) -> Stored:
        """What the answer to a put proves."""
        etag, version = answer.get("ETag", ""), version_of(answer)
        if unb64(answer.get("ChecksumSHA256")) == parcel.digests["sha256"]:
            return Stored(etag, version, "sha256", f"sha256:{parcel.digests['sha256']}")
        if md5_etag(etag) == parcel.digests["md5"]:
            return Stored(etag, version, "md5", f"md5:{parcel.digests['md5']}")
        encrypted = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
        encrypted = encrypted or "SSECustomerAlgorithm" in answer
        # With these encryptions the ETag is no MD5:
        # https://docs.aws.amazon.com/AmazonS3/latest/API/RESTCommonResponseHeaders.html
        return Stored(etag, version, "accepted", None, doubtful=md5_etag(etag) is not None and not encrypted)

    @contextmanager
    def _limits(
        self,
        context: Limits,
        seconds: float = READ_TIMEOUT,
        *,
        whole: float | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Iterator[None]:
        context.check()
        left = max(1.0, context.remaining())
        with calling(
            min(seconds, left), whole=min(whole or ANSWER_TIMEOUT, left), headers=headers, body=body
        ):
            yield

    @contextmanager
    def _errors(
        self, doing: str, body: Body | None = None, *, create: bool = False, publishes: bool = False
    ) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            if create and status_of(error) == 412:
                raise Taken from None
            if create and (status_of(error) == 501 or code_of(error) == "NotImplemented"):
                raise NoPreconditions from None
            raise classify(error, doing) from None
        except Exception as error:
            stopped = next((c for c in causes(error) if isinstance(c, BodyStopped)), None)
            if stopped is not None:
                raise stopped from None
            sent = publishes or (body is not None and body.finished)
            raise classify(error, doing, sent=sent) from None
