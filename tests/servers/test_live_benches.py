"""The benches for real accounts, at local servers: what they read, what they see, and that nothing stays."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

import pytest

from conveyor.testing import HarnessContext, make_parcel
from conveyor.testing.plugin import requires
from servers import pyftpdlib_server, sshd, wsgi_dav
from servers.azurite import Azurite
from servers.ftp import FtpServer
from servers.live import ACCOUNTS, NAME
from servers.s3 import S3Server
from servers.standins.box import BoxStandIn
from servers.standins.dropbox import DropboxStandIn
from servers.standins.google_drive import GoogleDrive
from servers.standins.kit import StandIn, running
from servers.standins.onedrive import OneDrive

pytestmark = pytest.mark.server

DROPBOX_SCOPES = "files.metadata.read files.content.read files.content.write"
DRIVE_SCOPE = "https://www.googleapis.com/auth/drive.file"
Place: TypeAlias = tuple[dict[str, str], Callable[[], object]]
"""What the environment would name, and what tells whether anything is left."""


@contextmanager
def _standin(standin: StandIn, scopes: str, addresses: Mapping[str, str]) -> Iterator[Place]:
    with running(standin):
        given = {option: standin.url + path for option, path in addresses.items()}
        yield {"token": standin.sign_in(scopes)[0], **given}, standin.files


@contextmanager
def _s3(server: S3Server) -> Iterator[Place]:
    client = server.client()
    client.create_bucket(Bucket=NAME)
    login = {"access_key": server.access_key, "secret_key": server.secret_key}
    place = {"bucket": NAME, "endpoint": server.url, "region": server.region}
    yield {**place, **login}, lambda: client.list_objects_v2(Bucket=NAME).get("Contents")
    client.delete_bucket(Bucket=NAME)
    client.close()


@contextmanager
def _azure_blob(server: Azurite) -> Iterator[Place]:
    with server.client(NAME) as client:
        client.create_container()
        given = {"account_url": server.url, "container": NAME, "sas_token": server.sas(NAME, "racwdl")}
        yield given, lambda: list(client.list_blobs(include=["uncommittedblobs"]))
        client.delete_container()


@contextmanager
def _webdav() -> Iterator[Place]:
    requires(wsgi_dav.available(), wsgi_dav.PACKAGE)
    with wsgi_dav.start() as server:
        given = {"url": server.url, "username": server.username, "password": server.password}
        yield given, lambda: list(server.root.iterdir())


@contextmanager
def _sftp() -> Iterator[Place]:
    requires(sshd.available(), sshd.PACKAGE)
    with sshd.start() as server:
        place = {"host": server.host, "port": str(server.port), "remote_path": server.base}
        key = {"private_key": server.keys.client_key.read_text(), "host_key": server.host_key}
        yield {"username": server.username, **place, **key}, lambda: list(server.root.iterdir())


@contextmanager
def _ftp(started: AbstractContextManager[FtpServer]) -> Iterator[Place]:
    requires(pyftpdlib_server.available(), pyftpdlib_server.PACKAGE)
    with started as server:
        given = {name: str(value) for name, value in server.options.items() if name != "protocol" and value}
        yield given, lambda: list(server.root.iterdir())


def _place(kind: str, request: pytest.FixtureRequest) -> AbstractContextManager[Place]:
    """A server for that type's bench."""
    match kind:
        case "azure_blob":
            return _azure_blob(request.getfixturevalue("azurite_server"))
        case "box":
            return _standin(BoxStandIn(), "root_readwrite", {"api_url": "", "upload_url": "/api"})
        case "dropbox":
            return _standin(DropboxStandIn(), DROPBOX_SCOPES, {"api_url": "", "content_url": ""})
        case "ftp" | "ftps":
            return _ftp(pyftpdlib_server.start(implicit=kind == "ftps"))
        case "google_drive":
            return _standin(GoogleDrive(), DRIVE_SCOPE, {"api_url": ""})
        case "onedrive":
            return _standin(OneDrive(), "Files.ReadWrite User.Read", {"graph_url": "/v1.0"})
        case "s3":
            return _s3(request.getfixturevalue("moto_server"))
        case "sftp":
            return _sftp()
        case "webdav":
            return _webdav()
    raise LookupError(f"no server for {kind}")


class Asked(Mapping[str, str]):
    """Remembers which options were asked for."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


@pytest.mark.parametrize("kind", ACCOUNTS)
def test_bench_reads_its_variables_and_leaves_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    account = ACCOUNTS[kind]
    module = importlib.import_module(f"servers.live.{'ftp' if kind == 'ftps' else kind}")
    more: dict[str, Any] = {"secure": True} if kind == "ftps" else {}
    with _place(kind, request) as (place, left):
        asked = Asked(account.given({account.variable(name): value for name, value in place.items()}))
        with module.bench(asked, **more) as bench:
            eyes, stranger = bench.eyes, "a b/Zürich #1/é.jpg"
            assert eyes.names() == set()
            for data in (b"first", b"second one"):
                eyes.put(stranger, data)
                assert eyes.read(stranger) == data
            parcel = make_parcel(70_001, digests=bench.spec.capabilities.digests)
            with bench.connector() as connector:
                connector.deliver(parcel, bench.target("a b/.photo%20.jpg"), HarnessContext())
            assert eyes.names() == {stranger, "a b/.photo%20.jpg"}
            assert eyes.sha256("a b/.photo%20.jpg") == parcel.digests["sha256"]
            assert eyes.read("nowhere/photo.jpg") is None
            eyes.wipe()
            assert eyes.names() == set()
            eyes.put("photo.jpg", b"left for the end")
            assert left()
        assert not left()
    assert asked.names <= set(account.variables().values())
    assert all(asked.names & set(each.split("|")) for each in (*account.needed, *account.optional))
