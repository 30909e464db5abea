"""Everything that dials: one function for each protocol that makes it reach for a host."""

from __future__ import annotations

import base64
import contextlib
import importlib
from collections.abc import Callable
from typing import Any

from conveyor.contract import ConflictPolicy, ConnectorSpec, DeliveryError, Target
from conveyor.network import Network
from conveyor.oauth.http import ask
from conveyor.payloads.sources.web import open_url
from conveyor.testing.harness import HarnessContext, make_env, make_parcel, with_tokens
from conveyor_connectors.azure_blob.spec import SPEC as AZURE
from conveyor_connectors.box.spec import SPEC as BOX
from conveyor_connectors.dropbox.spec import SPEC as DROPBOX
from conveyor_connectors.ftp.spec import FTP, FTPS, SFTP
from conveyor_connectors.google_drive.spec import SPEC as GOOGLE_DRIVE
from conveyor_connectors.onedrive.spec import SPEC as ONEDRIVE
from conveyor_connectors.s3.spec import SPEC as S3
from conveyor_connectors.webdav.spec import SPEC as WEBDAV
from conveyor_connectors.webhook.spec import SPEC as WEBHOOK

Reach = Callable[[Network, str, int], None]

KEYS = {"bucket": "photos", "access_key": "AK", "secret_key": "sk"}
LOGIN = {"username": "conveyor", "password": "pw"}
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFHzxpXTxMPsDFlqNlnj+LXUjVw1YQDdzV7FCHyBcoUL"


def authority(host: str, port: int) -> str:
    """Host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def load(path: str) -> Any:
    """What a spec names as ``module:name``."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def deliver(spec: ConnectorSpec, network: Network, options: dict[str, Any]) -> None:
    """One delivery by a connector of its own."""
    model = load(spec.options) if isinstance(spec.options, str) else spec.options
    env = make_env(network=network)
    if spec.oauth is not None:
        env = with_tokens(env, ("a-token",))
    made = load(spec.factory)(model.model_validate(options), env)
    try:
        made.deliver(
            make_parcel(10, digests=spec.capabilities.digests),
            Target("a/photo.jpg", ConflictPolicy.OVERWRITE),
            HarnessContext(deadline=5),
        )
    finally:
        with contextlib.suppress(DeliveryError):
            made.close()


def _webhook(network: Network, host: str, port: int) -> None:
    deliver(WEBHOOK, network, {"url": f"http://{authority(host, port)}/"})


def _s3(network: Network, host: str, port: int) -> None:
    deliver(S3, network, {**KEYS, "endpoint": f"http://{authority(host, port)}"})


def _sts(network: Network, host: str, port: int) -> None:
    role = {"role_arn": "arn:aws:iam::1:role/x", "sts_endpoint": f"http://{authority(host, port)}"}
    deliver(S3, network, {**KEYS, **role})


def _azure(network: Network, host: str, port: int) -> None:
    key = base64.b64encode(b"k" * 32).decode()
    url = f"http://{authority(host, port)}/acct"
    text = f"AccountName=acct;AccountKey={key};BlobEndpoint={url}"
    deliver(AZURE, network, {"container": "photos", "connection_string": text})


def _webdav(network: Network, host: str, port: int) -> None:
    deliver(WEBDAV, network, {**LOGIN, "allow_http": True, "url": f"http://{authority(host, port)}/dav/"})


def _google_drive(network: Network, host: str, port: int) -> None:
    deliver(GOOGLE_DRIVE, network, {"client_id": "app", "api_url": f"https://{authority(host, port)}"})


def _dropbox(network: Network, host: str, port: int) -> None:
    url = f"https://{authority(host, port)}"
    deliver(DROPBOX, network, {"client_id": "app", "api_url": url, "content_url": url})


def _onedrive(network: Network, host: str, port: int) -> None:
    deliver(ONEDRIVE, network, {"client_id": "app", "graph_url": f"https://{authority(host, port)}/v1.0"})


def _box(network: Network, host: str, port: int) -> None:
    url = f"https://{authority(host, port)}"
    secret = {"client_id": "app", "client_secret": "s"}
    deliver(BOX, network, {**secret, "api_url": url, "upload_url": f"{url}/api"})


def _ftp(network: Network, host: str, port: int) -> None:
    deliver(FTP, network, {**LOGIN, "protocol": "ftp", "host": host, "port": port})


def _ftps(network: Network, host: str, port: int) -> None:
    deliver(FTPS, network, {**LOGIN, "protocol": "ftps", "host": host, "port": port})


def _sftp(network: Network, host: str, port: int) -> None:
    deliver(SFTP, network, {**LOGIN, "protocol": "sftp", "host": host, "port": port, "host_key": HOST_KEY})


def _token(network: Network, host: str, port: int) -> None:
    ask(network, "POST", f"http://{authority(host, port)}/token", headers={}, body=b"grant_type=x")


def _source(network: Network, host: str, port: int) -> None:
    open_url(f"http://{authority(host, port)}/photo.jpg", network).close()


HTTP: dict[str, Reach] = {
    "webhook": _webhook,
    "s3": _s3,
    "sts": _sts,
    "azure_blob": _azure,
    "webdav": _webdav,
    "google_drive": _google_drive,
    "dropbox": _dropbox,
    "onedrive": _onedrive,
    "box": _box,
    "token URL": _token,
    "source URL": _source,
}
"""Those that go through the proxy, where one is set."""

ALL: dict[str, Reach] = {**HTTP, "ftp": _ftp, "ftps": _ftps, "sftp": _sftp}
