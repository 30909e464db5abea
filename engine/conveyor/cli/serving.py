"""What the verbs that deliver share: one process or a supervisor over several, reload, health."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, cast

import typer

from conveyor.errors import Exit, UsageError
from conveyor.nearest import did_you_mean

if TYPE_CHECKING:
    from conveyor.config import Change, Destination
    from conveyor.contract import Log
    from conveyor.delivery.engine import Engine
    from conveyor.delivery.pulse import Pulse
    from conveyor.delivery.runner import Signals
    from conveyor.installation import Installation
    from conveyor.log import EngineLog

SOURCE_GRACE = 5.0
"""Seconds that a payload source has to end."""

RELOAD_EVERY = 1.0
"""Seconds between looks for a changed config."""

Processes = Annotated[
    int | None, typer.Option(min=1, help="Worker processes; by default the config's.", show_default=False)
]
Health = Annotated[
    str | None,
    typer.Option(
        "--health",
        metavar="HOST:PORT",
        envvar="CONVEYOR_HEALTH",
        help="Answer GET /live and /ready there, 200 or 503.",
        show_default=False,
    ),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="[HOST:]PORT",
        envvar="CONVEYOR_METRICS",
        help="Answer Prometheus' GET /metrics there; by default the config's `metrics`.",
        show_default=False,
    ),
]
Parent = Annotated[int | None, typer.Option(hidden=True, help="Process to end with.")]
Since = Annotated[int | None, typer.Option(hidden=True, help="When the process before this one began.")]


@dataclass(frozen=True, slots=True)
class Plan:
    """What processes are to do.

    Attributes:
        words: The verb with its options and those before it, for the processes that a supervisor starts.
        only: Serve these destinations alone; None for all.
        rings: Whether they ring the broker too, one of them at a time.
        until_idle: End once nothing is left to do; ``horizon`` seconds ahead.
        parent: The supervisor, in a process that it started.
        since: When the first process began, microseconds, in one that took its place: what failed
            since then counts.
    """

    words: Sequence[str]
    processes: int = 1
    only: Callable[[Destination], bool] | None = None
    rings: bool = True
    until_idle: bool = False
    horizon: float = 0.0
    health: str | None = None
    metrics: str | None = None
    parent: int | None = None
    since: int | None = None


def serve(installation: Installation, plan: Plan) -> Exit:
    """Deliver until told to stop, or idle."""
    from conveyor import log
    from conveyor.delivery.runner import Signals

    signals = Signals(log.get())
    signals.install()
    if plan.processes > 1 and plan.parent is None:
        return _supervise(installation, signals, plan)
    return _one(installation, signals, plan)


def chosen(
    installation: Installation, destinations: Sequence[str], types: Sequence[str]
) -> Callable[[Destination], bool] | None:
    """Which destinations to serve: those named and those of the types named; None for all.

    Raises:
        UsageError: One of them does not exist.
    """
    names, kinds = set(_words(destinations)), set(_words(types))
    for name in sorted(names):
        installation.known(name)
    known = installation.config.registry.types()
    for kind in sorted(kinds - set(known)):
        raise UsageError(f"there is no destination type {kind!r}", cure=did_you_mean(kind, known))
    if not names and not kinds:
        return None
    return lambda destination: destination.id in names or destination.type in kinds


def _words(given: Sequence[str]) -> list[str]:
    return [word.strip() for text in given for word in text.split(",") if word.strip()]


@contextmanager
def shown(pulse: Pulse, address: str | None) -> Iterator[None]:
    """Answer probes at ``address`` as long as the block runs; None for nowhere."""
    if address is None:
        yield
        return
    from conveyor import log
    from conveyor.delivery.pulse import HealthServer

    with HealthServer(address, pulse) as server:
        log.get().info("health", live=f"/live on port {server.port}", ready=f"/ready on port {server.port}")
        yield


@contextmanager
def measured(installation: Installation, asked: str | None) -> Iterator[None]:
    """Serve the metrics as long as the block runs, where the option or the config says so.

    An address of the config that is taken, usually by another engine on this machine with the same config, is
    no reason not to deliver; one that was asked for on the command line is.

    Args:
        installation: Whose figures.
        asked: The option.

    Raises:
        ConveyorError: It cannot be served where it was asked for.
    """
    from conveyor import log
    from conveyor.errors import ConveyorError

    address = asked or installation.config.settings.metrics
    if address is None:
        yield
        return
    from conveyor.status.figures import Gauge
    from conveyor.status.metrics import MetricsServer

    try:
        server = MetricsServer(address, Gauge(installation))
    except ConveyorError as error:
        if asked is not None:
            raise
        log.get().warning("metrics are not served here", error=error.message, cure=error.cure)
        yield
        return
    with server:
        log.get().info("metrics", url=f"/metrics on port {server.port}")
        yield


@contextmanager
def submitting(installation: Installation, engine: Engine, plan: Plan) -> Iterator[None]:
    """Run the payload sources of plugins as long as the block runs; not in workers for some destinations."""
    from conveyor import log
    from conveyor.delivery.sources import SourceRunner

    known = installation.config.registry
    sources = [] if plan.only is not None else known.announced.payloads.values()
    runners = [
        SourceRunner(
            plugin,
            source,
            installation.ledger,
            known.plugins,
            engine.parts.me.id,
            submitter=installation.submitter,
            ring=engine.ring,
            clock=installation.clock,
            log=cast("EngineLog", log.get(source=source.name)),
        )
        for plugin, source in sources
    ]
    for runner in runners:
        runner.start()
    try:
        yield
    finally:
        for runner in runners:
            runner.stop(SOURCE_GRACE)


def _one(installation: Installation, signals: Signals, plan: Plan) -> Exit:
    from conveyor import log
    from conveyor.delivery.engine import Engine
    from conveyor.delivery.pulse import Notifier, Pulse
    from conveyor.delivery.runner import run_engine
    from conveyor.delivery.supervisor import end_with_parent

    if plan.parent is not None:
        end_with_parent(plan.parent)
    logger = log.get()
    settings = replace(installation.worker_settings(), only=plan.only, rings=plan.rings)
    engine = Engine(installation.workshop(), settings, installation.clock)
    started = installation.clock.now() if plan.since is None else plan.since
    logger.info("delivering", config=str(installation.config.path), threads=settings.threads)
    for problem in installation.config.problems:
        logger.warning("destination quarantined", destination=problem.destination, problem=str(problem))
    supervised = plan.parent is not None
    pulse = Pulse(engine.live, engine.ready, notifier=None if supervised else Notifier())
    with (
        submitting(installation, engine, plan),
        shown(pulse, None if supervised else plan.health),
        nullcontext() if supervised else measured(installation, plan.metrics),
    ):
        code, renew = run_engine(
            engine,
            signals,
            until_idle=plan.until_idle,
            horizon=plan.horizon,
            reload=reloading(installation, logger, engine.ring),
            failed=lambda: _unsettled(installation, started),
            pulse=pulse,
        )
    if renew and not supervised:
        from conveyor import tracing

        installation.close()
        tracing.flush()
        signals.hold_back()
        if not signals.stop.is_set():  # else it was told to end meanwhile
            first = plan.until_idle and plan.since is None
            since = ["--since", str(started)] if first else []
            again = [sys.executable, "-m", "conveyor", *sys.argv[1:], *since]
            os.execv(sys.executable, again)  # noqa: S606
    return code


def _supervise(installation: Installation, signals: Signals, plan: Plan) -> Exit:
    from conveyor import log
    from conveyor.delivery.pulse import Notifier, Pulse
    from conveyor.delivery.runner import run_supervisor
    from conveyor.delivery.supervisor import Supervisor

    started = installation.clock.now()
    path = str(installation.config.path)
    command = [sys.executable, "-m", "conveyor", "--config", path, *plan.words, "--parent", str(os.getpid())]
    supervisor = Supervisor(command, plan.processes, log=log.get())
    pulse = Pulse(ready=lambda: _registered(installation, supervisor.pids), notifier=Notifier())
    with shown(pulse, plan.health), measured(installation, plan.metrics):
        return run_supervisor(
            supervisor,
            signals,
            idle=lambda: plan.until_idle and _idle(installation, plan.horizon),
            failed=lambda: _unsettled(installation, started),
            grace=installation.config.settings.workers.grace + 15.0,
            reload=reloading(installation, log.get(), lambda: None),
            pulse=pulse,
        )


def _registered(installation: Installation, pids: Sequence[int]) -> bool:
    """Whether one of our processes at least has a lease; False while the ledger cannot say."""
    from conveyor.errors import LedgerError
    from conveyor.status.workers import present

    try:
        return any(worker.pid in pids for worker in present(installation.ledger, installation.clock))
    except LedgerError:
        return False


def _idle(installation: Installation, horizon: float) -> bool:
    from conveyor.status.waiting import idle

    return idle(installation.ledger, installation.source, installation.clock, horizon)


def _unsettled(installation: Installation, started: int) -> bool:
    """Whether a delivery has failed since ``started``, or some are left on hold; says what holds them."""
    from conveyor.cli import words
    from conveyor.status.overview import complaints, overview, totals

    ledger, now = installation.ledger, installation.clock.now()
    shown = overview(installation.source, ledger.health.get(None), ledger.deliveries.summary(now), now)
    if held := totals(shown)["held"]:
        lines = [f"{words.count(held, 'delivery', 'deliveries')} left on hold:"]
        for each in complaints(shown, max_age=math.inf):
            if each.problem == "held":
                lines += [f"{each.destination}: {each.message}", f"  → {each.cure}"]
        typer.echo("\n".join(lines), err=True)
    return bool(held) or ledger.deliveries.failed_since(started)


def reloading(installation: Installation, logger: Log, ring: Callable[[], None]) -> Callable[[bool], None]:
    """What the main loop calls at each turn: reads a changed config, at once when asked to."""
    last = [installation.clock.monotonic()]

    def look(asked: bool) -> None:
        now = installation.clock.monotonic()
        if not asked and now - last[0] < RELOAD_EVERY:
            return
        last[0] = now
        change = installation.reload(asked=asked)
        if change is not None:
            _say(change, logger)
            ring()

    return look


def _say(change: Change, logger: Log) -> None:
    problems = [str(problem) for problem in change.problems]
    if not change.accepted:
        logger.warning("the changed config has mistakes; the old one stays in force", problems=problems)
        return
    logger.info("config reloaded", added=change.added, removed=change.removed, changed=change.changed)
    for problem in problems:
        logger.warning("destination quarantined", problem=problem)
    if change.needs_restart:
        logger.warning("these settings take effect after a restart", settings=change.needs_restart)
