"""What ``conveyor connectors`` knows of Box without importing anything else."""

from conveyor.contract import Capabilities, ConnectorSpec, NameRules
from conveyor.paths.names import LengthUnit

EXAMPLE = """\
team-box:
  type: box
  client_id: ${BOX_CLIENT_ID}
  client_secret: ${BOX_CLIENT_SECRET}
  redirect_port: 8765
  folder_id: "163521387011"
"""

NAMES = NameRules(
    # https://developer.box.com/guides/api-calls/permissions-and-errors/common-errors/ (item_name_invalid,
    # item_name_too_long); the further characters that page lists are accepted in practice, as rclone's
    # backend/box found.
    forbidden="/\\",
    forbidden_starts=" ",
    forbidden_ends=" ",
    segment_max=255,
    path_max=4000,
    unit=LengthUnit.UTF16,
    case_insensitive=True,
)
"""Which names a folder takes."""

SPEC = ConnectorSpec(
    type="box",
    summary="A folder of a Box account",
    factory="conveyor_connectors.box.connector:open_box",
    options="conveyor_connectors.box.options:BoxOptions",
    capabilities=Capabilities(
        atomic=True,
        create_only=True,
        resumable=True,
        find=True,
        digest="sha1",
        digests=("sha1",),
        names=NAMES,
        # 240 uploads a minute for each user
        # (https://developer.box.com/guides/api-calls/permissions-and-errors/rate-limits/).
        concurrency=4,
    ),
    extra="box",
    example=EXAMPLE,
    oauth="box",
)
