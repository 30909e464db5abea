"""Destination type ``folder``: a folder of this machine, or a share that it has mounted."""

from __future__ import annotations

from conveyor.contract import Capabilities, ConnectorSpec, NameRules
from conveyor.hookspecs import hookimpl

SPEC = ConnectorSpec(
    type="folder",
    summary="A local or mounted folder",
    factory="conveyor_folder.connector:FolderConnector",
    options="conveyor_folder.options:FolderOptions",
    # PATH_MAX is 4096 with the folder before it and the NUL (limits.h); levels are opened one by one.
    capabilities=Capabilities(
        atomic=True, create_only=True, find=True, names=NameRules(segment_max=255, path_max=3000)
    ),
    example="archive:\n  type: folder\n  path: /mnt/archive/photos\n  marker: .archive-is-mounted\n",
)


@hookimpl
def conveyor_connectors() -> list[ConnectorSpec]:
    """The one type of this plugin."""
    return [SPEC]
