"""What ``conveyor connectors`` knows of Azure Blob Storage without importing anything else."""

from conveyor.contract import Capabilities, ConnectorSpec, NameRules
from conveyor.paths.names import LengthUnit

EXAMPLE = """\
archive:
  type: azure_blob
  account_url: https://photos.blob.core.windows.net
  identity: true
  container: photos
"""

MAX_BLOCKS = 50_000
"""Blocks of a blob (https://learn.microsoft.com/azure/storage/blobs/scalability-targets)."""

MAX_BLOCK = 4000 * 1024 * 1024
"""Bytes of a block, by the same page."""

NAMES = NameRules(
    # https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
    forbidden="\\\x7f\ufffe\uffff",
    forbidden_ends=".",
    path_max=1024,
    unit=LengthUnit.UTF16,
    # A flat account takes 254 levels of any length; one with a hierarchical namespace 63 of 255.
    segment_max=255,
    max_segments=63,
)
"""Which names a container takes, whatever kind of account it is in."""

SPEC = ConnectorSpec(
    type="azure_blob",
    summary="Azure Blob Storage, flat or with a hierarchical namespace (Data Lake Gen2)",
    factory="conveyor_connectors.azure_blob.connector:open_azure_blob",
    options="conveyor_connectors.azure_blob.options:AzureBlobOptions",
    capabilities=Capabilities(
        atomic=True,
        create_only=True,
        resumable=True,
        find=True,
        digest="md5",
        max_size=MAX_BLOCKS * MAX_BLOCK,
        names=NAMES,
        concurrency=8,
    ),
    extra="azure",
    example=EXAMPLE,
)
