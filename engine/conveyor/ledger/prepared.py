"""The few statements that run for every attempt, compiled once for each database.

SQLAlchemy's own path works out the parameters of each row anew, which takes as long as SQLite needs to carry
the row out. A :class:`Prepared` statement hands plain values straight to the driver. What SQLAlchemy would
have converted, the caller converts: enums to their value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

Values = Mapping[str, Any]


class Prepared:
    """A statement whose parameters are all named and of the driver's own types.

    Args:
        statement: Without expanding parameters (``IN``).
    """

    __slots__ = ("_statement", "_texts")

    def __init__(self, statement: sa.Select[Any] | sa.Insert | sa.Update) -> None:
        self._statement = statement
        self._texts: dict[str, str] = {}

    def text(self, dialect: sa.Dialect) -> str:
        """The statement as the driver takes it."""
        known = self._texts.get(dialect.name)
        if known is None:
            known = self._texts[dialect.name] = self._compile(dialect)
        return known

    def run(self, connection: sa.Connection, values: Values) -> sa.CursorResult[Any]:
        """Execute once."""
        return connection.exec_driver_sql(self.text(connection.dialect), values)

    def run_each(self, connection: sa.Connection, rows: Sequence[Values]) -> int:
        """Execute for each of ``rows``, at least one; returns how many database rows were changed."""
        return connection.exec_driver_sql(self.text(connection.dialect), rows).rowcount

    def _compile(self, dialect: sa.Dialect) -> str:
        inlined = visitors.cloned_traverse(self._statement, {}, {"bindparam": _inline})
        return str(inlined.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))


def _inline(parameter: sa.BindParameter[Any]) -> None:
    """Have a constant of the statement's own written into its text, and no value asked for the rest."""
    parameter.literal_execute, parameter.required = not parameter.required, False
