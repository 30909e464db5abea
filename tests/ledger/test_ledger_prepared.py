"""Statements that go past SQLAlchemy's parameters do the same as through it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conveyor.ledger.prepared import Prepared, among
from conveyor.ledger.schema import health

_INSERT = Prepared(
    sa.insert(health).values(
        destination=sa.bindparam("name"),
        paused_at=sa.bindparam("at") + 1,
        pause_note="5 % of :name, 'quoted'",
    )
)
_READ = Prepared(
    sa.select(health.c.paused_at, health.c.pause_note).where(
        health.c.destination == sa.bindparam("name"), health.c.block_step == 0
    )
)


def test_values_and_constants_reach_the_database(kit: Any) -> None:
    database = kit.ledger.database
    with database.write() as connection:
        changed = _INSERT.run_each(connection, [{"name": "a", "at": 1}, {"name": "b", "at": 2**40}])
    assert changed == 2
    with database.read() as connection:
        assert _READ.row(connection, {"name": "b"}) == (2**40 + 1, "5 % of :name, 'quoted'")
    assert tuple(database.first(_READ, {"name": "a"})) == (2, "5 % of :name, 'quoted'")
    assert database.first(_READ, {"name": "nobody"}) is None


def test_a_question_sees_what_was_committed_before_it(kit: Any) -> None:
    database = kit.ledger.database
    for round_ in range(3):
        name = f"d{round_}"
        assert database.first(_READ, {"name": name}) is None
        with database.write() as connection:
            _INSERT.run_each(connection, [{"name": name, "at": round_}])
        assert database.first(_READ, {"name": name})[0] == round_ + 1


_NOTE = Prepared(
    sa.update(health)
    .where(health.c.destination == sa.bindparam("name"))
    .values(pause_note=sa.bindparam("note", type_=sa.Text), block_step=sa.bindparam("step"))
)
_NOTES = Prepared(
    sa.select(health.c.destination, health.c.pause_note, health.c.block_step).where(
        among(health.c.destination, "names")
    )
)
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(
    notes=st.dictionaries(
        _texts, st.none() | _texts | st.sampled_from(["NULL", "{}", '"', "\\", "a,b"]), min_size=2
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_from_rows_that_travelled_together(
    kit: Any, notes: dict[str, str | None]
) -> None:
    with kit.ledger.database.write() as connection:
        connection.execute(sa.delete(health))
        _INSERT.run_each(connection, [{"name": name, "at": 1} for name in notes])
        rows = [{"name": name, "note": note, "step": 7} for name, note in notes.items()]
        assert _NOTE.run_each(connection, rows) == len(notes)
        found = _NOTES.rows(connection, {"names": list(notes)})
    assert {row[0]: row[1] for row in found} == notes
    assert {row[2] for row in found} == {7}
