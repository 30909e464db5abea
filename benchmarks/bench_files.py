"""Files to every destination type on loopback: real servers, and stand-ins for the four vendors.

Many small files, 16 at once, then one large one: by conveyor with its whole record, by a bare pool of threads
with the same SDK, and by ``rclone copy`` where it reaches that server. Each contender has a process and a
fresh server of its own. Seconds count from the first byte that could go to the last file confirmed: the start
of Python, of an engine and of rclone's process, the import of an SDK and conveyor's submission are not in
them (each sends some files that are not counted; what rclone needs for one alone is taken off). conveyor has
one process with 16 threads, as the bare pool has, and once two with 8 each. A stand-in answers from this
machine and takes one of its cores: its figures tell what a client costs, not how fast the vendor is.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from benchmarks import _rclone
from benchmarks._bare import BARE
from benchmarks._kit import (
    cpu_of,
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
from benchmarks.bench_machines import processes as working
from benchmarks.bench_machines import work

from conveyor.ledger.prepared import Prepared
from conveyor.ledger.records import OPEN, Filter, Status
from conveyor.ledger.transitions import in_

MEMORY = 150.0
"""MB, the goal for conveyor's process."""

SHARE = 0.9
"""The goal for its rate, as a share of the best other's."""

OURS = {"conveyor": 1, "conveyor × 2": 2}
"""Processes of each of ours; together they send as many at once."""

_LEFT = Prepared(sa.select(sa.exists().where(in_(OPEN))))
"""Whether anything is not delivered yet."""

Told = list[dict[str, float]]
"""For the small files, then for the large one: seconds, CPU seconds, peak MB."""


def by_conveyor(
    destination: dict[str, Any], warm: Path, folders: list[Path], at_once: int, processes: int
) -> Told:
    """Each folder in turn, in one installation: a vendor's refresh token may be good only once."""
    from conveyor import Conveyor
    from conveyor.intake import Item

    wanted = {"there": {**destination, "limits": {"concurrency": at_once}}}
    told = []
    with workplace() as home, ExitStack() as stack:
        path = write_config(home, wanted, workers={"threads": at_once // processes})
        opened = stack.enter_context(installation(path))
        if processes == 1:
            stack.enter_context(running(opened))
        else:
            stack.enter_context(working([(work, (str(path),))] * processes))
        ledger, api = opened.ledger, Conveyor(opened)
        for folder in (warm, *folders):
            ledger.health.pause(["there"], "not yet", opened.clock.now())
            api.submit_many(
                [Item(file, to="there", session_id=folder.name, in_place=True) for file in files_of(folder)]
            )
            workers = [child.pid for child in multiprocessing.active_children()] or [os.getpid()]
            before = sum(map(cpu_of, workers))
            with measured() as spent:
                ledger.health.resume(["there"], opened.clock.now())
                until(lambda: ledger.database.first(_LEFT, {}) == (0,), 900, "all delivered", every=0.01)
            cpu = sum(map(cpu_of, workers)) - before
            told.append({"seconds": spent.wall, "cpu": cpu, "peak": max(map(peak, workers))})
        total = sum(len(files_of(folder)) for folder in (warm, *folders))
        records = ledger.deliveries.find(Filter(), limit=total)
        if sum(record.status is Status.DELIVERED for record in records) != total:
            raise SystemExit("not all delivered")
        if again := [record for record in records if record.attempt > 1]:
            why = ledger.deliveries.attempts(again[0].id)[0].message
            print(f"  conveyor needed {len(again)} second attempts: {why}", file=sys.stderr)
    return told[1:]


def by_sdk(destination: dict[str, Any], warm: Path, folders: list[Path], at_once: int) -> Told:
    """Each folder in turn by the bare SDK."""
    options = dict(destination)
    bare = BARE[options.pop("bench")]
    told = []
    for folder in (warm, *folders):
        before = os.times()
        seconds = bare(options, files_of(folder), at_once)
        after = os.times()
        cpu = after.user + after.system - before.user - before.system
        told.append({"seconds": seconds, "cpu": cpu, "peak": peak()})
    return told[1:]


def by_rclone(remote: str, warm: Path, folders: list[Path], at_once: int) -> Told:
    """Each folder in turn by a process of rclone, less what it takes to start and send one file."""
    told = []
    with workplace() as home:
        one = make(home / "one", 1, 1)
        for folder in (warm, one, *folders):
            before = os.times()
            seconds, memory = _rclone.copy(remote, folder, at_once)
            after = os.times()
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            told.append({"seconds": seconds, "cpu": cpu, "peak": memory})
    start = told[1]["seconds"]
    return [{**each, "seconds": each["seconds"] - start} for each in told[2:]]


def in_child(
    name: str, kind: str, options: dict[str, Any], warm: Path, folders: list[Path], at_once: int
) -> Told:
    """Run one contender in a process of its own."""
    if name == "rclone":
        return by_rclone(_rclone.REMOTES[kind](options), warm, folders, at_once)
    destination = {"bench" if name == "bare SDK" else "type": kind, **options}
    given = json.dumps([OURS.get(name), destination, str(warm), [str(each) for each in folders], at_once])
    command = [sys.executable, "-m", "benchmarks.bench_files", "--child", given]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    told: Told = json.loads(done.stdout.splitlines()[-1])
    return told


def child(given: str) -> None:
    """What runs in the child process: prints what it measured."""
    processes, destination, warm, names, at_once = json.loads(given)
    folders = [Path(name) for name in names]
    if processes is None:
        told = by_sdk(destination, Path(warm), folders, at_once)
    else:
        told = by_conveyor(destination, Path(warm), folders, at_once, processes)
    print(json.dumps(told), flush=True)
    os._exit(0)  # paramiko's threads would take their time


# --- the comparison --------------------------------------------------------------------------------------


@contextmanager
def openssh() -> Iterator[Any]:
    """OpenSSH with an empty folder, as the nine of the tests' places are."""
    from servers import sshd
    from servers.places import Place, of_folder

    with sshd.start() as at:
        options = {
            "host": at.host,
            "port": at.port,
            "username": at.username,
            "host_key": at.host_key,
            "private_key": at.keys.client_key.read_text(),
            "remote_path": at.base,
        }
        yield Place("sftp", at.name, options, lambda: of_folder(at.root))


def places() -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    """What can be started here, in the order of the published contract; the rest is said to be skipped."""
    from servers import sshd
    from servers.places import NINE, missing

    absent = missing() | ({} if sshd.available() else {"sftp": sshd.PACKAGE})
    for kind, package in absent.items():
        print(f"  skipped: {kind}, for want of {package}")
    found: dict[str, Callable[[], AbstractContextManager[Any]]] = {**NINE, "sftp": openssh}
    return {kind: start for kind, start in found.items() if kind not in absent}


def rows_of(kind: str, server: str, told: dict[str, Told], folders: list[Path]) -> list[tuple[str, ...]]:
    """A line for each contender; conveyor's has its rate as a share of the best other's."""
    count, size = len(files_of(folders[0])), files_of(folders[1])[0].stat().st_size
    others = [both for name, both in told.items() if name not in OURS]
    best = [min((both[i]["seconds"] for both in others), default=None) for i in (0, 1)]
    rows = []
    for name, both in told.items():
        small, large = both
        shares = [
            f"{best[i] / both[i]['seconds']:.2f}" if name in OURS and best[i] is not None else ""
            for i in (0, 1)
        ]
        rows.append(
            (
                kind,
                server,
                name,
                f"{count / small['seconds']:,.0f}",
                f"{small['cpu'] / count * 1000:.1f}",
                f"{size / large['seconds'] / 2**20:,.0f}",
                f"{max(small['peak'], large['peak']):.0f}",
                *shares,
            )
        )
    return rows


def make(folder: Path, count: int, size: int) -> Path:
    """Files of random bytes."""
    folder.mkdir()
    for number in range(count):
        with (folder / f"{folder.name}-{number:05}.jpg").open("wb") as out:
            for start in range(0, size, 1 << 20):
                out.write(os.urandom(min(1 << 20, size - start)))
    return folder


def files_of(folder: Path) -> list[Path]:
    """In the order of their names."""
    return sorted(folder.iterdir())


def contenders(kind: str) -> list[str]:
    """Who can send to that type here."""
    found = [*OURS]
    if kind in BARE:
        found.append("bare SDK")
    if kind in _rclone.REMOTES and _rclone.binary():
        found.append("rclone")
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=int, default=200, help="small files; the issue's number: 500")
    options.add_argument("--size", type=int, default=200_000, help="bytes of each")
    options.add_argument("--large", type=int, default=64, help="MiB of the large file; the issue's size: 512")
    options.add_argument("--at-once", type=int, default=16)
    options.add_argument("--only", action="append", metavar="TYPE", help="these types alone")
    options.add_argument("--child", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        child(given.child)
    small_ones = f"{given.files} files of {given.size / 1000:g} kB, {given.at_once} at once"
    title(f"{small_ones}, then one of {given.large} MiB")
    rows = []
    with workplace() as home:
        warm = make(home / "warm", 2 * given.at_once, given.size)
        folders = [make(home / "small", given.files, given.size), make(home / "large", 1, given.large << 20)]
        for kind, start in places().items():
            if given.only and kind not in given.only:
                continue
            told = {}
            for name in contenders(kind):
                with start() as place:
                    told[name] = in_child(name, kind, place.options, warm, folders, given.at_once)
                    server = place.server
                print(f"  {kind}: {name} done", file=sys.stderr, flush=True)
            rows += rows_of(kind, server, told, folders)
    heads = ("type", "server", "by", "files/s", "CPU ms/file", "MiB/s", "peak MB", "share", "share, large")
    table(heads, rows)
    print("  share: conveyor's rate as a share of the best other's, for the small files and the large one")
    for kind, _, name, _, _, _, memory, *shares in rows:
        if name in OURS:
            met = all(float(share) >= SHARE for share in shares if share) and float(memory) < MEMORY
            print(goal(f"{kind} by {name}: a share of {SHARE:g} of each, under {MEMORY:.0f} MB", met))


if __name__ == "__main__":
    main()
