"""Open connectors, and claims on their way to a thread."""

from __future__ import annotations

from typing import Any, cast

import pytest

from conveyor import log
from conveyor.contract import Connector, DeliveryError, ErrorKind
from conveyor.delivery.broker import TableBroker
from conveyor.delivery.inbox import Inbox
from conveyor.delivery.pool import ConnectorPool
from conveyor.errors import LedgerUnavailable
from conveyor.ledger.records import AttemptOutcome, Claimed, Status
from conveyor.testing.clock import FakeClock
from conveyor.testing.scripted import Script
from conveyor.testing.simulation import Simulation, destination


class Fake:
    """A connector that knows whether it was closed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def made() -> list[Fake]:
    return []


@pytest.fixture
def pool(clock: FakeClock, made: list[Fake]) -> ConnectorPool:
    def make(destination: Any) -> Connector:
        made.append(Fake(destination.id))
        return cast(Connector, made[-1])

    return ConnectorPool(make, clock=clock, log=cast(Any, log.get()), most_idle=3)


def test_a_connector_in_use_is_lent_to_nobody_else(pool: ConnectorPool, made: list[Fake]) -> None:
    one, two = pool.take(destination("a")), pool.take(destination("a"))
    assert one.connector is not two.connector
    pool.give_back(one, sound=True)
    assert pool.take(destination("a")).connector is one.connector
    assert len(made) == 2


def test_an_unsound_connector_is_closed_and_not_lent_again(pool: ConnectorPool, made: list[Fake]) -> None:
    pool.give_back(pool.take(destination("a")), sound=False)
    assert made[0].closed == 1
    assert pool.take(destination("a")).connector is cast(Connector, made[1])


@pytest.mark.parametrize("error", [OSError("gone"), SystemExit(1)])
def test_a_connector_that_does_not_close_costs_nobody_a_result(
    pool: ConnectorPool, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def close(self: Fake) -> None:
        raise error

    monkeypatch.setattr(Fake, "close", close)
    pool.give_back(pool.take(destination("a")), sound=False)
    pool.give_back(pool.take(destination("a")), sound=True)
    pool.close()


def test_connectors_idle_for_a_minute_are_closed(
    pool: ConnectorPool, clock: FakeClock, made: list[Fake]
) -> None:
    one, two = pool.take(destination("a")), pool.take(destination("a"))
    pool.give_back(one, sound=True)
    clock.advance(30)
    pool.give_back(two, sound=True)
    clock.advance(30)
    pool.close_idle()
    assert [fake.closed for fake in made] == [1, 0]
    clock.advance(30)
    pool.close_idle()
    assert [fake.closed for fake in made] == [1, 1]


def test_beyond_the_bound_the_least_recently_used_one_is_closed(
    pool: ConnectorPool, made: list[Fake]
) -> None:
    checkouts = {name: pool.take(destination(name)) for name in "abcd"}
    for name in "abc":
        pool.give_back(checkouts[name], sound=True)
    pool.give_back(pool.take(destination("a")), sound=True)  # now b is the least recent
    pool.give_back(checkouts["d"], sound=True)
    assert {fake.name for fake in made if fake.closed} == {"b"}


def test_an_edited_destination_gets_a_new_connector_and_the_old_one_is_closed(
    pool: ConnectorPool, made: list[Fake]
) -> None:
    pool.give_back(pool.take(destination("a", revision="1")), sound=True)
    new = pool.take(destination("a", revision="2"))
    assert new.connector is cast(Connector, made[1])
    assert made[0].closed == 1


def test_what_comes_back_to_a_closed_pool_is_closed(pool: ConnectorPool, made: list[Fake]) -> None:
    idle, used = pool.take(destination("a")), pool.take(destination("a"))
    pool.give_back(idle, sound=True)
    pool.close()
    assert [fake.closed for fake in made] == [1, 0]
    pool.give_back(used, sound=True)
    assert [fake.closed for fake in made] == [1, 1]


@pytest.mark.parametrize(
    ("kind", "opened"), [(ErrorKind.NAME, 1), (ErrorKind.CONFLICT, 1), (ErrorKind.TRANSIENT, 2)]
)
def test_where_the_item_is_at_fault_the_connection_is_kept(
    sim: Simulation, here: Script, kind: ErrorKind, opened: int
) -> None:
    here.then(DeliveryError(kind, "no"))
    sim.submit()
    sim.step()
    sim.submit()
    sim.step()
    assert here.opened == opened


# --- the inbox -------------------------------------------------------------------------------------


def claimed(delivery_id: str, fence: int = 1) -> Claimed:
    blank: dict[str, Any] = dict.fromkeys(Claimed.__dataclass_fields__)
    return Claimed(**{**blank, "delivery_id": delivery_id, "fence": fence})


def test_each_claim_is_handed_out_once() -> None:
    inbox = Inbox(4)
    inbox.add(claimed("a"))
    assert inbox.take("a") is not None
    assert inbox.take("a") is None
    assert inbox.take("never heard of") is None
    assert inbox.running == 1
    inbox.done(1.0)
    assert inbox.running == 0


def test_room_is_one_claim_for_each_free_thread_while_attempts_are_long() -> None:
    inbox = Inbox(4)
    assert inbox.room() == 4
    for name in "abc":
        inbox.add(claimed(name))
    assert inbox.room() == 1
    inbox.add(claimed("d"))
    assert inbox.room() == 0
    inbox.take("a")
    assert inbox.room() == 0
    inbox.done(10.0)
    assert inbox.room() == 1


def test_short_attempts_are_claimed_ahead_in_groups_and_long_ones_end_that() -> None:
    inbox = Inbox(4)

    def work(seconds: float, times: int) -> None:
        for number in range(times):
            inbox.add(claimed(str(number)))
            inbox.take(str(number))
            inbox.done(seconds)

    work(0.001, 200)
    ahead = inbox.room()
    assert ahead > 4
    for number in range(ahead):
        inbox.add(claimed(str(number)))
    assert inbox.room() == 0
    inbox.take("0")
    inbox.done(0.001)
    assert inbox.room() == 0  # not worth a transaction
    inbox.untaken()
    work(10.0, 2)
    assert inbox.room() == 4


def test_threads_written_off_leave_less_room_until_they_are_back() -> None:
    inbox = Inbox(2)
    inbox.add(claimed("a"))
    inbox.take("a")
    assert inbox.lose_thread() == 1
    assert (inbox.room(), inbox.running, inbox.lost_threads) == (1, 0, 1)
    inbox.add(claimed("b"))
    inbox.take("b")
    assert inbox.lose_thread() == 2
    assert inbox.room() == 0
    inbox.regain_thread()
    assert inbox.room() == 1


def test_a_delivery_claimed_anew_while_it_still_waits_here_counts_once() -> None:
    inbox = Inbox(4)
    inbox.add(claimed("a", fence=1))
    inbox.add(claimed("a", fence=2))  # lost to the reaper while this process was frozen, and claimed again
    taken = inbox.take("a")
    assert taken is not None
    assert taken.fence == 2
    assert inbox.take("a") is None
    inbox.done(1.0)
    assert inbox.running == 0


def test_no_more_threads_are_called_than_there_are_and_claims_for_them() -> None:
    inbox = Inbox(2)
    assert inbox.call() is None
    for name in "abc":
        inbox.add(claimed(name))
    calls = [inbox.call() for _ in range(3)]
    assert [call and call.delivery_id for call in calls] == ["a", "a", None]
    inbox.enter()  # the first of the two
    taken = [inbox.next(), inbox.next()]
    assert [claim and claim.delivery_id for claim in taken] == ["a", "b"]
    assert inbox.call() is None, "one serves and one was called"
    inbox.enter()
    assert inbox.next() == claimed("c")
    assert inbox.next() is None
    inbox.add(claimed("d"))
    assert inbox.call() == claimed("d"), "the second is free again"


def test_threads_that_are_added_while_others_are_stuck_are_called_for_what_waits() -> None:
    inbox = Inbox(2, spare=4)
    for name in "abcde":
        inbox.add(claimed(name))
    for _ in range(2):
        inbox.call()
        inbox.enter()
        inbox.next()
    assert inbox.call() is None
    assert inbox.stalled(2) == 4
    assert [inbox.call(), inbox.call(), inbox.call()] == [claimed("c"), claimed("c"), None]


# --- the broker ------------------------------------------------------------------------------------


@pytest.fixture
def broker(sim: Simulation) -> TableBroker:
    parts = sim.parts
    broker = TableBroker(
        parts.dispatcher,
        parts.inbox,
        give_back=parts.give_back,
        may_claim=parts.may_claim,
        log=parts.log,
    )
    broker.declare_queue("deliver")
    return broker


def test_a_message_carries_the_delivery_id_and_nothing_else(sim: Simulation, broker: TableBroker) -> None:
    ident = sim.submit()["here"]
    message = next(broker.consume("deliver", timeout=1))
    assert message is not None
    assert (message.args, message.kwargs, message.options) == ((ident,), {}, {})
    assert message.message_id == f"{ident}:1"


def test_a_stale_wake_up_does_nothing(sim: Simulation, here: Script, broker: TableBroker) -> None:
    ident = sim.submit()["here"]
    message = next(broker.consume("deliver", timeout=1))
    assert message is not None
    sim.parts.work(ident)
    sim.parts.work(ident)
    sim.parts.completions.flush()
    assert here.deliveries() == 1
    assert sim.parts.inbox.running == 0


def test_a_thread_that_was_woken_works_on_all_that_waits(
    sim: Simulation, here: Script, broker: TableBroker
) -> None:
    for _ in range(3):
        sim.submit()
    consumer = broker.consume("deliver", timeout=1)
    messages = [message for _ in range(3) if (message := next(consumer)) is not None]
    for message in messages:
        sim.parts.serve(*message.args)
    sim.parts.completions.flush()
    assert here.deliveries() == 3
    assert sim.parts.inbox.running == 0
    assert next(consumer) is None


def test_requeue_and_close_give_claims_back_uncharged(sim: Simulation, broker: TableBroker) -> None:
    idents = [sim.submit()["here"] for _ in range(3)]
    consumer = broker.consume("deliver", timeout=1)
    message = next(consumer)
    assert message is not None
    consumer.requeue([])  # as dramatiq does when a connection breaks
    sim.parts.completions.flush()
    assert {sim.delivery(ident).status for ident in idents} == {Status.DELIVERING}
    consumer.requeue([message])
    sim.parts.completions.flush()
    assert {sim.delivery(ident).status for ident in idents} == {Status.PENDING}
    assert next(consumer) is not None
    consumer.close()
    sim.parts.completions.flush()
    assert {sim.delivery(ident).status for ident in idents} == {Status.PENDING}
    outcomes = {attempt.outcome for ident in idents for attempt in sim.attempts(ident)}
    assert outcomes == {AttemptOutcome.GIVEN_BACK}
    assert sim.parts.inbox.running == 0


def test_an_unfit_process_claims_nothing(sim: Simulation, broker: TableBroker) -> None:
    sim.submit()
    consumer = broker.consume("deliver", timeout=1)
    for event in (sim.parts.draining, sim.parts.completions.ledger_away):
        event.set()
        assert next(consumer) is None
        event.clear()
    sim.clock.advance(41)  # two thirds of the lease
    assert next(consumer) is None
    sim.parts.heartbeat.beat()
    assert next(consumer) is not None


def test_a_ledger_that_cannot_be_read_is_asked_again(
    sim: Simulation, broker: TableBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conveyor.delivery.broker.LEDGER_PAUSE", 0.0)

    def away(*_: object, **__: object) -> None:
        raise LedgerUnavailable("gone fishing")

    sim.submit()
    consumer = broker.consume("deliver", timeout=1)
    with monkeypatch.context() as broken:
        broken.setattr(sim.ledger.claims, "claim", away)
        assert next(consumer) is None
    sim.clock.advance(1)
    assert next(consumer) is not None


def test_enqueue_rings_and_stores_nothing(sim: Simulation, broker: TableBroker) -> None:
    from dramatiq.message import Message

    assert next(broker.consume("deliver", timeout=1)) is None
    message: Message[Any] = Message("deliver", "deliver", ("dlv_unheard_of",), {}, {})
    broker.enqueue(message, delay=1000)
    assert next(broker.consume("deliver", timeout=1)) is None
    broker.flush_all()
    broker.join("deliver", timeout=1000)
