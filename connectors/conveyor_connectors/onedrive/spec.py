"""What ``conveyor connectors`` knows of OneDrive without importing anything else."""

from conveyor.contract import Capabilities, ConnectorSpec, NameRules
from conveyor.paths.names import LengthUnit

EXAMPLE = """\
holiday-onedrive:
  type: onedrive
  client_id: ${ENTRA_CLIENT_ID}
  folder_path: /Conveyor
"""

NAMES = NameRules(
    # https://support.microsoft.com/office/64883a5d-228e-48f5-b3d2-eb39e07630fa: restrictions and limitations
    # in OneDrive and SharePoint
    forbidden='"*:<>?/\\|',
    forbidden_starts=" ~",
    forbidden_ends=" .",
    reserved=frozenset(
        {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
    ),
    reserved_exact=frozenset({".lock", "desktop.ini", "forms"}),
    forbidden_parts=("_vti_",),
    segment_max=255,
    path_max=350,  # 400 with the library's own address
    unit=LengthUnit.UTF16,
    case_insensitive=True,
)
"""Which names a folder takes."""

MAX_SIZE = 250 * 10**9
"""Bytes of a file, by the same page."""

SPEC = ConnectorSpec(
    type="onedrive",
    summary="A folder of OneDrive, personal or for business, or of a SharePoint library",
    factory="conveyor_connectors.onedrive.connector:open_onedrive",
    options="conveyor_connectors.onedrive.options:OneDriveOptions",
    capabilities=Capabilities(
        atomic=True,
        create_only=True,
        resumable=True,
        find=True,
        digest="quickxor",
        digests=("quickxor",),
        max_size=MAX_SIZE,
        names=NAMES,
        concurrency=4,
    ),
    extra="onedrive",
    example=EXAMPLE,
    oauth="microsoft",
)
