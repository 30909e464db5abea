"""Real destinations for campaigns: their configuration, and what they hold by a second route."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servers.dav import DavServer
from servers.s3 import S3Server
from servers.ssh import SshServer

from e2e import campaign


def s3_destination(server: S3Server, bucket: str) -> dict[str, Any]:
    return {
        "type": "s3",
        "endpoint": server.url,
        "region": server.region,
        "bucket": bucket,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
    }


def sftp_destination(server: SshServer, folder: str) -> dict[str, Any]:
    return {
        "type": "sftp",
        "host": server.host,
        "port": server.port,
        "username": server.username,
        "private_key": server.keys.client_key.read_text(),
        "host_key": server.keys.host_public,
        "remote_path": folder,
    }


def bucket_holds(server: S3Server, bucket: str) -> campaign.Held:
    def look() -> Mapping[str, str]:
        client = server.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        bodies = {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
        uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        return {
            **{key: hashlib.sha256(body).hexdigest() for key, body in bodies.items()},
            **{f"unfinished upload of {upload['Key']}": "" for upload in uploads},
        }

    return look


def folder_holds(folder: Path) -> campaign.Held:
    def look() -> Mapping[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }

    return look


def webdav_destination(server: DavServer, folder: str, port: int) -> dict[str, Any]:
    """Over another port: a proxy's."""
    return {
        "type": "webdav",
        "url": server.url.replace(f":{server.port}", f":{port}"),
        "username": server.username,
        "password": server.password,
        "remote_path": folder,
    }
