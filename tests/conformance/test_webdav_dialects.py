"""The suite on the WebDAV connector at further servers, each with a dialect of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import other_dav
from servers.dav import ThroughTheServer
from servers.dav_bench import dav_bench

from conveyor.testing import Bench, ConnectorSuite
from conveyor.testing.plugin import requires

pytestmark = [pytest.mark.server, pytest.mark.long]


def bench_at(name: str) -> Iterator[Bench]:
    requires(other_dav.available(name), other_dav.PACKAGES[name])
    with other_dav.start(name) as server:
        yield dav_bench(server, observer=ThroughTheServer(server))


class TestWebdavAtNginx(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        yield from bench_at("nginx")


class TestWebdavAtLighttpd(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        yield from bench_at("lighttpd")


class TestWebdavAtSabre(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        yield from bench_at("sabre")
