"""Destination type ``gcs``: a bucket of Google Cloud Storage."""

from __future__ import annotations

from conveyor.contract import Capabilities, ConnectorSpec, NameRules
from conveyor.hookspecs import hookimpl

NAME_MAX = 1024
"""Bytes of an object's name in UTF-8 (https://cloud.google.com/storage/docs/objects#naming)."""
PREFIX_MAX = 128
"""Bytes of them that are kept for the option ``prefix``, so that every path which the engine makes fits."""

SPEC = ConnectorSpec(
    type="gcs",
    summary="A bucket of Google Cloud Storage",
    factory="conveyor_gcs.connector:GcsConnector",
    options="conveyor_gcs.options:GcsOptions",
    capabilities=Capabilities(
        atomic=True,
        create_only=True,
        resumable=True,
        find=True,
        digest="md5",
        max_size=5 * 1024**4,  # https://cloud.google.com/storage/quotas#objects
        names=NameRules(
            segment_max=NAME_MAX - PREFIX_MAX, path_max=NAME_MAX - PREFIX_MAX, max_segments=NAME_MAX // 2
        ),
    ),
    example=(
        "archive:\n  type: gcs\n  bucket: acme-photos\n  prefix: incoming/\n"
        "  credentials: !file secrets/service-account.json   # leave it out on a Google machine\n"
    ),
)


@hookimpl
def conveyor_connectors() -> list[ConnectorSpec]:
    """The one type of this plugin."""
    return [SPEC]
