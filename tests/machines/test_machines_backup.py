"""Backups of installations on servers: PostgreSQL, buckets; restored there, or anywhere else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from e2e.kit import Place, until
from machines.conftest import KEY
from servers.postgres import Postgres
from servers.s3 import S3Server

from conveyor.clock import SystemClock
from conveyor.ids import new
from conveyor.ledger import migrate
from conveyor.ledger.connect import connect
from conveyor.ledger.schema import HEAD, jobs
from conveyor.ledger.snapshot import snapshot

pytestmark = pytest.mark.server

Places = Callable[..., Place]
FILES = 60


@pytest.fixture
def empty(postgres_server: Postgres) -> Iterator[str]:
    """A database without tables."""
    postgres_server.execute("CREATE DATABASE restoring")
    yield postgres_server.url("restoring")
    postgres_server.execute("DROP DATABASE restoring WITH (FORCE)")


@pytest.fixture
def bucket(moto_server: S3Server) -> dict[str, Any]:
    """A destination."""
    name = new("b", SystemClock()).replace("_", "")
    moto_server.client().create_bucket(Bucket=name)
    return {
        "type": "s3",
        "bucket": name,
        "endpoint": moto_server.url,
        "region": moto_server.region,
        "access_key": moto_server.access_key,
        "secret_key": moto_server.secret_key,
        "path_template": "{filename}",
    }


def store(server: S3Server) -> dict[str, Any]:
    """Settings of a payload store."""
    name = new("b", SystemClock()).replace("_", "")
    server.client().create_bucket(Bucket=name)
    options = {
        "endpoint": server.url,
        "region": server.region,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
    }
    return {"payloads": f"s3://{name}/pay", "payload_options": options}


def submit(here: Place, count: int = FILES) -> None:
    with here.open() as installation:
        for number in range(count):
            installation.submitter().submit(b"photo %d" % number, to=["out"], filename=f"{number:02d}.jpg")


def objects(server: S3Server, bucket: dict[str, Any]) -> list[str]:
    found = server.client().list_objects_v2(Bucket=bucket["bucket"])
    return sorted(each["Key"] for each in found.get("Contents", ()))


def test_a_backup_of_a_server_taken_at_work_is_restored_and_nothing_arrives_twice(
    place: Places,
    ledger: dict[str, Any],
    empty: str,
    bucket: dict[str, Any],
    moto_server: S3Server,
    tmp_path: Path,
) -> None:
    here = place(out={**bucket, "limits": {"rate": "3/s"}}, settings=ledger)
    submit(here)
    engine = here.start()
    until(lambda: len(objects(moto_server, bucket)) >= 4, "the engine delivers")
    said = json.loads(here.cli("backup", str(tmp_path / "backup"), "--json").stdout)
    assert said["ledger"]["database"] == "postgresql"
    assert said["key"] == "in a setting"
    delivered = said["ledger"]["deliveries"].get("delivered", 0)
    assert 4 <= delivered < FILES, "it was taken in the middle"
    # What arrives from now on is unknown to the backup.
    until(lambda: len(objects(moto_server, bucket)) > delivered + 2, "the engine goes on")
    os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()

    there = place(out=bucket, settings={**ledger, "ledger": empty})
    assert there.cli("restore", str(tmp_path / "backup"), "--dry-run").returncode == 0
    with closing(connect(empty)) as database, database.read() as connection:
        assert not sa.inspect(connection).get_table_names()
    there.cli("restore", str(tmp_path / "backup"))
    assert there.start("--until-idle").wait(60) == 0
    assert objects(moto_server, bucket) == [f"{number:02d}.jpg" for number in range(FILES)]
    again = there.cli("restore", str(tmp_path / "backup"), check=False)
    assert (again.returncode, "is in use" in again.stderr) == (1, True)


def test_a_backup_is_restored_on_whatever_the_new_config_names(
    place: Places, ledger: dict[str, Any], bucket: dict[str, Any], moto_server: S3Server, tmp_path: Path
) -> None:
    here = place(out=bucket, settings={**ledger, **store(moto_server)})
    submit(here, 3)
    made = json.loads(here.cli("backup", str(tmp_path / "backup"), "--json").stdout)
    assert (made["payloads"]["count"], made["linked"]) == (3, 0)
    for settings in ({}, store(moto_server)):
        there = place(out=bucket, settings={"key": {"value": KEY}, **settings})
        there.cli("restore", str(tmp_path / "backup"))
        with there.open() as installation:
            for record in installation.ledger.deliveries.find(installation.filter(_all()), limit=10):
                installation.payloads.verify(record.job.payload)
                with installation.payloads.open(record.job.payload) as stream:
                    assert stream.read().startswith(b"photo ")
                assert (record.job.payload.fingerprint is None) is (not settings)
    refused = place(out=bucket, settings={"key": {"value": KEY}, **store(moto_server)})
    submit(refused, 1)
    (refused.folder / "conveyor.db").unlink()
    for path in refused.folder.glob("conveyor.db-*"):
        path.unlink()
    said = refused.cli("restore", str(tmp_path / "backup"), check=False)
    assert (said.returncode, "does not know, such as" in said.stderr) == (1, True)


def _all() -> Any:
    from conveyor.status.selection import Selection

    return Selection()


DIES = """
import os
from conveyor.cli import main
from conveyor.ledger import moving
fill = moving.fill
moving.fill = lambda copy, target, progress: fill(copy, target, lambda count: os._exit(9))
main()
"""
"""A restore whose process dies in the middle of writing the ledger."""


def test_it_is_not_restored_under_workers_and_a_restore_that_dies_is_repeated(
    place: Places, ledger: dict[str, Any], empty: str, bucket: dict[str, Any], tmp_path: Path
) -> None:
    here = place(out=bucket, settings=ledger)
    submit(here, 1)
    here.cli("backup", str(tmp_path / "backup"))
    migrate(empty)
    there = place(out=bucket, settings={**ledger, "ledger": empty})
    engine = there.start()
    with there.open() as installation:
        until(lambda: installation.ledger.workers.all(), "the engine")
    said = there.cli("restore", str(tmp_path / "backup"), check=False)
    assert (said.returncode, "workers run on this ledger" in said.stderr) == (1, True)
    engine.terminate()
    assert engine.wait(60) == 0

    dying = subprocess.run(
        [sys.executable, "-c", DIES, "--config", str(there.path), "restore", str(tmp_path / "backup")],
        timeout=60,
        check=False,
    )
    assert dying.returncode == 9
    with there.open() as installation:
        assert installation.ledger.deliveries.open_count() == 0
    there.cli("restore", str(tmp_path / "backup"))
    with there.open() as installation:
        assert installation.ledger.deliveries.open_count() == 1


def test_the_copy_of_a_server_is_of_one_moment(
    postgres_server: Postgres, place: Places, tmp_path: Path
) -> None:
    with postgres_server.ledger() as url:
        here = place(
            out={"type": "webhook", "url": "http://127.0.0.1:9/"},
            settings={"ledger": url, "key": {"value": KEY}},
        )
        submit(here, 3)
        with here.open() as installation:

            def meanwhile(_: int) -> None:
                installation.submitter().submit(b"too late", to=["out"], filename="late.jpg")

            assert snapshot(url, tmp_path / "copy.db", meanwhile) == HEAD
            with installation.ledger.database.read() as connection:
                assert connection.execute(sa.select(sa.func.count()).select_from(jobs)).scalar_one() > 3
        with closing(connect(f"sqlite:///{tmp_path}/copy.db")) as copy, copy.read() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(jobs)).scalar_one() == 3
