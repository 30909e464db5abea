"""What a dispatcher asks about deliveries for which it rings a broker, and a worker that was woken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from conveyor.ledger import flow, ranks, rows
from conveyor.ledger.claims import EARLIEST, RUNNING, health_of, is_due, these_due
from conveyor.ledger.database import Database
from conveyor.ledger.prepared import Prepared
from conveyor.ledger.records import DueDestination, Wanted
from conveyor.ledger.schema import deliveries, health

_D = deliveries.c
_STILL_DUE = Prepared(sa.select(_D.id).where(*these_due()))
_OF_DESTINATION = Prepared(
    sa.select(_D.id)
    .where(*is_due(), _D.destination == sa.bindparam("destination"))
    .order_by(*EARLIEST)
    .limit(sa.bindparam("room"))
    .offset(0)
)
_WOKEN = Prepared(
    sa.select(_D.id, _D.destination, _D.next_attempt_at, *rows.HEALTH_COLUMNS)
    .select_from(deliveries.outerjoin(health, health.c.destination == _D.destination))
    .where(*these_due())
)


class Wakeups:
    """Questions about due deliveries; nothing is taken here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def still_due(self, ids: Collection[str], now: int) -> set[str]:
        """Those of ``ids`` that are due and not claimed."""
        return {row[0] for row in self._database.ask(_STILL_DUE, {"ids": list(ids), "now": now})}

    def choose(
        self,
        wanted: Sequence[Wanted],
        rung: Mapping[str, str],
        now: int,
        *,
        paced: flow.Paced = lambda *_: None,
    ) -> dict[str, tuple[list[str], bool]]:
        """Due deliveries to ring for.

        Args:
            wanted: How many of which destinations.
            rung: Destination by delivery id, of those that were rung for and are not claimed yet.
            now: Microseconds.
            paced: Told which destinations have to wait for their rate, and until when.

        Returns:
            For each destination the ids, in their order, and whether there may be more that its cap or its
            ``limit`` leaves for later.
        """
        names = [want.destination for want in wanted]
        on_their_way = Counter(rung.values())
        answer: dict[str, tuple[list[str], bool]] = {}
        meters, running = self._look(wanted, names, now, paced)
        for want in wanted:
            name = want.destination
            waiting = on_their_way[name]
            cap = 1 if want.probe else want.cap
            room = min(want.limit, cap - running.get(name, 0) - waiting)
            if meters is not None:
                room = min(room, meters.room(want, already=waiting))
            if room <= 0:
                answer[name] = [], True
                continue
            fresh = [ident for ident in self._first(want, now, room + waiting + 1) if ident not in rung]
            if meters is not None:
                for _ in fresh[:room]:
                    meters.take(want, 0)  # not stored: whoever comes for them is charged
            answer[name] = fresh[:room], len(fresh) > room
        return answer

    def _look(
        self, wanted: Sequence[Wanted], names: list[str], now: int, paced: flow.Paced
    ) -> tuple[flow.Meters | None, dict[str, int]]:
        flows = flow.flows_of(wanted)
        ids = sorted({*names, *flow.members_of(list(flows.values()))})
        running = {row[0]: row[1] for row in self._database.ask(RUNNING, {"ids": ids})}
        if not flows:
            return None, running
        stored = self._database.ask(flow.LOOK, {"names": sorted(flows)})
        return flow.Meters(flows, stored, running, now, paced), running

    def _first(self, want: Wanted, now: int, room: int) -> Sequence[str]:
        if want.ranked:
            return ranks.first(self._database.ask, want.destination, now, room)
        values = {"destination": want.destination, "now": now, "room": room}
        return [row[0] for row in self._database.ask(_OF_DESTINATION, values)]

    def woken(self, ids: Collection[str], now: int) -> dict[str, tuple[DueDestination, list[str]]]:
        """Due deliveries among ``ids``, by destination; stale wake-ups are missing."""
        answer: dict[str, tuple[DueDestination, list[str]]] = {}
        for row in self._database.ask(_WOKEN, {"ids": list(ids), "now": now}):
            ident, destination, at = row[:3]
            due = DueDestination(destination, at, health_of((destination, at, *row[3:]), now))
            answer.setdefault(destination, (due, []))[1].append(ident)
        return answer
