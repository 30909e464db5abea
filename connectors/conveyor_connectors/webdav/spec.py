"""What the type ``webdav`` is. Imports no SDK."""

from __future__ import annotations

from conveyor.contract import Capabilities, ConnectorSpec, NameRules
from conveyor_connectors.webdav.names import PATH_MAX, SEGMENT_MAX

EXAMPLE = """\
cloud:
  type: webdav
  url: https://cloud.example.com/remote.php/dav/files/photos
  username: photos
  password: ${CLOUD_APP_PASSWORD}
  remote_path: /incoming
"""

SPEC = ConnectorSpec(
    type="webdav",
    summary="A folder on a WebDAV server: Nextcloud, ownCloud, Apache, nginx …",
    factory="conveyor_connectors.webdav.connector:WebdavConnector",
    options="conveyor_connectors.webdav.options:WebdavOptions",
    capabilities=Capabilities(
        atomic=True,
        create_only=True,
        find=True,
        digests=("sha1",),  # OC-Checksum
        # Nextcloud refuses the backslash and, by default, .htaccess. wsgidav cuts the name that MOVE gives
        # at ? and ; although they are percent-encoded, and answers 201.
        names=NameRules(
            forbidden="\\?;",
            segment_max=SEGMENT_MAX,
            path_max=PATH_MAX,
            reserved_exact=frozenset({".htaccess"}),
        ),
        concurrency=8,
    ),
    extra="webdav",
    example=EXAMPLE,
)
