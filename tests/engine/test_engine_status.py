"""What people and programs are told: the published shape, reasons, selections."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.contract import DeliveryError, ErrorKind
from conveyor.errors import Problem, UsageError
from conveyor.ledger.records import Filter, Status
from conveyor.status.reasons import Standing
from conveyor.status.selection import Selection, moment
from conveyor.status.session import session_status
from conveyor.testing.scripted import Script, script
from conveyor.testing.simulation import Simulation, destination


def session(sim: Simulation, name: str = "s1") -> dict[str, Any]:
    return session_status(name, sim.ledger.deliveries.session(name), sim.source)


def replay(sim: Simulation, ident: str, **more: Any) -> Any:
    later = sim.clock.now() + 10**12
    return sim.ledger.orders.replay(
        Filter(ids=(ident,)), now=sim.clock.now(), expires=lambda _: later, **more
    )


# --- the published shape ---------------------------------------------------------------------------


def test_the_shape_is_exact(sim: Simulation, here: Script) -> None:
    sim.source.put(destination("other", name="The Other"))
    script("other").then(DeliveryError(ErrorKind.TRANSIENT, "come back"))
    sim.submit(to=("here", "other"), session_id="s1", image_id="i1", image_index=0, filename="a.jpg")
    sim.step()
    assert session(sim) == {
        "session_id": "s1",
        "status": "pending",
        "images": [
            {
                "image_id": "i1",
                "image_index": 0,
                "filename": "a.jpg",
                "deliveries": [
                    {
                        "destination_id": "here",
                        "destination_name": "here",
                        "destination_type": "scripted",
                        "status": "delivered",
                        "attempts": 1,
                        "delivered_at": "2027-01-15T08:00:00.000Z",
                        "last_error": None,
                    },
                    {
                        "destination_id": "other",
                        "destination_name": "The Other",
                        "destination_type": "scripted",
                        "status": "pending",
                        "attempts": 1,
                        "next_retry_at": "2027-01-15T08:00:05.000Z",
                        "last_error": "come back",
                    },
                ],
            }
        ],
    }


def test_an_unknown_session_is_empty_and_pending(sim: Simulation) -> None:
    assert session(sim, "nobody") == {"session_id": "nobody", "status": "pending", "images": []}


def test_the_aggregate_is_completed_only_when_everything_is_and_failed_when_something_is(
    sim: Simulation, here: Script
) -> None:
    first = sim.submit(session_id="s1")["here"]
    assert session(sim)["status"] == "pending"
    sim.step()
    assert session(sim)["status"] == "completed"
    here.then(DeliveryError(ErrorKind.REJECTED, "never"))
    second = sim.submit(session_id="s1")["here"]
    assert session(sim)["status"] == "pending"
    sim.step()
    third = sim.submit(session_id="s1")["here"]
    assert session(sim)["status"] == "failed"  # while another still waits
    replay(sim, second)
    assert session(sim)["status"] == "pending"
    sim.step()
    assert session(sim)["status"] == "completed"
    assert len({first, second, third}) == 3


def test_a_replay_under_a_new_id_takes_the_place_of_what_it_repeats(sim: Simulation, here: Script) -> None:
    here.then(DeliveryError(ErrorKind.REJECTED, "never"))
    ident = sim.submit(session_id="s1")["here"]
    sim.step()
    replay(sim, ident, new_id=True)
    sim.parts.dispatcher.ring()
    assert session(sim)["status"] == "pending"
    sim.step()
    shown = session(sim)
    assert shown["status"] == "completed"
    assert [d["status"] for d in shown["images"][0]["deliveries"]] == ["delivered"]


def test_images_stand_in_their_order_those_without_an_index_last(sim: Simulation) -> None:
    for index, name in ((None, "last.jpg"), (40, "forty.jpg"), (2, "two.jpg")):
        sim.submit(session_id="s1", image_index=index, filename=name)
        sim.clock.advance(1)
    assert [image["filename"] for image in session(sim)["images"]] == ["two.jpg", "forty.jpg", "last.jpg"]


def test_held_and_cancelled_map_onto_the_published_words(sim: Simulation) -> None:
    sim.source.put(destination(is_active=False))
    ident = sim.submit(session_id="s1")["here"]
    sim.step()
    (delivery,) = session(sim)["images"][0]["deliveries"]
    assert delivery["status"] == "pending"
    sim.ledger.orders.cancel(Filter(ids=(ident,)), now=sim.clock.now())
    (delivery,) = session(sim)["images"][0]["deliveries"]
    assert (delivery["status"], delivery["next_retry_at"]) == ("failed", None)


# --- reasons ---------------------------------------------------------------------------------------


def standing(sim: Simulation) -> Standing:
    return Standing(sim.source, sim.ledger.health.get(None))


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        (ErrorKind.TRANSIENT, "pending", "retrying"),
        (ErrorKind.THROTTLED, "pending", "throttled"),
        (ErrorKind.AUTH_REVOKED, "held", "needs_login"),
        (ErrorKind.QUOTA, "held", "quota"),
        (ErrorKind.CONFIG, "held", "config_error"),
        (ErrorKind.GONE, "held", "deactivated"),
    ],
)
def test_reasons_after_an_error(
    sim: Simulation, here: Script, kind: ErrorKind, status: str, reason: str
) -> None:
    here.then(DeliveryError(kind, "no"))
    ident = sim.submit()["here"]
    assert standing(sim).of(sim.delivery(ident)) == ("pending", "queued")
    sim.step()
    assert standing(sim).of(sim.delivery(ident)) == (status, reason)
    assert (standing(sim).cure(sim.delivery(ident)) is not None) is (status == "held")
    # An edit ends what is not the receiver's own word.
    sim.source.put(destination(revision="2"))
    edited = standing(sim).of(sim.delivery(ident))
    assert edited == ((status, reason) if reason in ("throttled", "deactivated", "retrying") else edited)
    assert edited[0] == ("held" if reason == "deactivated" else "pending")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"is_active": False}, "inactive"),
        ({"problem": Problem("misspelt", destination="here")}, "invalid_config"),
        (None, "removed"),
        ("pause", "paused"),
    ],
)
def test_reasons_of_the_config_and_the_operator(sim: Simulation, change: Any, reason: str) -> None:
    ident = sim.submit()["here"]
    if change is None:
        sim.source.remove("here")
    elif change == "pause":
        sim.ledger.health.pause(["here"], None, sim.clock.now())
    else:
        sim.source.put(destination(**change))
    assert standing(sim).of(sim.delivery(ident)) == ("held", reason)
    assert "here" in (standing(sim).cure(sim.delivery(ident)) or "") or reason == "invalid_config"


def test_what_is_final_has_no_reason(sim: Simulation) -> None:
    ident = sim.submit()["here"]
    sim.step()
    sim.source.remove("here")
    assert standing(sim).of(sim.delivery(ident)) == ("delivered", None)


# --- selections ------------------------------------------------------------------------------------


def select(sim: Simulation, **words: Any) -> list[str]:
    known = [due.destination for due in sim.ledger.claims.due(sim.clock.now())]
    wanted = Selection(**words).filter(sim.source, standing(sim), known, sim.clock.now())
    return [d.id for d in sim.ledger.deliveries.find(wanted, limit=100)]


@pytest.fixture
def six(sim: Simulation) -> dict[str, str]:
    """One delivery of each kind of standing, the first four a second apart."""
    idents = {}
    for name, labels in (
        ("good", {"customer": "acme"}),
        ("bad", {"customer": "acme", "eu": "yes"}),
        ("off", {}),
    ):
        sim.source.put(destination(name, labels=labels, is_active=name != "off"))
    plans: list[tuple[str, str, ErrorKind | None]] = [
        ("delivered", "good", None),
        ("failed", "bad", ErrorKind.REJECTED),
        ("retrying", "bad", ErrorKind.TRANSIENT),
        ("inactive", "off", None),
    ]
    for what, name, kind in plans:
        if kind is not None:
            script(name).then(DeliveryError(kind, "no"))
        idents[what] = sim.submit(to=(name,), session_id=f"s-{what}")[name]
        sim.step()
        sim.clock.advance(1)
    idents["removed"] = sim.submit(to=("nowhere",))["nowhere"]
    idents["queued"] = sim.submit(to=("good",))["good"]
    return idents


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ({}, {"delivered", "failed", "retrying", "inactive", "removed", "queued"}),
        ({"status": ["held"]}, {"inactive", "removed"}),
        ({"status": ["retrying"]}, {"retrying"}),
        ({"status": ["pending"]}, {"retrying", "inactive", "removed", "queued"}),
        ({"status": ["held", "failed"]}, {"inactive", "removed", "failed"}),
        ({"label": ["customer=acme"]}, {"delivered", "failed", "retrying", "queued"}),
        ({"label": ["customer=acme", "eu"]}, {"failed", "retrying"}),
        ({"label": ["eu"], "status": ["failed"]}, {"failed"}),
        ({"label": ["customer=acme"], "destination": ["good", "off"]}, {"delivered", "queued"}),
        ({"error_kind": ["rejected"]}, {"failed"}),
        ({"session": ["s-failed", "s-delivered"]}, {"failed", "delivered"}),
    ],
)
def test_selections(sim: Simulation, six: dict[str, str], words: dict[str, Any], found: set[str]) -> None:
    chosen = set(select(sim, **words))
    assert {name for name, ident in six.items() if ident in chosen} == found


def test_since_is_inclusive_and_until_exclusive(sim: Simulation, six: dict[str, str]) -> None:
    # The first four were submitted 4, 3, 2 and 1 seconds ago.
    since, until = set(select(sim, since="2s")), set(select(sim, until="2s"))
    assert until == {six["delivered"], six["failed"]}
    assert since == set(six.values()) - until


@pytest.mark.parametrize(
    "words",
    [
        {"status": ["deliverd"]},
        {"error_kind": ["nonsense"]},
        {"label": ["nobody=has-it"]},
        {"label": ["customer=acme"], "destination": ["off"]},
        {"since": "yesterday"},
        {"until": "2x"},
    ],
)
def test_what_means_nothing_is_refused(sim: Simulation, six: dict[str, str], words: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        select(sim, **words)


def test_moments() -> None:
    now = 1_800_000_000 * SECOND
    assert moment(None, now) is None
    assert moment("90s", now) == now - 90 * SECOND
    assert moment("1.5h", now) == now - 5400 * SECOND
    assert moment("2w", now) == now - 14 * 86400 * SECOND
    assert moment("99999999999w", now) == 0
    noon = 1_795_348_800 * SECOND
    assert moment("2026-11-22T12:00:00Z", now) == noon
    assert moment("2026-11-22T13:00:00+01:00", now) == noon
    assert moment("2026-11-22 12:00:00", now) == noon
    assert moment(datetime(2026, 11, 22, 12), now) == noon
    assert moment(datetime(2026, 11, 22, 12, tzinfo=UTC), now) == noon


def test_nothing_given_matches_all_and_anything_given_does_not() -> None:
    assert Selection().matches_all
    assert not Selection(since="2h").matches_all
    assert not Selection(ids=["x"]).matches_all
    assert Status.PENDING in Filter(statuses=frozenset({Status.PENDING})).statuses
