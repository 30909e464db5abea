"""One trace per job, as OpenTelemetry's own SDK sees it; nothing of it where nobody traces."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from conveyor import tracing
from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel, Receipt, Target
from conveyor.delivery.context import Stop
from conveyor.errors import IdempotencyError, SubmissionError
from conveyor.ledger.records import Status
from conveyor.submission import BatchError, Item, Submitter
from conveyor.testing.scripted import Script
from conveyor.testing.simulation import Simulation

SECRET = "of-a-stranger"
"""In all that is submitted and answered; in no span."""


class Seen:
    """What the SDK exported."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(**options)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")

    def __call__(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    found = Seen()
    monkeypatch.setattr(tracing, "_tracer", lambda: found.tracer)
    yield found
    for span in found.spans:
        assert SECRET not in span.to_json()


@pytest.fixture
def submitter(sim: Simulation) -> Submitter:
    return Submitter(sim.ledger, sim.payloads, sim.source, sim.clock, default_destinations=("here",))


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def sent(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
    with context.phase("connect"):
        pass
    with context.phase("transfer"):
        context.progress(parcel.size)
    return Receipt("ref", path=target.path)


def refused(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
    with context.phase("transfer"):
        context.progress(2)
        raise DeliveryError(ErrorKind.TRANSIENT, f"cannot keep {SECRET}.jpg", response=SECRET)


def test_attempts_hours_later_are_children_of_the_submission_in_the_callers_trace(
    sim: Simulation, here: Script, seen: Seen, submitter: Submitter
) -> None:
    here.then(refused, sent)
    with seen.tracer.start_as_current_span("upload") as caller:
        job = submitter.submit(b"photo", filename=f"{SECRET}.jpg", tags=[SECRET], session_id=SECRET)
    sim.step()
    sim.advance(7200)
    sim.step()

    (submitted,) = seen("conveyor.submit")
    assert parent_of(submitted) == caller.get_span_context().span_id
    assert submitted.kind is SpanKind.PRODUCER
    assert attributes(submitted)["conveyor.job.id"] == job.job_id
    assert attributes(submitted)["conveyor.destinations"] == ("here",)
    failed, delivered = seen("conveyor.attempt")
    for number, attempt in enumerate((failed, delivered), 1):
        assert trace_of(attempt) == trace_of(submitted) == caller.get_span_context().trace_id
        assert parent_of(attempt) == id_of(submitted)
        assert attempt.kind is SpanKind.CONSUMER
        told = attributes(attempt)
        assert told["conveyor.delivery.id"] == job.deliveries["here"]
        assert told["conveyor.destination.type"] == "scripted"
        assert told["conveyor.attempt.number"] == number
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == attributes(failed)["error.type"] == "TRANSIENT"
    assert attributes(failed)["conveyor.attempt.outcome"] == "failed"
    assert attributes(failed)["conveyor.attempt.follows"] == "retry"
    assert attributes(failed)["conveyor.attempt.bytes"] == 2
    assert delivered.status.status_code is StatusCode.UNSET
    assert attributes(delivered)["conveyor.attempt.outcome"] == "delivered"
    assert attributes(delivered)["conveyor.attempt.bytes"] == 5
    # Due 5 s after the first, found two hours after it.
    assert attributes(delivered)["conveyor.attempt.lateness"] == pytest.approx(7195, abs=0.1)
    assert attributes(delivered)["conveyor.attempt.since_submission"] == pytest.approx(7200, abs=0.1)
    assert attributes(failed)["conveyor.attempt.lateness"] == 0
    lost, carried = seen("conveyor.transfer")
    assert [parent_of(lost), parent_of(carried)] == [id_of(failed), id_of(delivered)]
    assert attributes(lost)["error.type"] == "TRANSIENT"
    assert [parent_of(span) for span in seen("conveyor.connect")] == [id_of(delivered)]


def test_without_a_caller_each_job_is_a_trace_of_its_own(
    sim: Simulation, seen: Seen, submitter: Submitter
) -> None:
    submitter.submit_many([Item(b"one"), Item(b"two")])
    sim.step()
    assert len({trace_of(span) for span in seen("conveyor.submit")}) == 2
    assert {(trace_of(s), id_of(s)) for s in seen("conveyor.submit")} == {
        (trace_of(a), parent_of(a)) for a in seen("conveyor.attempt")
    }


def test_each_refusal_ends_its_span_with_an_error(sim: Simulation, seen: Seen, submitter: Submitter) -> None:
    with pytest.raises(SubmissionError):
        submitter.submit(f"/nowhere/{SECRET}.jpg")
    submitter.submit(b"one", key="k")
    with pytest.raises(IdempotencyError):
        submitter.submit(b"two", key="k")
    with pytest.raises(BatchError):
        submitter.submit_many([Item(b"three"), Item(b"two", key="k"), Item(b"four")])
    ends = [attributes(span).get("error.type") for span in seen("conveyor.submit")]
    assert ends == ["SubmissionError", None, "IdempotencyError", None, "BatchError", "BatchError"]


def test_a_repeated_key_names_the_first_job_whose_trace_goes_on(
    sim: Simulation, seen: Seen, submitter: Submitter
) -> None:
    first, again = (submitter.submit(b"one", key="k") for _ in range(2))
    sim.step()
    assert first.job_id == again.job_id
    assert [attributes(span)["conveyor.job.created"] for span in seen("conveyor.submit")] == [True, False]
    (attempt,) = seen("conveyor.attempt")
    assert parent_of(attempt) == id_of(seen("conveyor.submit")[0])


def test_what_the_submission_did_not_sample_no_attempt_does(
    sim: Simulation, submitter: Submitter, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = Seen(sampler=ParentBased(ALWAYS_OFF))
    monkeypatch.setattr(tracing, "_tracer", lambda: quiet.tracer)
    job = submitter.submit(b"photo")
    monkeypatch.setattr(tracing, "_tracer", lambda: seen.tracer)
    sim.step()
    assert sim.delivery(job.deliveries["here"]).status is Status.DELIVERED
    assert not quiet.spans
    assert not seen.spans


@pytest.mark.parametrize("stored", [{}, {"traceparent": "spoilt"}, {"traceparent": "00-0-0-01"}])
def test_a_job_without_a_usable_trace_is_delivered_in_one_of_its_own(
    sim: Simulation, seen: Seen, stored: dict[str, str]
) -> None:
    ident = sim.submit(trace=stored)["here"]
    sim.step()
    assert sim.delivery(ident).status is Status.DELIVERED
    (attempt,) = seen("conveyor.attempt")
    assert attempt.parent is None


def test_an_attempt_that_is_written_off_ends_its_span_though_its_thread_hangs(
    sim: Simulation, here: Script, seen: Seen
) -> None:
    inside, go = threading.Event(), threading.Event()

    def hang(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        inside.set()
        assert go.wait(30)
        return Receipt("late", path=target.path)

    here.then(hang)
    sim.submit()
    thread = threading.Thread(target=sim.step)
    thread.start()
    assert inside.wait(30)
    (attempt,) = sim.parts.watchdog.running()
    attempt.context.stop(Stop.DEADLINE)
    sim.clock.advance(31)
    sim.parts.watchdog.look()
    (span,) = seen("conveyor.attempt")
    assert attributes(span)["error.type"] == "UNKNOWN_OUTCOME"
    go.set()
    thread.join(30)
    assert len(seen("conveyor.attempt")) == 1


def test_what_has_ended_is_handed_over_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    provider.get_tracer("test").start_span("one").end()
    assert not exporter.get_finished_spans()
    tracing.flush()
    assert [span.name for span in exporter.get_finished_spans()] == ["one"]
    provider.shutdown()


def test_a_job_shows_its_trace_until_it_is_forgotten(
    sim: Simulation, seen: Seen, submitter: Submitter
) -> None:
    job = submitter.submit(b"photo")
    stored = sim.ledger.deliveries.job(job.job_id)
    assert stored is not None
    (span,) = seen("conveyor.submit")
    assert tracing.trace_id(stored.trace) == trace.format_trace_id(trace_of(span))
    sim.ledger.forgetting.forget([job.job_id], sim.clock.now())
    forgotten = sim.ledger.deliveries.job(job.job_id)
    assert forgotten is not None
    assert forgotten.trace == {}
    assert tracing.trace_id(forgotten.trace) is None


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def joined(environment: dict[str, str]) -> AbstractContextManager[None]:
    return tracing.joining(environment)


def test_a_process_goes_on_with_the_trace_of_its_environment(seen: Seen, submitter: Submitter) -> None:
    with joined({"TRACEPARENT": PARENT, "TRACESTATE": "vendor=1"}):
        submitter.submit(b"photo")
    submitter.submit(b"photo")
    within, after = seen("conveyor.submit")
    assert trace.format_trace_id(trace_of(within)) == PARENT.split("-")[1]
    assert after.parent is None
    with joined({"TRACEPARENT": "spoilt"}):
        submitter.submit(b"photo")
    assert seen("conveyor.submit")[-1].parent is None


def test_without_an_sdk_the_trace_of_the_environment_is_kept_for_the_workers(
    sim: Simulation, submitter: Submitter
) -> None:
    with joined({"TRACEPARENT": PARENT, "TRACESTATE": "vendor=1"}):
        job = submitter.submit(b"photo")
    stored = sim.ledger.deliveries.job(job.job_id)
    assert stored is not None
    assert stored.trace == {"traceparent": PARENT, "tracestate": "vendor=1"}


WITHOUT = """
import sys
from pathlib import Path
if sys.argv[2] == "missing":
    sys.modules["opentelemetry"] = None
from conveyor import tracing
from conveyor.submission import Submitter
from conveyor.testing.simulation import Simulation
sim = Simulation(Path(sys.argv[1]))
submitter = Submitter(sim.ledger, sim.payloads, sim.source, sim.clock)
with tracing.joining({"TRACEPARENT": sys.argv[3]} if sys.argv[3] else {}):
    job = submitter.submit(b"photo", to=["here"])
sim.step()
tracing.flush()
record = sim.delivery(job.deliveries["here"])
imported = [name for name in sys.modules if name.startswith("opentelemetry.")]
print(record.status, dict(record.job.trace), imported)
"""


@pytest.mark.parametrize(("installed", "parent"), [("missing", ""), ("missing", PARENT), ("there", "")])
def test_where_nobody_traces_nothing_is_imported(tmp_path: Path, installed: str, parent: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path), installed, parent],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.stdout.splitlines()[-1] == "delivered {} []", said
