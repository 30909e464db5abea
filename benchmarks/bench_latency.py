"""Seconds from the call of submit to the arrival of one small file at its destination, on an idle engine.

Submitted from the engine's process and from another one; to a connector that does nothing, and to a webhook
receiver over loopback HTTP. The peer is the same POST without an engine, record or durability.
"""

from __future__ import annotations

import argparse
import http.server
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import urllib3
from benchmarks._kit import (
    goal,
    installation,
    quantiles,
    running,
    table,
    title,
    until,
    workplace,
    write_config,
)
from benchmarks._noop import ARRIVALS

from conveyor import Conveyor

GOAL = 0.020
DATA = b"x" * 4096


@contextmanager
def receiver(arrived: list[float]) -> Iterator[str]:
    """An HTTP server that notes when a whole body has arrived."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            arrived.append(time.time())
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def pause() -> None:
    """Long enough to be idle, and never in step with a poll."""
    time.sleep(0.03 + random.random() * 0.03)


def submit_alone(config: str, name: str) -> None:
    """In another process: submit at each line of standard input and answer with when that began."""
    with installation(Path(config)) as opened:
        conveyor = Conveyor(opened)
        print("ready", flush=True)
        for _ in sys.stdin:
            began = time.time()
            conveyor.submit(DATA, to=name, filename="photo.jpg")
            print(began, flush=True)


@contextmanager
def other_process(path: Path, name: str) -> Iterator[Callable[[], float]]:
    """A process that submits when told to, and says when it began."""
    command = [sys.executable, "-m", "benchmarks.bench_latency", "--submit", str(path), name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    told, said = process.stdin, process.stdout
    if said.readline().strip() != "ready":
        raise SystemExit("the submitting process did not start")

    def submit() -> float:
        told.write("\n")
        told.flush()
        return float(said.readline())

    try:
        yield submit
    finally:
        told.close()
        process.wait()


def sample(rounds: int, submit: Callable[[], float], arrived: Callable[[], Sequence[float]]) -> list[float]:
    """Submit one at a time, from an idle state, and wait for each to arrive; the first few only warm up."""
    latencies = []
    for number in range(rounds + 5):
        pause()
        seen = len(arrived())
        began = submit()
        until(lambda seen=seen: len(arrived()) > seen, 30, "the file has arrived", every=0.0005)
        if number >= 5:
            latencies.append(arrived()[seen] - began)
    return latencies


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=int, default=100)
    options.add_argument("--submit", nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.submit:
        submit_alone(*given.submit)
        return
    title(f"{given.files} files of {len(DATA)} bytes, one at a time, to an idle embedded engine")
    posted: list[float] = []
    found: dict[str, list[float]] = {}
    with workplace() as folder, receiver(posted) as url:
        hook = {"type": "webhook", "url": url, "format": "binary"}
        path = write_config(folder, {"nothing": {"type": "noop"}, "hook": hook})
        with installation(path) as opened, running(opened):
            conveyor = Conveyor(opened)
            arrivals: dict[str, Callable[[], Sequence[float]]] = {
                "nothing": lambda: [at for _, at in ARRIVALS],
                "hook": lambda: posted,
            }
            for name, label in (("nothing", "no-op"), ("hook", "webhook")):

                def submit(name: str = name) -> float:
                    began = time.time()
                    conveyor.submit(DATA, to=name, filename="photo.jpg")
                    return began

                found[f"{label}, same process"] = sample(given.files, submit, arrivals[name])
                with other_process(path, name) as elsewhere:
                    found[f"{label}, another process"] = sample(given.files, elsewhere, arrivals[name])
        pool = urllib3.PoolManager()

        def post() -> float:
            began = time.time()
            pool.request("POST", url, body=DATA)
            return began

        found["bare urllib3 POST (no engine, no record)"] = sample(given.files, post, arrivals["hook"])
    rows = []
    for label, latencies in found.items():
        median, late, last = (f"{1000 * value:.1f}" for value in quantiles(latencies))
        rows.append((label, median, late, last))
    table(("", "p50 ms", "p99 ms", "max ms"), rows)
    for label in ("no-op, same process", "no-op, another process"):
        print(goal(f"p50 under {1000 * GOAL:.0f} ms, {label}", quantiles(found[label])[0] < GOAL))


if __name__ == "__main__":
    main()
