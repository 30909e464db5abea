"""What ``conveyor connectors`` knows of Google Drive without importing anything else."""

from conveyor.contract import Capabilities, ConnectorSpec, NameRules
from conveyor.paths.names import LengthUnit

EXAMPLE = """\
holiday-drive:
  type: google_drive
  client_id: ${GOOGLE_CLIENT_ID}
  client_secret: ${GOOGLE_CLIENT_SECRET}
"""

NAMES = NameRules(segment_max=255, path_max=4000, unit=LengthUnit.UTF16)
"""Drive takes every name; these are limits that sync clients and downloads can live with."""

MAX_SIZE = 5 * 1024**4
"""Bytes of a file: ``mediaUpload.maxSize`` of files.create in the API's description."""

SPEC = ConnectorSpec(
    type="google_drive",
    summary="A folder of Google Drive, or of a shared drive",
    factory="conveyor_connectors.google_drive.connector:open_google_drive",
    options="conveyor_connectors.google_drive.options:GoogleDriveOptions",
    capabilities=Capabilities(
        atomic=True,
        # Names are not unique at Drive: no precondition of the server refuses a second file of one name.
        create_only=False,
        resumable=True,
        find=True,
        digest="md5",
        max_size=MAX_SIZE,
        names=NAMES,
        concurrency=4,
    ),
    extra="google-drive",
    example=EXAMPLE,
    oauth="google",
)
