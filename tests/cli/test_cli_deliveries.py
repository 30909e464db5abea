"""``conveyor deliveries`` and ``conveyor show``."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from cli.operator_line import OperatorLine

from conveyor.cli import session
from conveyor.clock import micros
from conveyor.contract import DeliveryError, ErrorKind, Receipt
from conveyor.ledger.schema import deliveries

DOWN = DeliveryError(ErrorKind.TRANSIENT, "the server answered 503", code="503", hint="ask its owner")
TOO_LONG = DeliveryError(ErrorKind.NAME, "the name is too long there", hint="shorten it")

KEYS = {
    "id",
    "job_id",
    "destination",
    "destination_type",
    "status",
    "state_reason",
    "cure",
    "attempts",
    "failures",
    "budget",
    "cycle",
    "created_at",
    "next_attempt_at",
    "finished_at",
    "expires_at",
    "last_error",
    "last_error_kind",
    "hold_reason",
    "transformed",
    "path",
    "conflict",
    "receipt",
    "replayable",
    "replayable_until",
    "replay_of",
    "priority",
    "filename",
    "session_id",
}


@pytest.fixture
def some(operator: OperatorLine) -> dict[str, str]:
    """Four deliveries: one of each fate."""
    sim = operator.simulation
    operator.script("backend").then(Receipt("r1", size=5, verified="size"), DOWN, TOO_LONG)
    found = {"delivered": sim.submit(to=("backend",), session_id="s1")["backend"]}
    sim.step()
    sim.clock.advance(60)
    found["retrying"] = sim.submit(to=("backend",), session_id="s2")["backend"]
    sim.step()
    found["failed"] = sim.submit(to=("backend",), session_id="s2")["backend"]
    sim.step()
    operator("pause", "partner")
    found["held"] = sim.submit(to=("partner",), session_id="s2")["partner"]
    return found


def ids(line: OperatorLine, *arguments: str) -> list[str]:
    return [each["id"] for each in line.json("deliveries", *arguments)]


def test_the_json_is_a_list_of_exactly_these_objects(operator: OperatorLine, some: dict[str, str]) -> None:
    shown = operator.json("deliveries")
    assert [set(each) for each in shown] == [KEYS] * 4
    assert [each["id"] for each in shown] == [some[k] for k in ("held", "failed", "retrying", "delivered")]
    held, failed, retrying, delivered = shown
    assert (held["status"], held["state_reason"], held["cure"]) == (
        "held",
        "paused",
        "conveyor resume partner",
    )
    assert (failed["status"], failed["state_reason"], failed["last_error_kind"]) == ("failed", None, "NAME")
    assert failed["replayable_until"] == "2027-02-14T08:01:00.000Z"
    assert (retrying["status"], retrying["state_reason"]) == ("pending", "retrying")
    assert (retrying["attempts"], retrying["failures"]) == (1, 1)
    assert retrying["next_attempt_at"] == "2027-01-15T08:01:05.000Z"
    assert (delivered["status"], delivered["receipt"]["reference"]) == ("delivered", "r1")


def test_what_never_expires_is_shown(operator: OperatorLine, some: dict[str, str]) -> None:
    with operator.simulation.ledger.database.write() as connection:
        far = operator.simulation.clock.now() + micros(9_999_999 * 86400.0)
        connection.execute(sa.update(deliveries).values(expires_at=far))
    shown = {each["expires_at"] for each in operator.json("deliveries", "--status", "pending")}
    assert shown == {"9999-12-31T23:59:59.999Z"}
    assert operator("show", some["held"]).code == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--status", "held"], ["held"]),
        (["--status", "failed", "--status", "delivered"], ["failed", "delivered"]),
        (["--status", "failed,retrying"], ["failed", "retrying"]),
        (["-d", "partner"], ["held"]),
        (["--label", "customer=acme", "--status", "retrying"], ["retrying"]),
        (["--session", "s1"], ["delivered"]),
        (["--error-kind", "transient"], ["retrying"]),
        (["--since", "30s"], ["held", "failed", "retrying"]),
        (["--until", "2027-01-15T08:00:30Z"], ["delivered"]),
        (["--limit", "1"], ["held"]),
        (["--limit", "0", "--session", "s2"], ["held", "failed", "retrying"]),
    ],
)
def test_filters(
    operator: OperatorLine, some: dict[str, str], arguments: list[str], expected: list[str]
) -> None:
    assert ids(operator, *arguments) == [some[name] for name in expected]


def test_ids_of_deliveries_and_jobs_and_their_beginnings(
    operator: OperatorLine, some: dict[str, str]
) -> None:
    job = operator.json("deliveries", some["held"])[0]["job_id"]
    assert ids(operator, job) == [some["held"]]
    known = [*some.values(), *(each["job_id"] for each in operator.json("deliveries"))]
    bare = [each[4:] for each in known]
    unique = next(
        some["held"][:n] for n in range(10, 27) if sum(b.startswith(some["held"][4:n]) for b in bare) == 1
    )
    assert ids(operator, unique) == [some["held"]]
    assert ids(operator, unique.removeprefix("dlv_")) == [some["held"]]
    ended = operator("deliveries", some["held"][:10])
    assert ended.code == 2
    assert "is the beginning of several ids" in ended.err


@pytest.mark.parametrize(
    ("arguments", "message", "cure"),
    [
        (["dlv_nobody"], "there is no delivery or job 'dlv_nobody'", "conveyor deliveries"),
        (["-d", "bakend"], "there is no destination 'bakend'", "did you mean 'backend'?"),
        (["--status", "faild"], "unknown status 'faild'", "did you mean 'failed'?"),
        (["--error-kind", "TRANSENT"], "unknown error kind 'TRANSENT'", "did you mean 'TRANSIENT'?"),
        (["--since", "yesterday"], "'yesterday' is no time", "2h"),
    ],
)
def test_mistakes_get_one_message_with_the_cure(
    operator: OperatorLine, some: dict[str, str], arguments: list[str], message: str, cure: str
) -> None:
    ended = operator("deliveries", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert cure in ended.err


def test_a_destination_that_was_removed_is_still_a_filter(operator: OperatorLine) -> None:
    gone = operator.simulation.submit(to=("gone",))["gone"]
    assert ids(operator, "--destination", "gone") == [gone]


def test_the_list_fits_80_columns_and_says_that_there_is_more(
    operator: OperatorLine, some: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    monkeypatch.setattr(session, "console", lambda: Console(width=80, highlight=False, soft_wrap=True))
    ended = operator("deliveries", "--limit", "3")
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["Delivery", "Destination", "Status", "Tries", "When"]
    assert lines[3].split() == [some["failed"], "backend", "failed", "1", "now"]
    assert lines[4] == "    photo.jpg: the name is too long there"
    assert lines[5].split() == [some["retrying"], "backend", "retrying", "1/6", "1", "in", "5", "s"]
    assert "there are more than these 3" in ended.err
    assert operator("deliveries", "--status", "cancelled").out == "no delivery fits\n"


# --- show ------------------------------------------------------------------------------------------------


def test_show_tells_the_whole_story(operator: OperatorLine) -> None:
    sim = operator.simulation
    operator.script("backend").then(
        DOWN,
        DeliveryError(ErrorKind.THROTTLED, "slow down", retry_after=60, code="429"),
        Receipt("photos/1", size=5, verified="sha256", path="photos/1"),
    )
    ident = sim.submit(to=("backend",), session_id="s1", tags=("order:7",))["backend"]
    sim.run(10)
    said = operator("show", ident).out
    assert "tags        order:7" in said
    assert "failed TRANSIENT 503" in said
    assert "hint: ask its owner" in said
    assert "next try 5 s later, 2027-01-15 08:00:05Z (charged)" in said
    assert "asked for a pause; next try 1 min later, 2027-01-15 08:01:05Z (in 55 s) (not charged)" in said
    assert "next try    in 55 s, 2027-01-15 08:01:05Z" in said
    sim.run(60)
    said = operator("show", ident).out
    assert "status      delivered" in said
    assert "photos/1" in said
    assert "sha256" in said

    document = operator.json("show", ident)
    assert set(document) == {"job", "deliveries"}
    (delivery,) = document["deliveries"]
    assert set(delivery) == KEYS | {"timeline", "replays", "cleanups"}
    first = delivery["timeline"][0]
    assert (first["outcome"], first["kind"], first["code"], first["charged"]) == (
        "failed",
        "TRANSIENT",
        "503",
        True,
    )
    assert (first["follows"], first["next_attempt_at"]) == ("retry", "2027-01-15T08:00:05.000Z")
    assert [attempt["follows"] for attempt in delivery["timeline"]] == ["retry", "throttle", "none"]


def test_show_names_cure_replays_and_cleanups(operator: OperatorLine) -> None:
    sim = operator.simulation

    def begin(parcel: object, target: object, context: object) -> Receipt:
        context.save(upload="u1")  # type: ignore[attr-defined]
        raise TOO_LONG

    operator.script("backend").then(begin)
    operator.script("backend").abandons.append(DeliveryError(ErrorKind.TRANSIENT, "not now"))
    ident = sim.submit(to=("backend",))["backend"]
    sim.step()
    said = operator("show", ident).out
    assert f"→ shorten it; then conveyor replay {ident}" in said
    assert "what it had begun at backend is still to be removed: 1 tries" in said
    assert "not now" in said
    again = operator.json("replay", ident, "--new-id")["replayed"][0]
    assert operator.json("show", ident)["deliveries"][0]["replays"] == [again]
    assert f"replayed as {again}" in operator("show", ident).out
    assert f"replay of   {ident}" in operator("show", again).out


def test_show_of_a_job_shows_each_delivery(operator: OperatorLine) -> None:
    submitted = operator.simulation.submit(to=("backend", "partner"))
    operator("pause", "partner")
    operator.simulation.step()
    job = operator.json("show", submitted["backend"])["job"]["id"]
    shown = operator.json("show", job)["deliveries"]
    assert [each["destination"] for each in shown] == ["backend", "partner"]
    assert operator("show", job).out.count("delivery    dlv_") == 2
    ended = operator("show", "dlv_nobody")
    assert (ended.code, "there is no delivery or job" in ended.err) == (2, True)
