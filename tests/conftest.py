"""Servers as session fixtures: started on first use, one of each in a test process."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from distribution import Groups
from servers import (
    apache,
    asyncssh_sftp,
    azurite,
    fake_gcs,
    moto,
    nextcloud,
    pgbouncer,
    postgres,
    pyftpdlib_server,
    rabbitmq,
    rclone,
    redis_server,
    seaweed,
    sshd,
    vsftpd,
    wsgi_dav,
)
from servers.azurite import Azurite
from servers.dav import DavServer
from servers.fake_gcs import FakeGcs
from servers.ftp import FtpServer
from servers.pgbouncer import Bouncer
from servers.postgres import Postgres
from servers.rabbitmq import RabbitServer
from servers.redis_server import RedisServer
from servers.s3 import S3Server
from servers.ssh import SshServer
from servers.standins.google_drive import GoogleDrive

from conveyor.testing.plugin import requires

if TYPE_CHECKING:
    from servers.standins.box import BoxStandIn
    from servers.standins.dropbox import DropboxStandIn
    from servers.standins.onedrive import OneDrive
    from xdist.remote import Producer


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups | None:
    """Groups of our own, for ``make test``."""
    return Groups(config, log) if config.getoption("dist") == "loadgroup" else None


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start: in a shell's background it is ignored, and that is inherited."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Load no public authorities: no server of the tests is certified by one.

    They take 45 ms of every client that verifies, thousands of which are made; without them it is 0.4 ms.
    And thousands of collected tests need not be looked through whenever Python collects its garbage.
    """
    gc.collect()
    gc.freeze()
    if not any(item.get_closest_marker("live") for item in session.items):
        os.environ["SSL_CERT_FILE"] = os.devnull


@pytest.fixture(scope="session")
def seaweed_server() -> Iterator[S3Server]:
    """SeaweedFS, plain and TLS."""
    requires(seaweed.available(), seaweed.PACKAGE)
    with seaweed.start() as server:
        yield server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """moto with authentication on."""
    requires(moto.available(), moto.PACKAGE)
    with moto.start() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_s3_server() -> Iterator[S3Server]:
    """rclone serve s3 over plain files."""
    requires(rclone.available(), rclone.PACKAGE)
    with rclone.start_s3() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_sftp_server() -> Iterator[SshServer]:
    """rclone serve sftp over plain files."""
    requires(rclone.available(), rclone.PACKAGE)
    with rclone.start_sftp() as server:
        yield server


@pytest.fixture(scope="session")
def sshd_server() -> Iterator[SshServer]:
    """OpenSSH as an ordinary user."""
    requires(sshd.available(), sshd.PACKAGE)
    with sshd.start() as server:
        yield server


@pytest.fixture(scope="session")
def asyncssh_server() -> Iterator[SshServer]:
    """asyncssh, with password and key."""
    requires(asyncssh_sftp.available(), asyncssh_sftp.PACKAGE)
    with asyncssh_sftp.start() as server:
        yield server


@pytest.fixture(scope="session")
def bare_sftp_server() -> Iterator[SshServer]:
    """asyncssh without the posix-rename extension."""
    requires(asyncssh_sftp.available(), asyncssh_sftp.PACKAGE)
    with asyncssh_sftp.start(posix_rename=False) as server:
        yield server


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[Azurite]:
    """Azurite, plain HTTP."""
    requires(azurite.available(), azurite.PACKAGE)
    with azurite.start() as server:
        yield server


@pytest.fixture(scope="session")
def azurite_tls_server() -> Iterator[Azurite]:
    """Azurite over TLS, with tokens."""
    requires(azurite.available(), azurite.PACKAGE)
    with azurite.start(secure=True) as server:
        yield server


@pytest.fixture(scope="session")
def apache_server() -> Iterator[DavServer]:
    """Apache's mod_dav."""
    requires(apache.available(), apache.PACKAGE)
    with apache.start() as server:
        yield server


@pytest.fixture(scope="session")
def wsgidav_server() -> Iterator[DavServer]:
    """wsgidav, with Basic and Digest."""
    requires(wsgi_dav.available(), wsgi_dav.PACKAGE)
    with wsgi_dav.start() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_webdav_server() -> Iterator[DavServer]:
    """rclone serve webdav over plain files."""
    requires(rclone.available(), rclone.PACKAGE)
    with rclone.start_webdav() as server:
        yield server


@pytest.fixture(scope="session")
def vsftpd_server() -> Iterator[FtpServer]:
    """vsftpd, which wants TLS and one TLS session for control and data."""
    requires(vsftpd.available(), vsftpd.PACKAGE)
    with vsftpd.start() as server:
        yield server


@pytest.fixture(scope="session")
def plain_ftp_server() -> Iterator[FtpServer]:
    """pyftpdlib, plain."""
    requires(pyftpdlib_server.available(), pyftpdlib_server.PACKAGE)
    with pyftpdlib_server.start() as server:
        yield server


@pytest.fixture(scope="session")
def tls_ftp_server() -> Iterator[FtpServer]:
    """pyftpdlib with explicit TLS."""
    requires(pyftpdlib_server.available(), pyftpdlib_server.PACKAGE)
    with pyftpdlib_server.start(tls=True) as server:
        yield server


@pytest.fixture(scope="session")
def implicit_ftp_server() -> Iterator[FtpServer]:
    """pyftpdlib with TLS from the first byte."""
    requires(pyftpdlib_server.available(), pyftpdlib_server.PACKAGE)
    with pyftpdlib_server.start(implicit=True) as server:
        yield server


@pytest.fixture(scope="session")
def nextcloud_server() -> Iterator[DavServer]:
    """The stand-in for Nextcloud."""
    with nextcloud.start() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """PostgreSQL, with a database of the ledger's tables to copy."""
    requires(postgres.binaries(), postgres.PACKAGE)
    with postgres.start() as server:
        postgres.make_template(server)
        yield server


@pytest.fixture(scope="session")
def pgbouncer_server(postgres_server: Postgres) -> Iterator[Bouncer]:
    """PgBouncer in transaction mode."""
    requires(pgbouncer.available(), pgbouncer.PACKAGE)
    with pgbouncer.start(postgres_server) as server:
        yield server


@pytest.fixture(scope="session")
def the_redis_server() -> Iterator[RedisServer]:
    """Redis."""
    requires(redis_server.available(), redis_server.PACKAGE)
    with redis_server.start() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitServer]:
    """RabbitMQ."""
    requires(rabbitmq.available(), rabbitmq.PACKAGE)
    with rabbitmq.start() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[FakeGcs]:
    """fake-gcs-server."""
    requires(fake_gcs.available(), fake_gcs.PACKAGE)
    with fake_gcs.start() as server:
        yield server


@pytest.fixture(scope="session")
def the_box_standin() -> Iterator[BoxStandIn]:
    """Box's stand-in."""
    from servers.standins.box import BoxStandIn
    from servers.standins.kit import running

    with running(BoxStandIn()) as standin:
        yield standin


@pytest.fixture
def box_standin(the_box_standin: BoxStandIn) -> Iterator[BoxStandIn]:
    """Box's stand-in, empty, with its limits as they are by default."""
    the_box_standin.reset()
    yield the_box_standin
    assert not the_box_standin.defects


@pytest.fixture(scope="session")
def the_onedrive_standin() -> Iterator[OneDrive]:
    """OneDrive's stand-in, a personal drive."""
    from servers.standins.kit import running
    from servers.standins.onedrive import OneDrive

    with running(OneDrive()) as standin:
        yield standin


@pytest.fixture
def onedrive_standin(the_onedrive_standin: OneDrive) -> OneDrive:
    """OneDrive's stand-in, empty, with its options as they are by default."""
    the_onedrive_standin.reset()
    return the_onedrive_standin


@pytest.fixture(scope="session")
def the_google_drive_standin() -> Iterator[GoogleDrive]:
    """Google Drive's stand-in; tests take ``google_drive_standin``."""
    from servers.standins.kit import running

    with running(GoogleDrive()) as standin:
        yield standin


@pytest.fixture
def google_drive_standin(the_google_drive_standin: GoogleDrive) -> Iterator[GoogleDrive]:
    """Google Drive's stand-in, empty, with its settings as at the start."""
    the_google_drive_standin.reset()
    yield the_google_drive_standin
    assert not the_google_drive_standin.defects


@pytest.fixture(scope="session")
def the_dropbox_standin() -> Iterator[DropboxStandIn]:
    """Dropbox's stand-in."""
    from servers.standins.dropbox import DropboxStandIn
    from servers.standins.kit import running

    with running(DropboxStandIn()) as standin:
        yield standin


@pytest.fixture
def dropbox_standin(the_dropbox_standin: DropboxStandIn) -> Iterator[DropboxStandIn]:
    """Dropbox's stand-in, empty, with its limits as they are by default."""
    the_dropbox_standin.reset()
    yield the_dropbox_standin
    assert not the_dropbox_standin.defects
