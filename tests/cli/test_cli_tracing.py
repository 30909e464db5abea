"""Spans of real processes, as an operator has them exported: over OTLP to a collector on loopback."""

from __future__ import annotations

import gzip
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli.commandline import PATIENCE, CommandLine
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from conveyor.receiver import Answer, Receiver

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))


class Collector:
    """Takes spans over OTLP/HTTP, each with the process that sent it."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, Any]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        for part in request.resource_spans:
            (pid,) = (a.value.int_value for a in part.resource.attributes if a.key == "process.pid")
            self.spans += [(pid, span) for scope in part.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[tuple[int, Any]]:
        return sorted(
            ((pid, span) for pid, span in self.spans if span.name == name),
            key=lambda found: found[1].start_time_unix_nano,
        )

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


def start(line: CommandLine, collector: Collector, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command as docs/running.md says."""
    telemetry = {
        "OTEL_SERVICE_NAME": "conveyor",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process",
    }
    return subprocess.Popen(
        [INSTRUMENT, *words],
        cwd=line.folder,
        env={**line.environment, **telemetry, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def instrumented(line: CommandLine, collector: Collector, *words: str, **environment: str) -> int:
    """Run a command to its end; returns its process id."""
    process = start(line, collector, *words, **environment)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return process.pid


CONVEYOR = (sys.executable, "-m", "conveyor")


def attribute(span: Any, name: str) -> Any:
    (value,) = (found.value for found in span.attributes if found.key == name)
    return getattr(value, value.WhichOneof("value"))


def test_one_trace_from_the_callers_environment_to_the_last_try_of_another_process(
    tmp_path: Path, collector: Collector
) -> None:
    line = CommandLine(tmp_path)
    with Receiver(tmp_path / "received") as receiver:
        receiver.answer_next(Answer(503))
        line.config(receiver.url, more="    retry: {schedule: [100ms], jitter: 0}")
        line.file("photo.jpg")
        parent = f"00-{TRACE}-{CALLER}-01"
        sender = instrumented(line, collector, *CONVEYOR, "send", "photo.jpg", TRACEPARENT=parent)
        run = ("run", "--processes", "2", "--until-idle", "--idle-horizon", "60")
        supervisor = instrumented(line, collector, *CONVEYOR, *run)
    ((pid, submitted),) = collector.named("conveyor.submit")
    assert pid == sender
    assert submitted.trace_id.hex() == TRACE
    assert submitted.parent_span_id.hex() == CALLER
    attempts = collector.named("conveyor.attempt")
    assert [attribute(span, "conveyor.attempt.outcome") for _, span in attempts] == ["failed", "delivered"]
    for pid, span in attempts:
        assert pid not in (sender, supervisor)
        assert (span.trace_id, span.parent_span_id) == (submitted.trace_id, submitted.span_id)
        assert attribute(span, "conveyor.destination.id") == "backend"
    parents = {span.parent_span_id for _, span in collector.named("conveyor.transfer")}
    assert parents == {span.span_id for _, span in attempts}
    assert TRACE in line.run("show", "--json", line.rows("SELECT id FROM jobs")[0][0]).out


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal (proc(5))."""
    text = Path(f"/proc/{pid}/status").read_text()
    caught = next(row.split()[1] for row in text.splitlines() if row.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.long
def test_processes_that_dramatiq_forks_hand_over_their_last_spans(
    tmp_path: Path, collector: Collector
) -> None:
    line = CommandLine(tmp_path)
    with Receiver(tmp_path / "received") as receiver:
        line.config(receiver.url)
        assert line.run("send", str(line.file("photo.jpg"))).code == 0
        never = "3600000"  # but for the flush at their end
        words = ("dramatiq", "conveyor.worker", "--processes", "2", "--threads", "2")
        process = start(line, collector, *words, OTEL_BSP_SCHEDULE_DELAY=never)
        try:
            until(lambda: line.rows("SELECT status FROM deliveries") == [("delivered",)])
            until(lambda: line.rows("SELECT count(*) FROM workers") == [(2,)])
            until(lambda: handles(process.pid, signal.SIGTERM))  # last of what it does before it waits
            assert not collector.spans
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    ((pid, span),) = collector.named("conveyor.attempt")
    assert pid != process.pid
    assert attribute(span, "conveyor.attempt.outcome") == "delivered"
