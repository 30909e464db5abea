"""What a destination of type ``onedrive`` can be told. Imports no SDK."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from conveyor.config.options import EndpointUrl, FolderPath, Size
from conveyor.contract import OAuthOptions

MIB = 1024 * 1024
UNIT = 320 * 1024
"""What each fragment but the last is a multiple of (graph/api/driveitem-createuploadsession)."""


def _units(value: int) -> int:
    if value % UNIT:
        raise ValueError("is a multiple of 320 KiB, as Graph wants it")
    return value


def _pem(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if "PRIVATE KEY-----" not in text or "BEGIN CERTIFICATE-----" not in text:
        raise ValueError("is a PEM file with the certificate and its private key: !file secrets/app.pem")
    return value


class OneDriveOptions(OAuthOptions):
    """A folder of OneDrive, personal or for business, or of a SharePoint library."""

    tenant: str = Field(
        "common",
        pattern=r"^[A-Za-z0-9.-]+$",
        description="Your tenant: its id or domain. `common` takes work and private accounts, `consumers` "
        "private ones alone.",
    )
    drive_id: str | None = Field(
        None,
        pattern=r"^[^/?#\s]+$",
        description="The drive, for a SharePoint library or somebody else's OneDrive. By default the drive "
        "of the account that signs in.",
    )
    folder_path: FolderPath | None = Field(
        None,
        description="The folder that the rendered path lies below; made when it is missing. By default / and "
        "app_name.",
    )
    app_name: str = Field("Conveyor", pattern=r"^[^/\\]+$", description="A name for the default folder_path.")
    app_only: bool = Field(
        False,
        description="Sign in as the application itself, without a person. Needs tenant, drive_id, and "
        "client_secret or certificate.",
    )
    certificate: Annotated[SecretStr, AfterValidator(_pem)] | None = Field(
        None,
        description="For app_only: a PEM file with the certificate and its private key, "
        "`!file secrets/app.pem`.",
    )
    fragment_size: Annotated[Size, AfterValidator(_units)] = Field(
        32 * UNIT, ge=UNIT, lt=60 * MIB, description="Bytes of a file sent at a time."
    )
    graph_url: EndpointUrl = Field(
        "https://graph.microsoft.com/v1.0",
        description="Graph's address; another one for national clouds, together with token_url.",
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> OneDriveOptions:
        if self.certificate is not None and not self.app_only:
            raise ValueError("certificate is for app_only: true")
        if self.app_only:
            if self.tenant in ("common", "consumers", "organizations"):
                raise ValueError("app_only needs your own tenant: its id or domain")
            if self.drive_id is None:
                raise ValueError("app_only needs drive_id: an application has no drive of its own")
            if self.client_id is None or (self.client_secret is None) == (self.certificate is None):
                raise ValueError("app_only needs client_id, and client_secret or certificate")
        return self

    @property
    def levels(self) -> tuple[str, ...]:
        """The folder's levels."""
        path = self.folder_path if self.folder_path is not None else f"/{self.app_name}"
        return tuple(level for level in path.split("/") if level)

    @property
    def drive(self) -> str:
        """The drive's address below Graph's."""
        return "/me/drive" if self.drive_id is None else f"/drives/{self.drive_id}"
