"""Which of a destination's due deliveries go first where some have a priority.

Each step of priority counts like ``AGEING`` of waiting: a delivery goes before those of a lower priority that
fell due less than so much earlier. So the higher one comes first, and nothing waits for ever: what has waited
for an hour goes before anything that has just come with a priority up to five steps higher.

Deliveries without a priority are not in the index that is read here: where nobody uses priorities they cost
nothing, neither a claim nor a submission.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from conveyor.clock import SECOND
from conveyor.ledger.prepared import Prepared, Values
from conveyor.ledger.records import Status
from conveyor.ledger.schema import deliveries
from conveyor.ledger.transitions import is_

REPLAYED = -1
"""Priority of what a replay in bulk turns; those of submissions are from 0 to 9."""

AGEING = 600 * SECOND
"""What a step of priority counts like, in microseconds of waiting."""

Ask = Callable[[Prepared, Values], Sequence[Sequence[Any]]]

_D = deliveries.c
_RANKED = (is_(Status.PENDING), _D.priority != sa.literal_column("0"))
_OF_IT = _D.destination == sa.bindparam("destination")
_DUE = _D.next_attempt_at <= sa.bindparam("now")
_FOUND = sa.select(_D.id, _D.priority, _D.next_attempt_at)


def lowest(destination: sa.ColumnElement[str]) -> sa.ScalarSelect[Any]:
    """The lowest priority of the pending deliveries of ``destination`` that have one; None when none has.

    Asked for the lowest, since for whether there is any SQLite would read all that waits.
    """
    return (
        sa.select(sa.func.min(_D.priority)).where(*_RANKED, _D.destination == destination).scalar_subquery()
    )


def _levels() -> Prepared:
    """The priorities there are, by jumping through the index."""
    lowest = sa.select(sa.func.min(_D.priority).label("level")).where(*_RANKED, _OF_IT)
    walk = lowest.cte("walk", recursive=True)
    following = sa.select(sa.func.min(_D.priority)).where(*_RANKED, _OF_IT, _D.priority > walk.c.level)
    walk = walk.union_all(sa.select(following.scalar_subquery()).where(walk.c.level.is_not(None)))
    return Prepared(sa.select(walk.c.level).where(walk.c.level.is_not(None)))


def _earliest(*conditions: sa.ColumnElement[bool]) -> Prepared:
    found = _FOUND.where(*conditions, _OF_IT, _DUE).order_by(_D.next_attempt_at)
    return Prepared(found.limit(sa.bindparam("room")).offset(0))


_LEVELS = _levels()
_OF_LEVEL = _earliest(*_RANKED, _D.priority == sa.bindparam("level"))
_OTHERS = _earliest(is_(Status.PENDING), _D.priority >= sa.literal_column("0"))
"""Beside those of each level it is enough to look at as many by due time alone: what is due earlier and has a
higher priority goes first anyway. Only replays are below 0, and never many of them at a time."""


def first(ask: Ask, destination: str, now: int, room: int) -> list[str]:
    """Ids of at most ``room`` due deliveries of a destination, in the order in which they are to be taken.

    Args:
        ask: Carries a question out.
        destination: Its id.
        now: Microseconds.
        room: How many.
    """
    values = {"destination": destination, "now": now, "room": room}
    found = {row[0]: (row[2] - row[1] * AGEING, row[0]) for row in ask(_OTHERS, values)}
    for (level,) in ask(_LEVELS, {"destination": destination}):
        of_level = ask(_OF_LEVEL, {**values, "level": level})
        found.update({row[0]: (row[2] - row[1] * AGEING, row[0]) for row in of_level})
    return sorted(found, key=found.__getitem__)[:room]
