"""The options of the type ``gcs``. Imports nothing of Google's."""

from __future__ import annotations

import json
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, TypeAdapter, model_validator

from conveyor.contract import Options
from conveyor.kit.options import EndpointUrl, LocalPath, Size
from conveyor_gcs import PREFIX_MAX

MIB = 1024 * 1024
UNIT = 256 * 1024
"""Bytes that every chunk but the last is a multiple of
(https://cloud.google.com/storage/docs/performing-resumable-uploads#chunked-upload)."""
KEY_TYPES = {
    "service_account": ("client_email", "private_key", "token_uri"),
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
}
"""Kinds of credentials that may stand in an option, and the fields they need. The others of Google's kinds
name files, programs or addresses of this machine to read, which is not for a destination to say."""
_TOKEN_URI: TypeAdapter[str] = TypeAdapter(EndpointUrl)


def _bare(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, no password, no query and no fragment")
    return url.rstrip("/")


def _bucket(name: str) -> str:
    # https://cloud.google.com/storage/docs/buckets#naming
    if name.startswith("gs://"):
        raise ValueError("is the name alone: acme-photos, without gs://")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", name):
        raise ValueError("has 3 to 222 characters: a-z, 0-9, dots, - and _")
    return name


def _prefix(text: str) -> str:
    if len(text.encode("utf-8", "surrogatepass")) > PREFIX_MAX:
        raise ValueError(f"may have {PREFIX_MAX} bytes")
    if text and not text.endswith("/"):
        text += "/"
    if any(level in ("", ".", "..") for level in text.split("/")[:-1]) or not text.isprintable():
        raise ValueError("is a path such as incoming/photos/, without empty levels, . and ..")
    return text


def _key(value: SecretStr) -> SecretStr:
    """The JSON of a key, as Google's console hands it out."""
    try:
        found = json.loads(value.get_secret_value())
    except ValueError:
        found = None
    kind = found.get("type") if isinstance(found, dict) else None
    if kind not in KEY_TYPES:
        wanted = " or ".join(KEY_TYPES)
        raise ValueError(f"must be the JSON of a key of type {wanted}: !file secrets/key.json")
    if missing := [name for name in KEY_TYPES[kind] if not isinstance(found.get(name), str)]:
        raise ValueError(f"the key lacks {', '.join(missing)}")
    if kind == "service_account":
        _TOKEN_URI.validate_python(found["token_uri"])
    return value


def _metadata(values: dict[str, str]) -> dict[str, str]:
    for name, value in values.items():
        if not re.fullmatch(r"[a-z0-9_-]{1,128}", name) or name.startswith("conveyor-"):
            raise ValueError(f"{name!r}: use a-z, 0-9, _ and -, and no name that begins with conveyor-")
        if not value.isprintable():
            raise ValueError(f"the value of {name!r} must be printable")
    if sum(len(name) + len(value.encode()) for name, value in values.items()) > 7 * 1024:
        # 8 KiB for all of an object's own metadata (https://cloud.google.com/storage/quotas#objects).
        raise ValueError("may take 7 KiB in all")
    return values


def _units(size: int) -> int:
    if size % UNIT:
        raise ValueError("must be a multiple of 256 KiB")
    return size


class GcsOptions(Options):
    """Which bucket the files go to, and who brings them."""

    bucket: Annotated[str, AfterValidator(_bucket)] = Field(
        description="Name of the bucket. It must exist; it is never created."
    )
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        "", description="The folder in the bucket that everything goes into, e.g. incoming/. Empty: its top."
    )
    credentials: Annotated[SecretStr, AfterValidator(_key)] | None = Field(
        None,
        description="The key of a service account: the JSON file that Google's console lets you download, "
        "as !file secrets/key.json. Leave it out on a machine that is signed in already (on Google Cloud, "
        "or by gcloud auth application-default login).",
    )
    anonymous: bool = Field(
        False, description="Do not sign in at all. For test servers; Google lets nobody write so."
    )
    storage_class: str | None = Field(
        None,
        description="STANDARD, NEARLINE, COLDLINE or ARCHIVE. Left out, the bucket's own default applies.",
        pattern=r"^[A-Z_]{1,40}$",
    )
    kms_key: str | None = Field(
        None,
        description="The Cloud KMS key to encrypt with, instead of the bucket's default: "
        "projects/P/locations/L/keyRings/R/cryptoKeys/K.",
        pattern=r"^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$",
    )
    cache_control: str | None = Field(
        None,
        description="How long browsers may keep the file, e.g. private, max-age=3600.",
        pattern=r"^[\x20-\x7e]{1,200}$",
    )
    content_disposition: str | None = Field(
        None,
        description="What browsers do with the file, e.g. attachment.",
        pattern=r"^[\x20-\x7e]{1,200}$",
    )
    metadata: Annotated[dict[str, str], AfterValidator(_metadata)] = Field(
        default_factory=dict, description="Notes of your own to keep with each file: names and values."
    )
    user_project: str | None = Field(
        None,
        description="The project that pays, for a bucket where the requester pays.",
        pattern=r"^[a-z0-9:.-]{1,100}$",
    )
    endpoint: Annotated[EndpointUrl, AfterValidator(_bare)] = Field(
        "https://storage.googleapis.com",
        description="Another address of the same service: a regional or private endpoint, or a test server.",
    )
    resumable_above: Size = Field(
        8 * MIB,
        ge=0,
        le=64 * MIB,
        description="Files above this size are sent in pieces, and continued after a break; smaller ones "
        "go in one request.",
    )
    chunk_size: Annotated[Size, AfterValidator(_units)] = Field(
        16 * MIB,
        ge=UNIT,
        le=1024 * MIB,
        description="Size of a piece: a multiple of 256 KiB. It takes no memory; a break costs one at most.",
    )
    verify_tls: bool = Field(True, description="Check the service's certificate. Off only for tests.")
    ca_bundle: LocalPath | None = Field(
        None, description="PEM file of the authorities to trust instead of network.ca_bundle."
    )

    @model_validator(mode="after")
    def _sound(self) -> GcsOptions:
        if self.anonymous and self.credentials is not None:
            raise ValueError("anonymous and credentials exclude each other")
        return self
