"""The whole suite on FTP and FTPS: vsftpd with forced TLS and session reuse, pyftpdlib plain and over TLS."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from servers import pyftpdlib_server, vsftpd
from servers.ftp import FtpServer
from servers.ftp_errors import every_exception
from servers.ftp_router import Router

from conveyor.testing import Bench, ConnectorSuite
from conveyor.testing.bench import FolderObserver, Overrides
from conveyor_connectors.ftp.plain.errors import of_exception
from conveyor_connectors.ftp.spec import FTP, FTPS

NO_DELAY = "FTP has no answer that says how long to wait"
AT_VSFTPD = "made to happen at vsftpd"


@contextlib.contextmanager
def ftp_bench(server: FtpServer, **changes: Any) -> Iterator[Bench]:
    """A bench at ``server``, with a router for the fault proxy."""
    with Router((server.host, server.port)) as router:
        fields: dict[str, Any] = {
            "spec": FTP if server.certificates is None else FTPS,
            "options": server.options,
            "observer": FolderObserver(server.root),
            "address": (router.host, router.port),
            "through": router.through,
            "env": router.env,
            "wrong_credentials": {"password": "not-the-password"},
            "missing_place": {"remote_path": "nowhere"},
            "sdk_exceptions": every_exception,
            "classify": lambda error: of_exception(error, "server:21"),
            "unavailable": {"throttle": NO_DELAY, "full": AT_VSFTPD},
        }
        yield Bench(**{**fields, **changes})


class TestVsftpd(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, vsftpd_server: FtpServer) -> Iterator[Bench]:
        @contextlib.contextmanager
        def forbidden() -> Iterator[Overrides]:
            with vsftpd.start(read_only=True) as server:
                yield server.options

        @contextlib.contextmanager
        def full() -> Iterator[Overrides]:
            with vsftpd.start(disk=2 << 20) as server:
                yield server.options

        filled = vsftpd.can_be_filled()
        lacks = {"throttle": NO_DELAY, "full": "a disk of its own takes root"}
        with ftp_bench(
            vsftpd_server, forbidden=forbidden, full=full if filled else None, unavailable=lacks
        ) as bench:
            yield bench


class TestPyftpdlib(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, plain_ftp_server: FtpServer) -> Iterator[Bench]:
        with ftp_bench(plain_ftp_server, forbidden={"username": pyftpdlib_server.READER}) as bench:
            yield bench


class TestPyftpdlibOverTls(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, tls_ftp_server: FtpServer) -> Iterator[Bench]:
        with ftp_bench(tls_ftp_server, forbidden={"username": pyftpdlib_server.READER}) as bench:
            yield bench
