"""The state machine of a delivery, in one table. Every UPDATE that changes a status is made here.

::

    pending ──claim──► delivering ──deliver──► delivered
       ▲                   │ └──────fail─────► failed
       └─retry, give back, reap┘     cancel──► cancelled

A move is a conditional update: it names the statuses that it may leave, and the fence that it has seen, so
that a row which is elsewhere by now is left alone. Moves by the holder of a claim keep the fence; moves by
anybody else raise it, so that the holder's next write finds nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import sqlalchemy as sa

from conveyor.ledger.records import Status
from conveyor.ledger.schema import deliveries


@dataclass(frozen=True, slots=True)
class Rule:
    """One legal move: which statuses it may leave, where it leads, and whether it raises the fence."""

    leaves: frozenset[Status]
    to: Status
    raises_fence: bool


_PENDING = frozenset({Status.PENDING})
_DELIVERING = frozenset({Status.DELIVERING})
_FINAL = frozenset({Status.DELIVERED, Status.FAILED, Status.CANCELLED})


@enum.unique
class Move(enum.Enum):
    """Every way in which a delivery's status may change."""

    CLAIM = Rule(_PENDING, Status.DELIVERING, raises_fence=True)
    DELIVER = Rule(_DELIVERING, Status.DELIVERED, raises_fence=False)
    FAIL = Rule(_DELIVERING, Status.FAILED, raises_fence=False)
    RETRY = Rule(_DELIVERING, Status.PENDING, raises_fence=False)
    REAP = Rule(_DELIVERING, Status.PENDING, raises_fence=True)
    REAP_FAIL = Rule(_DELIVERING, Status.FAILED, raises_fence=True)
    EXPIRE = Rule(_PENDING, Status.FAILED, raises_fence=True)
    CANCEL = Rule(_PENDING | _DELIVERING, Status.CANCELLED, raises_fence=True)
    REPLAY = Rule(_FINAL | _PENDING, Status.PENDING, raises_fence=True)


def literal(status: Status) -> sa.ColumnElement[str]:
    """A status spelt out in the SQL, so that partial indexes match."""
    return sa.literal_column(f"'{status.value}'", sa.Text)


def is_(status: Status) -> sa.ColumnElement[bool]:
    """``status = '…'`` with the status spelt out."""
    return deliveries.c.status == literal(status)


def in_(statuses: frozenset[Status]) -> sa.ColumnElement[bool]:
    """``status IN (…)`` with the statuses spelt out."""
    return sa.or_(*(is_(status) for status in sorted(statuses)))


def may_expire() -> tuple[sa.ColumnElement[bool], ...]:
    """Pending, in the words of the index by ``expires_at``; it serves no other question."""
    return is_(Status.PENDING), deliveries.c.expires_at > sa.literal_column("0")


def stands_at(*statuses: Status) -> sa.ColumnElement[bool]:
    """As :func:`in_`, for rows that are found by their id alone.

    A server without statistics takes what is pending for a handful, and would read all of it; what is
    computed has no index.
    """
    status = deliveries.c.status.concat(sa.literal_column("''"))
    return sa.or_(*(status == literal(each) for each in sorted(statuses)))


def move(which: Move) -> sa.Update:
    """The UPDATE of one delivery by this move.

    Takes the parameters ``b_id``, ``b_fence`` (the fence the row must still have) and ``b_now``. It changes
    the row only from a status that the move may leave; callers add further columns by ``.values``.
    """
    rule = which.value
    statement = (
        sa.update(deliveries)
        .where(
            deliveries.c.id == sa.bindparam("b_id"),
            deliveries.c.fence == sa.bindparam("b_fence"),
            stands_at(*rule.leaves),
        )
        .values(status=literal(rule.to), updated_at=sa.bindparam("b_now"))
    )
    if rule.raises_fence:
        statement = statement.values(fence=deliveries.c.fence + 1)
    if rule.to is not Status.DELIVERING:
        statement = statement.values(worker=sa.null(), probe=sa.false())
    if rule.to is not Status.PENDING:
        statement = statement.values(next_attempt_at=sa.null())
    if rule.to in _FINAL:
        statement = statement.values(finished_at=sa.bindparam("b_now"))
    elif which is Move.REPLAY:
        statement = statement.values(finished_at=sa.null())
    return statement
