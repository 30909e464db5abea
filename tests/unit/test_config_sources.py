"""Destinations from the ledger's table, and several sources as one."""

from __future__ import annotations

import pytest

from conveyor.config import ChainSource, LedgerSource, Reloader
from conveyor.errors import LedgerUnavailable
from conveyor.keyring import Keyring
from conveyor.ledger import open_ledger
from conveyor.testing.clock import FakeClock


class Table:
    """Documents in memory, counting how often they are read."""

    def __init__(self) -> None:
        self.documents: dict[str, dict] = {}
        self.number = 0
        self.lists = 0
        self.asked = 0
        self.away = False

    def put(self, name: str, **document: object) -> None:
        self.documents[name] = document
        self.number += 1

    def revision(self) -> int:
        self.asked += 1
        if self.away:
            raise LedgerUnavailable("away")
        return self.number

    def list(self) -> dict[str, dict]:
        self.lists += 1
        return dict(self.documents)


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def config(read):
    return read(
        "defaults: {expire_after: 1h}\ndestinations: {y: {type: box, access_key: k}}", env={"HOME": "/root"}
    )


@pytest.fixture
def source(config, table, clock):
    return LedgerSource(table, config.source, monotonic=clock.monotonic)


def test_documents_become_destinations_by_the_same_models(source, table):
    table.put("c", type="box", accessKey="k", port=8, labels={"n": 5}, limits={"concurrency": 2})
    found = source.get("c")
    assert found.problem is None
    assert found.options.access_key.get_secret_value() == "k"
    assert (found.options.port, found.labels, found.limits.concurrency) == (8, {"n": "5"}, 2)
    assert found.expire_after == 3600, "the defaults of the YAML apply"
    assert source.get("other") is None
    assert source.list() == (found,)


def test_documents_are_taken_literally(source, table, tmp_path):
    (tmp_path / "f").write_text("content")
    table.put("c", type="box", access_key="${HOME} $$ !file f", extends="p")
    table.put("d", type="box", access_key="${HOME} $$ !file f")
    assert source.get("d").options.access_key.get_secret_value() == "${HOME} $$ !file f"
    assert "presets belong to the config file" in source.get("c").problem.message


def test_a_wrong_document_is_quarantined_alone(source, table):
    table.put("bad", type="box", acces_key="k")
    table.put("good", type="box", access_key="k")
    assert source.get("good").problem is None
    problem = source.get("bad").problem
    assert problem.destination == "bad"
    assert problem.field == "destinations.bad.acces_key"
    assert (problem.file, problem.line) == (None, None)


def test_a_document_can_be_checked_before_it_is_stored(source):
    assert source.validate("c", {"type": "box", "access_key": "k"}) == ()
    wrong = source.validate("c", {"type": "box", "access_key": "k", "accessKey": "k", "port": "x"})
    assert sorted(problem.message for problem in wrong) == [
        "accessKey and access_key are the same option",
        "expected a whole number",
    ]


def test_changes_are_seen_within_a_second_and_unchanged_ones_are_kept(source, table, clock):
    table.put("a", type="box", access_key="1")
    table.put("b", type="box", access_key="1")
    first, kept, revision = source.get("a"), source.get("b"), source.revision()
    table.put("a", type="box", access_key="2")
    assert source.get("a") is first, "asked a moment ago"
    clock.advance(1)
    assert source.get("a").options.access_key.get_secret_value() == "2"
    assert source.get("b") is kept
    assert source.revision() != revision


def test_the_table_is_not_read_for_every_question(source, table, clock):
    table.put("a", type="box", access_key="1")
    for _ in range(100):
        source.get("a")
    assert (table.asked, table.lists) == (1, 1)
    clock.advance(5)
    source.get("a")
    assert (table.asked, table.lists) == (2, 1)


def test_refresh_asks_again_at_once(source, table):
    assert source.get("a") is None
    table.put("a", type="box", access_key="1")
    source.refresh()
    assert source.get("a") is not None


def test_while_the_ledger_is_away_the_last_state_serves(source, table, clock):
    table.put("a", type="box", access_key="1")
    first = source.get("a")
    table.away = True
    clock.advance(60)
    assert source.get("a") is first
    table.away = False
    table.put("a", type="box", access_key="2")
    clock.advance(60)
    assert source.get("a") is not first


def test_a_ledger_that_was_never_there_is_an_error(source, table):
    table.away = True
    with pytest.raises(LedgerUnavailable):
        source.list()


def test_a_reload_of_the_yaml_reaches_the_tables_destinations(config, source, table, write):
    table.put("a", type="box", access_key="1")
    before = source.get("a")
    write("defaults: {expire_after: 2h}\ndestinations: {}")
    reloader = Reloader(config, env={})
    reloader.request()
    assert reloader.poll().accepted
    assert source.get("a").expire_after == 7200
    assert source.get("a").revision != before.revision


def test_a_chain_asks_one_after_the_other_and_the_first_wins(config, source, table):
    table.put("y", type="box", access_key="from-table")
    table.put("z", type="box", access_key="from-table")
    chain = ChainSource(config.source, source)
    assert chain.get("y").options.access_key.get_secret_value() == "k"
    assert chain.get("z").options.access_key.get_secret_value() == "from-table"
    assert chain.get("x") is None
    assert [destination.id for destination in chain.list()] == ["y", "z"]
    revision = chain.revision()
    table.put("z", type="box", access_key="new")
    source.refresh()
    assert chain.revision() != revision


def test_the_real_table_of_a_ledger(config, tmp_path, clock):
    keyring = Keyring.load(None, file=tmp_path / "key", create=True)
    ledger = open_ledger(f"sqlite:///{tmp_path}/x.db", clock=clock, keyring=keyring)
    try:
        source = LedgerSource(ledger.destinations, config.source, monotonic=clock.monotonic)
        assert source.list() == ()
        ledger.destinations.put("c", {"type": "box", "access_key": "k", "port": 8}, clock.now())
        assert source.get("c") is None
        clock.advance(1)
        assert source.get("c").options.port == 8
        assert source.get("c").problem is None
        ledger.destinations.delete("c")
        source.refresh()
        assert source.get("c") is None
    finally:
        ledger.close()
