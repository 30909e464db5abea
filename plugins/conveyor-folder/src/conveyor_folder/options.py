"""The options of the type ``folder``."""

from __future__ import annotations

from pydantic import Field

from conveyor.contract import Options
from conveyor.kit.options import LocalPath


class FolderOptions(Options):
    """Where files go, and how sure to be that it is the right place."""

    path: LocalPath = Field(description="The folder. It must exist; it is never created.")
    marker: str | None = Field(
        default=None,
        pattern=r"^[^/\x00]+$",
        description="Name of a file that must be in the folder: while a share is away its empty mount "
        "point has none, and deliveries are held instead of filling the local disk.",
    )
    read_back: bool = Field(
        default=True,
        description="Read each file again before it gets its name, past the cache where the system lets us.",
    )
