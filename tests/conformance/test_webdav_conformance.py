"""The suite on the WebDAV connector: Apache, wsgidav, rclone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from servers import apache, nextcloud, wsgi_dav
from servers.dav import DavServer, ThroughTheServer
from servers.dav_bench import dav_bench

from conveyor.testing import Bench, ConnectorSuite
from conveyor.testing.bench import Overrides
from conveyor_connectors.webdav.spec import SPEC

pytestmark = pytest.mark.server

READ_BACK = replace(SPEC, capabilities=replace(SPEC.capabilities, digest="sha256"))
"""With ``verify: sha256`` each file is read back, so that a digest verifies it at any server."""

IN_CHUNKS = replace(SPEC, capabilities=replace(SPEC.capabilities, resumable=True))
"""Nextcloud keeps the chunks of a broken upload; WebDAV itself has nothing of the kind."""

LARGE = 2 * (5 << 20) + 4_711
"""Two chunks of the least size and a little one."""


class TestWebdavAtApache(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, apache_server: DavServer) -> Bench:
        @contextlib.contextmanager
        def forbidden() -> Iterator[Overrides]:
            apache_server.root.chmod(0o555)
            try:
                yield {}
            finally:
                apache_server.root.chmod(0o755)

        @contextlib.contextmanager
        def full() -> Iterator[Overrides]:
            with apache.start(disk=2 << 20) as small:
                yield {"url": small.url}

        changes = {"full": full} if apache.can_be_filled() else {}
        observer = apache.ApacheObserver(apache_server.root)
        return dav_bench(apache_server, observer=observer, forbidden=forbidden, **changes)


class TestWebdavAtWsgidav(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, wsgidav_server: DavServer) -> Bench:
        return dav_bench(wsgidav_server)


@pytest.mark.long
class TestWebdavByDigest(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, wsgidav_server: DavServer) -> Bench:
        bench = dav_bench(wsgidav_server, spec=READ_BACK)
        username, password = wsgi_dav.DIGEST
        login = {"username": username, "password": password, "auth": "digest", "verify": "sha256"}
        return replace(bench, options={**bench.options, **login})


@pytest.mark.long
class TestWebdavAtRclone(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, rclone_webdav_server: DavServer) -> Bench:
        return dav_bench(rclone_webdav_server, observer=ThroughTheServer(rclone_webdav_server))


class TestWebdavInChunks(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, nextcloud_server: DavServer) -> Bench:
        observer = nextcloud.NextcloudObserver(nextcloud_server.root)
        bench = dav_bench(nextcloud_server, spec=IN_CHUNKS, observer=observer, large=LARGE)
        return replace(bench, options={**bench.options, "chunk_size": 5 << 20, "keep_time": True})
