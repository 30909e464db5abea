"""What follows from errors, to the second, on a clock that the test moves."""

from __future__ import annotations

from itertools import pairwise

import pytest

from conveyor.clock import SECOND
from conveyor.contract import DeliveryError, ErrorKind, Found, FoundKind, Receipt
from conveyor.errors import LedgerUnavailable
from conveyor.ledger.records import AttemptOutcome, BlockReason, Status
from conveyor.testing.scripted import Script
from conveyor.testing.simulation import Simulation, destination


def fails(kind: ErrorKind = ErrorKind.TRANSIENT, **more: object) -> DeliveryError:
    return DeliveryError(kind, f"it is {kind}", **more)  # type: ignore[arg-type]


def test_success_is_recorded_with_its_receipt(sim: Simulation, here: Script) -> None:
    ident = sim.submit()["here"]
    assert sim.step() == 1
    delivery = sim.delivery(ident)
    assert delivery.status is Status.DELIVERED
    assert delivery.receipt is not None
    assert delivery.receipt["path"] == delivery.path
    (attempt,) = sim.attempts(ident)
    assert attempt.outcome is AttemptOutcome.DELIVERED
    assert attempt.bytes_sent == 5
    assert not attempt.charged
    assert attempt.reference == delivery.path


def test_the_whole_chain_is_tried_at_its_exact_times_then_failed(sim: Simulation, here: Script) -> None:
    here.then(*[fails() for _ in range(6)])
    ident = sim.submit()["here"]
    times = sim.run(4500)
    assert times == [0, 5, 35, 155, 755, 4355]
    delivery = sim.delivery(ident)
    assert delivery.status is Status.FAILED
    assert delivery.failures == 6
    assert [a.charged for a in sim.attempts(ident)] == [True] * 6
    assert [a.follows for a in sim.attempts(ident)] == ["retry"] * 5 + ["final"]


@pytest.mark.parametrize("kind", [ErrorKind.UNKNOWN_OUTCOME, ErrorKind.INTEGRITY])
def test_other_charged_kinds_follow_the_same_chain(sim: Simulation, here: Script, kind: ErrorKind) -> None:
    here.then(*[fails(kind) for _ in range(6)])
    sim.submit()
    assert sim.run(4500) == [0, 5, 35, 155, 755, 4355]


def test_a_retry_after_stated_with_a_failure_is_never_undercut(sim: Simulation, here: Script) -> None:
    here.then(fails(retry_after=100.0))
    sim.submit()
    assert sim.run(200) == [0, 100]


def test_throttling_pauses_the_destination_exactly_and_costs_nothing(sim: Simulation, here: Script) -> None:
    here.then(fails(ErrorKind.THROTTLED, retry_after=42.0))
    first = sim.submit()["here"]
    assert sim.step() == 1
    others = [sim.submit()["here"] for _ in range(3)]
    block = sim.ledger.health.get(["here"])["here"].block
    assert block is not None
    assert block.reason is BlockReason.THROTTLED
    assert block.until == sim.clock.now() + 42 * SECOND
    # One probe first, then the rest in the same second.
    assert sim.run(60) == [42, 42, 42, 42]
    assert here.calls[1] in [("deliver", i, sim.delivery(i).path) for i in [first, *others]]
    assert all(sim.delivery(i).failures == 0 for i in [first, *others])
    assert sim.ledger.health.get(["here"])["here"].block is None


def test_throttling_without_a_delay_doubles_from_one_second_to_five_minutes(
    sim: Simulation, here: Script
) -> None:
    here.then(*[fails(ErrorKind.THROTTLED) for _ in range(12)])
    sim.submit()
    times = sim.run(1500)
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


@pytest.mark.parametrize("stated", [0.0, -5.0])
def test_a_delay_of_nothing_is_none_that_was_stated(sim: Simulation, here: Script, stated: float) -> None:
    here.then(*[fails(ErrorKind.THROTTLED, retry_after=stated) for _ in range(6)])
    sim.submit()
    times = sim.run(100)
    assert [b - a for a, b in pairwise(times)] == [1, 2, 4, 8, 16, 32]


def test_a_stated_delay_is_bounded_by_max_retry_after(sim: Simulation, here: Script) -> None:
    sim.source.put(destination(max_retry_after=100.0))
    here.then(fails(ErrorKind.THROTTLED, retry_after=10_000.0))
    sim.submit()
    assert sim.run(120) == [0, 100]


def test_throttled_for_a_day_it_is_charged(sim: Simulation, here: Script) -> None:
    here.then(*[fails(ErrorKind.THROTTLED, retry_after=3600.0) for _ in range(40)])
    ident = sim.submit()["here"]
    sim.run(26 * 3600, every=60)
    charged = [a.charged for a in sim.attempts(ident)]
    assert charged[:24] == [False] * 24
    assert charged[24:] == [True] * (len(charged) - 24)
    assert len(charged) > 24


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ErrorKind.AUTH_REVOKED, BlockReason.NEEDS_LOGIN),
        (ErrorKind.QUOTA, BlockReason.QUOTA),
        (ErrorKind.CONFIG, BlockReason.CONFIG),
    ],
)
def test_a_hold_is_probed_with_growing_delay_and_costs_nothing(
    sim: Simulation, here: Script, kind: ErrorKind, reason: BlockReason
) -> None:
    here.then(*[fails(kind) for _ in range(8)])
    first, second = sim.submit()["here"], sim.submit()["here"]
    sim.source.put(destination(limits=type(destination().limits)(concurrency=1)))
    times = sim.run(12_000, every=5)
    probes = sorted(set(times))
    gaps = [b - a for a, b in pairwise(probes)]
    assert gaps == [30, 60, 120, 300, 900, 1800, 3600, 3600]
    for ident in (first, second):
        assert sim.delivery(ident).status is Status.DELIVERED
        assert sim.delivery(ident).failures == 0
    assert reason  # what it was is asserted while it lasts, below


def test_a_hold_names_its_reason_and_ends_by_resume_or_edit(sim: Simulation, here: Script) -> None:
    here.then(fails(ErrorKind.CONFIG), fails(ErrorKind.CONFIG))
    ident = sim.submit()["here"]
    sim.step()
    health = sim.ledger.health.get(["here"])["here"]
    assert health.block is not None
    assert health.block.reason is BlockReason.CONFIG
    sim.clock.advance(1)
    assert sim.step() == 0
    sim.ledger.health.resume(["here"], sim.clock.now())
    assert sim.step() == 1
    assert sim.delivery(ident).status is Status.PENDING
    sim.source.put(destination(revision="2"))
    sim.clock.advance(1)
    sim.step()
    assert sim.delivery(ident).status is Status.DELIVERED


def test_an_edit_ends_a_hold_also_when_the_ledger_does_not_answer_at_first(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.then(fails(ErrorKind.CONFIG))
    ident = sim.submit()["here"]
    sim.step()
    sim.source.put(destination(revision="2"))

    def away(*_: object, **__: object) -> None:
        raise LedgerUnavailable("gone fishing")

    sim.clock.advance(1)
    with monkeypatch.context() as broken:
        broken.setattr(sim.ledger.health, "release", away)
        with pytest.raises(LedgerUnavailable):
            sim.step()
    sim.clock.advance(1)
    sim.step()
    assert sim.delivery(ident).status is Status.DELIVERED


def test_a_probe_that_fails_otherwise_keeps_the_rest_waiting_uncharged(sim: Simulation, here: Script) -> None:
    here.then(fails(ErrorKind.QUOTA), fails(ErrorKind.TRANSIENT))
    first = sim.submit()["here"]
    sim.step()
    others = [sim.submit()["here"] for _ in range(3)]
    assert sim.run(29) == []
    # The probe at 30 s fails with something else; the next one comes 60 s later and releases all.
    assert sorted(set(sim.run(300))) == [1, 61]
    charged = [sim.delivery(i).failures for i in [first, *others]]
    assert sorted(charged) == [0, 0, 0, 1]
    assert {sim.delivery(i).status for i in [first, *others]} == {Status.DELIVERED}


@pytest.mark.parametrize("kind", [ErrorKind.THROTTLED, ErrorKind.QUOTA])
def test_gone_deactivates_also_what_was_blocked_meanwhile(
    sim: Simulation, here: Script, kind: ErrorKind
) -> None:
    here.then(fails(kind), fails(ErrorKind.GONE))
    for _ in range(2):
        sim.submit()
    assert sim.step() == 2
    block = sim.ledger.health.get(["here"])["here"].block
    assert block is not None
    assert (block.reason, block.until) == (BlockReason.DEACTIVATED, None), "nothing else may hold for ever"
    assert block.message == f"it is {ErrorKind.GONE}"


def test_gone_deactivates_until_resume_whatever_is_edited(sim: Simulation, here: Script) -> None:
    here.then(fails(ErrorKind.GONE))
    ident = sim.submit()["here"]
    sim.run(10)
    sim.source.put(destination(revision="2"))
    assert sim.run(7200, every=60) == []
    sim.ledger.health.resume(["here"], sim.clock.now())
    assert sim.run(2) == [0]
    assert sim.delivery(ident).status is Status.DELIVERED


@pytest.mark.parametrize(
    "kind",
    [ErrorKind.NAME, ErrorKind.TOO_LARGE, ErrorKind.CONFLICT, ErrorKind.SOURCE, ErrorKind.REJECTED],
)
def test_final_kinds_fail_at_once(sim: Simulation, here: Script, kind: ErrorKind) -> None:
    here.then(fails(kind))
    ident = sim.submit()["here"]
    assert sim.run(60) == [0]
    delivery = sim.delivery(ident)
    assert (delivery.status, delivery.last_error_kind, delivery.failures) == (Status.FAILED, kind, 0)


def test_expired_at_exactly_its_age_holds_included(sim: Simulation, here: Script) -> None:
    sim.source.put(destination(expire_after=1000.0))
    here.then(fails(ErrorKind.GONE))
    ident = sim.submit()["here"]
    sim.run(999)
    sim.step()
    assert sim.delivery(ident).status is Status.PENDING
    sim.run(1)
    sim.step()
    delivery = sim.delivery(ident)
    assert (delivery.status, delivery.last_error_kind) == (Status.FAILED, ErrorKind.EXPIRED)


def test_an_unknown_end_asks_find_first(sim: Simulation, here: Script) -> None:
    here.then(fails(ErrorKind.UNKNOWN_OUTCOME))
    here.finds.append(Found(FoundKind.MINE, Receipt("it/is/there", size=5)))
    ident = sim.submit()["here"]
    sim.run(10)
    assert [call[0] for call in here.calls] == ["deliver", "find"]
    delivery = sim.delivery(ident)
    assert delivery.status is Status.DELIVERED
    assert delivery.receipt is not None
    assert delivery.receipt["reference"] == "it/is/there"


@pytest.mark.parametrize(
    "answer", [FoundKind.SAME_BYTES, FoundKind.ABSENT, FoundKind.OTHER, FoundKind.UNSURE]
)
def test_what_find_cannot_settle_is_delivered_again(sim: Simulation, here: Script, answer: FoundKind) -> None:
    here.then(fails(ErrorKind.UNKNOWN_OUTCOME))
    receipt = Receipt("x") if answer is FoundKind.SAME_BYTES else None
    here.finds.append(Found(answer, receipt))
    sim.submit()
    sim.run(10)
    # SAME_BYTES settles only under overwrite and skip; the policy here is rename.
    assert [call[0] for call in here.calls] == ["deliver", "find", "deliver"]


def test_a_lost_session_restarts_once_within_the_attempt(sim: Simulation, here: Script) -> None:
    here.then(fails(ErrorKind.SESSION_LOST))
    ident = sim.submit()["here"]
    assert sim.run(10) == [0]
    assert here.deliveries() == 2
    assert sim.delivery(ident).status is Status.DELIVERED
    here.then(fails(ErrorKind.SESSION_LOST), fails(ErrorKind.SESSION_LOST))
    other = sim.submit()["here"]
    assert sim.run(10) == [0, 5]
    assert [a.charged for a in sim.attempts(other)] == [True, False]


def test_an_expired_login_is_tried_once_more_then_held(sim: Simulation, here: Script) -> None:
    here.then(fails(ErrorKind.AUTH_EXPIRED))
    ident = sim.submit()["here"]
    sim.step()
    assert sim.delivery(ident).status is Status.DELIVERED
    assert here.deliveries() == 2
    here.then(fails(ErrorKind.AUTH_EXPIRED), fails(ErrorKind.AUTH_EXPIRED))
    other = sim.submit()["here"]
    sim.step()
    assert sim.attempts(other)[0].kind is ErrorKind.AUTH_REVOKED
    assert not sim.attempts(other)[0].charged
    block = sim.ledger.health.get(["here"])["here"].block
    assert block is not None
    assert block.reason is BlockReason.NEEDS_LOGIN


def test_a_defect_of_the_connector_is_charged_and_bounded(sim: Simulation, here: Script) -> None:
    here.then(ValueError("surprise"))
    ident = sim.submit()["here"]
    assert sim.run(10) == [0, 5]
    first = sim.attempts(ident)[0]
    assert first.kind is ErrorKind.TRANSIENT
    assert first.charged
    assert "ValueError: surprise" in (first.message or "")


def test_a_new_cycle_has_a_fresh_budget_and_the_record_stays(sim: Simulation, here: Script) -> None:
    from conveyor.ledger.records import Filter

    here.then(*[fails() for _ in range(6)])
    ident = sim.submit()["here"]
    sim.run(4400)
    result = sim.ledger.orders.replay(
        Filter(ids=(ident,)), now=sim.clock.now(), expires=lambda _: sim.clock.now() + 10**12
    )
    assert result.done == (ident,)
    here.then(*[fails() for _ in range(5)])
    assert sim.run(4400) == [0, 5, 35, 155, 755, 4355]
    delivery = sim.delivery(ident)
    assert delivery.status is Status.DELIVERED
    assert (delivery.attempt, delivery.cycle) == (12, 2)


def test_a_name_that_had_to_change_is_named_in_the_receipt(sim: Simulation, here: Script) -> None:
    ident = sim.submit(filename="a/b.jpg")["here"]
    sim.step()
    receipt = sim.delivery(ident).receipt
    assert receipt is not None
    (change,) = receipt["name_changed"]
    assert "a/b.jpg" in change


def test_what_is_given_back_does_not_hide_the_last_error(sim: Simulation, here: Script) -> None:
    from conveyor.errors import PayloadError

    here.then(fails(), PayloadError("the store is away"))
    ident = sim.submit()["here"]
    sim.run(6)
    delivery = sim.delivery(ident)
    assert (delivery.attempt, delivery.failures, delivery.status) == (2, 1, Status.PENDING)
    assert (delivery.last_error, delivery.last_error_kind) == ("it is TRANSIENT", ErrorKind.TRANSIENT)
