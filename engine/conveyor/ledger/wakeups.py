"""What a dispatcher asks about deliveries for which it rings a broker, and a worker that was woken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from conveyor.ledger import rows
from conveyor.ledger.claims import EARLIEST, health_of, is_due
from conveyor.ledger.database import Database
from conveyor.ledger.filters import chunks
from conveyor.ledger.records import DueDestination, Status, Wanted
from conveyor.ledger.schema import deliveries, health
from conveyor.ledger.transitions import is_

_D = deliveries.c
_IDS = _D.id.in_(sa.bindparam("ids", expanding=True))
_STILL_DUE = sa.select(_D.id).where(_IDS, *is_due())
_OF_DESTINATION = (
    sa.select(_D.id)
    .where(*is_due(), _D.destination == sa.bindparam("destination"))
    .order_by(*EARLIEST)
    .limit(sa.bindparam("room"))
)
_RUNNING = (
    sa.select(_D.destination, sa.func.count())
    .where(is_(Status.DELIVERING), _D.destination.in_(sa.bindparam("names", expanding=True)))
    .group_by(_D.destination)
)
_WOKEN = (
    sa.select(_D.id, _D.destination, _D.next_attempt_at, *rows.HEALTH_COLUMNS)
    .select_from(deliveries.outerjoin(health, health.c.destination == _D.destination))
    .where(_IDS, *is_due())
)


class Wakeups:
    """Questions about due deliveries; nothing is taken here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def still_due(self, ids: Collection[str], now: int) -> set[str]:
        """Those of ``ids`` that are due and not claimed."""
        found: set[str] = set()
        with self._database.read() as connection:
            for some in chunks(list(ids)):
                found.update(connection.execute(_STILL_DUE, {"ids": some, "now": now}).scalars())
        return found

    def choose(
        self, wanted: Sequence[Wanted], rung: Mapping[str, str], now: int
    ) -> dict[str, tuple[list[str], bool]]:
        """Due deliveries to ring for.

        Args:
            wanted: How many of which destinations.
            rung: Destination by delivery id, of those that were rung for and are not claimed yet.
            now: Microseconds.

        Returns:
            For each destination the ids, earliest first, and whether there may be more that its cap or its
            ``limit`` leaves for later.
        """
        names = [want.destination for want in wanted]
        on_their_way = Counter(rung.values())
        answer: dict[str, tuple[list[str], bool]] = {}
        with self._database.read() as connection:
            running: dict[str, int] = {
                row[0]: row[1] for row in connection.execute(_RUNNING, {"names": names})
            }
            for want in wanted:
                name = want.destination
                waiting = on_their_way[name]
                cap = 1 if want.probe else want.cap
                room = min(want.limit, cap - running.get(name, 0) - waiting)
                if room <= 0:
                    answer[name] = [], True
                    continue
                values = {"destination": name, "now": now, "room": room + waiting + 1}
                found = list(connection.execute(_OF_DESTINATION, values).scalars())
                fresh = [ident for ident in found if ident not in rung]
                answer[name] = fresh[:room], len(fresh) > room
        return answer

    def woken(self, ids: Collection[str], now: int) -> dict[str, tuple[DueDestination, list[str]]]:
        """Due deliveries among ``ids``, by destination; stale wake-ups are missing."""
        answer: dict[str, tuple[DueDestination, list[str]]] = {}
        with self._database.read() as connection:
            found = connection.execute(_WOKEN, {"ids": list(ids), "now": now}).all()
        for row in found:
            ident, destination, at = row[:3]
            due = DueDestination(destination, at, health_of((destination, at, *row[3:]), now))
            answer.setdefault(destination, (due, []))[1].append(ident)
        return answer
