"""``conveyor status``: destinations, a job, a session, and what monitors ask."""

from __future__ import annotations

import sqlite3

from cli.operator_line import OperatorLine

from conveyor.clock import SECOND
from conveyor.contract import DeliveryError, ErrorKind, Receipt
from conveyor.ledger.plugin_failures import PluginFailure
from conveyor.ledger.records import Filter

REFUSED = DeliveryError(ErrorKind.AUTH_REVOKED, "login refused for user photos")
DOWN = DeliveryError(ErrorKind.TRANSIENT, "the server answered 503", code="503")
TOO_LONG = DeliveryError(ErrorKind.NAME, "the name is too long there")


def by_id(line: OperatorLine, *arguments: str) -> dict[str, dict[str, object]]:
    return {each["id"]: each for each in line.json("status", *arguments)["destinations"]}


def test_a_fresh_installation_is_all_well(operator: OperatorLine) -> None:
    shown = operator.json("status")
    assert [each["id"] for each in shown["destinations"]] == ["backend", "partner"]
    assert {each["state"] for each in shown["destinations"]} == {"ok"}
    assert shown["totals"]["pending"] == 0
    assert operator("status", "--check").code == 0


def test_live_workers_are_named_and_dead_ones_are_not(operator: OperatorLine) -> None:
    (worker,) = operator.json("status")["workers"]
    assert worker["threads"] == 4
    assert "4 threads: at work" in operator("status").out
    operator.simulation.clock.advance(61)  # its lease is 60 s
    assert operator.json("status")["workers"] == []
    assert "no worker is running: conveyor run starts one" in operator("status").out


def test_numbers_state_reason_and_cure(operator: OperatorLine) -> None:
    operator.script("backend").then(None, TOO_LONG, DOWN)
    operator.script("partner").then(REFUSED)
    for _ in range(3):
        operator.simulation.submit(to=("backend",))
        operator.simulation.step()
    operator.simulation.submit(to=("partner",))
    operator.simulation.step()
    operator.simulation.advance(2.0)

    shown = by_id(operator)
    backend = shown["backend"]
    assert (backend["state"], backend["delivered"], backend["failed"]) == ("ok", 1, 1)
    assert (backend["pending"], backend["retrying"], backend["success_rate"]) == (1, 1, 0.5)
    assert backend["oldest_waiting_seconds"] == 2.0
    assert backend["last_error"] == "the server answered 503"
    partner = shown["partner"]
    assert (partner["state"], partner["reason"], partner["pending"]) == ("held", "needs_login", 1)
    assert partner["detail"] == "login refused for user photos"
    assert partner["cure"] == "put the credentials of partner right, then conveyor resume partner"
    assert partner["next_due_at"] == partner["probe_at"] is not None

    said = operator("status").out
    assert "50.0 % of 2" in said
    assert "partner: needs_login: login refused for user photos (tried again in 28 s)" in said
    assert "→ put the credentials of partner right" in said
    assert "2 deliveries waiting (1 held), 0 running; last day: 1 delivered, 1 failed" in said


def test_a_label_restricts_and_an_unknown_one_is_wrong_use(operator: OperatorLine) -> None:
    assert list(by_id(operator, "--label", "customer=bolt")) == ["partner"]
    ended = operator("status", "--label", "customer=nobody")
    assert (ended.code, "customer=nobody" in ended.err) == (2, True)


def test_a_removed_destination_with_work_is_shown(operator: OperatorLine) -> None:
    operator.simulation.submit(to=("gone",))
    gone = by_id(operator)["gone"]
    assert (gone["state"], gone["reason"], gone["type"], gone["pending"]) == ("held", "removed", None, 1)
    assert "conveyor cancel --destination gone" in operator("status").out


def test_check_tells_of_failed(operator: OperatorLine) -> None:
    operator.script("backend").then(TOO_LONG)
    operator.simulation.submit(to=("backend",))
    operator.simulation.step()
    ended = operator("status", "--check")
    assert ended.code == 1
    assert "backend: 1 failed in the last day, the last error: the name is too long there" in ended.out
    assert operator("status", "--check", "--label", "customer=bolt").code == 0
    operator.simulation.clock.advance(86401)
    assert operator("status", "--check").code == 0


def test_check_tells_of_held(operator: OperatorLine) -> None:
    operator("pause", "partner", "--note", "moving")
    assert operator("status", "--check").code == 0  # nothing waits for it
    operator.simulation.submit(to=("partner",))
    ended = operator("status", "--check", "--json")
    assert ended.code == 1
    assert ended.json["ok"] is False
    assert ended.json["problems"] == [
        {
            "destination": "partner",
            "problem": "held",
            "message": "1 held, paused: moving",
            "cure": "conveyor resume partner",
        }
    ]


def test_what_plugins_hold_and_where_they_failed_is_told(operator: OperatorLine) -> None:
    ledger, now = operator.simulation.ledger, operator.simulation.clock.now()
    for _ in range(2):
        operator.simulation.submit(to=("backend",))
    (held, *_) = ledger.deliveries.find(Filter(), limit=1)
    with sqlite3.connect(operator.folder / "conveyor.db") as database:
        database.execute("UPDATE deliveries SET hold_reason = 'held by plugin x' WHERE id = ?", (held.id,))
    day = 24 * 3600 * SECOND
    ledger.plugin_failures.add(
        [
            PluginFailure("teller", "conveyor_alert", 3, now, "RuntimeError"),
            PluginFailure("older", "conveyor_alert", 1, now - day - 1, "RuntimeError"),
        ]
    )
    told = operator("status").out
    assert "backend: plugins hold 1 delivery\n" in told
    assert "2 deliveries waiting (1 held)" in told
    assert "plugin teller: conveyor_alert has failed 3 times" in told
    assert "older" not in told, "what failed long ago is for conveyor plugins to tell"
    document = operator.json("status")
    assert [each["held_by_hooks"] for each in document["destinations"]] == [1, 0]
    assert [each["plugin"] for each in document["plugin_failures"]] == ["teller"]
    checked = operator("status", "--check")
    assert (checked.code, "backend: 1 held by plugins" in checked.out) == (1, True)


def test_check_tells_of_what_waits_too_long(operator: OperatorLine) -> None:
    operator.simulation.submit(to=("backend",))
    operator.simulation.clock.advance(1801)
    assert operator("status", "--check").code == 0  # two hours by default
    assert operator("status", "--check", "--max-age", "1h").code == 0
    ended = operator("status", "--check", "--max-age", "30m")
    assert ended.code == 1
    assert "backend: the oldest of 1 waiting was submitted 1801 s ago" in ended.out


def test_check_tells_of_a_config_with_mistakes(operator: OperatorLine) -> None:
    config = operator.folder / "conveyor.yaml"
    config.write_text(config.read_text().replace("host: files", "hots: files"))
    ended = operator("status", "--check")
    assert ended.code == 1
    assert "partner: invalid_config: " in ended.out
    assert "conveyor.yaml:4" in ended.out


def test_a_job_by_its_own_id_or_that_of_a_delivery(operator: OperatorLine) -> None:
    operator.script("backend").then(TOO_LONG)
    submitted = operator.simulation.submit(to=("backend", "partner"), filename="a.jpg")
    assert operator("status", submitted["backend"], "--check").code == 75
    operator.simulation.step()
    shown = operator.json("status", submitted["backend"])
    assert shown == operator.json("status", shown["id"])
    assert [(d["destination"], d["status"]) for d in shown["deliveries"]] == [
        ("backend", "failed"),
        ("partner", "delivered"),
    ]
    said = operator("status", shown["id"])
    assert "a.jpg: the name is too long there" in said.out
    assert said.code == 0
    assert operator("status", shown["id"], "--check").code == 1


def test_a_session_in_exactly_the_published_shape(operator: OperatorLine) -> None:
    sim = operator.simulation
    operator.script("backend").then(Receipt("r", size=5), DOWN)
    sim.submit(to=("backend",), session_id="s1", image_id="i0", image_index=0, filename="0.jpg")
    sim.submit(to=("backend",), session_id="s1", image_id="i1", image_index=1, filename="1.jpg")
    sim.step()
    assert operator.json("status", "--session", "s1") == {
        "session_id": "s1",
        "status": "pending",
        "images": [
            {
                "image_id": "i0",
                "image_index": 0,
                "filename": "0.jpg",
                "deliveries": [
                    {
                        "destination_id": "backend",
                        "destination_name": "Our backend",
                        "destination_type": "scripted",
                        "status": "delivered",
                        "attempts": 1,
                        "delivered_at": "2027-01-15T08:00:00.000Z",
                        "last_error": None,
                    }
                ],
            },
            {
                "image_id": "i1",
                "image_index": 1,
                "filename": "1.jpg",
                "deliveries": [
                    {
                        "destination_id": "backend",
                        "destination_name": "Our backend",
                        "destination_type": "scripted",
                        "status": "pending",
                        "attempts": 1,
                        "next_retry_at": "2027-01-15T08:00:05.000Z",
                        "last_error": "the server answered 503",
                    }
                ],
            },
        ],
    }
    assert operator("status", "--session", "s1", "--check").code == 75
    said = operator("status", "--session", "s1").out
    assert "session s1: pending" in said
    assert "Our backend" in said
    sim.run(6)
    assert operator.json("status", "--session", "s1")["status"] == "completed"
    assert operator("status", "--session", "s1", "--check").code == 0


def test_a_session_or_job_that_does_not_exist(operator: OperatorLine) -> None:
    ended = operator("status", "--session", "nobody", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert "there is no session 'nobody'" in ended.err
    assert operator("status", "job_nobody").code == 2
    assert operator("status", "job_nobody", "--session", "s").code == 2


def test_an_outage_shows_its_share_its_probe_and_the_countdown(operator: OperatorLine) -> None:
    operator.script("backend").then(*[DOWN] * 40)
    for _ in range(30):
        operator.simulation.submit(to=("backend",))
    operator.simulation.step()
    operator.simulation.advance(3.0)

    backend = by_id(operator)["backend"]
    assert (backend["state"], backend["reason"], backend["retrying"]) == ("held", "breaker", 19)
    countdown = backend["deactivation"]
    assert isinstance(countdown, dict)
    assert (countdown["failed_attempts"], countdown["attempts_left"]) == (20, 80)
    assert countdown["seconds_left"] == 5 * 86400 - 3
    printed = operator("status").out
    assert (
        "backend: breaker: 20 of the last 20 attempts failed; the last one: the server answered 503"
        in printed
    )
    assert "(tried again in 7 s)" in printed
    assert "it is probed, or conveyor resume backend" in printed
    assert "backend: nothing has arrived for 3 s, 20 attempts failed: deactivated in 4 d" in printed
    assert "and 80 more failures unless one succeeds" in printed
    assert operator("status", "--check").code == 1
    operator("resume", "backend")
    assert by_id(operator)["backend"]["deactivation"] is None
