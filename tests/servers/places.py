"""One local place for each of the nine destination types: where to deliver to, and how to look there.

For the demonstration and the benchmarks. Servers and stand-ins run in processes of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from conveyor.testing import FolderObserver
from servers import azurite, moto, pyftpdlib_server, seaweed, wsgi_dav
from servers.standins.child import launched

BUCKET = "photos"


@dataclass(frozen=True)
class Place:
    """A running server of one type.

    Attributes:
        type: The destination type.
        server: What stands there, for people.
        options: The destination's, as YAML has them.
        digests: SHA-256 of each file that a reader finds there, by another way than the connector's.
    """

    type: str
    server: str
    options: dict[str, Any] = field(repr=False)
    digests: Callable[[], Counter[str]] = field(repr=False)


def of_folder(root: Path) -> Counter[str]:
    """The files below a folder."""
    observer = FolderObserver(root)
    return Counter(str(observer.sha256(name)) for name in observer.names())


@contextmanager
def webhook() -> Iterator[Place]:
    """Conveyor's own receiver, which checks each signature."""
    from conveyor.receiver import Receiver

    secret = "whsec_ZGVtbyBzZWNyZXQsIG5vIHNlY3JldCBhdCBhbGw="
    with tempfile.TemporaryDirectory(prefix="conveyor-receiver-") as folder:
        with Receiver(Path(folder), secrets=[secret]) as receiver:
            options = {"url": receiver.url, "secret": secret, "format": "binary"}
            yield Place("webhook", "conveyor listen", options, lambda: of_folder(Path(folder)))


@contextmanager
def s3() -> Iterator[Place]:
    """SeaweedFS, or moto where it is not installed."""
    server_of = seaweed if seaweed.available() else moto
    with server_of.start() as server:
        client = server.client()
        client.create_bucket(Bucket=BUCKET)

        def digests() -> Counter[str]:
            keys = [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
            return Counter(_sha256(client.get_object(Bucket=BUCKET, Key=key)["Body"]) for key in keys)

        options = {
            "endpoint": server.url,
            "region": server.region,
            "bucket": BUCKET,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
        }
        yield Place("s3", server.name, options, digests)


@contextmanager
def azure_blob() -> Iterator[Place]:
    """Azurite."""
    with azurite.start() as server:
        container = server.client(BUCKET)
        container.create_container()

        def digests() -> Counter[str]:
            names = [blob.name for blob in container.list_blobs()]
            return Counter(
                hashlib.sha256(container.download_blob(name).readall()).hexdigest() for name in names
            )

        options = {"connection_string": server.connection_string(), "container": BUCKET}
        yield Place("azure_blob", "Azurite", options, digests)


@contextmanager
def ftp() -> Iterator[Place]:
    """pyftpdlib, over TLS."""
    with pyftpdlib_server.start(tls=True) as server:
        yield Place("ftp", "pyftpdlib, TLS", dict(server.options), lambda: of_folder(server.root))


@contextmanager
def webdav() -> Iterator[Place]:
    """wsgidav."""
    with wsgi_dav.start() as server:
        options = {"url": server.url, "username": server.username, "password": server.password}
        yield Place("webdav", "wsgidav", options, lambda: of_folder(server.root))


STANDINS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "google_drive": (
        "servers.standins.google_drive:GoogleDrive",
        lambda facts: {"api_url": facts["url"]},
    ),
    "dropbox": (
        "servers.standins.dropbox:DropboxStandIn",
        lambda facts: {"api_url": facts["url"], "content_url": facts["url"]},
    ),
    "onedrive": (
        "servers.standins.onedrive:OneDrive",
        lambda facts: {"graph_url": facts["graph_url"]},
    ),
    "box": (
        "servers.standins.box:BoxStandIn",
        lambda facts: {"api_url": facts["base_url"], "upload_url": facts["upload_url"]},
    ),
}
"""The four vendors' stand-ins: their classes, and the options that lead to one, by its facts."""


def options_at(type_: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Options of a destination at a stand-in, signed in."""
    secret = {"client_secret": facts["client_secret"]} if facts["client_secret"] else {}
    login = {name: facts[name] for name in ("client_id", "refresh_token", "token_url")}
    return {**login, **secret, **STANDINS[type_][1](facts)}


@contextmanager
def standin(type_: str) -> Iterator[Place]:
    """A vendor's stand-in, in a process of its own."""
    with launched(STANDINS[type_][0]) as facts:

        def digests() -> Counter[str]:
            return Counter(ask(facts["url"], "GET", "files").values())

        yield Place(type_, "stand-in", options_at(type_, facts), digests)


NINE: dict[str, Callable[[], AbstractContextManager[Place]]] = {
    "webhook": webhook,
    "s3": s3,
    "azure_blob": azure_blob,
    "google_drive": partial(standin, "google_drive"),
    "dropbox": partial(standin, "dropbox"),
    "onedrive": partial(standin, "onedrive"),
    "box": partial(standin, "box"),
    "ftp": ftp,
    "webdav": webdav,
}
"""In the order of the published contract."""


def missing() -> dict[str, str]:
    """The types whose server is not installed here, with what to install."""
    found = {}
    if not azurite.available():
        found["azure_blob"] = azurite.PACKAGE
    if not (seaweed.available() or moto.available()):
        found["s3"] = seaweed.PACKAGE
    if not pyftpdlib_server.available():
        found["ftp"] = pyftpdlib_server.PACKAGE
    if not wsgi_dav.available():
        found["webdav"] = wsgi_dav.PACKAGE
    return found


def ask(url: str, method: str, what: str) -> Any:
    """Ask a stand-in in another process about itself."""
    parts = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)) as conn:
        conn.request(method, f"/_standin/{what}")
        return json.loads(conn.getresponse().read())


def _sha256(stream: Any) -> str:
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
