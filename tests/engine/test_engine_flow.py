"""Rates, priorities and shared caps as the engine uses them; noisy neighbours."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.config.model import SharedLimits
from conveyor.contract import OAuthOptions
from conveyor.ids import new as new_id
from conveyor.ledger.records import Claimed, JobRecord, NewDelivery, Status, Submission
from conveyor.testing.scripted import SCRIPTED_SPEC
from conveyor.testing.simulation import Simulation, destination

Limits = type(destination().limits)


def fill(sim: Simulation, name: str, count: int, *, priority: int = 0) -> list[str]:
    """Many deliveries of one payload, in one transaction."""
    payload = sim.payloads.put(io.BytesIO(b"photo"), digests=frozenset({"sha256", "md5"}))
    now = sim.clock.now()
    items, idents = [], []
    for number in range(count):
        own = replace(payload, id=new_id("pay", sim.clock))
        job = JobRecord(new_id("job", sim.clock), now, f"{number}.jpg", "image/jpeg", own)
        idents.append(new_id("dlv", sim.clock))
        delivery = NewDelivery(idents[-1], name, "scripted", now + 10**12, now, priority)
        items.append(Submission(job, (delivery,)))
    sim.ledger.submissions.submit(items)
    sim.parts.dispatcher.ring()
    return idents


def finish(sim: Simulation, claims: list[Claimed]) -> None:
    for claim in claims:
        sim.parts.inbox.add(claim)
        sim.parts.work(claim.delivery_id)
    sim.parts.completions.flush()


def limited(name: str = "here", **limits: Any) -> Any:
    return destination(name, limits=Limits(**limits))


def test_a_rate_is_kept_to_the_tenth_of_a_second(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, limited(rate=10.0))
    fill(sim, "here", 30)
    times = sim.run(5, every=0.05)
    assert len(times) == 30
    # Two of the burst, then ten a second.
    assert times[-1] == pytest.approx(2.8, abs=0.11)
    for start in range(25):
        assert len([t for t in times if start / 10 <= t < start / 10 + 1]) <= 12
    sim.close()


def test_a_slow_rate_does_not_keep_the_dispatcher_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = Simulation(tmp_path, limited(rate=1 / 60))
    fill(sim, "here", 3)
    made = []
    real = sim.ledger.claims.claim
    monkeypatch.setattr(
        sim.ledger.claims, "claim", lambda *a, **k: (made.append(sim.clock.now()), real(*a, **k))[1]
    )
    assert sim.run(130, every=0.01) == [0, pytest.approx(60, abs=0.02), pytest.approx(120, abs=0.02)]
    # A look each second, since an edit may have raised the rate.
    assert len(made) < 2 * 130
    sim.close()


def test_an_edit_raises_a_rate_within_a_second(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, limited(rate=1 / 3600))
    fill(sim, "here", 5)
    assert len(sim.run(5, every=0.1)) == 1
    sim.source.put(destination("here", revision="2"))
    assert len(sim.run(1.2, every=0.1)) == 4
    sim.close()


def test_what_waits_for_its_rate_is_due_all_the_same(tmp_path: Path) -> None:
    """``run --until-idle`` must not leave it behind."""
    sim = Simulation(tmp_path, limited(rate=1 / 3600))
    fill(sim, "here", 2)
    sim.step()
    assert sim.parts.dispatcher.claim(4) == []
    assert sim.parts.dispatcher.due_within(0)
    sim.close()


def test_a_rate_of_one_does_not_hold_up_another(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, limited("slow", rate=0.1), limited("quick"))
    fill(sim, "slow", 50)
    sim.serve(sim.parts)
    quick = fill(sim, "quick", 20)
    sim.clock.advance(0.01)
    sim.serve(sim.parts)
    assert {sim.delivery(ident).status for ident in quick} == {Status.DELIVERED}
    sim.close()


def test_half_a_million_like_backlog_delays_nobody(tmp_path: Path) -> None:
    """However much waits for one, another one's delivery is in the very next round, in few statements."""
    sim = Simulation(tmp_path, limited("noisy", concurrency=1000), limited("quiet"))
    fill(sim, "noisy", 1500, priority=1)
    fill(sim, "noisy", 1500)
    claims = sim.parts.dispatcher.claim(4)
    assert [claim.destination for claim in claims] == ["noisy"] * 4
    for _ in range(5):
        finish(sim, claims)
        (quiet,) = fill(sim, "quiet", 1)
        sim.clock.advance(0.01)
        claims = sim.parts.dispatcher.claim(4)
        assert quiet in [claim.delivery_id for claim in claims]
        assert len(claims) == 3  # two of the noisy one's share: room is taken up in the next round
    sim.close()


def test_an_urgent_one_overtakes_the_backlog_of_its_destination(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, limited(concurrency=1))
    fill(sim, "here", 100)
    finish(sim, sim.parts.dispatcher.claim(1))
    (urgent,) = fill(sim, "here", 1, priority=5)
    sim.clock.advance(0.01)
    (claim,) = sim.parts.dispatcher.claim(1)
    assert claim.delivery_id == urgent
    sim.close()


def test_a_connections_limits_hold_for_its_destinations_together(tmp_path: Path) -> None:
    spec = replace(SCRIPTED_SPEC, oauth="acme")

    class Signed(OAuthOptions):
        script: str = ""

    def linked(name: str) -> Any:
        options = Signed(script=name, client_id="app", client_secret="secret", connection="team")
        return destination(name, spec=spec, options=options, shared=SharedLimits("team", concurrency=3))

    sim = Simulation(tmp_path, linked("a"), linked("b"), destination("c"))
    for name in "abc":
        fill(sim, name, 6)
    claims: list[Claimed] = []
    for _ in range(4):
        claims += sim.parts.dispatcher.claim(8)
        sim.clock.advance(0.01)
    taken = [claim.destination for claim in claims]
    assert taken.count("a") + taken.count("b") == 3
    assert taken.count("c") == 6
    # Whichever of them ends, the other may have its place.
    finish(sim, [claim for claim in claims if claim.destination == "a"])
    assert "b" in {claim.destination for claim in sim.parts.dispatcher.claim(8)}
    sim.close()


def test_an_operator_sees_no_rate_in_microseconds_of_debt(tmp_path: Path) -> None:
    """A destination that waits for its rate is not held: nobody has to act."""
    from conveyor.status.reasons import Standing

    sim = Simulation(tmp_path, limited(rate=0.1))
    first, second = fill(sim, "here", 2)
    sim.step()
    standing = Standing(sim.source, sim.ledger.health.get(None))
    states = [standing.of(sim.delivery(ident))[0] for ident in (first, second)]
    assert sorted(states) == ["delivered", "pending"]
    assert sim.parts.dispatcher.next_wake is not None
    assert sim.parts.dispatcher.next_wake <= sim.clock.now() + SECOND
    sim.close()
