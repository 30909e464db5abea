"""Workers under dramatiq's own command line: ``dramatiq conveyor.worker --processes 2 --threads 16``.

The config is the one that ``CONVEYOR_CONFIG`` names, or ``conveyor.yaml`` in the working folder. Importing
this module opens it. ``conveyor worker`` does the same with a supervisor of our own, which restarts only the
process that died; dramatiq's ends all of them, and counts on whoever started it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import dramatiq
from dramatiq.middleware import Middleware

from conveyor import log, tracing
from conveyor.cli.serving import RELOAD_EVERY, reloading
from conveyor.contract import Log
from conveyor.delivery.engine import Engine
from conveyor.delivery.loops import Loop
from conveyor.delivery.runner import spare_collector
from conveyor.installation import Installation
from conveyor.log import EngineLog

if TYPE_CHECKING:
    from dramatiq.broker import Broker
    from dramatiq.worker import Worker


class Lifecycle(Middleware):
    """Starts and ends an engine with dramatiq's worker.

    Args:
        engine: Not yet started.
        installation: Where it works; its config is read again when it changes.
    """

    def __init__(self, engine: Engine, installation: Installation) -> None:
        self._engine = engine
        self._installation = installation
        logger = log.get()
        look = reloading(installation, cast(Log, logger), engine.ring)

        def reload() -> float:
            look(False)
            return RELOAD_EVERY

        self._reload = Loop("config", reload, cast(EngineLog, logger))

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Register, before anything is claimed."""
        spare_collector()
        self._engine.resize(worker.worker_threads)
        self._engine.begin()
        self._engine.adopt(worker)
        self._reload.start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Let what runs end, give the rest back."""
        self._reload.stop(1.0)
        self._engine.wind_down()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Write what is to be written, and leave."""
        self._engine.end()
        self._installation.close()
        tracing.flush()  # dramatiq's processes end without exit handlers


def _open() -> Any:
    log.configure()
    installation = Installation.open()
    settings = replace(installation.worker_settings(), rings=False)
    engine = Engine(installation.workshop(), settings, installation.clock)
    engine.broker.add_middleware(Lifecycle(engine, installation))
    return engine.broker


broker = _open()
dramatiq.set_broker(broker)
