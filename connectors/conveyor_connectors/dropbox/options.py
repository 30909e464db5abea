"""What a destination of type ``dropbox`` can be told. Imports no SDK."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from conveyor.config.options import EndpointUrl, FolderPath, Size
from conveyor.contract import OAuthOptions

MIB = 1024 * 1024
BLOCK = 4 * MIB


def _name(value: str) -> str:
    if not value.strip() or "/" in value:
        raise ValueError("is the name that you gave your application at Dropbox")
    return value


def _blocks(value: int) -> int:
    if value % BLOCK:
        raise ValueError("is a multiple of 4 MiB, which Dropbox's content hash is made of")
    return value


class DropboxOptions(OAuthOptions):
    """A folder of a Dropbox account."""

    folder_path: FolderPath | None = Field(
        None,
        description="The folder that the rendered path lies below; made when it is missing. By default "
        "/Apps/ and app_name. An application of the type App folder sees its own folder as /.",
    )
    app_name: Annotated[str, AfterValidator(_name)] = Field(
        "Conveyor", description="The name of your application at Dropbox, for the default folder_path."
    )
    namespace_id: str | None = Field(
        None,
        pattern=r"^\d+$",
        description="A team space in place of the member's own folder: its namespace id.",
    )
    direct_limit: Size = Field(
        8 * MIB,
        ge=1,
        le=150 * MIB,
        description="Files up to this size go in one request, larger ones in chunks that another worker can "
        "continue.",
    )
    chunk_size: Annotated[Size, AfterValidator(_blocks)] = Field(
        16 * MIB, ge=BLOCK, le=148 * MIB, description="Size of a chunk, a multiple of 4 MiB."
    )
    api_url: EndpointUrl = Field(
        "https://api.dropboxapi.com", description="Another address of Dropbox's API."
    )
    content_url: EndpointUrl = Field(
        "https://content.dropboxapi.com", description="Another address for uploads."
    )

    @property
    def root(self) -> str:
        """The folder, without a slash at its end; empty for the top."""
        return (self.folder_path if self.folder_path is not None else f"/Apps/{self.app_name}").rstrip("/")
