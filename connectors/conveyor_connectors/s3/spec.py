"""What ``conveyor connectors`` knows of S3 without importing anything else."""

from conveyor.contract import Capabilities, ConnectorSpec, NameRules

EXAMPLE = """\
production-s3:
  type: s3
  endpoint: https://s3.example.com        # leave it out for Amazon
  region: eu-central-1
  bucket: photos
  access_key: ${S3_ACCESS_KEY}
  secret_key: ${S3_SECRET_KEY}
"""

NAMES = NameRules(forbidden="\\", segment_max=1024, path_max=1024, max_segments=512)

SPEC = ConnectorSpec(
    type="s3",
    summary="Amazon S3 and compatible stores: MinIO, Backblaze B2, Spaces, R2, Ceph …",
    factory="conveyor_connectors.s3.connector:open_s3",
    options="conveyor_connectors.s3.options:S3Options",
    capabilities=Capabilities(
        atomic=True,
        create_only=True,
        resumable=True,
        find=True,
        digest="md5",
        max_size=10_000 * 5 * 1024**3,  # 10,000 parts of 5 GiB
        names=NAMES,
        concurrency=8,
    ),
    extra="s3",
    example=EXAMPLE,
)
