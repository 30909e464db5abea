"""What all S3 test servers have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.tls import Certificates

ACCESS_KEY = "conveyortestkey0"
SECRET_KEY = "conveyor-test-secret"
REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """A running S3 server; path style.

    ``secure_port`` serves the same over TLS by ``certificates``; ``root`` holds a folder for each bucket
    where the server keeps plain files.
    """

    name: str
    host: str
    port: int
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION
    secure_port: int | None = None
    certificates: Certificates | None = None
    root: Path | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def secure_url(self) -> str:
        return f"https://{self.host}:{self.secure_port}"

    def client(self, *, secure: bool = False) -> Any:
        """A boto3 client of the test's own, for the second route."""
        import boto3
        from botocore.config import Config

        config = Config(
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.secure_url if secure else self.url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            verify=str(self.certificates.ca) if secure and self.certificates else None,
            config=config,
        )
