"""From a :class:`Filter` to SQL conditions on deliveries, and the queries built of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from conveyor.ledger.records import Filter, Status
from conveyor.ledger.schema import deliveries, jobs
from conveyor.ledger.transitions import in_, is_

_D = deliveries.c
CHUNK = 500
"""Ids per statement: far below every limit on parameters."""


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a long list of ids for IN conditions."""
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


class _OneOf(sa.ColumnElement[bool]):
    """``column IN (…)`` with one parameter for any number of texts: PostgreSQL takes 65,535 at most."""

    inherit_cache = False
    type = sa.Boolean()

    def __init__(self, column: sa.ColumnElement[Any], texts: Sequence[str]) -> None:
        self.column = column
        self.array = sa.bindparam(None, list(texts), type_=sa.ARRAY(sa.Text))
        self.document = sa.bindparam(None, json.dumps(list(texts)), type_=sa.Text)


@compiles(_OneOf, "sqlite")
def _in_document(element: _OneOf, compiler: Any, **options: Any) -> str:
    column, document = (compiler.process(each, **options) for each in (element.column, element.document))
    return f"{column} IN (SELECT value FROM json_each({document}))"  # noqa: S608 -- SQLAlchemy's own words


@compiles(_OneOf, "postgresql")
def _in_array(element: _OneOf, compiler: Any, **options: Any) -> str:
    column, array = (compiler.process(each, **options) for each in (element.column, element.array))
    return f"{column} = ANY ({array})"


def conditions(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    """All conditions of a filter; an empty list matches everything."""
    return [*_identity(wanted), *_status(wanted), *_rest(wanted)]


def _identity(wanted: Filter) -> Iterable[sa.ColumnElement[bool]]:
    if wanted.ids:
        # Two lookups by index rather than one OR, which neither planner takes well beside other conditions.
        by_job = sa.select(_D.id).where(_OneOf(_D.job_id, wanted.ids))
        by_id = sa.select(_D.id).where(_OneOf(_D.id, wanted.ids))
        yield _D.id.in_(by_id.union(by_job))
    if wanted.sessions:
        yield _D.job_id.in_(sa.select(jobs.c.id).where(jobs.c.session_id.in_(sorted(wanted.sessions))))
    if wanted.destinations:
        yield _D.destination.in_(sorted(wanted.destinations))
    if wanted.not_destinations:
        yield _D.destination.not_in(sorted(wanted.not_destinations))


def _status(wanted: Filter) -> Iterable[sa.ColumnElement[bool]]:
    alternatives: list[sa.ColumnElement[bool]] = []
    if wanted.statuses:
        alternatives.append(in_(wanted.statuses))
    if wanted.held is not None:
        by_hook = _D.hold_reason.is_not(None)
        alternatives.append(
            sa.and_(is_(Status.PENDING), sa.or_(_D.destination.in_(sorted(wanted.held)), by_hook))
        )
    if wanted.retrying:
        alternatives.append(sa.and_(is_(Status.PENDING), _D.failures > 0))
    if alternatives:
        yield sa.or_(*alternatives)
    if wanted.error_kinds:
        yield _D.last_error_kind.in_(sorted(kind.value for kind in wanted.error_kinds))


def _rest(wanted: Filter) -> Iterable[sa.ColumnElement[bool]]:
    if wanted.since is not None:
        yield _D.created_at >= wanted.since
    if wanted.until is not None:
        yield _D.created_at < wanted.until


def matching_ids(connection: sa.Connection, wanted: Filter) -> list[str]:
    """Ids of all deliveries that match now, oldest first."""
    statement = sa.select(_D.id).where(*conditions(wanted)).order_by(_D.created_at, _D.id)
    return list(connection.execute(statement).scalars())


def ordered(
    statement: sa.Select[Any], *, newest_first: bool, after: tuple[int, str] | None
) -> sa.Select[Any]:
    """Order by submission and id, and continue after a row of that order."""
    if after is not None:
        here = sa.tuple_(_D.created_at, _D.id)
        there = sa.tuple_(sa.literal(after[0], sa.BigInteger), sa.literal(after[1], sa.Text))
        statement = statement.where(here < there if newest_first else here > there)
    if newest_first:
        return statement.order_by(_D.created_at.desc(), _D.id.desc())
    return statement.order_by(_D.created_at, _D.id)
