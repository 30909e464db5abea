"""What ``conveyor connectors`` knows of Dropbox without importing anything else."""

from conveyor.contract import Capabilities, ConnectorSpec, NameRules
from conveyor.paths.names import LengthUnit

EXAMPLE = """\
family-dropbox:
  type: dropbox
  client_id: ${DROPBOX_APP_KEY}
  redirect_port: 8765
  folder_path: /Apps/Conveyor
"""

NAMES = NameRules(
    # https://help.dropbox.com/organize/file-names, and what rclone's docs/content/dropbox.md lists.
    forbidden="/\\\x7f",
    forbidden_ends=" ",
    reserved_exact=frozenset(
        {"desktop.ini", "thumbs.db", ".ds_store", "icon\r", ".dropbox", ".dropbox.attr"}
    ),
    segment_max=255,
    path_max=4000,
    unit=LengthUnit.UTF16,
    case_insensitive=True,
)
"""Which names a folder takes."""

MAX_SIZE = 2**41 - 2**22
"""Bytes of a file: the documentation of files/upload_session/start in files.stone."""

SPEC = ConnectorSpec(
    type="dropbox",
    summary="A folder of a Dropbox account",
    factory="conveyor_connectors.dropbox.connector:open_dropbox",
    options="conveyor_connectors.dropbox.options:DropboxOptions",
    capabilities=Capabilities(
        atomic=True,
        create_only=True,
        resumable=True,
        find=True,
        digest="dropbox",
        digests=("dropbox",),
        max_size=MAX_SIZE,
        names=NAMES,
        # Writers of one account get into each other's way (too_many_write_operations:
        # https://developers.dropbox.com/error-handling-guide).
        concurrency=2,
    ),
    extra="dropbox",
    example=EXAMPLE,
    oauth="dropbox",
)
