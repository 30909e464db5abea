"""OpenTelemetry spans: one trace for each job, from its submission through every attempt.

Only OpenTelemetry's API is used; which spans are kept and where they go is said to its SDK by the application
or the operator. Whoever sets up an SDK has imported the API first, so until somebody has, nothing here is
imported and a span costs one look into ``sys.modules``.

The submission's span stands in the ledger as W3C Trace Context (https://www.w3.org/TR/trace-context/), and
each attempt's span is its child. The conventions for messaging
(https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/) ask for links where a consumer takes
many messages at once, and let the creation's context be the parent where it takes one: an attempt is made for
one delivery alone, and a child is found in the job's trace, and sampled as the submission was.

Spans hold ids, numbers and kinds, never a file name, a path, a tag or an error's text: what strangers sent
and what servers answered stays in the ledger, where it can be forgotten.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from conveyor.clock import SECOND
from conveyor.contract import AttemptCancelled, DeliveryError
from conveyor.version import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Span, Tracer

    from conveyor.ledger.records import AttemptReport, Claimed, Submission, Submitted

API: Final = "opentelemetry.trace"
SYSTEM: Final = "conveyor"
"""``messaging.system``, and the name of the tracer."""


class Traced:
    """A span, or nothing where nobody traces; it is ended once, by whichever thread comes first."""

    __slots__ = ("_span",)

    def __init__(self, span: Span | None = None) -> None:
        self._span = span

    @property
    def headers(self) -> dict[str, str]:
        """W3C's ``traceparent`` and ``tracestate`` for what follows from this; empty without a trace."""
        carrier: dict[str, str] = {}
        if self._span is not None:
            from opentelemetry.trace import set_span_in_context

            _propagator().inject(carrier, set_span_in_context(self._span))
        return carrier

    def submitted(self, submission: Submission, answer: Submitted) -> None:
        """End the span of a submission that was accepted."""
        if self._records:
            self._note(
                {
                    "conveyor.job.id": answer.job_id,
                    "conveyor.job.created": answer.created,
                    "conveyor.payload.size": submission.job.payload.size,
                    "conveyor.destinations": list(answer.deliveries),
                    "messaging.message.id": answer.job_id,
                }
            )
        self.end()

    def reported(self, report: AttemptReport | None) -> None:
        """End the span of an attempt; without a report the delivery had become somebody else's."""
        if report is None or not self._records:
            self.end()
            return
        noted: dict[str, Any] = {
            "conveyor.attempt.outcome": report.outcome.value,
            "conveyor.attempt.bytes": report.bytes_sent,
            "conveyor.attempt.charged": report.charged,
            "conveyor.attempt.follows": report.follows,
            "conveyor.delivery.status": report.status.value,
        }
        if report.kind is not None:
            noted["conveyor.attempt.error_kind"] = report.kind.value
        self._note(noted)
        self.end(None if report.kind is None else report.kind.value)

    def end(self, error: str | None = None) -> None:
        """End the span; ``error`` is a word of a small set, never a text. Idempotent."""
        span, self._span = self._span, None
        if span is None:
            return
        if error is not None:
            from opentelemetry.trace import Status, StatusCode

            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR, error))
        span.end()

    @property
    def _records(self) -> bool:
        return self._span is not None and self._span.is_recording()

    def _note(self, attributes: Mapping[str, Any]) -> None:
        if self._span is not None:
            self._span.set_attributes(attributes)


NOTHING: Final = Traced()
_NO_ATTEMPT: Final = nullcontext(NOTHING)
_NO_PHASE: Final = nullcontext()


def submitting() -> Traced:
    """Begin a submission's span, a child of the caller's."""
    if API not in sys.modules:
        return NOTHING
    from opentelemetry.trace import SpanKind

    attributes = _messaging("send", "submit")
    return Traced(_tracer().start_span("conveyor.submit", kind=SpanKind.PRODUCER, attributes=attributes))


def attempting(claim: Claimed, destination_type: str) -> AbstractContextManager[Traced]:
    """An attempt's span, current within the block: a child of its submission's, whatever process that was."""
    return _attempting(claim, destination_type) if API in sys.modules else _NO_ATTEMPT


@contextmanager
def _attempting(claim: Claimed, destination_type: str) -> Iterator[Traced]:
    from opentelemetry.trace import SpanKind, use_span

    span = _tracer().start_span(
        "conveyor.attempt",
        context=_extract(claim.job.trace),
        kind=SpanKind.CONSUMER,
        attributes=_of_attempt(claim, destination_type),
    )
    traced = Traced(span)
    with use_span(span, record_exception=False, set_status_on_exception=False):
        try:
            yield traced
        except BaseException as error:
            traced.end(type(error).__name__)
            raise


def phase(name: str) -> AbstractContextManager[None]:
    """A part of the current attempt, as a span of its own below it."""
    return _phase(name) if API in sys.modules else _NO_PHASE


@contextmanager
def _phase(name: str) -> Iterator[None]:
    from opentelemetry.trace import SpanKind, get_current_span, use_span

    if not get_current_span().is_recording():
        yield
        return
    span = _tracer().start_span(f"conveyor.{name}", kind=SpanKind.INTERNAL)
    traced = Traced(span)
    with use_span(span, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except AttemptCancelled:
            traced.end()
            raise
        except BaseException as error:
            traced.end(error.kind.value if isinstance(error, DeliveryError) else type(error).__name__)
            raise
    traced.end()


@contextmanager
def joining(environment: Mapping[str, str]) -> Iterator[None]:
    """Within the block this process goes on with the trace that ``TRACEPARENT`` names, if any.

    As OpenTelemetry has it for processes that start each other
    (https://opentelemetry.io/docs/specs/otel/context/env-carriers/). Without the API there is no trace.
    """
    carrier = {name.lower(): environment.get(name, "") for name in ("TRACEPARENT", "TRACESTATE")}
    if not carrier["traceparent"] or (API not in sys.modules and find_spec("opentelemetry") is None):
        yield
        return
    from opentelemetry.context import attach, detach
    from opentelemetry.trace import get_current_span

    if get_current_span().get_span_context().is_valid:  # something in this process says it more exactly
        yield
        return
    token = attach(_extract(carrier))
    try:
        yield
    finally:
        detach(token)


def flush() -> None:
    """Hand over what has ended, before this process ends in a way that runs no exit handlers."""
    if API not in sys.modules:
        return
    from opentelemetry.trace import get_tracer_provider

    force = getattr(get_tracer_provider(), "force_flush", None)  # the SDK's; the API knows of none
    if callable(force):
        force()


def trace_id(headers: Mapping[str, str]) -> str | None:
    """The id, 32 hex digits, of the trace that a job's headers name."""
    parts = headers.get("traceparent", "").split("-")
    return parts[1] if len(parts) >= 4 else None


def _of_attempt(claim: Claimed, destination_type: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        **_messaging("process", "attempt"),
        "messaging.destination.name": claim.destination,
        "messaging.message.id": claim.delivery_id,
        "conveyor.job.id": claim.job.id,
        "conveyor.delivery.id": claim.delivery_id,
        "conveyor.destination.id": claim.destination,
        "conveyor.destination.type": destination_type,
        "conveyor.payload.size": claim.job.payload.size,
        "conveyor.attempt.number": claim.attempt,
        "conveyor.attempt.cycle": claim.cycle,
        "conveyor.attempt.probe": claim.probe,
        "conveyor.attempt.since_submission": (claim.started_at - claim.job.created_at) / SECOND,
    }
    if claim.due_at is not None:
        attributes["conveyor.attempt.lateness"] = (claim.started_at - claim.due_at) / SECOND
    return attributes


def _messaging(kind: str, name: str) -> dict[str, Any]:
    return {"messaging.system": SYSTEM, "messaging.operation.type": kind, "messaging.operation.name": name}


def _extract(carrier: Mapping[str, str]) -> Context:
    from opentelemetry.context import Context

    return _propagator().extract(carrier, Context())


@cache
def _tracer() -> Tracer:
    """The API's stands in for the SDK's until there is one."""
    from opentelemetry import trace

    return trace.get_tracer(SYSTEM, __version__)


@cache
def _propagator() -> TextMapPropagator:
    """Always W3C's: what stands in the ledger does not depend on each process's ``OTEL_PROPAGATORS``."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()
