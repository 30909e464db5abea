"""Orders of an operator, replay and cancel, for one delivery or for many, while workers run.

The ids are listed first; then batches of them are judged and changed under lock, each in a durable
transaction of its own, so that half a million deliveries never keep a worker waiting long. What an order does
not do, it counts, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

from conveyor.ledger.cancels import Cancel
from conveyor.ledger.database import Database
from conveyor.ledger.filters import chunks, conditions, matching_ids
from conveyor.ledger.records import Filter, OrderResult
from conveyor.ledger.replays import Replay
from conveyor.ledger.schema import deliveries, jobs, payloads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conveyor.clock import Clock

_D = deliveries.c
_JOINED = deliveries.join(jobs, jobs.c.id == _D.job_id).join(payloads, payloads.c.id == jobs.c.payload_id)
_IDS = _D.id.in_(sa.bindparam("ids", expanding=True))

LOCK_PAYLOADS = (
    sa.select(payloads.c.id)
    .select_from(_JOINED)
    .where(_IDS)
    .order_by(payloads.c.id)
    .with_for_update(of=payloads)
)
"""Before the deliveries: a payload's removal locks the same row before it looks for open deliveries."""

LOOK = (
    sa.select(
        _D.id,
        _D.job_id,
        _D.destination,
        _D.type,
        _D.status,
        _D.fence,
        _D.attempt,
        _D.state,
        payloads.c.state.label("payload_state"),
    )
    .select_from(_JOINED)
    .where(_IDS)
    .order_by(_D.id)
)


class _Order(Protocol):
    """One kind of order."""

    def refused(self, connection: sa.Connection, some: Sequence[Any]) -> dict[str, str]:
        """The reason for each of the rows of ``LOOK`` that the order is not for."""

    def carry_out(self, connection: sa.Connection, some: Sequence[Any]) -> list[str]:
        """Change the rows; returns the ids that the order brought about."""


class Orders:
    """Replays and cancels."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def replay(
        self,
        wanted: Filter,
        *,
        now: int,
        expires: Callable[[str], int],
        force: bool = False,
        new_id: bool = False,
        to: tuple[str, str] | None = None,
        dry_run: bool = False,
    ) -> OrderResult:
        """Deliver again: a new cycle with a fresh budget, due now.

        Failed, cancelled and pending deliveries are replayed, delivered ones only by ``force``; those being
        delivered are skipped, and those whose payload is gone.

        Args:
            wanted: Which deliveries.
            now: Microseconds.
            expires: When a delivery to a destination, replayed now, expires (microseconds since the epoch).
            force: Delivered ones too.
            new_id: Make a new delivery, linked to the old one, for receivers that drop ids they have seen. A
                pending old one is cancelled.
            to: Destination id and type to deliver to instead; always a new delivery, at most one per job. A
                pending old one is cancelled.
            dry_run: Change nothing, only tell.

        Returns:
            ``done`` names the deliveries that are due now (of a dry run: those that match); new ids where new
            ones were made.
        """
        order = Replay(self._clock, now, expires, force=force, new_id=new_id, to=to)
        return self._in_batches(wanted, order, dry_run=dry_run)

    def cancel(self, wanted: Filter, *, now: int) -> OrderResult:
        """End pending deliveries and those being delivered; their workers are fenced out.

        What they saved goes to the cleanups. Deliveries that are final already are skipped.
        """
        return self._in_batches(wanted, Cancel(now), dry_run=False)

    def _in_batches(self, wanted: Filter, order: _Order, *, dry_run: bool) -> OrderResult:
        with self._database.read() as connection:
            matching = matching_ids(connection, wanted)
        look = LOOK.where(*conditions(wanted))
        done: list[str] = []
        skipped: dict[str, str] = {}
        for some in chunks(matching):
            with self._database.read() if dry_run else self._database.write(durable=True) as connection:
                if not dry_run:
                    connection.execute(LOCK_PAYLOADS, {"ids": some})
                    look = look.with_for_update(of=deliveries)
                found = connection.execute(look, {"ids": some}).all()
                refused = order.refused(connection, found)
                chosen = [row for row in found if row.id not in refused]
                done += [row.id for row in chosen] if dry_run else order.carry_out(connection, chosen)
            seen = {row.id for row in found}
            skipped.update(refused)
            skipped.update({ident: "changed meanwhile" for ident in some if ident not in seen})
        return OrderResult(len(matching), tuple(done), skipped)
