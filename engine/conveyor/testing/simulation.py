"""The engine's real parts without threads, on a clock that a test moves: hours pass in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conveyor.clock import SECOND, micros
from conveyor.contract import ConflictPolicy
from conveyor.delivery.parts import Parts, WorkerSettings, Workshop
from conveyor.ids import new as new_id
from conveyor.keyring import Keyring
from conveyor.ledger import open_ledger
from conveyor.ledger.records import AttemptRecord, DeliveryRecord, JobRecord, NewDelivery, Submission
from conveyor.network import Network
from conveyor.paths import DEFAULT_TEMPLATE, Template
from conveyor.payloads import LocalStore
from conveyor.registry import Registry
from conveyor.retry import RetryPolicy
from conveyor.testing.clock import FakeClock
from conveyor.testing.memory import MEMORY_SPEC
from conveyor.testing.scripted import SCRIPTED_SPEC

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.contract import ConnectorSpec


KEEP_EVERY = 25.0
"""Simulated seconds between beats and housekeeping in a long run."""


def destination(id: str = "here", **changes: Any) -> Destination:  # noqa: A002 -- the word of the YAML
    """A destination of the type ``scripted`` without jitter; ``changes`` replace its fields."""
    from conveyor.config.model import Destination, Limits
    from conveyor.testing.scripted import ScriptedOptions

    spec: ConnectorSpec = changes.pop("spec", SCRIPTED_SPEC)
    fields: dict[str, Any] = {
        "id": id,
        "name": id,
        "type": spec.type,
        "spec": spec,
        "options": ScriptedOptions(script=id) if spec is SCRIPTED_SPEC else None,
        "labels": {},
        "is_active": True,
        "retry": RetryPolicy(jitter=0.0),
        "conflict": ConflictPolicy.RENAME,
        "template": Template.parse(DEFAULT_TEMPLATE),
        "limits": Limits(),
        "expire_after": 7 * 86400.0,
        "max_retry_after": 3600.0,
        "network": Network(allow_private=("127.0.0.0/8",)),
        "revision": "1",
    }
    fields.update(changes)
    return Destination(**fields)


class Destinations:
    """A :class:`conveyor.config.DestinationSource` that a test fills."""

    def __init__(self, *known: Destination) -> None:
        self._known = {d.id: d for d in known}

    def put(self, *changed: Destination) -> None:
        """Add or replace."""
        self._known.update({d.id: d for d in changed})

    def remove(self, name: str) -> None:
        """Take one out of the configuration."""
        del self._known[name]

    def revision(self) -> str:
        """All revisions together."""
        return ",".join(f"{d.id}={d.revision}" for d in self.list())

    def get(self, id: str) -> Destination | None:  # noqa: A002
        """By id."""
        return self._known.get(id)

    def list(self) -> Sequence[Destination]:
        """All."""
        return tuple(self._known.values())


class Simulation:
    """One ledger, one payload store, any number of engine processes that share them.

    Args:
        folder: For ledger and payloads.
        destinations: What is configured; :func:`destination` makes them.
        ledger: The ledger's URL; by default a SQLite file in ``folder``.
    """

    def __init__(self, folder: Path, *destinations: Destination, ledger: str | None = None) -> None:
        self.clock = FakeClock()
        self.source = Destinations(*(destinations or (destination(),)))
        self.keyring = Keyring.load(None, file=folder / "key", create=True)
        self.ledger = open_ledger(
            ledger or f"sqlite:///{folder / 'ledger.db'}", clock=self.clock, keyring=self.keyring
        )
        self.payloads = LocalStore(folder / "payloads", clock=self.clock)
        self.registry = Registry(specs=[SCRIPTED_SPEC, MEMORY_SPEC])
        self.parts = self.process()

    def process(self, *, threads: int = 4, lease: float = 60.0) -> Parts:
        """Another engine process, registered in the ledger."""
        shop = Workshop(self.ledger, self.source, self.payloads, self.registry, self.keyring)
        parts = Parts(shop, WorkerSettings(threads=threads, lease=lease), self.clock)
        parts.heartbeat.register()
        return parts

    def submit(
        self, data: bytes = b"photo", *, to: Sequence[str] = ("here",), **job: Any
    ) -> Mapping[str, str]:
        """Store a job; returns delivery ids by destination."""
        import io

        now = self.clock.now()
        payload = self.payloads.put(io.BytesIO(data), digests=frozenset({"sha256", "md5"}))
        record = JobRecord(
            id=new_id("job", self.clock),
            created_at=now,
            filename=job.pop("filename", "photo.jpg"),
            media_type="image/jpeg",
            payload=payload,
            **job,
        )
        deliveries = tuple(
            NewDelivery(new_id("dlv", self.clock), name, "scripted", now + micros(self._expiry(name)), now)
            for name in to
        )
        (submitted,) = self.ledger.submissions.submit([Submission(record, deliveries)])
        self.parts.dispatcher.ring()
        return submitted.deliveries

    def step(self, parts: Parts | None = None) -> int:
        """One round of a process: beat, keep house, claim, attempt, record; returns the attempts made."""
        parts = parts or self.parts
        parts.heartbeat.beat()
        parts.keeper.step()
        made = self.serve(parts)
        while parts.cleaner.step():
            pass
        return made

    def serve(self, parts: Parts) -> int:
        """Claim, attempt and record what is due; returns the attempts made."""
        made = 0
        while parts.may_claim() and (claims := parts.dispatcher.claim(parts.settings.threads)):
            for claim in claims:
                parts.inbox.add(claim)
            for claim in claims:
                parts.work(claim.delivery_id)
                made += 1
            parts.completions.flush()
        parts.completions.flush()
        return made

    def advance(self, seconds: float, *, every: float = 10.0) -> None:
        """Let time pass, the process's beats included, without delivering."""
        while seconds > 0:
            part = min(every, seconds)
            self.clock.advance(part)
            self.parts.heartbeat.beat()
            seconds -= part

    def run(self, seconds: float, *, every: float = 1.0) -> list[float]:
        """Let time pass in steps, delivering; returns the seconds from now at which attempts were made.

        Steps in which nothing is due and nothing kept are jumped over.
        """
        begun = self.clock.monotonic()
        times = []
        kept = float("-inf")
        while (past := self.clock.monotonic() - begun) < seconds:
            keep = past - kept >= KEEP_EVERY or seconds - past <= KEEP_EVERY
            kept = past if keep else kept
            times += [past] * (self.step() if keep else self.serve(self.parts))
            wake = self.parts.dispatcher.next_wake
            idle = KEEP_EVERY if wake is None else (wake - self.clock.now()) / SECOND
            steps = max(1, math.ceil(min(idle, KEEP_EVERY, seconds - past) / every))
            self.clock.advance(steps * every)
        return times

    def delivery(self, delivery_id: str) -> DeliveryRecord:
        """A delivery as the ledger has it."""
        found = self.ledger.deliveries.get(delivery_id)
        assert found is not None
        return found

    def attempts(self, delivery_id: str) -> list[AttemptRecord]:
        """Its attempts, oldest first."""
        return list(self.ledger.deliveries.attempts(delivery_id))

    def close(self) -> None:
        """Close ledger and connectors."""
        self.parts.pool.close()
        self.ledger.close()

    def _expiry(self, name: str) -> float:
        known = self.source.get(name)
        return 7 * 86400.0 if known is None else known.expire_after
