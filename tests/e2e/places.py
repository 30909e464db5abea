"""Real destinations for campaigns: their configuration, and what they hold by a second route."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servers import places
from servers.dav import DavServer
from servers.s3 import S3Server
from servers.ssh import SshServer
from servers.standins.box import BoxRules, BoxStandIn
from servers.standins.google_drive import GoogleDrive
from servers.standins.kit import StandIn

from e2e.checker import UNTOLD, Held

SHORT_LIFE = 6.0
"""Seconds that a token of the stand-in for Box lives: it is exchanged many times in a campaign."""
PART = 128 * 1024
"""Bytes that this stand-in takes at a time of a file which is no smaller."""


class _TellsUploads(StandIn):
    """Says of open uploads whether anybody has ever used them."""

    def unfinished(self) -> set[str]:
        """Those that no request has named stand out: whoever began them was not told their ids."""
        open_ones = super().unfinished()
        with self.lock:
            asked = " ".join(f"{seen.path} {' '.join(seen.query.values())}" for seen in self.seen)
        return {name if name in asked else f"{name} {UNTOLD}" for name in open_ones}


class ShortLivedBox(_TellsUploads, BoxStandIn):
    """Box, where logins are renewed all the time and files of some hundred KiB go in parts."""

    chunked_floor = part_size = PART

    def __init__(self) -> None:
        super().__init__(rules=BoxRules(life=SHORT_LIFE))


class Drive(_TellsUploads, GoogleDrive):
    """Drive."""


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


def bucket_holds(server: S3Server, bucket: str) -> Held:
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


def folder_holds(folder: Path) -> Held:
    def look() -> Mapping[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }

    return look


def webdav_destination(server: DavServer, folder: str) -> dict[str, Any]:
    return {
        "type": "webdav",
        "url": server.url,
        "username": server.username,
        "password": server.password,
        "remote_path": folder,
    }


def _login(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in ("client_id", "client_secret", "refresh_token", "token_url")}


def box_destination(facts: dict[str, Any]) -> dict[str, Any]:
    """``facts`` of a :class:`ShortLivedBox`; its refresh tokens are good for one use."""
    addresses = {"api_url": facts["base_url"], "upload_url": facts["upload_url"]}
    return {"type": "box", "direct_limit": PART, **addresses, **_login(facts)}


def drive_destination(facts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "google_drive", "api_url": facts["url"], "chunk_size": 256 * 1024, **_login(facts)}


def standin_holds(url: str, base: str = "") -> Held:
    """Files below ``base`` (twins, too) and open uploads of a stand-in of this module, as it says itself."""

    def look() -> Mapping[str, str]:
        files = places.ask(url, "GET", "files")
        uploads = places.ask(url, "GET", "unfinished")
        return {
            **{path.removeprefix(base): digest for path, digest in files.items()},
            **{f"open upload {name}": "" for name in uploads},
        }

    return look


def through(destination: dict[str, Any], port: int, proxy: int) -> dict[str, Any]:
    """The same destination over a proxy's port; where one signs in stays."""
    addresses = {
        name: destination[name].replace(f":{port}", f":{proxy}", 1)
        for name in ("url", "endpoint", "api_url", "upload_url")
        if name in destination
    }
    return {**destination, **addresses, **({"port": proxy} if "port" in destination else {})}
