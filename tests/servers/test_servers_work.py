"""Each test server starts, takes a file by the vendor's own client, and lets the second route see it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conveyor.testing.plugin import requires
from servers import moto, sshd
from servers.fake_gcs import FakeGcs
from servers.pgbouncer import Bouncer
from servers.postgres import Postgres
from servers.process import python_path
from servers.rabbitmq import RabbitServer
from servers.redis_server import RedisServer
from servers.s3 import S3Server
from servers.ssh import SshServer

pytestmark = pytest.mark.server


@pytest.mark.parametrize("name", ["seaweed_server", "moto_server", "rclone_s3_server"])
def test_s3_server_takes_an_object(request: pytest.FixtureRequest, name: str) -> None:
    server: S3Server = request.getfixturevalue(name)
    client = server.client()
    client.create_bucket(Bucket="works")
    client.put_object(Bucket="works", Key="a/b.txt", Body=b"hello")
    assert client.get_object(Bucket="works", Key="a/b.txt")["Body"].read() == b"hello"
    if server.root is not None:
        assert (server.root / "works/a/b.txt").read_bytes() == b"hello"
    client.close()


@pytest.mark.parametrize("name", ["seaweed_server", "moto_server", "rclone_s3_server"])
def test_s3_server_refuses_a_wrong_secret(request: pytest.FixtureRequest, name: str) -> None:
    import dataclasses

    from botocore.exceptions import ClientError

    server: S3Server = request.getfixturevalue(name)
    client = dataclasses.replace(server, secret_key="wrong").client()
    with pytest.raises(ClientError) as told:
        client.list_buckets()
    assert told.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    client.close()


def test_seaweed_serves_tls_too(seaweed_server: S3Server) -> None:
    client = seaweed_server.client(secure=True)
    assert client.list_buckets()["Buckets"]
    client.close()


def test_moto_has_users_with_fewer_rights(moto_server: S3Server) -> None:
    import dataclasses

    from botocore.exceptions import ClientError

    access, secret = moto.limited_user(moto_server, deny="s3:PutObject")
    client = dataclasses.replace(moto_server, access_key=access, secret_key=secret).client()
    client.create_bucket(Bucket="limited")
    with pytest.raises(ClientError, match="AccessDenied"):
        client.put_object(Bucket="limited", Key="x", Body=b"")
    client.close()


@pytest.fixture
def root_sshd() -> Iterator[SshServer]:
    requires(sshd.available(), sshd.PACKAGE)
    with sshd.start(as_root=True) as server:
        yield server


@pytest.mark.parametrize(
    "name", ["sshd_server", "root_sshd", "asyncssh_server", "bare_sftp_server", "rclone_sftp_server"]
)
def test_sftp_server_takes_a_file(request: pytest.FixtureRequest, name: str) -> None:
    server: SshServer = request.getfixturevalue(name)
    _put(server, f"{server.base}/a.txt".lstrip("/") if not server.base else f"{server.base}/a.txt")
    assert (server.root / "a.txt").read_bytes() == b"hello"


def test_sftp_disk_can_be_filled() -> None:
    requires(sshd.available(), sshd.PACKAGE)
    if not sshd.can_be_filled():
        pytest.skip("a disk of its own takes root and util-linux")
    with sshd.start(disk=1 << 20) as server:
        _put(server, f"{server.base}/small.txt")
        assert (server.root / "small.txt").read_bytes() == b"hello"
        with pytest.raises(OSError, match="Failure"):
            _put(server, f"{server.base}/large.txt", b"x" * (2 << 20))


def test_redis_takes_a_key(the_redis_server: RedisServer) -> None:
    client = the_redis_server.client()
    client.set("a", b"1")
    assert client.get("a") == b"1"
    client.close()


def test_rabbitmq_keeps_a_durable_message_over_a_restart(rabbitmq_server: RabbitServer) -> None:
    import pika

    def channel() -> Any:
        return pika.BlockingConnection(pika.URLParameters(rabbitmq_server.url)).channel()

    first = channel()
    first.queue_declare("works", durable=True)
    first.basic_publish("", "works", b"hello", pika.BasicProperties(delivery_mode=2))
    first.connection.close()
    rabbitmq_server.restart()
    second = channel()
    assert second.basic_get("works", auto_ack=True)[2] == b"hello"
    second.connection.close()


def test_pgbouncer_gives_a_connection_away_for_each_transaction(
    pgbouncer_server: Bouncer, postgres_server: Postgres
) -> None:
    import psycopg

    url = pgbouncer_server.url("postgres").replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        assert row[0] != connection.info.backend_pid  # the pooler makes one up


def test_postgres_comes_back_with_its_data(postgres_server: Postgres) -> None:
    postgres_server.execute("CREATE TABLE kept (a int)")
    postgres_server.stop()
    postgres_server.start()
    postgres_server.execute("DROP TABLE kept")


def test_a_gcs_bucket_can_be_made(gcs_server: FakeGcs) -> None:
    import urllib.request

    gcs_server.create_bucket("works")
    with urllib.request.urlopen(f"{gcs_server.url}/storage/v1/b/works", timeout=10) as answer:
        assert answer.status == 200


def test_a_server_does_not_outlive_the_tests(tmp_path: Path) -> None:
    import signal
    import subprocess
    import sys

    from conveyor.testing.ports import wait_until

    script = (
        "import sys, time; from servers import rclone\n"
        "with rclone.start_s3() as server:\n"
        "    print(server.port, flush=True); time.sleep(600)\n"
    )
    env = {**os.environ, "PYTHONPATH": python_path(Path(__file__).parent.parent), "TMPDIR": str(tmp_path)}
    tests = subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True)
    assert tests.stdout is not None
    with tests.stdout:
        port = int(tests.stdout.readline())
    tests.send_signal(signal.SIGKILL)
    tests.wait()

    from conveyor.testing.ports import listens

    wait_until(lambda: not listens(port), 10, "the server to die with its tests")


def _put(server: SshServer, path: str, data: bytes = b"hello") -> None:
    import paramiko

    with paramiko.SSHClient() as client:
        entries = client.get_host_keys()
        kind, _, text = server.host_key.partition(" ")
        key = paramiko.Ed25519Key(data=__import__("base64").b64decode(text.split()[0]))
        entries.add(f"[{server.host}]:{server.port}", kind, key)
        client.connect(
            server.host,
            server.port,
            server.username,
            key_filename=str(server.keys.client_key),
            allow_agent=False,
            look_for_keys=False,
            timeout=10,
        )
        with client.open_sftp() as files, files.open(path, "wb") as file:
            file.write(data)
