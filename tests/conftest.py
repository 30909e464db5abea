"""Servers as session fixtures: started on first use, one of each in a test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import asyncssh_sftp, moto, rclone, seaweed, sshd
from servers.s3 import S3Server
from servers.ssh import SshServer

from conveyor.testing.plugin import requires


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
