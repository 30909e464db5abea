"""Files to all nine destination types on loopback: real servers, and stand-ins for the four vendors.

Many small files, 16 at once, then one large one; by conveyor with its whole record, and where a few lines do
it by the bare SDK in a pool of threads (boto3, azure-storage-blob, ftplib, requests). Each place in a process
of its own. Seconds count from the engine's start to the last file confirmed. A stand-in answers from this
machine: its figures tell what a connector costs, not how fast the vendor is.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks._kit import (
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
from benchmarks.bench_files import by_boto3, files_of, make

from conveyor.ledger.records import Filter, Status


def by_conveyor(destination: dict[str, Any], folders: list[Path], at_once: int) -> list[dict[str, float]]:
    """Each folder in turn, in one installation: a vendor's refresh token may be good only once."""
    from conveyor import Conveyor
    from conveyor.intake import Item

    wanted = {"there": {**destination, "limits": {"concurrency": at_once}}}
    told = []
    with workplace() as home:
        path = write_config(home, wanted, workers={"threads": at_once})
        with installation(path) as opened:
            for folder in folders:
                files = files_of(folder)
                items = [Item(file, to="there", session_id=folder.name, in_place=True) for file in files]
                Conveyor(opened).submit_many(items)
                with measured() as spent, running(opened) as engine:
                    until(engine.idle, 900, "all delivered", every=0.02)
                told.append({"seconds": spent.wall, "cpu": spent.cpu, "peak": peak()})
            total = sum(len(files_of(folder)) for folder in folders)
            records = opened.ledger.deliveries.find(Filter(), limit=total)
            if sum(record.status is Status.DELIVERED for record in records) != total:
                raise SystemExit("not all delivered")
    return told


def to_azure(options: dict[str, Any], folder: Path, at_once: int) -> float:
    """One client, many threads."""
    from azure.storage.blob import ContainerClient

    text, container = options["connection_string"], options["container"]
    client: Any = ContainerClient.from_connection_string(text, container)

    def put(file: Path) -> None:
        with file.open("rb") as body:
            client.upload_blob(f"bare/{file.name}", body, overwrite=True)

    return pooled(put, folder, at_once)


def to_ftp(options: dict[str, Any], folder: Path, at_once: int) -> float:
    """A connection for each thread; the certificate is not looked at."""
    import ftplib

    own = threading.local()

    def put(file: Path) -> None:
        if not hasattr(own, "client"):
            own.client = ftplib.FTP_TLS(context=ssl._create_unverified_context())
            own.client.connect(options["host"], options["port"])
            own.client.login(options["username"], options["password"])
            own.client.prot_p()
        with file.open("rb") as body:
            own.client.storbinary(f"STOR bare-{file.name}", body, 256 * 1024)

    return pooled(put, folder, at_once)


def to_webdav(options: dict[str, Any], folder: Path, at_once: int) -> float:
    """A connection for each thread."""
    import requests

    own = threading.local()

    def put(file: Path) -> None:
        if not hasattr(own, "client"):
            own.client = requests.Session()
            own.client.auth = (options["username"].encode(), options["password"].encode())
        with file.open("rb") as body:
            own.client.put(f"{options['url'].rstrip('/')}/bare-{file.name}", data=body).raise_for_status()

    return pooled(put, folder, at_once)


def to_s3(options: dict[str, Any], folder: Path, at_once: int) -> float:
    """As bench_files does, into this bucket."""
    return by_boto3(options, folder, at_once)


def pooled(put: Callable[[Path], None], folder: Path, at_once: int) -> float:
    with measured() as spent, ThreadPoolExecutor(at_once) as pool:
        list(pool.map(put, files_of(folder)))
    return spent.wall


BARE = {"s3": to_s3, "azure_blob": to_azure, "ftp": to_ftp, "webdav": to_webdav}


def child(name: str, destination: dict[str, Any], folders: list[Path], at_once: int) -> None:
    """What runs in the child process: prints seconds, CPU seconds and peak memory for each folder."""
    if name == "conveyor":
        told = by_conveyor(destination, folders, at_once)
    else:
        told = []
        for folder in folders:
            before = os.times()
            seconds = BARE[destination["type"]](destination, folder, at_once)
            after = os.times()
            cpu = after.user + after.system - before.user - before.system
            told.append({"seconds": seconds, "cpu": cpu, "peak": peak()})
    print(json.dumps(told), flush=True)
    os._exit(0)


def rows_of(
    type_: str, server: str, told: dict[str, list[dict[str, float]]], folders: list[Path]
) -> list[Any]:
    """A line for each contender."""
    rows = []
    for name, (small, large) in told.items():
        count = len(files_of(folders[0]))
        size = files_of(folders[1])[0].stat().st_size
        ratio = small["seconds"] / told["bare SDK"][0]["seconds"] if "bare SDK" in told else None
        rows.append(
            (
                type_,
                server,
                name,
                f"{count / small['seconds']:,.0f}",
                f"{small['cpu'] / count * 1000:.1f}",
                f"{size / large['seconds'] / 2**20:,.0f}",
                f"{large['peak']:.0f}",
                f"{ratio:.2f}" if ratio is not None and name == "conveyor" else "",
            )
        )
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=int, default=200, help="small files; the issue's number: 500")
    options.add_argument("--size", type=int, default=200_000, help="bytes of each")
    options.add_argument("--large", type=int, default=64, help="MiB of the large file; the issue's size: 512")
    options.add_argument("--at-once", type=int, default=16)
    options.add_argument("--only", help="one type")
    options.add_argument("--child", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        name, destination, folders, at_once = json.loads(given.child)
        child(name, destination, [Path(folder) for folder in folders], at_once)
    from servers.places import NINE, missing

    small_ones = f"{given.files} files of {given.size / 1000:g} kB, {given.at_once} at once"
    title(f"{small_ones}, then one of {given.large} MiB")
    absent, rows = missing(), []
    with workplace() as home:
        folders = [make(home / "small", given.files, given.size), make(home / "large", 1, given.large << 20)]
        for type_, start in NINE.items():
            if given.only not in (None, type_):
                continue
            if type_ in absent:
                print(f"  skipped: {type_}, for want of {absent[type_]}")
                continue
            with start() as place:
                told = {}
                for name in ("conveyor", "bare SDK") if type_ in BARE else ("conveyor",):
                    destination = {"type": type_, **place.options}
                    text = json.dumps([name, destination, [str(folder) for folder in folders], given.at_once])
                    command = [sys.executable, "-m", "benchmarks.bench_nine", "--child", text]
                    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                    told[name] = json.loads(done.stdout.splitlines()[-1])
                rows += rows_of(type_, place.server, told, folders)
                print(f"  {type_} done", file=sys.stderr, flush=True)
    heads = ("type", "server", "by", "files/s", "CPU ms/file", "MiB/s", "peak RSS MB", "time against bare")
    table(heads, rows)


if __name__ == "__main__":
    main()
