"""``conveyor plugins`` tells what workers have counted, and orders tell plugins what they end."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.commandline import CommandLine
from cli.operator_line import OperatorLine
from e2e.kit import until

from conveyor.ledger.plugin_failures import PluginFailure

TELLER = """
from pathlib import Path
from conveyor.hookspecs import hookimpl

@hookimpl
def conveyor_delivery_final(event):
    Path(__file__).with_suffix(".told").write_text(f"{event.delivery_id} {event.status}")
    raise RuntimeError("a secret")
"""


@pytest.fixture
def teller(operator: OperatorLine) -> Iterator[OperatorLine]:
    config = operator.folder / "conveyor.yaml"
    (operator.folder / "teller.py").write_text(TELLER)
    config.write_text(config.read_text() + "plugins: [./teller.py]\n")
    yield operator
    sys.modules.pop("teller", None)


def test_failures_of_workers_are_listed_with_their_plugin(teller: OperatorLine) -> None:
    at = teller.simulation.clock.now()
    failures = teller.simulation.ledger.plugin_failures
    failures.add([PluginFailure("teller", "conveyor_delivery_final", 3, at, "RuntimeError")])
    ended = teller("plugins")
    assert "teller: conveyor_delivery_final has failed 3 times, last at" in ended.err
    assert ended.code == 0, "what is loaded and fails is not broken"
    (listed,) = [each for each in teller.json("plugins") if each["name"] == "teller"]
    assert [(f["hook"], f["count"]) for f in listed["failures"]] == [("conveyor_delivery_final", 3)]


def test_a_cancel_tells_plugins_and_survives_what_they_do(teller: OperatorLine) -> None:
    ident = teller.simulation.submit(to=("backend",))["backend"]
    ended = teller("cancel", ident)
    assert ended.code == 0, ended.err
    assert (teller.folder / "teller.told").read_text() == f"{ident} cancelled"
    (failure,) = teller.simulation.ledger.plugin_failures.all()
    assert (failure.plugin, failure.count, failure.error) == ("teller", 1, "RuntimeError")
    assert "a secret" not in ended.err


def test_listing_plugins_makes_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "conveyor.yaml").write_text("destinations: {}\n")
    ended = CommandLine(tmp_path).run("plugins")
    assert ended.code == 0, ended.err
    assert not (tmp_path / "conveyor.db").exists()


SOURCE = """
from conveyor import Item
from conveyor.hooks import PayloadSource
from conveyor.hookspecs import hookimpl

def run(context):
    context.submit(Item(b"a photo", to="out", filename="a.jpg", key="a.jpg"))
    context.wait(60)

@hookimpl
def conveyor_payload_sources():
    return [PayloadSource("inbox", run)]
"""


def test_a_running_engine_runs_payload_sources(tmp_path: Path) -> None:
    (tmp_path / "source_plugin.py").write_text(SOURCE)
    (tmp_path / "conveyor.yaml").write_text(
        "plugins: [./source_plugin.py]\n"
        "network: {allow_private: [127.0.0.0/8]}\n"
        "destinations:\n  out: {type: webhook, url: 'http://127.0.0.1:9/', is_active: false}\n"
    )
    line = CommandLine(tmp_path)
    with line.started("run") as engine:
        until(lambda: submitted(line), "the source's job")
        assert engine.poll() is None
    assert submitted(line) == 1


def submitted(line: CommandLine) -> int:
    try:
        return len(line.rows("SELECT id FROM jobs WHERE key = 'a.jpg'"))
    except sqlite3.OperationalError:  # the engine is making the tables
        return 0
