"""What a destination of type ``azure_blob`` can be told. Imports no SDK."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from conveyor.config.options import LocalPath, Options, Size
from conveyor_connectors.azure_blob.account import (
    Account,
    check_key,
    endpoint,
    from_connection_string,
    from_sas_url,
    name_in,
)
from conveyor_connectors.azure_blob.spec import MAX_BLOCK

MIB = 1024 * 1024


def _container(value: str) -> str:
    # https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
    if value not in ("$root", "$web") and not re.fullmatch(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*", value):
        raise ValueError("is 3 to 63 lower-case letters, digits and single hyphens, without a path")
    return value


def _secretly(check: Callable[[str], object]) -> AfterValidator:
    def apply(value: SecretStr) -> SecretStr:
        check(value.get_secret_value())
        return value

    return AfterValidator(apply)


def _sas(value: str) -> None:
    if "sig=" not in value or "://" in value:
        raise ValueError("is the part after the ? of a SAS URL and holds sig=…")


def _printable(values: dict[str, str]) -> None:
    for name, value in values.items():
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the value of {name!r} must be printable ASCII")


def _metadata(values: dict[str, str]) -> dict[str, str]:
    for name in values:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.lower().startswith("conveyor_"):
            raise ValueError(
                f"{name!r}: use letters, digits and _, no digit first, and no name that begins with conveyor_"
            )
    _printable(values)
    if sum(len(k) + len(v) for k, v in values.items()) > 7000:
        # https://learn.microsoft.com/rest/api/storageservices/setting-and-retrieving-properties-and-metadata-for-blob-resources
        raise ValueError("may take 7000 characters in all")
    return values


def _tags(values: dict[str, str]) -> dict[str, str]:
    # https://learn.microsoft.com/azure/storage/blobs/storage-manage-find-blobs
    if len(values) > 10:
        raise ValueError("a blob has at most 10 index tags")
    for name, value in values.items():
        for text, longest in ((name, 128), (value, 256)):
            if not re.fullmatch(r"[A-Za-z0-9 +\-./:=_]*", text) or len(text) > longest:
                raise ValueError(f"{name!r}: letters, digits, space and + - . / : = _ only, 128 and 256 long")
    return values


def _one_line(value: str) -> str:
    _printable({"this": value})
    return value


class AzureBlobOptions(Options):
    """A container in Azure Blob Storage, flat or with a hierarchical namespace (Data Lake Gen2)."""

    container: Annotated[str, AfterValidator(_container)] | None = Field(
        None, description="Name of the container. It must exist. Leave it out when sas_url names it."
    )
    connection_string: Annotated[SecretStr, _secretly(from_connection_string)] | None = Field(
        None,
        description="The account's connection string, as the portal shows it under Access keys or Shared "
        "access signature.",
    )
    sas_url: Annotated[SecretStr, _secretly(from_sas_url)] | None = Field(
        None,
        description="A SAS URL of the container (or account): https://….blob.core.windows.net/photos?sp=…",
    )
    account_url: Annotated[str, AfterValidator(endpoint)] | None = Field(
        None,
        description="Address of the account, e.g. https://myaccount.blob.core.windows.net; together with "
        "identity, sas_token or account_key.",
    )
    identity: bool = Field(
        False,
        description="Sign in as this machine (managed identity, workload identity, environment, az login). "
        "Needs the package azure-identity.",
    )
    identity_client_id: str | None = Field(
        None, description="Client id of a user-assigned managed identity, where the machine has several."
    )
    sas_token: Annotated[SecretStr, _secretly(_sas)] | None = Field(
        None, description="Shared access signature: the part of a SAS URL after the question mark."
    )
    account_key: Annotated[SecretStr, _secretly(check_key)] | None = Field(
        None, description="Account key. It may do everything in the account: prefer the others."
    )
    tier: Literal["Hot", "Cool", "Cold", "Archive"] | None = Field(
        None, description="Access tier of the blobs. Left out, the account's default applies."
    )
    metadata: Annotated[dict[str, str], AfterValidator(_metadata)] = Field(
        default_factory=dict, description="Metadata stored with each blob."
    )
    tags: Annotated[dict[str, str], AfterValidator(_tags)] = Field(
        default_factory=dict,
        description="Index tags stored with each blob, at most 10. They need the permission to write tags.",
    )
    cache_control: Annotated[str, AfterValidator(_one_line)] | None = Field(
        None, description="Cache-Control of the blobs, e.g. max-age=3600."
    )
    content_disposition: Annotated[str, AfterValidator(_one_line)] | None = Field(
        None, description="Content-Disposition of the blobs, e.g. attachment."
    )
    encryption_scope: str | None = Field(
        None, description="Encryption scope, where not the container's default."
    )
    single_put: Size = Field(
        8 * MIB,
        ge=0,
        le=5000 * MIB,
        description="Files up to this size go in one request, larger ones in blocks.",
    )
    block_size: Size = Field(
        8 * MIB,
        ge=64 * 1024,
        le=MAX_BLOCK,
        description="Size of a block; doubled as often as Azure's limit of 50,000 blocks makes it necessary.",
    )
    parallel_blocks: int = Field(4, ge=1, le=16, description="Blocks of one file sent at once.")
    verify_tls: bool = Field(
        True, description="Verify the service's certificate. Turn it off only for tests."
    )
    ca_bundle: LocalPath | None = Field(
        None, description="File with the CA certificates to trust for this account."
    )
    check_prefix: str = Field(
        ".conveyor-test/", description="Where conveyor test writes its small blob, and deletes it again."
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> AzureBlobOptions:
        given = [name for name in ("connection_string", "sas_url", "account_url") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                "give one of connection_string, sas_url and account_url"
                + (f", not {' and '.join(given)}" if given else "")
            )
        ways = [name for name in ("identity", "sas_token", "account_key") if getattr(self, name)]
        if self.account_url is None and ways:
            raise ValueError(f"{ways[0]} goes with account_url; {given[0]} has its own sign-in")
        if self.account_url is not None:
            self._signs_in(self.account_url, ways)
        if self.identity_client_id is not None and not self.identity:
            raise ValueError("identity_client_id needs identity: true")
        named = self.account.container
        if self.container is None and named is None:
            raise ValueError("container is missing")
        if self.container is not None and named not in (None, self.container):
            raise ValueError("container is not the one that sas_url is for")
        _container(self.place)
        return self

    def _signs_in(self, url: str, ways: list[str]) -> None:
        if len(ways) != 1:
            raise ValueError(
                "account_url needs one of identity, sas_token and account_key"
                + (f", not {' and '.join(ways)}" if ways else "")
            )
        if self.identity and not url.startswith("https:"):
            raise ValueError("identity needs an https address: its token must not travel in clear")
        if self.account_key is not None and name_in(url) is None:
            raise ValueError(
                "account_key needs the account's name, which this address does not show: "
                "use connection_string with AccountName and BlobEndpoint"
            )

    @property
    def account(self) -> Account:
        """The account, whichever way it was given."""
        if self.connection_string is not None:
            return from_connection_string(self.connection_string.get_secret_value())
        if self.sas_url is not None:
            return from_sas_url(self.sas_url.get_secret_value())
        url = self.account_url or ""
        key = self.account_key.get_secret_value() if self.account_key else None
        sas = self.sas_token.get_secret_value().lstrip("?") if self.sas_token else None
        return Account(url, name_in(url), key, sas)

    @property
    def place(self) -> str:
        """The container."""
        return self.container or self.account.container or ""
