"""Hooks around deliveries: what plugins decide and are told, and that their faults harm nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.errors import LedgerUnavailable
from conveyor.hooks import Alert, AttemptEnded, Decision, Delay, DeliveryFinal, DestinationChanged, Fail, Hold
from conveyor.hookspecs import hookimpl
from conveyor.ledger.records import AttemptOutcome, Status
from conveyor.status.reasons import Standing
from conveyor.testing.scripted import Script
from conveyor.testing.simulation import Simulation, destination


def plugin(sim: Simulation, *functions: Callable[..., Any], name: str = "mine", **how: bool) -> None:
    implementations = {f.__name__: hookimpl(**how)(f) for f in functions}
    taken = sim.registry.plugins.register(SimpleNamespace(**implementations), name)
    assert taken.problem is None


def deciding(*answers: Decision | BaseException | str | None) -> Callable[..., Any]:
    """A hook that gives these answers in turn, then lets everything pass."""
    left = list(answers)

    def conveyor_before_attempt(parcel, place, path, attempt):
        answer = left.pop(0) if left else None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return conveyor_before_attempt


def shown(sim: Simulation, ident: str) -> tuple[str, str | None]:
    return Standing(sim.source, sim.ledger.health.get(None)).of(sim.delivery(ident))


# --- before an attempt ------------------------------------------------------------------------------------


def test_a_veto_fails_the_delivery_uncharged_before_any_byte(sim: Simulation, here: Script) -> None:
    seen = []

    def conveyor_before_attempt(parcel, place, path, attempt):
        seen.append((parcel.filename, place.id, place.type, path.rpartition("/")[2], attempt))
        return Fail("not on a Sunday")

    plugin(sim, conveyor_before_attempt)
    ident = sim.submit()["here"]
    sim.step()
    delivery = sim.delivery(ident)
    assert delivery.status is Status.FAILED
    assert delivery.last_error == "refused by plugin 'mine': not on a Sunday"
    assert delivery.last_error_kind is ErrorKind.REJECTED
    assert delivery.failures == 0
    assert seen == [("photo.jpg", "here", "scripted", "photo.jpg", 1)]
    assert here.calls == []
    assert sim.ledger.health.get(["here"])["here"].block is None


def test_a_hold_is_held_with_its_reason_and_asked_again_ever_later(sim: Simulation, here: Script) -> None:
    plugin(sim, deciding(*[Hold("closed")] * 5))
    ident = sim.submit()["here"]
    assert sim.run(600) == [0, 30, 60, 120, 240, 480]
    delivery = sim.delivery(ident)
    assert delivery.status is Status.DELIVERED
    assert delivery.failures == 0
    kinds = [(a.outcome, a.charged, a.follows) for a in sim.attempts(ident)]
    assert kinds[:5] == [(AttemptOutcome.PUT_OFF, False, "hold")] * 5
    assert here.deliveries() == 1


def test_a_held_delivery_shows_as_held_and_a_replay_asks_at_once(sim: Simulation, here: Script) -> None:
    from conveyor.ledger.records import Filter

    plugin(sim, deciding(Hold("closed")))
    ident = sim.submit()["here"]
    sim.step()
    assert shown(sim, ident) == ("held", "hook")
    assert sim.delivery(ident).hold_reason == "held by plugin 'mine': closed"
    standing = Standing(sim.source, sim.ledger.health.get(None))
    assert ident in str(standing.cure(sim.delivery(ident)))
    held = sim.ledger.deliveries.find(Filter(held=frozenset()), limit=5)
    assert [record.id for record in held] == [ident]
    sim.ledger.orders.replay(Filter(ids=(ident,)), now=sim.clock.now(), expires=lambda _: 10**18)
    assert shown(sim, ident) == ("pending", "queued")
    sim.parts.dispatcher.ring()
    sim.step()
    assert sim.delivery(ident).status is Status.DELIVERED


def test_a_delay_is_exact_and_uncharged(sim: Simulation, here: Script) -> None:
    plugin(sim, deciding(Delay(90, "quiet hours")))
    ident = sim.submit()["here"]
    assert sim.run(200) == [0, 90]
    first, second = sim.attempts(ident)
    assert (first.outcome, first.message) == (
        AttemptOutcome.PUT_OFF,
        "delayed by plugin 'mine': quiet hours",
    )
    assert second.outcome is AttemptOutcome.DELIVERED
    assert sim.delivery(ident).last_error is None


ODD: list[Any] = [timedelta(seconds=60), "60", None, float("nan")]


@pytest.mark.parametrize(
    "answer",
    [RuntimeError("boo"), SystemExit(3), "yes", *(Delay(seconds, "?") for seconds in (-1, 1e9, *ODD))],
)
def test_a_faulty_hook_stops_nothing_and_is_counted(sim: Simulation, here: Script, answer: Any) -> None:
    plugin(sim, deciding(answer), name="broken")
    ident = sim.submit()["here"]
    sim.step()
    assert sim.delivery(ident).status is Status.DELIVERED
    sim.parts.observers.step()
    (failure,) = sim.ledger.plugin_failures.all()
    assert (failure.plugin, failure.hook, failure.count) == ("broken", "conveyor_before_attempt", 1)
    assert "boo" not in failure.error
    plugin(sim, deciding(RuntimeError()), name="too")
    sim.submit()
    sim.step()
    sim.parts.observers.step()
    assert [(f.plugin, f.count) for f in sim.ledger.plugin_failures.all()] == [("broken", 1), ("too", 1)]


def test_a_decision_may_be_of_a_class_of_the_plugins_own(sim: Simulation, here: Script) -> None:
    class Closed(Hold):
        """Says more to the plugin itself."""

    plugin(sim, deciding(Closed("closed")))
    ident = sim.submit()["here"]
    sim.step()
    assert sim.delivery(ident).hold_reason == "held by plugin 'mine': closed"
    assert sim.delivery(ident).failures == 0


def test_the_first_decision_counts_and_tryfirst_comes_first(sim: Simulation, here: Script) -> None:
    plugin(sim, deciding(Fail("early")), name="early", tryfirst=True)
    plugin(sim, deciding(Fail("late")), name="late")
    ident = sim.submit()["here"]
    sim.step()
    assert "early" in str(sim.delivery(ident).last_error)


# --- told afterwards ----------------------------------------------------------------------------------------


def observer(told: list[Any]) -> list[Callable[..., Any]]:
    def conveyor_after_attempt(event: AttemptEnded) -> None:
        told.append(event)

    def conveyor_delivery_final(event: DeliveryFinal) -> None:
        told.append(event)

    def conveyor_destination_changed(event: DestinationChanged) -> None:
        told.append(event)

    def conveyor_alert(alert: Alert) -> None:
        told.append(alert)

    return [conveyor_after_attempt, conveyor_delivery_final, conveyor_destination_changed, conveyor_alert]


def test_each_attempt_and_the_final_outcome_are_told_once(sim: Simulation, here: Script) -> None:
    told: list[Any] = []
    plugin(sim, *observer(told))
    here.then(DeliveryError(ErrorKind.TRANSIENT, "busy"))
    ident = sim.submit()["here"]
    sim.run(10)
    sim.parts.observers.step()
    first, second, final = told
    assert (first.outcome, first.follows, first.kind, first.message) == (
        "failed",
        "retry",
        "TRANSIENT",
        "busy",
    )
    assert first.next_attempt_at == pytest.approx(first.finished_at + 5)
    assert (second.outcome, second.attempt, second.bytes_sent) == ("delivered", 2, 5)
    assert (final.delivery_id, final.status, final.attempts) == (ident, "delivered", 2)
    assert final.receipt["path"] == sim.delivery(ident).path
    sim.parts.observers.step()
    assert len(told) == 3


def test_failure_expiry_and_lost_workers_are_final_too(sim: Simulation, here: Script) -> None:
    told: list[Any] = []
    plugin(sim, *observer(told)[1:2], observer(told)[3])
    here.then(DeliveryError(ErrorKind.REJECTED, "no"))
    failed = sim.submit()["here"]
    sim.step()
    sim.source.put(destination("late", expire_after=5.0, is_active=False))
    expired = sim.submit(to=["late"])["late"]
    sim.advance(10)
    sim.step()
    sim.parts.observers.step()
    finals = [(event.delivery_id, event.kind) for event in told if isinstance(event, DeliveryFinal)]
    assert finals == [(failed, "REJECTED"), (expired, "EXPIRED")]
    alerts = [(a.event, a.subject, a.reason) for a in told if isinstance(a, Alert)]
    assert alerts == [("delivery_failed", failed, "REJECTED"), ("delivery_failed", expired, "EXPIRED")]


def test_a_destination_that_is_held_and_served_again_is_told_once_by_one_process(
    sim: Simulation, here: Script
) -> None:
    told: list[Any] = []
    plugin(sim, *observer(told)[2:])
    here.then(DeliveryError(ErrorKind.QUOTA, "the disk is full"))
    sim.submit()
    sim.step()
    other = sim.process()
    assert sim.parts.lookout.step() == 1
    assert sim.parts.lookout.step() == 0
    assert other.lookout.step() == 0
    change, alert = told
    assert (change.destination, change.before, change.now, change.message) == (
        "here",
        None,
        "quota",
        "the disk is full",
    )
    assert (alert.event, alert.reason) == ("destination_held", "quota")
    assert "make room" in alert.cure
    sim.ledger.health.resume(["here"], sim.clock.now())
    sim.advance(20)
    assert other.lookout.step() == 1, "the lease of a process that looks no more is free"
    assert [(t.before, t.now) for t in told if isinstance(t, DestinationChanged)][1:] == [("quota", None)]
    assert told[-1].event == "destination_served"


def test_slow_plugins_have_no_second_process_tell_the_same(sim: Simulation, here: Script) -> None:
    told: list[str] = []
    names = [f"d{number}" for number in range(6)]
    for name in names:
        sim.source.put(destination(name, is_active=False))
    other = sim.process()

    def conveyor_destination_changed(event: DestinationChanged) -> None:
        told.append(event.destination)
        if len(told) <= len(names):
            sim.clock.advance(6)
            other.lookout.step()

    plugin(sim, conveyor_destination_changed)
    sim.parts.lookout.step()
    assert sorted(told) == names


def test_an_observer_that_raises_harms_no_delivery_and_is_alerted_of(sim: Simulation, here: Script) -> None:
    told: list[Any] = []

    def conveyor_after_attempt(event: AttemptEnded) -> None:
        raise RuntimeError("boo")

    plugin(sim, conveyor_after_attempt, name="broken")
    plugin(sim, observer(told)[3])
    idents = [sim.submit()["here"] for _ in range(3)]
    sim.step()
    sim.parts.observers.step()
    assert all(sim.delivery(i).status is Status.DELIVERED for i in idents)
    (failure,) = sim.ledger.plugin_failures.all()
    assert (failure.plugin, failure.count, failure.error) == ("broken", 3, "RuntimeError")
    assert [(a.event, a.subject) for a in told] == [("plugin_failed", "broken")] * 2


def test_a_slow_observer_drops_the_oldest_and_says_so(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import deque

    from conveyor.delivery import observers

    told: list[Any] = []
    plugin(sim, observer(told)[0])
    monkeypatch.setattr(observers, "WAITING", 2)
    sim.parts.observers._queue = deque(maxlen=2)
    idents = [sim.submit()["here"] for _ in range(4)]
    sim.step()
    sim.parts.observers.step()
    assert [event.delivery_id for event in told] == idents[2:]


def test_what_is_to_be_told_waits_for_a_ledger_that_is_away(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    plugin(sim, observer(told)[1])
    idents = [sim.submit()["here"] for _ in range(3)]
    sim.step()

    def away(ident: str) -> None:
        raise LedgerUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(sim.ledger.deliveries, "get", away)
        for _ in range(2):
            with pytest.raises(LedgerUnavailable):
                sim.parts.observers.step()
    sim.parts.observers.step()
    assert [event.delivery_id for event in told] == idents


def test_a_hook_that_hangs_keeps_no_process_from_ending(sim: Simulation, here: Script) -> None:
    free = threading.Event()
    told: list[Any] = []

    def conveyor_after_attempt(event: AttemptEnded) -> None:
        told.append(event)
        free.wait(60)

    plugin(sim, conveyor_after_attempt)
    for _ in range(2):
        sim.submit()
    sim.step()
    began = time.monotonic()
    sim.parts.observers.stop(0.2)
    assert time.monotonic() - began < 30
    assert len(told) == 1, "what waits is told as far as the time allows"
    free.set()
