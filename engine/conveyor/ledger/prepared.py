"""The few statements that run for every attempt, compiled once for each database.

SQLAlchemy's own path works out the parameters of each row anew, which takes as long as SQLite needs to carry
the row out, and describes each answer, which costs as much again. A :class:`Prepared` statement goes
straight to the driver, within the transaction that SQLAlchemy has begun, and answers with plain tuples. What
SQLAlchemy would have converted, the caller converts: enums to their value. The driver's own errors leave it;
the transaction around it translates them.

PostgreSQL carries a statement out for all rows at once: they travel as an array for each parameter, which the
statement joins with, so that it is parsed and planned once and not for each row. Statements that do not wait
for each other's answers go together (:func:`ask_together`, :func:`run_together`), in one round trip: a lock
that the transaction holds is held for no longer than the server works, whatever else this process does
meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import visitors

Values = Mapping[str, Any]

_PARAMETER = re.compile(r"%\((\w+)\)s(?:::(\w+))?")
_TYPES = {bool: "boolean", int: "bigint", str: "text"}


class Prepared:
    """A statement whose parameters are all named and of the driver's own types.

    Args:
        statement: Without expanding parameters (``IN``).
    """

    __slots__ = ("_joined", "_statement", "_texts")

    def __init__(self, statement: sa.Select[Any] | sa.Insert | sa.Update) -> None:
        self._statement = statement
        self._texts: dict[str, str] = {}
        self._joined: str | None = None

    def text(self, dialect: sa.Dialect) -> str:
        """The statement as the driver takes it."""
        known = self._texts.get(dialect.name)
        if known is None:
            known = self._texts[dialect.name] = self._compile(dialect)
        return known

    def rows(self, connection: sa.Connection, values: Values) -> Sequence[Sequence[Any]]:
        """All rows of a question."""
        found: list[tuple[Any, ...]] = self._run(connection, values).fetchall()
        return found

    def row(self, connection: sa.Connection, values: Values) -> Sequence[Any] | None:
        """The first row of a question, or None."""
        found = self.rows(connection, values)
        return found[0] if found else None

    def _run(self, connection: sa.Connection, values: Values) -> Any:
        return _driver(connection).execute(*self.ready(connection.dialect, values))

    def ready(self, dialect: sa.Dialect, values: Values) -> tuple[str, Values]:
        """The statement and its values as the driver takes them."""
        text = self.text(dialect)
        if not any(isinstance(value, list) for value in values.values()):
            return text, values
        if dialect.name != "postgresql":
            return _spread(text, values)
        return text, {
            name: _array(value) if isinstance(value, list) else value for name, value in values.items()
        }

    def run_each(self, connection: sa.Connection, rows: Sequence[Values]) -> int:
        """Execute for each of ``rows``, at least one; returns how many database rows were changed.

        No two of them may concern the same database row.
        """
        (count,) = run_together(connection, [(self, rows)])
        return count

    def _run_each(self, connection: sa.Connection, rows: Sequence[Values]) -> Any:
        if len(rows) == 1:
            return self._run(connection, rows[0])
        if connection.dialect.name != "postgresql":
            return _driver(connection).executemany(self.text(connection.dialect), rows)
        if self._joined is None:
            self._joined = _joined(self.text(connection.dialect), rows[0])
        return _driver(connection).execute(self._joined, _columns(rows))

    def _compile(self, dialect: sa.Dialect) -> str:
        inlined = visitors.cloned_traverse(self._statement, {}, {"bindparam": _inline})
        return str(inlined.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))


def ask_together(
    connection: sa.Connection, asked: Sequence[tuple[Prepared, Values]]
) -> list[Sequence[Sequence[Any]]]:
    """All rows of each question; asked and answered in their order."""
    return [cursor.fetchall() for cursor in together(connection, asked)]


def run_together(connection: sa.Connection, told: Sequence[tuple[Prepared, Sequence[Values]]]) -> list[int]:
    """Execute each statement for each of its rows, at least one, as :meth:`Prepared.run_each`."""
    return [cursor.rowcount for cursor in together(connection, told)]


def together(
    connection: sa.Connection, steps: Sequence[tuple[Prepared, Values | Sequence[Values]]]
) -> list[Any]:
    """The driver's cursor of each step, in one round trip.

    Args:
        connection: Within a transaction.
        steps: A question with its values, or a statement with the values of each of its rows.
    """
    with _one_round_trip(connection, len(steps)):
        return [
            step._run(connection, values)
            if isinstance(values, Mapping)
            else step._run_each(connection, values)
            for step, values in steps
        ]


def _one_round_trip(connection: sa.Connection, statements: int) -> AbstractContextManager[Any]:
    """Nothing is awaited within it, where the database can have that."""
    if statements > 1 and connection.dialect.name == "postgresql" and _has_pipelines():
        pipeline: AbstractContextManager[Any] = _driver(connection).pipeline()
        return pipeline
    return nullcontext()


@cache
def _has_pipelines() -> bool:
    """Whether the installed libpq (14 or newer) has them."""
    import psycopg

    return psycopg.Pipeline.is_supported()


class among(sa.ColumnElement[bool]):  # noqa: N801 -- reads like a function of SQLAlchemy's
    """``column IN (…)`` in a :class:`Prepared` statement; the parameter's value is a list of texts.

    PostgreSQL gets it as one array, so that the statement is the same for any length; SQLite, which plans
    in no time, as a parameter for each.

    Args:
        column: Of text.
        name: The parameter's.
    """

    inherit_cache = False
    type: Any = sa.types.NullType()  # a boolean would be compared with 1, which no index serves

    def __init__(self, column: sa.ColumnElement[Any], name: str) -> None:
        self.column = column
        self.parameter: sa.BindParameter[str] = sa.bindparam(name, type_=sa.Text)
        self.parameter.required = False  # its value comes with each run


@compiles(among)
def _among(element: among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in (element.column, element.parameter))
    return f"{column} IN ({values})"


@compiles(among, "postgresql")
def _among_postgres(element: among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in (element.column, element.parameter))
    return f"{column} = ANY (CAST({values} AS text[]))"


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection


def _spread(text: str, values: Values) -> tuple[str, Values]:
    """Lists as one parameter for each of their values."""
    spread: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, list):
            spread[name] = value
            continue
        names = [f"{name}_{number}" for number in range(len(value))]
        spread.update(zip(names, value, strict=True))
        text = text.replace(f"(:{name})", f"({', '.join(f':{each}' for each in names) or 'NULL'})")
    return text, spread


def _joined(text: str, row: Values) -> str:
    """An INSERT or UPDATE of one row as one of all rows of the arrays that :func:`_columns` makes."""
    types: dict[str, str] = {}
    for name, told in _PARAMETER.findall(text):
        types[name] = told or types.get(name) or _TYPES[type(row[name])]
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in types.items())
    source = f" FROM unnest({arrays}) AS v ({', '.join(types)})"
    text = _PARAMETER.sub(r"v.\1", text)
    if text.startswith("UPDATE"):
        return text.replace(" WHERE ", f"{source} WHERE ", 1)
    head, _, values = text.partition(" VALUES (")
    return f"{head} SELECT {values.removesuffix(')')}{source}"


def _columns(rows: Sequence[Values]) -> dict[str, str]:
    """Each parameter's values in all rows, as PostgreSQL reads an array.

    As text, made here: the driver would ask for the type of each value, which takes longer than all the rest.
    """
    return {name: _array([row[name] for row in rows]) for name in rows[0]}


def _array(values: Sequence[object]) -> str:
    """https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO"""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def _inline(parameter: sa.BindParameter[Any]) -> None:
    """Have a constant of the statement's own written into its text, and no value asked for the rest."""
    parameter.literal_execute, parameter.required = not parameter.required, False
