"""A ledger that outgrew its file: copied to PostgreSQL, or not at all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Place, until
from machines.conftest import KEY
from servers.postgres import Postgres

from conveyor.clock import SystemClock
from conveyor.contract import DeliveryError, ErrorKind
from conveyor.errors import LedgerError
from conveyor.ledger import current_version, moving, open_ledger
from conveyor.ledger.records import Filter, Status
from conveyor.ledger.schema import HEAD, deliveries
from conveyor.payloads import LocalStore, PayloadKeys
from conveyor.receiver import Receiver
from conveyor.testing.scripted import forget_scripts, script
from conveyor.testing.simulation import Simulation, destination

pytestmark = pytest.mark.server

Places = Callable[..., Place]


@pytest.fixture
def empty(postgres_server: Postgres) -> Iterator[str]:
    """A database without tables."""
    postgres_server.execute("CREATE DATABASE moving")
    yield postgres_server.url("moving")
    postgres_server.execute("DROP DATABASE moving WITH (FORCE)")


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulation]:
    forget_scripts()
    simulation = Simulation(tmp_path, destination("here"), destination("there"))
    yield simulation
    simulation.close()


def nobody(_: object) -> bool:
    return False


def move(sim: Simulation, to: str, **options: Any) -> moving.Moved:
    source = f"sqlite:///{sim.ledger.database.name}"
    return moving.move(source, to, **{"alive": nobody, "progress": lambda _: None, **options})


def history(sim: Simulation) -> None:
    """Deliveries in every state, with attempts, saved state, receipts, holds and secrets."""
    script("here").then(
        None,
        DeliveryError(ErrorKind.TOO_LARGE, "too large"),
        DeliveryError(ErrorKind.TRANSIENT, "not now \\ \t newline\n end"),
    )
    for number in range(3):
        sim.submit(filename=f"ä-{number} 📷.jpg", tags=("order:7", "\\N"), meta={"a": "tab\t"})
    sim.step()
    sim.ledger.health.pause(["there"], "for now", sim.clock.now())
    sim.submit(to=("there",))
    cancelled = sim.submit(to=("there",))["there"]
    sim.ledger.orders.cancel(Filter(ids=(cancelled,)), now=sim.clock.now())
    sim.ledger.memory.put_if_absent("there", "host key", "ssh-ed25519 AAAA")
    sim.ledger.destinations.put("managed", {"type": "webhook", "secret": "whsec"}, sim.clock.now())
    running = sim.submit()["here"]
    (claim,) = sim.parts.dispatcher.claim(1)
    assert claim.delivery_id == running
    sim.ledger.states.save(running, claim.fence, b"\x00\xff sealed")
    sim.payloads = LocalStore(sim.payloads.root, keys=PayloadKeys(sim.keyring, encrypts=True))
    sim.submit(b"encrypted", to=("there",))


def test_all_of_it_arrives(sim: Simulation, empty: str) -> None:
    history(sim)
    before = sim.ledger.deliveries.find(Filter(), limit=100)
    steps: list[int] = []
    moved = move(sim, empty, progress=steps.append)
    assert moved.statuses == {"cancelled": 1, "delivered": 1, "delivering": 1, "failed": 1, "pending": 3}
    assert sum(steps) == sum(moved.rows.values())
    with open_ledger(empty, clock=sim.clock, keyring=sim.keyring) as ledger:
        assert ledger.deliveries.find(Filter(), limit=100) == before
        for record in before:
            assert ledger.deliveries.attempts(record.id) == sim.ledger.deliveries.attempts(record.id)
        assert ledger.health.get() == sim.ledger.health.get()
        assert ledger.memory.get("there", "host key") == "ssh-ed25519 AAAA"
        assert ledger.destinations.get("managed") == {"type": "webhook", "secret": "whsec"}
        with ledger.database.read() as connection:
            states = connection.execute(deliveries.select().with_only_columns(deliveries.c.state)).scalars()
            assert {bytes(state) for state in states if state is not None} == {b"\x00\xff sealed"}
        (kept,) = (record.job.payload for record in before if record.job.payload.sealed_key is not None)
        with sim.payloads.open(kept) as stream:
            assert stream.read() == b"encrypted"
        # What was being delivered belongs to nobody any more: it is freed and goes on.
        freed = ledger.workers.reap(sim.clock.now(), dead=nobody, delay=lambda _: 0)
        assert [lost.status for lost in freed] == [Status.PENDING]


def test_the_file_is_not_used_by_mistake_afterwards(sim: Simulation, empty: str) -> None:
    sim.submit()
    move(sim, empty)
    with pytest.raises(LedgerError, match="was moved to postgresql") as told:
        open_ledger(f"sqlite:///{sim.ledger.database.name}", clock=SystemClock())
    assert "pg-test-secret" not in str(told.value)
    # Nor by who had it open: an application that submits, an engine that was just about to start.
    for write in (sim.submit, sim.parts.heartbeat.register):
        with pytest.raises(LedgerError, match="was moved to postgresql"):
            write()


def test_nothing_is_moved_while_workers_run(sim: Simulation, empty: str) -> None:
    sim.submit()
    with pytest.raises(LedgerError, match="workers run on this ledger: pid"):
        move(sim, empty, alive=lambda worker: True)
    again(sim, empty)


def test_nothing_is_moved_over_another_ledger(sim: Simulation, empty: str) -> None:
    sim.submit()
    again(sim, empty)
    with pytest.raises(LedgerError, match="was moved to"):
        move(sim, empty)
    with closing(sqlite3.connect(sim.ledger.database.name)) as died_before_its_mark:
        died_before_its_mark.execute("DELETE FROM meta WHERE key = 'moved_to'")
        died_before_its_mark.commit()
    with pytest.raises(LedgerError, match="is in use"):
        move(sim, empty)


def test_a_copy_that_breaks_leaves_nothing(sim: Simulation, empty: str) -> None:
    for _ in range(3):
        sim.submit()

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(sim, empty, progress=killed)
    assert current_version(empty) == HEAD
    with open_ledger(empty, clock=sim.clock) as ledger:
        assert not ledger.deliveries.open_count()
    again(sim, empty)


def test_a_copy_that_differs_is_refused(sim: Simulation, empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sim.submit()
    copy = moving._copy

    def forgetful(reader: Any, writer: Any, table: Any, progress: Any) -> None:
        if table is not deliveries:
            copy(reader, writer, table, progress)

    monkeypatch.setattr(moving, "_copy", forgetful)
    with pytest.raises(LedgerError, match="differs from the original"):
        move(sim, empty)
    monkeypatch.undo()
    again(sim, empty)


def again(sim: Simulation, to: str) -> None:
    """The file is as it was: a move that is not disturbed succeeds."""
    open_ledger(f"sqlite:///{sim.ledger.database.name}", clock=sim.clock).close()
    assert move(sim, to).rows["deliveries"] == len(sim.ledger.deliveries.find(Filter(), limit=100))


def test_the_verb_and_the_work_goes_on(
    place: Places, hook: dict[str, Any], empty: str, receiver: Receiver
) -> None:
    key = {"key": {"value": KEY}}
    here = place(hook=hook, settings=key)
    with here.open() as installation:
        for number in range(5):
            installation.submitter().submit(b"photo", to=["hook"], filename=f"{number}.jpg")
        engine = here.start()
        until(lambda: installation.ledger.workers.all(), "the engine")
        refused = here.cli("migrate-ledger", "--to", empty, check=False)
        assert (refused.returncode, "workers run" in refused.stderr) == (1, True)
        engine.terminate()
        assert engine.wait(60) == 0
        waiting = installation.ledger.deliveries.open_count()
        installation.submitter().submit(b"photo", to=["hook"], filename="last.jpg")
    assert here.cli("migrate-ledger", "--to", "sqlite:///x", check=False).returncode == 2
    said = json.loads(here.cli("migrate-ledger", "--to", empty, "--json").stdout)
    assert said["rows"]["deliveries"] == 6
    assert said["deliveries"].get("pending", 0) == waiting + 1
    assert "was moved to" in here.cli("status", check=False).stderr
    here.configure({"hook": hook}, **key, ledger=empty)
    assert here.start("--until-idle").wait(60) == 0
    assert len({r.delivery_id for r in receiver.received}) == 6
    assert "6" in here.cli("status").stdout
    assert here.cli("migrate-ledger", "--to", empty, check=False).returncode == 2
