"""``conveyor run``: the engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from conveyor.cli import session
from conveyor.errors import Exit

if TYPE_CHECKING:
    from conveyor.config import Change
    from conveyor.contract import Log
    from conveyor.delivery.runner import Signals
    from conveyor.installation import Installation

RELOAD_EVERY = 1.0
"""Seconds between looks for a changed config."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("run", help="Deliver: dispatcher, workers and housekeeping, until Ctrl-C.")(run)


def run(
    context: typer.Context,
    until_idle: Annotated[
        bool,
        typer.Option("--until-idle", help="End once nothing runs or is due; exit 1 if something failed."),
    ] = False,
    idle_horizon: Annotated[
        float,
        typer.Option(
            "--idle-horizon",
            min=0,
            metavar="SECONDS",
            help="With --until-idle: wait for what is due this soon.",
        ),
    ] = 0.0,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; by default the config's.", show_default=False)
    ] = None,
    parent: Annotated[int | None, typer.Option(hidden=True, help="Process to end with.")] = None,
) -> None:
    """Deliver what is due, until told to stop.

    Ctrl-C or SIGTERM finishes what runs (workers.grace), gives the rest back and ends with 0; a second one
    leaves at once and loses nothing. SIGHUP, or a change of the config file, reloads the config.
    """
    from conveyor import log
    from conveyor.delivery.runner import Signals

    with session.of(context).installation() as installation:
        logger = log.get()
        signals = Signals(logger)
        signals.install()
        count = processes or installation.config.settings.workers.processes
        if count > 1 and parent is None:
            code = _supervise(installation, signals, count, until_idle, idle_horizon)
        else:
            code = _one(installation, signals, until_idle, idle_horizon, parent)
    raise typer.Exit(code)


def _one(
    installation: Installation, signals: Signals, until_idle: bool, horizon: float, parent: int | None
) -> Exit:
    from conveyor import log
    from conveyor.delivery.engine import Engine
    from conveyor.delivery.runner import run_engine
    from conveyor.delivery.supervisor import end_with_parent

    if parent is not None:
        end_with_parent(parent)
    logger = log.get()
    engine = Engine(installation.workshop(), installation.worker_settings(), installation.clock)
    started = installation.clock.now()
    logger.info("delivering", config=str(installation.config.path), threads=engine.parts.settings.threads)
    for problem in installation.config.problems:
        logger.warning("destination quarantined", destination=problem.destination, problem=str(problem))
    code, replace = run_engine(
        engine,
        signals,
        until_idle=until_idle,
        horizon=horizon,
        reload=_reloading(installation, logger, engine.ring),
        failed=lambda: installation.ledger.deliveries.failed_since(started),
    )
    if replace and parent is None:
        installation.close()
        os.execv(sys.executable, [sys.executable, "-m", "conveyor", *sys.argv[1:]])  # noqa: S606
    return code


def _supervise(
    installation: Installation, signals: Signals, count: int, until_idle: bool, horizon: float
) -> Exit:
    from conveyor import log
    from conveyor.delivery.runner import run_supervisor
    from conveyor.delivery.supervisor import Supervisor

    logger = log.get()
    started = installation.clock.now()
    path = str(installation.config.path)
    command = [sys.executable, "-m", "conveyor", "--config", path, "run", "--parent", str(os.getpid())]
    supervisor = Supervisor(command, count, log=logger)
    return run_supervisor(
        supervisor,
        signals,
        idle=lambda: until_idle and _idle(installation, horizon),
        failed=lambda: installation.ledger.deliveries.failed_since(started),
        grace=installation.config.settings.workers.grace + 15.0,
    )


def _idle(installation: Installation, horizon: float) -> bool:
    from conveyor.status.waiting import idle

    return idle(installation.ledger, installation.source, installation.clock, horizon)


def _reloading(installation: Installation, logger: Log, ring: Callable[[], None]) -> Callable[[bool], None]:
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
