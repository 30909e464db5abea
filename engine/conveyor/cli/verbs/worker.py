"""``conveyor worker`` and ``conveyor dispatcher``: the two halves of ``run``, for many machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from conveyor.cli import serving, session
from conveyor.cli.filters import examples
from conveyor.errors import Exit, UsageError

if TYPE_CHECKING:
    from conveyor.delivery.pulse import Pulse
    from conveyor.installation import Installation

_WORKER_EXAMPLES = examples(
    "conveyor worker --processes 4 --threads 32",
    "conveyor worker --types sftp,ftp --threads 64",
    "conveyor worker --health 0.0.0.0:9180",
)


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(
        "worker",
        help="Deliver, on one of many machines; a dispatcher elsewhere rings.",
        epilog=_WORKER_EXAMPLES,
    )(worker)
    app.command(
        "dispatcher",
        help="Ring the broker for what is due; of several, one leads.",
        epilog=examples("conveyor dispatcher", "conveyor dispatcher --health 127.0.0.1:9181"),
    )(dispatcher)


def worker(
    context: typer.Context,
    processes: serving.Processes = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Deliveries at a time in each process; by default the config's.",
            show_default=False,
        ),
    ] = None,
    destinations: Annotated[
        list[str] | None,
        typer.Option(
            "--destinations",
            metavar="ID,ID…",
            help="Serve these alone. Such a worker looks into the ledger itself instead of being woken.",
            show_default=False,
        ),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--types", metavar="TYPE,TYPE…", help="Serve these types alone.", show_default=False),
    ] = None,
    health: serving.Health = None,
    metrics: serving.Metrics = None,
    parent: serving.Parent = None,
) -> None:
    """Deliver what is due, until told to stop.

    Start it on as many machines as you like, with one config: a ledger on PostgreSQL, payloads that each of
    them reaches, the same key. With `broker: ledger` it needs nobody else; with RabbitMQ or Redis a
    `conveyor dispatcher`, or a `conveyor run`, rings. Without one, or while the broker is away, workers look
    into the ledger by themselves.

    A process that dies is started again, and no other; its deliveries are taken over at once on the same
    machine, elsewhere after `workers.lease`. Signals are those of `conveyor run`.
    """
    with session.of(context).installation(threads=threads) as installation:
        words = [*session.of(context).words(), "worker", "--threads", str(installation.threads)]
        words += [word for name in destinations or () for word in ("--destinations", name)]
        words += [word for name in types or () for word in ("--types", name)]
        plan = serving.Plan(
            words=words,
            processes=processes or installation.config.settings.workers.processes,
            only=serving.chosen(installation, destinations or (), types or ()),
            rings=False,
            health=health,
            metrics=metrics,
            parent=parent,
        )
        code = serving.serve(installation, plan)
    raise typer.Exit(code)


def dispatcher(
    context: typer.Context, health: serving.Health = None, metrics: serving.Metrics = None
) -> None:
    """Ring the broker (RabbitMQ, Redis) for deliveries that are due, until told to stop.

    Fairly over destinations, never more than the workers' threads can use, again for what nobody came for.
    Start two, on two machines: one leads, the other takes over within ten seconds. Losing every message in
    the broker costs time and nothing else.
    """
    with session.of(context).installation() as installation:
        if installation.broker is None:
            raise UsageError(
                "with `broker: ledger` there is nobody to ring for",
                cure="start workers alone, or set `broker:` to amqp://… or redis://…",
            )
        _ring(installation, health, metrics)
    raise typer.Exit(Exit.OK)


def _ring(installation: Installation, health: str | None, metrics: str | None) -> None:
    from conveyor import log
    from conveyor.delivery.engine import make_ringer
    from conveyor.delivery.pulse import Notifier, Pulse
    from conveyor.delivery.runner import TICK, Signals, follow

    assert installation.broker is not None
    logger = log.get()
    signals = Signals(logger)
    signals.install()
    ringer = make_ringer(installation.workshop(), installation.broker, installation.clock)
    pulse: Pulse = Pulse(ringer.turns, ringer.well, notifier=Notifier())
    reload = serving.reloading(installation, logger, ringer.look)
    logger.info("dispatching", config=str(installation.config.path), broker=installation.broker.name)
    ringer.start()
    try:
        with serving.shown(pulse, health), serving.measured(installation, metrics):
            while not signals.stop.wait(TICK):
                pulse.turn()
                follow(signals, pulse, reload)
            pulse.stopping()
    finally:
        ringer.stop(5.0)
