"""What a destination of type ``s3`` can be told. Imports no SDK."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from conveyor.config.options import LocalPath, Options, Size

MIB = 1024 * 1024

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RESERVED_HEADERS = (
    "authorization", "connection", "content-length", "content-md5", "content-type", "date", "expect", "host",
    "if-match", "if-none-match", "transfer-encoding", "x-amz-checksum-", "x-amz-content-sha256", "x-amz-date",
    "x-amz-meta-conveyor-", "x-amz-sdk-checksum-algorithm", "x-amz-security-token", "x-amz-trailer",
    "x-amz-server-side-encryption-customer-",
)  # fmt: skip


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL such as https://s3.example.com")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password; use access_key and secret_key")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    return value.rstrip("/")


def _bucket(value: str) -> str:
    if "/" in value or not value.strip():
        raise ValueError("is the name of the bucket alone, without a path")
    return value


def _printable(name: str, value: str) -> None:
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"the value of {name!r} must be printable ASCII")


def _headers(values: dict[str, str]) -> dict[str, str]:
    for name, value in values.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a header name")
        if name.lower().startswith(_RESERVED_HEADERS):
            raise ValueError(f"{name!r} is set by Conveyor or has an option of its own")
        _printable(name, value)
    return values


def _metadata(values: dict[str, str]) -> dict[str, str]:
    for name, value in values.items():
        if not re.fullmatch(r"[a-z0-9-]+", name) or name.startswith("conveyor-"):
            raise ValueError(f"{name!r}: use a-z, 0-9 and -, and no name that begins with conveyor-")
        _printable(name, value)
    if sum(len(k) + len(v) for k, v in values.items()) > 1800:
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html: 2 KB in all.
        raise ValueError("may take 1800 characters in all")
    return values


def _session_name(value: str) -> str:
    # https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    if not re.fullmatch(r"[\w+=,.@-]{2,64}", value, re.ASCII):
        raise ValueError("takes 2 to 64 letters, digits and _+=,.@-")
    return value


def _customer_key(value: SecretStr) -> SecretStr:
    try:
        key = base64.b64decode(value.get_secret_value(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise ValueError("must be the base64 of 32 bytes")
    return value


class S3Options(Options):
    """A bucket on Amazon S3 or a compatible store (MinIO, Backblaze B2, Spaces, R2, Ceph …)."""

    bucket: Annotated[str, AfterValidator(_bucket)] = Field(description="Name of the bucket. It must exist.")
    endpoint: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None,
        description="Address of a compatible store, e.g. https://s3.example.com. Leave it out for Amazon.",
    )
    region: str | None = Field(
        None,
        description="Region of the bucket, e.g. eu-central-1; R2 wants auto. Most compatibles ignore it.",
    )
    access_key: str | None = Field(
        None,
        description="Access key id. Without it the machine's own AWS credentials are used "
        "(environment, profile, SSO, web identity, container or instance role).",
    )
    secret_key: SecretStr | None = Field(None, description="Secret access key.")
    session_token: SecretStr | None = Field(None, description="Session token of temporary credentials.")
    profile: str | None = Field(None, description="Profile of the machine's AWS configuration to use.")
    role_arn: str | None = Field(None, description="Role to assume with these credentials, as an ARN.")
    external_id: str | None = Field(None, description="External id that the role asks for.")
    role_session_name: Annotated[str, AfterValidator(_session_name)] = Field(
        "conveyor", description="Name under which the role's use appears in the account's records."
    )
    sts_endpoint: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None,
        description="Address that hands out the role's credentials, where it is not Amazon's "
        "(MinIO: the endpoint itself).",
    )
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto",
        description="Where the bucket stands in the address: in the path or in the host name. auto: in "
        "the host name on Amazon, in the path elsewhere.",
    )
    storage_class: str | None = Field(None, description="Storage class, e.g. STANDARD_IA.")
    acl: str | None = Field(None, description="Canned ACL, e.g. bucket-owner-full-control.")
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        None, description="Encryption by the server. Left out, the bucket's own default applies."
    )
    sse_kms_key_id: str | None = Field(None, description="Key id or ARN for aws:kms.")
    sse_kms_context: dict[str, str] = Field(
        default_factory=dict, description="Encryption context for aws:kms: names and values, not secret."
    )
    sse_bucket_key: bool | None = Field(
        None, description="Use an S3 Bucket Key for aws:kms, which saves requests to KMS."
    )
    sse_customer_key: Annotated[SecretStr, AfterValidator(_customer_key)] | None = Field(
        None, description="Your own encryption key (SSE-C), base64 of 32 bytes. Needs https."
    )
    custom_headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default_factory=dict,
        description="Headers sent with each object, e.g. Cache-Control or x-amz-tagging.",
    )
    metadata: Annotated[dict[str, str], AfterValidator(_metadata)] = Field(
        default_factory=dict, description="User metadata stored with each object."
    )
    checksum: Literal["auto", "sha256", "md5", "none"] = Field(
        "auto",
        description="How the store is asked to verify the bytes. auto: sha256 on Amazon, md5 elsewhere.",
    )
    conditional_writes: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="Whether the store honours If-None-Match, on which rename, skip and fail rest. auto: yes "
        "on Amazon, elsewhere tried out once; until that is proved, and where it does not, Conveyor looks "
        "first.",
    )
    multipart_threshold: Size = Field(
        16 * MIB, ge=0, le=5 * 1024 * MIB, description="Files above this size are sent in parts."
    )
    part_size: Size = Field(
        16 * MIB,
        ge=5 * MIB,
        le=5 * 1024 * MIB,
        description="Size of a part; doubled as often as max_parts makes it necessary.",
    )
    parallel_parts: int = Field(4, ge=1, le=16, description="Parts of one file sent at once.")
    max_parts: int = Field(
        10_000, ge=1, le=10_000, description="Most parts the store accepts (Scaleway: 1000)."
    )
    sign_payload: bool = Field(
        False,
        description="Sign a hash of the body too, in one more pass. Off: the signed digest header does.",
    )
    verify_tls: bool = Field(True, description="Verify the store's certificate. Turn it off only for tests.")
    ca_bundle: LocalPath | None = Field(
        None, description="File with the CA certificates to trust for this store."
    )
    check_prefix: str = Field(
        ".conveyor-test/", description="Where conveyor test writes its small object, and deletes it again."
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> S3Options:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key belong together: give both or neither")
        if self.session_token is not None and self.access_key is None:
            raise ValueError("session_token needs access_key and secret_key")
        if self.profile is not None and self.access_key is not None:
            raise ValueError("give either a profile or an access_key, not both")
        for name in ("external_id", "sts_endpoint"):
            if getattr(self, name) is not None and self.role_arn is None:
                raise ValueError(f"{name} needs role_arn")
        kms = {"sse_kms_key_id", "sse_kms_context", "sse_bucket_key"} & self.model_fields_set
        if kms and self.sse not in ("aws:kms", "aws:kms:dsse"):
            raise ValueError(f"{min(kms)} needs sse: aws:kms")
        if self.sse_customer_key is not None:
            if self.sse is not None:
                raise ValueError("sse and sse_customer_key exclude each other")
            if self.endpoint is not None and not self.endpoint.startswith("https:"):
                raise ValueError(
                    "sse_customer_key needs an https endpoint: the key travels with each request"
                )
        return self

    @property
    def is_amazon(self) -> bool:
        """True for Amazon's own endpoints, whose rules are known: checksums, preconditions, regions."""
        if self.endpoint is None:
            return True
        host = urlsplit(self.endpoint).hostname or ""
        return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    @property
    def digest(self) -> Literal["sha256", "md5", "none"]:
        """The digest that the store is asked to verify."""
        if self.checksum == "auto":
            return "sha256" if self.is_amazon else "md5"
        return self.checksum

    @property
    def path_style(self) -> bool:
        """Whether the bucket stands in the path of the URL."""
        return self.addressing == "path" or (self.addressing == "auto" and not self.is_amazon)
