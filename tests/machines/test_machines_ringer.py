"""The dispatcher of many machines, step by step on a clock of the test's own, and what workers make of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dramatiq.broker import MessageProxy
from dramatiq.errors import ConnectionClosed
from dramatiq.message import Message

from conveyor import log
from conveyor.config.broker import parse
from conveyor.delivery import ringer
from conveyor.delivery.broker import TableBroker
from conveyor.delivery.doorbells import QUEUE, depth, open_doorbell
from conveyor.delivery.parts import Parts
from conveyor.delivery.ringer import AGAIN, LEASE, PER_THREAD, Ringer
from conveyor.delivery.rung_broker import PATIENCE, Doorbell, RungBroker
from conveyor.ledger.records import AttemptOutcome, Filter, Status
from conveyor.testing.scripted import forget_scripts, script
from conveyor.testing.simulation import Simulation, destination


class Bell:
    """A broker in memory that a test may cut off, and whose queue it may look into."""

    def __init__(self) -> None:
        self.queue: list[str] = []
        self.messages: list[tuple[str, ...]] = []
        self.away = False

    def enqueue(self, message: Message[Any]) -> None:
        if self.away:
            raise ConnectionClosed(OSError("refused"))
        assert set(message.asdict()) == {
            "queue_name",
            "actor_name",
            "args",
            "kwargs",
            "options",
            "message_id",
            "message_timestamp",
        }
        assert message.queue_name == QUEUE
        assert not message.kwargs
        assert not message.options
        self.messages.append(message.args)
        self.queue.extend(message.args)

    def size(self) -> int:
        if self.away:
            raise ConnectionClosed(OSError("refused"))
        return len(self.queue)

    def close(self) -> None:
        pass


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulation]:
    forget_scripts()
    simulation = Simulation(tmp_path, destination("here"), destination("there"))
    yield simulation
    simulation.close()


def make(sim: Simulation, bell: Bell) -> Ringer:
    quiet: Any = log.get()
    return Ringer(
        sim.ledger,
        sim.source,
        bell,  # type: ignore[arg-type]  # as much of a broker as it uses
        "redis://here",
        clock=sim.clock,
        log=quiet,
        size=lambda _: bell.size(),
    )


@pytest.fixture
def bell() -> Bell:
    return Bell()


def work(parts: Parts, *wakeups: str) -> None:
    for claim in parts.dispatcher.claim_woken(wakeups).values():
        parts.inbox.add(claim)
        parts.work(claim.delivery_id)
    parts.completions.flush()


def test_what_is_due_is_rung_for_once_and_delivered(sim: Simulation, bell: Bell) -> None:
    ids = {sim.submit()["here"] for _ in range(3)}
    dispatcher = make(sim, bell)
    assert dispatcher.step()
    assert dispatcher.step()
    assert sorted(bell.queue) == sorted(ids)
    work(sim.parts, *bell.queue)
    assert not dispatcher.step()
    assert {sim.delivery(ident).status for ident in ids} == {Status.DELIVERED}


@pytest.mark.parametrize(("each_second", "bundle"), [(1, 1), (8, 2), (20, 5)])
def test_short_attempts_share_messages_and_long_ones_do_not(
    sim: Simulation, bell: Bell, each_second: int, bundle: int
) -> None:
    dispatcher, threads = make(sim, bell), sim.parts.settings.threads

    def deliver(count: int) -> None:
        for _ in range(count):
            sim.submit(to=("here",))
        while dispatcher.step():
            work(sim.parts, *bell.queue)
            bell.queue.clear()

    deliver(1)
    assert bell.messages == [bell.messages[0][:1]]
    sim.advance(1)
    deliver(each_second * threads)
    sim.advance(1)  # so long they took
    bell.messages.clear()
    deliver(PER_THREAD * threads)
    assert max(map(len, bell.messages)) == bundle


def test_wakeups_that_come_twice_late_or_for_nothing_change_nothing(sim: Simulation, bell: Bell) -> None:
    delivery = sim.submit()["here"]
    make(sim, bell).step()
    work(sim.parts, "dlv_unknown", *bell.queue, *bell.queue, *bell.queue)
    assert script("here").deliveries() == 1
    assert [a.outcome for a in sim.attempts(delivery)] == [AttemptOutcome.DELIVERED]


def test_what_nobody_came_for_is_rung_again(sim: Simulation, bell: Bell) -> None:
    delivery = sim.submit()["here"]
    dispatcher = make(sim, bell)
    dispatcher.step()
    bell.queue.clear()  # FLUSHALL
    dispatcher.step()
    assert not bell.queue
    sim.clock.advance(AGAIN)
    sim.parts.heartbeat.beat()
    dispatcher.step()
    assert bell.queue == [delivery]
    sim.clock.advance(AGAIN)
    dispatcher.step()  # the second time it waits for longer
    assert bell.queue == [delivery]


def test_what_still_waits_in_a_full_queue_is_not_rung_again(sim: Simulation, bell: Bell) -> None:
    sim.submit()
    dispatcher = make(sim, bell)
    dispatcher.step()
    bell.queue += ["dlv_other"] * PER_THREAD * sim.parts.settings.threads
    before = list(bell.queue)
    sim.advance(100 * AGAIN)
    dispatcher.step()
    assert bell.queue == before


def test_never_more_on_their_way_than_threads_can_use(sim: Simulation, bell: Bell) -> None:
    window = PER_THREAD * sim.parts.settings.threads
    sim.source.put(destination("here", revision="2"))
    for _ in range(3 * window):
        sim.submit(to=("here", "there"))
    dispatcher = make(sim, bell)
    most = 0
    while dispatcher.step():
        most = max(most, len(bell.queue))
        taken, bell.queue = bell.queue, []
        work(sim.parts, *taken)
    assert 0 < most <= window
    assert not sim.ledger.deliveries.open_count()


def test_destinations_share_and_caps_are_kept(sim: Simulation, bell: Bell) -> None:
    from conveyor.config.model import Limits

    sim.source.put(destination("here", limits=Limits(concurrency=2)))
    for _ in range(10):
        sim.submit()
    (other,) = sim.submit(to=("there",)).values()
    make(sim, bell).step()
    assert len(bell.queue) == 3
    assert other in bell.queue


def test_nobody_works_nobody_is_rung_for(sim: Simulation, bell: Bell) -> None:
    sim.submit()
    sim.parts.heartbeat.drain()
    dispatcher = make(sim, bell)
    for _ in range(5):
        dispatcher.step()
        sim.clock.advance(1)
    assert not bell.queue


def test_a_retry_is_rung_for_when_it_is_due(sim: Simulation, bell: Bell) -> None:
    from conveyor.contract import DeliveryError, ErrorKind

    script("here").then(DeliveryError(ErrorKind.TRANSIENT, "not now"))
    delivery = sim.submit()["here"]
    dispatcher = make(sim, bell)
    dispatcher.step()
    work(sim.parts, *bell.queue)
    bell.queue.clear()
    sim.clock.advance(4)
    dispatcher.step()
    assert not bell.queue
    sim.clock.advance(1.1)
    sim.parts.heartbeat.beat()
    dispatcher.step()
    assert bell.queue == [delivery]


def test_held_destinations_are_not_rung_for(sim: Simulation, bell: Bell) -> None:
    sim.ledger.health.pause(["here"], None, sim.clock.now())
    delivery = sim.submit()["here"]
    dispatcher = make(sim, bell)
    dispatcher.step()
    assert not bell.queue
    work(sim.parts, delivery)  # an old wake-up does not get past the pause either
    assert script("here").deliveries() == 0
    sim.ledger.health.resume(["here"], sim.clock.now())
    sim.clock.advance(1)
    dispatcher.step()
    assert bell.queue == [delivery]


def test_what_was_rung_for_and_is_held_since_leaves_room_for_others(sim: Simulation, bell: Bell) -> None:
    from conveyor.config.model import Limits

    sim.source.put(destination("here", limits=Limits(concurrency=1000)))
    dispatcher = make(sim, bell)
    for _ in range(PER_THREAD * sim.parts.settings.threads):
        sim.submit(to=["here"])
    dispatcher.step()
    assert len(bell.queue) == PER_THREAD * sim.parts.settings.threads
    sim.ledger.health.pause(["here"], "by hand", sim.clock.now())
    bell.queue.clear()  # workers were woken, and found it paused
    other = sim.submit(to=["there"])["there"]
    for _ in range(20):
        sim.advance(1)
        dispatcher.step()
    assert set(bell.queue) == {other}
    sim.ledger.health.resume(["here"], sim.clock.now())
    for _ in range(3):
        sim.advance(1)
        dispatcher.step()
    assert len(set(bell.queue)) > 1, "and it is rung for as soon as it is served again"


def test_what_no_worker_takes_leaves_room_for_others(sim: Simulation, bell: Bell) -> None:
    """As at a destination whose attempts all hang: workers take nothing more for it, and say so to nobody."""
    from conveyor.config.model import Limits

    window = PER_THREAD * sim.parts.settings.threads
    sim.source.put(destination("here", limits=Limits(concurrency=10 * window)))
    dispatcher = make(sim, bell)
    for _ in range(10 * window):
        sim.submit(to=["here"])
    dispatcher.step()
    assert len(bell.queue) == window
    moving = sim.submit(to=["there"])["there"]
    rung = set(bell.queue)
    for _ in range(100):
        bell.queue.clear()
        sim.advance(0.5)
        dispatcher.step()
        rung |= set(bell.queue)
    assert moving in rung
    assert len(rung) <= 5 * window


def test_one_leads_and_another_takes_over(sim: Simulation, bell: Bell) -> None:
    first, second = make(sim, bell), make(sim, bell)
    first.step()
    second.step()
    assert (first.leads, second.leads) == (True, False)
    delivery = sim.submit()["here"]
    for _ in range(3):
        sim.advance(LEASE / 4)
        second.step()
        first.step()
    assert set(bell.queue) == {delivery}
    assert (first.leads, second.leads) == (True, False)
    bell.queue.clear()
    # The first one freezes, and wakes up when another one has taken over.
    sim.advance(LEASE)
    second.step()
    assert second.leads
    assert bell.queue == [delivery]  # what was rung for is known to the one that rang alone
    first.step()
    assert not first.leads
    second.stop(1)
    sim.advance(LEASE / 8)
    first.step()
    assert first.leads


def test_a_broker_out_of_reach_lets_others_lead(
    sim: Simulation, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.submit()
    cut_off = Bell()
    cut_off.away = True
    first, second = make(sim, cut_off), make(sim, bell)
    first._round()
    assert first.leads
    sim.advance(LEASE + 1)
    sim.submit()
    first._round()
    assert not first.leads
    first._round()
    second._round()
    assert second.leads
    assert len(bell.queue) == 2


def test_a_dispatcher_without_its_broker_is_not_ready_until_that_is_back(sim: Simulation, bell: Bell) -> None:
    """Also where nobody else leads, and where nothing is to be rung for when it is back."""
    sim.submit()
    bell.away = True
    dispatcher = make(sim, bell)
    for _ in range(60):
        dispatcher._round()
        assert not dispatcher.well()
        sim.advance(1)
    assert not dispatcher.leads, "workers look into the ledger meanwhile"
    bell.away = False
    sim.ledger.orders.cancel(Filter(statuses=frozenset({Status.PENDING})), now=sim.clock.now())
    for _ in range(3):
        dispatcher._round()
        sim.advance(LEASE)
    assert dispatcher.well()
    assert dispatcher.leads
    # Long afterwards: an outage of its own, which counts from its own beginning.
    sim.submit()
    bell.away = True
    sim.advance(LEASE)
    dispatcher._round()
    assert dispatcher.leads


@pytest.mark.server
def test_a_connection_that_was_lost_is_made_anew_where_only_the_queue_is_looked_at(
    rabbitmq_server: Any,
) -> None:
    """As after a restart of RabbitMQ, with as many wake-ups on their way as there may be."""
    broker: Any = open_doorbell(parse(rabbitmq_server.url))
    with closing(broker):
        before = depth(broker)
        broker.connection.close()
        with pytest.raises(Exception):  # noqa: B017 -- whatever the client raises
            depth(broker)
        assert depth(broker) == before


def test_a_dispatcher_waits_for_the_ledger(sim: Simulation, bell: Bell) -> None:
    from conveyor.errors import LedgerUnavailable

    dispatcher = make(sim, bell)
    take, sim.ledger.leases.take = sim.ledger.leases.take, _refuse(LedgerUnavailable("away"))  # type: ignore[method-assign]
    assert dispatcher._round() == ringer.FIRST_PAUSE
    assert dispatcher._round() == 2 * ringer.FIRST_PAUSE
    sim.ledger.leases.take = take  # type: ignore[method-assign]
    delivery = sim.submit()["here"]
    dispatcher._round()
    assert bell.queue == [delivery]


def _refuse(error: Exception) -> Any:
    def refuse(*_: object, **__: object) -> bool:
        raise error

    return refuse


class Lines:
    """A log that is read by the test."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, event: str, **fields: object) -> None:
        self.said.append(event)

    debug = warning = error = info

    def bind(self, **_: object) -> Lines:
        return self


def test_a_silent_doorbell_is_told_of_once_and_when_it_is_back() -> None:
    lines, now = Lines(), [0.0]
    doorbell = Doorbell("redis://here", log=lines, monotonic=lambda: now[0])
    assert not doorbell.silent
    doorbell.lost(OSError("refused"))
    assert not doorbell.silent  # a hiccup
    now[0] += PATIENCE + 1
    doorbell.lost(OSError("refused"))
    doorbell.lost(OSError("refused"))
    assert doorbell.silent
    doorbell.heard()
    assert not doorbell.silent
    doorbell.led(False)
    doorbell.led(False)
    doorbell.heard()
    assert doorbell.silent
    doorbell.led(True)
    assert not doorbell.silent
    polling, back = "polling the ledger for what is due", "waking up by the broker again"
    assert lines.said == [polling, back, polling, back]


# --- the worker's side, under dramatiq ---------------------------------------------------------------


class Fetched:
    """A consumer as Redis' is: what has been fetched lies in ``message_cache``."""

    def __init__(self, *wakeups: str) -> None:
        self.message_cache = [
            MessageProxy(Message(QUEUE, "deliver", tuple(w.split()), {}, {})) for w in wakeups
        ]
        self.acked: list[str] = []
        self.error: Exception | None = None

    def __next__(self) -> MessageProxy | None:
        if self.error is not None:
            raise self.error
        return self.message_cache.pop(0) if self.message_cache else None

    def ack(self, message: MessageProxy) -> None:
        self.acked.append(" ".join(message.args))

    def close(self) -> None:
        pass


class Rings:
    """As much of dramatiq's broker as a worker uses."""

    def __init__(self, consumer: Fetched) -> None:
        self.consumer = consumer

    def consume(self, queue_name: str, prefetch: int, timeout: int) -> Fetched:
        if self.consumer.error is not None:
            raise self.consumer.error
        return self.consumer

    def close(self) -> None:
        pass


def rung(sim: Simulation, consumer: Fetched, doorbell: Doorbell) -> RungBroker:
    parts = sim.parts
    quiet: Any = log.get()
    table = TableBroker(
        parts.dispatcher,
        parts.inbox,
        give_back=parts.give_back,
        may_claim=lambda: parts.may_claim() and doorbell.silent,
        log=quiet,
    )
    bell: Any = Rings(consumer)
    return RungBroker(bell, table, doorbell, parts.may_claim)


def test_what_has_arrived_is_claimed_together_and_acknowledged(sim: Simulation) -> None:
    ids = [sim.submit()["here"] for _ in range(3)]
    consumer = Fetched(*ids, ids[0], "dlv_unknown")
    broker = rung(sim, consumer, Doorbell("here", log=Lines()))
    taken = broker.consume(QUEUE, 8, 10)
    messages = [message for message in (next(taken) for _ in range(6)) if message is not None]
    assert len(messages) == 3
    assert sorted(claim.delivery_id for claim in sim.parts.inbox.waiting()) == sorted(ids)
    assert sorted(consumer.acked) == sorted([*ids, ids[0], "dlv_unknown"])
    assert sim.ledger.deliveries.counts(Filter(statuses=frozenset({Status.DELIVERING})))
    # One is worked on, the rest is given back at the end.
    sim.parts.work(ids[0])
    taken.requeue(messages)
    sim.parts.completions.flush()
    assert sorted(sim.delivery(i).status for i in ids) == ["delivered", "pending", "pending"]


def test_nothing_is_fetched_while_no_thread_is_free_or_none_may_be_claimed(sim: Simulation) -> None:
    ids = [sim.submit()["here"] for _ in range(100)]
    consumer = Fetched(*ids)
    taken = rung(sim, consumer, Doorbell("here", log=Lines())).consume(QUEUE, 8, 10)
    room = sim.parts.inbox.room()
    messages = [next(taken) for _ in range(room + 5)]
    assert sum(message is not None for message in messages) == room == 100 - len(consumer.message_cache)
    sim.parts.give_back(sim.parts.inbox.untaken())
    sim.parts.draining.set()
    assert next(taken) is None
    assert len(consumer.message_cache) == 100 - room


def test_a_bundle_is_claimed_whole(sim: Simulation) -> None:
    ids = [sim.submit()["here"] for _ in range(4)]
    consumer = Fetched(" ".join(ids[:3]), ids[3])
    taken = rung(sim, consumer, Doorbell("here", log=Lines())).consume(QUEUE, 8, 10)
    messages = [message for message in (next(taken) for _ in range(4)) if message is not None]
    assert len(messages) == 4
    assert sorted(claim.delivery_id for claim in sim.parts.inbox.waiting()) == sorted(ids)
    assert consumer.acked == [" ".join(ids[:3]), ids[3]]


def test_an_outage_of_the_broker_is_one_for_dramatiq_too(sim: Simulation) -> None:
    consumer, lines = Fetched(), Lines()
    doorbell = Doorbell("here", log=lines)
    broker = rung(sim, consumer, doorbell)
    taken = broker.consume(QUEUE, 8, 10)
    assert next(taken) is None
    consumer.error = TimeoutError("timed out")
    with pytest.raises(ConnectionClosed):
        next(taken)
    with pytest.raises(ConnectionClosed):
        broker.consume(QUEUE, 8, 10)
    # The table's queue does without it.
    doorbell.led(False)
    delivery = sim.submit()["here"]
    message = next(broker.consume("deliver", 8, 10))
    assert message is not None
    assert message.args == (delivery,)


def test_a_ledger_that_is_away_keeps_no_wakeup_from_others(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conveyor.errors import LedgerUnavailable

    consumer = Fetched(sim.submit()["here"])
    taken = rung(sim, consumer, Doorbell("here", log=Lines())).consume(QUEUE, 8, 10)
    monkeypatch.setattr(sim.parts.dispatcher, "claim_woken", _refuse(LedgerUnavailable("away")))
    assert next(taken) is None
    assert len(consumer.acked) == 1
