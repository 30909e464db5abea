"""Everything that one config opens: ledger, payload store, destinations. Command line and API share it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, cast

from conveyor.clock import Clock, SystemClock
from conveyor.errors import ConfigError, Problem, UsageError
from conveyor.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conveyor.config import Change, Config, Destination, DestinationSource, Reloader
    from conveyor.config.broker import BrokerUrl
    from conveyor.config.settings import Settings
    from conveyor.delivery.parts import WorkerSettings, Workshop
    from conveyor.keyring import Keyring
    from conveyor.ledger.bulk import Matching
    from conveyor.ledger.facade import Ledger
    from conveyor.ledger.records import Filter, OrderResult
    from conveyor.log import EngineLog
    from conveyor.network import Network
    from conveyor.payloads import PayloadStore
    from conveyor.status.reasons import Standing
    from conveyor.status.selection import Selection
    from conveyor.status.views import Viewer
    from conveyor.submission import Submitter

DEFAULT_CONFIG = "conveyor.yaml"
CONFIG_VARIABLE = "CONVEYOR_CONFIG"

SPARE_CONNECTIONS = 8
"""To a ledger on a server, beside one for each thread: heartbeat, outcomes, housekeeping, dispatcher."""


def config_path(given: str | Path | None = None) -> Path:
    """The config file: the one given, ``$CONVEYOR_CONFIG``, or ``conveyor.yaml`` in the working folder.

    Raises:
        ConfigError: There is no such file.
    """
    path = Path(given or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
    if not path.is_file():
        cure = "conveyor init writes one; --config FILE or $CONVEYOR_CONFIG names another"
        raise ConfigError([Problem("there is no such config file", file=str(path), cure=cure)])
    return path


def payload_store(settings: Settings, clock: Clock, keyring: Keyring | None = None) -> PayloadStore:
    """The payload store that a config names; without keys it cannot read what is encrypted in it.

    Raises:
        PayloadError: The library for buckets is missing, or an option means nothing.
    """
    from conveyor.payloads import PayloadKeys, open_store

    return open_store(
        settings.payloads,
        {name: value.get_secret_value() for name, value in settings.payload_options.items()},
        clock=clock,
        ca_bundle=settings.network.ca_bundle,
        proxy=settings.network.proxy,
        keys=PayloadKeys(keyring, encrypts=settings.payload_encryption),
    )


class Installation:
    """An open config.

    Args:
        config: As read by :func:`conveyor.config.load`.
        clock: Time.
        threads: Deliveries at a time in this process, where it is not what the config says.

    Raises:
        LedgerError: The ledger cannot be opened.
    """

    def __init__(self, config: Config, clock: Clock | None = None, *, threads: int | None = None) -> None:
        from conveyor.ledger import open_ledger

        self.config = config
        settings = config.settings
        self.threads = threads or settings.workers.threads
        self.keyring = _keyring(settings)
        self.ledger: Ledger = open_ledger(
            settings.ledger,
            clock=clock or SystemClock(),
            keyring=self.keyring,
            connections=self.threads + SPARE_CONNECTIONS,
            direct=settings.ledger_direct,
        )
        self.clock = self.ledger.clock
        self.payloads = payload_store(settings, self.clock, self.keyring)
        self.source: DestinationSource = _sources(config, self.ledger)
        self._reloader: Reloader | None = None

    @classmethod
    def open(
        cls, path: str | Path | None = None, *, clock: Clock | None = None, threads: int | None = None
    ) -> Installation:
        """Read a config and open what it names.

        Raises:
            ConfigError: The config has mistakes.
            LedgerError: The ledger cannot be opened.
        """
        from conveyor.config import load

        return cls(load(config_path(path)), clock, threads=threads)

    @property
    def network(self) -> Network:
        """The global network policy, which submitted URLs are read under."""
        from conveyor.network import Network

        settings = self.config.settings.network
        return Network(
            allow_private=settings.allow_private, ca_bundle=settings.ca_bundle, proxy=settings.proxy
        )

    def submitter(self) -> Submitter:
        """Takes submissions."""
        from conveyor.submission import Submitter

        self._expect_sealed_payloads()
        return Submitter(
            self.ledger,
            self.payloads,
            self.source,
            self.clock,
            self.network,
            default_destinations=self.config.settings.default_destinations,
        )

    def workshop(self) -> Workshop:
        """What an engine works with."""
        from conveyor.delivery.keeper import Retention
        from conveyor.delivery.parts import Workshop

        self._expect_sealed_payloads()
        retention = self.config.settings.retention
        return Workshop(
            ledger=self.ledger,
            source=self.source,
            payloads=self.payloads,
            registry=self.config.registry,
            keyring=self.keyring,
            time_zone=self.config.settings.zone,
            retention=Retention(
                retention.payloads.delivered,
                retention.payloads.failed,
                retention.attempts.delivered,
                retention.attempts.failed,
                retention.jobs.delivered,
                retention.jobs.failed,
            ),
        )

    def _expect_sealed_payloads(self) -> None:
        """Before the first one is stored, since older programs would take it for damaged."""
        if self.config.settings.payload_encryption:
            self.ledger.expect_sealed_payloads()

    def worker_settings(self) -> WorkerSettings:
        """Sizes and times of one process."""
        from conveyor.delivery.parts import WorkerSettings

        workers = self.config.settings.workers
        return WorkerSettings(
            threads=self.threads, lease=workers.lease, grace=workers.grace, broker=self.broker
        )

    @property
    def broker(self) -> BrokerUrl | None:
        """What wakes the workers; None when it is the ledger itself."""
        return self.config.settings.broker_url

    def reload(self, *, asked: bool = False) -> Change | None:
        """Take over a changed config; None when there is nothing new.

        Args:
            asked: Read it again in any case (SIGHUP).
        """
        from conveyor.config import Reloader

        if self._reloader is None:
            self._reloader = Reloader(self.config)
        if asked:
            self._reloader.request()
        change = self._reloader.poll()
        if change is not None and change.accepted:
            self.config = change.config
        return change

    # --- asking and ordering, for API and command line alike ---------------------------------------

    def standing(self) -> Standing:
        """Status and reason of deliveries, as of now."""
        from conveyor.status.reasons import Standing

        return Standing(self.source, self.ledger.health.get(None))

    def viewer(self, standing: Standing | None = None) -> Viewer:
        """Makes views, as of now."""
        from conveyor.status.views import Viewer

        retention = self.config.settings.retention.payloads
        return Viewer(self.source, standing or self.standing(), retention)

    def filter(self, selection: Selection) -> Filter:
        """A selection as the ledger's filter.

        Raises:
            UsageError: A word of it means nothing.
        """
        now = self.clock.now()
        waiting = [due.destination for due in self.ledger.claims.due(now)]
        return selection.filter(self.source, self.standing(), waiting, now)

    def replay(
        self,
        selection: Selection,
        *,
        everything: bool = False,
        force: bool = False,
        new_id: bool = False,
        to: str | None = None,
        dry_run: bool = False,
    ) -> OrderResult:
        """Deliver again what is selected; see :meth:`conveyor.Conveyor.replay`.

        Raises:
            UsageError: Nothing restricts the selection and ``everything`` is not set; ``to`` is unknown.
        """
        self.refuse_all(selection, everything)
        from conveyor.delivery.feeder import expiries

        now = self.clock.now()
        return self.ledger.orders.replay(
            self.filter(selection),
            now=now,
            expires=expiries(self.source, now),
            force=force,
            new_id=new_id,
            to=None if to is None else (to, self.known(to).type),
            dry_run=dry_run,
        )

    def replay_in_bulk(
        self,
        selection: Selection,
        *,
        everything: bool = False,
        force: bool = False,
        new_id: bool = False,
        to: str | None = None,
        rate: float | None = None,
        matching: Sequence[Matching] | None = None,
    ) -> str:
        """Begin a replay in bulk; see :meth:`conveyor.Conveyor.bulk_replay`. Returns its id.

        Args:
            matching: How many there are, where they were just counted: that may take long.

        Raises:
            UsageError: As of :meth:`replay`.
        """
        self.refuse_all(selection, everything)
        return self.ledger.bulk.begin(
            self.filter(selection),
            self.clock.now(),
            matching=matching,
            force=force,
            new_id=new_id,
            to=None if to is None else (to, self.known(to).type),
            rate=rate,
        )

    def refuse_all(self, selection: Selection, everything: bool) -> None:
        """Refuse a replay that nothing restricts, unless ``everything`` says so. Raises UsageError."""
        if selection.matches_all and not everything:
            cure = "name ids or filters, or say --all (everything=True) if you mean every delivery"
            raise UsageError("this would replay every delivery there is", cure=cure)

    def cancel(self, selection: Selection) -> OrderResult:
        """Cancel what is selected."""
        result = self.ledger.orders.cancel(self.filter(selection), now=self.clock.now())
        self._told_final(result.done)
        return result

    def _told_final(self, ids: Sequence[str]) -> None:
        """Tell this process's plugins of deliveries that an order has ended."""
        from conveyor import log
        from conveyor.delivery.observers import FINAL, Observers

        logger = cast("EngineLog", log.get())
        observers = Observers(self.config.registry.plugins, self.ledger, clock=self.clock, log=logger)
        if observers.wants(FINAL):
            for ident in ids:
                observers.tell_final(ident)
            observers.write_failures()

    def forget(self, jobs: Sequence[str]) -> int:
        """Erase jobs, and remove their bytes; of how many the bytes are still there.

        Those are removed by an engine as soon as the payload store can be written.
        """
        from conveyor.delivery.keeper import unlink

        removing = self.ledger.forgetting.forget(jobs, self.clock.now())
        return len(removing) - unlink(removing, self.payloads, self.ledger)

    def known(self, name: str) -> Destination:
        """A configured destination.

        Raises:
            UsageError: There is none of this name; the nearest one is named.
        """
        found = self.source.get(name)
        if found is None:
            names = [destination.id for destination in self.source.list()]
            cure = did_you_mean(name, names, label="destinations")
            raise UsageError(f"there is no destination {name!r}", cure=cure)
        return found

    def close(self) -> None:
        """Close the ledger. Idempotent."""
        self.ledger.close()


def _keyring(settings: Settings) -> Keyring:
    """The keys; a SQLite ledger gets one with its first use, but never in the place of one that was lost."""
    from conveyor.keyring import Keyring

    key, ledger = settings.key, settings.ledger_file
    new = ledger is not None and key.given is None and not key.file.exists()
    if new and ledger is not None and ledger.exists():
        from conveyor.ledger.sealed import Sealed
        from conveyor.ledger.sqlite import SqliteDatabase

        with closing(SqliteDatabase(ledger)) as database:
            new = not Sealed(database, None).any()
    return Keyring.load(key.given, file=key.file, create=new)


def _sources(config: Config, ledger: Ledger) -> DestinationSource:
    from conveyor.config import ChainSource, LedgerSource
    from conveyor.config.retyped import Retyped

    managed = LedgerSource(ledger.destinations, config.source)
    others = [LedgerSource(each, config.source) for each in config.registry.announced.documents()]
    return Retyped(ChainSource(config.source, managed, *others), ledger.health.known_types)
