"""The figures in Prometheus' text, and the address that answers ``GET /metrics``.

Labels are ids of the config and words of closed sets; no delivery's id, no secret. Names and units follow
https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from conveyor.config.settings import listening_at
from conveyor.errors import ConveyorError, LedgerError
from conveyor.version import __version__, requirement

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from conveyor.status.figures import Gauge, Reading


class Figures:
    """A collector of prometheus-client's: asked at each scrape."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def collect(self) -> Iterator[Metric]:
        """All metrics; without the ledger only that it is away."""
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

        yield InfoMetricFamily("conveyor", "The program.", value={"version": __version__})
        try:
            reading = self._gauge.read()
        except LedgerError:
            reading = None
        up = "Whether the ledger answered this scrape."
        yield GaugeMetricFamily("conveyor_ledger_up", up, value=0 if reading is None else 1)
        if reading is not None:
            yield from _destinations(reading)
            yield from _attempts(reading)
            yield from _rest(reading)


def _destinations(reading: Reading) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    label = ["destination"]
    due = GaugeMetricFamily("conveyor_due", "Deliveries that are due, up to 100000.", labels=label)
    running = GaugeMetricFamily("conveyor_running", "Deliveries under way.", labels=label)
    oldest = GaugeMetricFamily(
        "conveyor_oldest_due_age_seconds", "Since the due time of the earliest delivery.", labels=label
    )
    held = GaugeMetricFamily(
        "conveyor_destination_held",
        "1 for a destination that is not served, with the reason: paused, breaker, throttled, needs_login …",
        labels=[*label, "reason"],
    )
    for name, place in reading.places.items():
        due.add_metric([name], place.due)
        running.add_metric([name], place.running)
        oldest.add_metric([name], place.oldest_due)
        if place.reason is not None:
            held.add_metric([name, place.reason], 1)
    yield from (due, running, oldest, held)


def _attempts(reading: Reading) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    ended = CounterMetricFamily(
        "conveyor_attempts", "Attempts that ended since this process began.",
        labels=["destination", "outcome", "kind"],
    )  # fmt: skip
    for which, count in sorted(reading.ended.items()):
        ended.add_metric([which.destination, which.outcome, which.kind], count)
    sent = CounterMetricFamily("conveyor_sent_bytes", "What those attempts sent.", labels=["destination"])
    for name, count in sorted(reading.sent.items()):
        sent.add_metric([name], count)
    late = GaugeMetricFamily(
        "conveyor_lateness_seconds",
        "From due time to begin, of the last 1000 attempts within 5 minutes; holds count as lateness.",
        labels=["quantile"],
    )
    for quantile, seconds in reading.lateness.items():
        late.add_metric([str(quantile)], seconds)
    yield from (ended, sent, late)


def _rest(reading: Reading) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    labels = ["connection", "provider"]
    works = GaugeMetricFamily("conveyor_login_ok", "0: a person has to sign in again.", labels=labels)
    expires = GaugeMetricFamily(
        "conveyor_login_token_expires_seconds",
        "Until the access token ends; renewed before by itself, negative when not in use.",
        labels=labels,
    )
    for name, login in sorted(reading.logins.items()):
        works.add_metric([name, login.provider], 1 if login.state == "ok" else 0)
        if login.expires is not None:
            expires.add_metric([name, login.provider], login.expires)
    stuck = GaugeMetricFamily(
        "conveyor_stuck", "Rows that somebody should have moved on: `conveyor doctor`.", labels=["kind"]
    )
    for kind, count in reading.stuck.items():
        stuck.add_metric([kind], count)
    yield from (works, expires, stuck)
    yield GaugeMetricFamily("conveyor_workers", "Worker processes that are present.", value=reading.workers)
    yield GaugeMetricFamily("conveyor_worker_threads", "Their threads.", value=reading.threads)


class MetricsServer:
    """Answers ``GET /metrics``; a context manager.

    Args:
        address: ``host:port``, or a port of the loopback interface.
        gauge: Reads the figures.

    Raises:
        ConveyorError: It cannot listen there, or prometheus-client is missing.
    """

    def __init__(self, address: str, gauge: Gauge) -> None:
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ModuleNotFoundError as error:
            raise ConveyorError(
                "metrics need prometheus-client", cure=f"pip install '{requirement('metrics')}'"
            ) from error
        registry = CollectorRegistry(auto_describe=False)
        # Described: nothing, or registering would ask the ledger.
        registry.register(_Undescribed(Figures(gauge)))
        try:
            host, port = listening_at(address)
            self._server, self._thread = start_http_server(port, host, registry)
        except (OSError, ValueError, OverflowError) as error:
            raise ConveyorError(
                f"metrics cannot be served at {address}: {error}",
                cure="another free port under `metrics:` or --metrics",
            ) from None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Undescribed:
    def __init__(self, figures: Figures) -> None:
        self.collect = figures.collect

    def describe(self) -> list[Metric]:
        return []
