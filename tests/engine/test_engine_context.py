"""What a running attempt may rely on: its saved state, its fence, its lease, its limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.contract import (
    AttemptContext,
    Capabilities,
    ConflictPolicy,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    Target,
)
from conveyor.delivery.context import FRESH, LATE, TimeLimits
from conveyor.errors import LedgerError, LedgerUnavailable
from conveyor.ledger.records import AttemptOutcome, Filter, Status
from conveyor.testing.scripted import SCRIPTED_SPEC, Script, ScriptedOptions
from conveyor.testing.simulation import Simulation, destination

Deliver = Callable[[Parcel, Target, AttemptContext], Receipt]


def saves(**state: Any) -> Deliver:
    """Save, then fail."""

    def act(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.save(**state)
        raise DeliveryError(ErrorKind.TRANSIENT, "after the save")

    return act


def tells(seen: list[Any]) -> Deliver:
    """Note the state, then succeed."""

    def act(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        seen.append(dict(context.state))
        return Receipt(target.path)

    return act


def overwriting(**changes: Any) -> Any:
    return destination(conflict=ConflictPolicy.OVERWRITE, **changes)


# --- saved state -----------------------------------------------------------------------------------


def test_state_reaches_the_next_attempt_merged_and_without_what_was_removed(
    sim: Simulation, here: Script
) -> None:
    seen: list[Any] = []

    def twice(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.save(upload="u1", part=1, gone="x")
        context.save(part=2, gone=None)
        raise DeliveryError(ErrorKind.TRANSIENT, "no")

    here.then(twice, tells(seen))
    sim.submit()
    assert sim.run(10) == [0, 5]
    assert seen == [{"upload": "u1", "part": 2}]


def test_state_is_committed_before_save_returns_and_is_not_readable(sim: Simulation, here: Script) -> None:
    raw: list[bytes] = []

    def looks(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.save(session="https://upload.example/secret-session-url")
        import sqlite3

        with sqlite3.connect(sim.ledger.database.name) as other:
            raw.append(other.execute("SELECT state FROM deliveries").fetchone()[0])
        other.close()
        return Receipt(target.path)

    here.then(looks)
    sim.submit()
    sim.step()
    assert raw[0]
    assert b"secret-session-url" not in raw[0]
    assert b"secret-session-url" in sim.keyring.decrypt(raw[0])


@pytest.mark.parametrize(
    "change",
    [
        {"options": ScriptedOptions(script="here", place="elsewhere")},
        {"options": ScriptedOptions(script="here", place="here"), "revision": "3"},
    ],
)
def test_state_of_another_endpoint_is_abandoned_and_of_the_same_one_kept(
    sim: Simulation, here: Script, change: dict[str, Any]
) -> None:
    moved = change["options"].place == "elsewhere"
    seen: list[Any] = []
    here.then(saves(upload="u1"), tells(seen))
    ident = sim.submit()["here"]
    sim.step()
    sim.source.put(destination(**{"revision": "2", **change}))
    sim.run(10)
    assert seen == [{}] if moved else [{"upload": "u1"}]
    assert here.abandoned == ([{"upload": "u1"}] if moved else [])
    assert len(sim.ledger.cleanups.get(ident)) == (1 if moved else 0)


def test_save_is_fenced(sim: Simulation, here: Script) -> None:
    ident = sim.submit()["here"]

    def is_reaped(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        sim.ledger.workers.retire(sim.parts.me.id)
        sim.parts.keeper.reap()
        context.save(upload="too late")
        raise AssertionError("the save was not refused")

    here.then(is_reaped)
    sim.serve(sim.parts)
    assert sim.delivery(ident).status is Status.PENDING
    assert [a.outcome for a in sim.attempts(ident)] == [AttemptOutcome.LOST]
    seen: list[Any] = []
    here.then(tells(seen))
    sim.parts.heartbeat.register()
    assert sim.run(10) == [5]
    assert seen == [{}]


def test_state_under_a_lost_key_holds_the_destination_with_the_cure(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.then(saves(upload="u1"))
    ident = sim.submit()["here"]
    sim.step()

    def other_key(token: bytes) -> bytes:
        raise LedgerError("encrypted under another key", cure="add the earlier key")

    monkeypatch.setattr(sim.keyring, "decrypt", other_key)
    sim.clock.advance(5)
    assert sim.step() == 1
    last = sim.attempts(ident)[-1]
    assert (last.kind, last.charged, last.hint) == (ErrorKind.CONFIG, False, "add the earlier key")


def test_a_final_failure_hands_the_state_to_the_cleaner(sim: Simulation, here: Script) -> None:
    def fails(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.save(upload="u1")
        raise DeliveryError(ErrorKind.REJECTED, "never")

    here.then(fails)
    sim.submit()
    sim.step()
    assert here.abandoned == [{"upload": "u1"}]


@pytest.mark.parametrize("lost", [True, False])
def test_what_a_dead_worker_may_yet_bring_about_is_abandoned_some_minutes_later(
    sim: Simulation, here: Script, lost: bool
) -> None:
    """Nothing is under way any more of an attempt that ended before our eyes."""

    def fails(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        if lost:
            sim.ledger.workers.retire(sim.parts.me.id)
            sim.parts.keeper.reap()
        raise DeliveryError(ErrorKind.TRANSIENT, "no")

    def succeeds(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.abandon_later(temporary="t1")
        return Receipt("there")

    here.then(fails, succeeds)
    ident = sim.submit()["here"]
    sim.serve(sim.parts)
    sim.parts.heartbeat.register()
    sim.run(10)
    assert sim.delivery(ident).status is Status.DELIVERED
    assert here.abandoned == []
    sim.clock.advance(LATE)
    assert sim.parts.cleaner.step() is lost
    assert here.abandoned == ([{"temporary": "t1"}] if lost else [])


def test_what_an_earlier_attempt_began_goes_when_the_name_is_taken(sim: Simulation, here: Script) -> None:
    def skips(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        return Receipt("there", skipped=True)

    here.then(saves(upload="u1"), skips)
    sim.submit()
    sim.step()
    sim.run(10)
    assert here.abandoned == [{"upload": "u1"}]


# --- before_commit ---------------------------------------------------------------------------------


def test_a_late_retry_never_replaces_the_file_of_a_later_job(sim: Simulation, here: Script) -> None:
    from conveyor.paths import Template

    sim.source.put(overwriting(template=Template.parse("{filename}")))
    here.then(saves(upload="u1"))
    early = sim.submit(b"early")["here"]
    sim.step()
    sim.clock.advance(1)
    late = sim.submit(b"late")["here"]
    assert sim.step() == 1
    assert sim.delivery(late).status is Status.DELIVERED
    assert sim.run(10) == [4]
    delivery = sim.delivery(early)
    assert delivery.status is Status.DELIVERED
    assert delivery.receipt is not None
    assert delivery.receipt["superseded"] is True
    # What it had begun there is removed.
    sim.step()
    assert here.abandoned == [{"upload": "u1"}]


def test_messages_do_not_supersede_each_other(sim: Simulation, here: Script) -> None:
    from dataclasses import replace

    from conveyor.paths import Template

    spec = replace(SCRIPTED_SPEC, capabilities=Capabilities(places=False))
    options = ScriptedOptions(script="here")
    template = Template.parse("{filename}")
    sim.source.put(overwriting(template=template, spec=spec, options=options))
    here.then(DeliveryError(ErrorKind.TRANSIENT, "no"))
    early = sim.submit(b"early")["here"]
    sim.step()
    sim.clock.advance(1)
    sim.submit(b"late")
    sim.run(10)
    receipt = sim.delivery(early).receipt
    assert receipt is not None
    assert "superseded" not in receipt


def test_the_same_bytes_of_somebody_else_settle_it_and_what_was_begun_is_removed(
    sim: Simulation, here: Script
) -> None:
    sim.source.put(overwriting())

    def unknown(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.save(upload="u1")
        raise DeliveryError(ErrorKind.UNKNOWN_OUTCOME, "no answer")

    here.then(unknown)
    here.finds.append(Found(FoundKind.SAME_BYTES, Receipt("there", size=5)))
    ident = sim.submit()["here"]
    sim.run(20)
    assert sim.delivery(ident).status is Status.DELIVERED
    assert here.abandoned == [{"upload": "u1"}]


@pytest.mark.parametrize("replayed", [False, True])
def test_what_is_ours_may_be_of_an_earlier_upload_so_that_the_last_one_is_abandoned(
    sim: Simulation, here: Script, replayed: bool
) -> None:
    def unknown(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.save(upload="u1")
        raise DeliveryError(ErrorKind.UNKNOWN_OUTCOME, "no answer")

    ident = sim.submit()["here"]
    if replayed:
        assert sim.step() == 1
        orders = sim.ledger.orders
        until = sim.clock.now() + 3600 * SECOND
        orders.replay(Filter(ids=(ident,)), now=sim.clock.now(), expires=lambda _: until, force=True)
    here.then(unknown)
    here.finds.append(Found(FoundKind.MINE, Receipt("there", size=5)))
    sim.run(20)
    assert sim.delivery(ident).status is Status.DELIVERED
    assert here.abandoned == [{"upload": "u1"}]


def test_what_delivered_is_not_abandoned(sim: Simulation, here: Script) -> None:
    def half(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.save(upload="u1")
        raise DeliveryError(ErrorKind.TRANSIENT, "cut")

    here.then(half)
    ident = sim.submit()["here"]
    sim.run(20)
    assert sim.delivery(ident).status is Status.DELIVERED
    assert here.abandoned == []
    assert sim.ledger.cleanups.get(ident) == []


def test_whose_a_delivery_is_is_asked_again_once_the_claim_is_no_longer_fresh(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(sim.ledger.states, "owns", lambda *_: not asked.append(sim.clock.monotonic()))

    def publishes_twice(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.before_commit()
        assert asked == []
        sim.clock.advance(FRESH)
        context.before_commit()
        return Receipt("there", size=5)

    here.then(publishes_twice)
    ident = sim.submit()["here"]
    sim.step()
    assert sim.delivery(ident).status is Status.DELIVERED
    assert len(asked) == 1


@pytest.mark.parametrize("kind", [LedgerUnavailable, LedgerError])
@pytest.mark.parametrize("question", ["owns", "superseded", "save"])
def test_a_ledger_that_cannot_answer_gives_the_attempt_back_uncharged(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch, kind: type[LedgerError], question: str
) -> None:
    sim.source.put(overwriting())

    def away(*_: object) -> bool:
        raise kind("cannot be used")

    def asks(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        with monkeypatch.context() as broken:
            broken.setattr(sim.ledger.states, question, away)
            if question == "save":
                context.save(upload="u1")
            sim.clock.advance(FRESH)
            context.before_commit()
        raise AssertionError("published without being sure")

    here.then(asks)
    ident = sim.submit()["here"]
    assert sim.serve(sim.parts) == 1
    delivery = sim.delivery(ident)
    assert (delivery.status, delivery.failures) == (Status.PENDING, 0)
    (attempt,) = sim.attempts(ident)
    assert (attempt.outcome, attempt.charged) == (AttemptOutcome.GIVEN_BACK, False)
    assert not sim.parts.may_claim()
    sim.clock.advance(2)
    assert sim.parts.may_claim()


def test_a_process_that_stays_unwell_claims_more_and_more_rarely_until_it_is_well(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conveyor.errors import PayloadError

    def gone(record: object) -> None:
        raise PayloadError("the payload store is not mounted")

    ident = sim.submit()["here"]
    with monkeypatch.context() as broken:
        broken.setattr(sim.payloads, "verify", gone)
        times = []
        for second in range(300):
            times += [second] * sim.step()
            sim.clock.advance(1)
    assert times == [0, 2, 6, 14, 30, 62, 122, 182, 242]
    sim.run(60)
    assert sim.delivery(ident).status is Status.DELIVERED
    assert sim.delivery(ident).failures == 0


def test_a_lease_unconfirmed_for_two_thirds_stops_the_attempt(sim: Simulation, here: Script) -> None:
    def starves(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        sim.clock.advance(39)
        sim.parts.watchdog.look()
        context.check()
        sim.clock.advance(1)
        sim.parts.watchdog.look()
        context.check()
        raise AssertionError("went on without a lease")

    here.then(starves)
    ident = sim.submit()["here"]
    sim.serve(sim.parts)
    (attempt,) = sim.attempts(ident)
    assert (attempt.outcome, attempt.message) == (AttemptOutcome.GIVEN_BACK, "given back: lease")
    assert not sim.parts.may_claim()
    sim.clock.advance(60)
    sim.parts.heartbeat.beat()
    assert sim.parts.may_claim()


def test_before_commit_itself_looks_at_the_lease(sim: Simulation, here: Script) -> None:
    def starves(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        sim.clock.advance(40)
        context.before_commit()
        raise AssertionError("published without a lease")

    here.then(starves)
    ident = sim.submit()["here"]
    sim.serve(sim.parts)
    assert sim.attempts(ident)[0].outcome is AttemptOutcome.GIVEN_BACK


@pytest.mark.parametrize("sent", [0, 5])
def test_what_was_given_back_after_bytes_had_left_is_looked_for(
    sim: Simulation, here: Script, sent: int
) -> None:
    from conveyor.delivery.context import Stop

    def is_stopped(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        if sent:
            context.progress(sent)
        sim.parts.watchdog.stop_all(Stop.SHUTDOWN)
        context.check()
        raise AssertionError("not stopped")

    here.then(is_stopped)
    sim.submit()
    sim.step()
    sim.clock.advance(2)
    sim.step()
    methods = [call[0] for call in here.calls]
    assert methods == (["deliver", "find", "deliver"] if sent else ["deliver", "deliver"])


# --- limits ----------------------------------------------------------------------------------------


def test_the_deadline_grows_with_the_size() -> None:
    limits = TimeLimits.for_size(32 * 1024 * 100, base=60, min_rate=32 * 1024, idle=120, answer=30)
    assert limits.total == 160
    assert TimeLimits.for_size(0, base=60, min_rate=1, idle=120, answer=30).total == 60


@pytest.mark.parametrize(
    ("moments", "uploaded_after", "kind", "words"),
    [
        # Bytes every 100 s never idle; the deadline of 300 s + nothing passes.
        ([100, 100, 99.9, 0.2], None, ErrorKind.UNKNOWN_OUTCOME, "not finished after 300 s"),
        ([100, 119.9, 0.2], None, ErrorKind.TRANSIENT, "no byte was taken for 120 s"),
        # From the last byte on only the answer's own limit counts.
        ([100, 29.9, 0.2], 1, ErrorKind.UNKNOWN_OUTCOME, "not finished after 130 s"),
    ],
)
def test_limits_are_kept_by_the_watchdog(
    sim: Simulation,
    here: Script,
    moments: list[float],
    uploaded_after: int | None,
    kind: ErrorKind,
    words: str,
) -> None:
    limits = destination().limits
    sim.source.put(destination(limits=type(limits)(base_timeout=300.0, min_rate=10**9, idle_timeout=120.0)))
    stopped_at: list[int] = []

    def dawdles(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        for number, seconds in enumerate(moments):
            if number == uploaded_after:
                context.uploaded()
            sim.clock.advance(seconds)
            sim.parts.heartbeat.beat()
            sim.parts.watchdog.look()
            stopped_at.append(number)
            if number == 0 or (uploaded_after is None and kind is ErrorKind.UNKNOWN_OUTCOME):
                context.progress(1)
            else:
                context.check()
        raise AssertionError("no limit was kept")

    here.then(dawdles)
    ident = sim.submit()["here"]
    sim.serve(sim.parts)
    assert stopped_at[-1] == len(moments) - 1
    (attempt,) = sim.attempts(ident)
    assert (attempt.kind, attempt.message, attempt.charged) == (kind, words, True)


# --- defects of connectors -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit("bye"), GeneratorExit(), ValueError("surprise")])
def test_whatever_a_connector_raises_the_claim_is_reported(
    sim: Simulation, here: Script, error: BaseException
) -> None:
    here.then(error)
    ident = sim.submit()["here"]
    assert sim.step() == 1
    (attempt,) = sim.attempts(ident)
    assert (attempt.kind, attempt.charged) == (ErrorKind.TRANSIENT, True)
    assert type(error).__name__ in (attempt.message or "")
    assert sim.parts.inbox.running == 0


def test_a_receipt_is_bounded_and_never_costs_the_success(sim: Simulation, here: Script) -> None:
    circular: dict[str, Any] = {}
    circular["self"] = circular
    extra: Any = {"odd": object()}
    here.then(
        Receipt("r" * 100_000, size=5, digest="sha256:00\x00", extra=extra),
        Receipt("r", extra=circular),
        Receipt("r", extra={"nan": math.nan}),
        Receipt("r", extra={"big": "x" * 100_000}),
        Receipt("r", extra={"fine": [1, "two"]}),
    )
    idents = [sim.submit()["here"] for _ in range(5)]
    sim.step()
    receipts = [sim.delivery(ident).receipt or {} for ident in idents]
    assert len(receipts[0]["reference"]) == 4096
    assert receipts[0]["digest"] == "sha256:00 "
    assert [receipt.get("extra") for receipt in receipts] == [None] * 4 + [{"fine": [1, "two"]}]
    assert {sim.delivery(ident).status for ident in idents} == {Status.DELIVERED}


@pytest.mark.parametrize("stated", [math.nan, math.inf, -5.0])
@pytest.mark.parametrize("kind", [ErrorKind.THROTTLED, ErrorKind.TRANSIENT])
def test_an_absurd_delay_is_no_delay(sim: Simulation, here: Script, kind: ErrorKind, stated: float) -> None:
    here.then(DeliveryError(kind, "later", retry_after=stated))
    ident = sim.submit()["here"]
    sim.run(10)
    assert sim.delivery(ident).status is Status.DELIVERED
    assert sim.attempts(ident)[0].message == "later"


def test_a_connector_that_cannot_be_closed_costs_nothing(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conveyor.testing.scripted import ScriptedConnector

    def stuck(self: ScriptedConnector) -> None:
        raise OSError("already closed")

    monkeypatch.setattr(ScriptedConnector, "close", stuck)
    here.then(DeliveryError(ErrorKind.TRANSIENT, "so it is closed"))
    ident = sim.submit()["here"]
    assert sim.run(10) == [0, 5]
    assert sim.attempts(ident)[0].message == "so it is closed"
    sim.run(70)
    assert sim.delivery(ident).status is Status.DELIVERED


def test_a_template_that_fails_unexpectedly_harms_its_own_destination_only(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conveyor.paths import Template
    from conveyor.paths import place as real

    def place(template: Any, *args: Any, **more: Any) -> Any:
        if template.text.startswith("bad"):
            raise OverflowError("year 10000")
        return real(template, *args, **more)

    sim.source.put(destination("spoilt", template=Template.parse("bad/{filename}")))
    monkeypatch.setattr("conveyor.delivery.placing.place", place)
    idents = sim.submit(to=("here", "spoilt"))
    sim.step()
    assert sim.delivery(idents["here"]).status is Status.DELIVERED
    assert sim.delivery(idents["spoilt"]).failures == 1
