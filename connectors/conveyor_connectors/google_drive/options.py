"""What a destination of type ``google_drive`` can be told. Imports no SDK."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from conveyor.config.options import EndpointUrl, Size
from conveyor.contract import OAuthOptions

MIB = 1024 * 1024
UNIT = 256 * 1024
"""What each chunk but the last is a multiple of
(https://developers.google.com/workspace/drive/api/guides/manage-uploads#resumable)."""


def _units(value: int) -> int:
    if value % UNIT:
        raise ValueError("is a multiple of 256 KiB, as Google wants it")
    return value


def _account_key(value: SecretStr) -> SecretStr:
    """The JSON key of a service account; nothing of it may stand in an error."""
    try:
        key = json.loads(value.get_secret_value())
        known = [key["client_email"], key["private_key"], key["token_uri"]]
    except (ValueError, KeyError, TypeError):
        known = []
    if not known or not all(isinstance(each, str) and each for each in known):
        raise ValueError("is the JSON key of a service account: !file secrets/service-account.json")
    return value


class GoogleDriveOptions(OAuthOptions):
    """A folder of Google Drive, or of a shared drive."""

    folder_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="The folder: the last part of its address in the browser. The rendered path lies below "
        "it. Without it, Conveyor makes a folder of its own, named by app_name.",
    )
    app_name: str = Field(
        "Conveyor", min_length=1, description="Name of the folder that is made without folder_id."
    )
    service_account: Annotated[SecretStr, AfterValidator(_account_key)] | None = Field(
        None,
        description="Sign in without a person: the JSON key of a service account, "
        "`!file secrets/service-account.json`. It needs folder_id, in a shared drive or a delegated account.",
    )
    subject: str | None = Field(
        None,
        description="With service_account: the e-mail address of the user to act for (domain-wide "
        "delegation).",
    )
    chunk_size: Annotated[Size, AfterValidator(_units)] = Field(
        16 * MIB, ge=UNIT, description="Bytes of a file sent at a time, a multiple of 256 KiB."
    )
    api_url: EndpointUrl = Field("https://www.googleapis.com", description="Another address of Google's API.")

    @model_validator(mode="after")
    def _belongs_together(self) -> GoogleDriveOptions:
        if self.service_account is None and self.subject is not None:
            raise ValueError("subject goes with service_account")
        if self.service_account is not None and self.folder_id is None:
            raise ValueError("service_account needs folder_id: the folder that is shared with it")
        return self

    @property
    def root(self) -> str:
        """The id of the folder that paths begin in."""
        return self.folder_id or "root"

    @property
    def levels(self) -> tuple[str, ...]:
        """Folders below that one, before the rendered path."""
        return () if self.folder_id is not None else (self.app_name,)
