"""``conveyor replay``, ``cancel``, ``pause``, ``resume`` and ``destinations``."""

from __future__ import annotations

import pytest
from cli.operator_line import OperatorLine

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.ledger.bulk import Bulk

TOO_LONG = DeliveryError(ErrorKind.NAME, "the name is too long there")
REFUSED = DeliveryError(ErrorKind.AUTH_REVOKED, "login refused")


def status(line: OperatorLine, ident: str) -> str:
    return str(line.simulation.delivery(ident).status)


@pytest.fixture
def failed(operator: OperatorLine) -> str:
    """A delivery to the backend that failed."""
    operator.script("backend").then(TOO_LONG)
    ident = operator.simulation.submit(to=("backend",))["backend"]
    operator.simulation.step()
    return ident


def test_replay_delivers_again_and_says_what_it_did(operator: OperatorLine, failed: str) -> None:
    delivered = operator.simulation.submit(to=("backend",))["backend"]
    operator.simulation.step()
    ended = operator("replay", "--destination", "backend")
    assert ended.code == 0
    assert "2 matched, 1 replayed, 1 skipped" in ended.out
    assert f"1 skipped: already delivered (--force delivers it again) ({delivered})" in ended.out
    assert operator.simulation.step() == 1
    assert status(operator, failed) == "delivered"


def test_a_dry_run_changes_nothing(operator: OperatorLine, failed: str) -> None:
    assert operator.json("replay", "--status", "failed", "--dry-run") == {
        "dry_run": True,
        "matched": 1,
        "replayed": [failed],
        "skipped": {},
    }
    assert "1 matched, 1 would be replayed, 0 skipped" in operator("replay", failed, "-n").out
    assert status(operator, failed) == "failed"


def test_an_unfiltered_order_needs_all(operator: OperatorLine, failed: str) -> None:
    for verb in ("replay", "cancel"):
        ended = operator(verb)
        assert (ended.code, ended.out) == (2, "")
        assert f"this would {verb} every" in ended.err
        assert "--all" in ended.err
    assert status(operator, failed) == "failed"
    assert operator.json("replay", "--all")["replayed"] == [failed]
    assert operator.json("cancel", "--all")["cancelled"] == [failed]
    assert status(operator, failed) == "cancelled"


def test_force_new_id_and_another_destination(operator: OperatorLine) -> None:
    sim = operator.simulation
    ident = sim.submit(to=("backend",))["backend"]
    sim.step()
    ended = operator("replay", ident, "--json")
    assert ended.code == 1  # named, and nothing was done
    assert ended.json["skipped"] == {ident: "already delivered (--force delivers it again)"}
    assert operator.json("replay", ident, "--force")["replayed"] == [ident]
    sim.step()
    (other,) = operator.json("replay", ident, "--force", "--new-id")["replayed"]
    assert sim.delivery(other).replay_of == ident
    (there,) = operator.json("replay", ident, "--to", "partner", "--force")["replayed"]
    assert sim.delivery(there).destination == "partner"
    ended = operator("replay", ident, "--to", "partnr")
    assert (ended.code, "did you mean 'partner'?" in ended.err) == (2, True)


def test_one_unknown_id_and_nothing_is_done(operator: OperatorLine, failed: str) -> None:
    for verb in ("replay", "cancel"):
        ended = operator(verb, failed, "dlv_nobody")
        assert (ended.code, "there is no delivery or job 'dlv_nobody'" in ended.err) == (2, True)
    assert status(operator, failed) == "failed"


def test_replay_says_when_nobody_delivers(operator: OperatorLine, failed: str) -> None:
    operator.simulation.clock.advance(3600)  # the worker's lease is over
    assert "no worker is running" in operator("replay", failed).err


def test_cancel_by_id_by_job_and_by_label(operator: OperatorLine, failed: str) -> None:
    sim = operator.simulation
    one = sim.submit(to=("backend", "partner"))
    assert operator.json("cancel", one["backend"])["cancelled"] == [one["backend"]]
    ended = operator("cancel", one["backend"])
    assert ended.code == 1
    assert "1 skipped: already cancelled" in ended.out
    assert operator.json("cancel", sim.delivery(one["partner"]).job_id)["cancelled"] == [one["partner"]]
    two = sim.submit(to=("backend", "partner"))
    planned = operator.json("cancel", "--label", "customer=acme", "--dry-run")
    assert (planned["matched"], planned["cancelled"]) == (1, [two["backend"]])
    assert status(operator, two["backend"]) == "pending"
    # The failed one is final: without --status only what waits or runs is meant.
    assert operator.json("cancel", "--label", "customer=acme") == {**planned, "dry_run": False}
    assert status(operator, two["partner"]) == "pending"
    ended = operator("cancel", failed, one["partner"], "--dry-run", "--json")
    assert ended.json["skipped"] == {
        failed: "already failed",
        one["partner"]: "already cancelled",
    }


def test_pause_and_resume_by_id_label_and_all(operator: OperatorLine) -> None:
    sim = operator.simulation
    assert operator.json("pause", "--label", "customer=acme") == [
        {"id": "backend", "state": "held", "reason": "paused"}
    ]
    ident = sim.submit(to=("backend",))["backend"]
    assert sim.step() == 0
    assert operator("resume", "backend").out == "backend: ok\n"
    sim.parts.dispatcher.ring()
    assert sim.step() == 1
    assert status(operator, ident) == "delivered"
    assert [each["id"] for each in operator.json("pause", "--all")] == ["backend", "partner"]
    assert [each["state"] for each in operator.json("resume", "backend", "partner,backend")] == ["ok", "ok"]


def test_resume_ends_a_block(operator: OperatorLine) -> None:
    operator.script("partner").then(REFUSED)
    operator.simulation.submit(to=("partner",))
    operator.simulation.step()
    assert "needs_login" in operator("destinations").out
    assert operator.json("resume", "partner") == [{"id": "partner", "state": "ok", "reason": None}]


def test_resume_says_what_it_cannot_end(operator: OperatorLine) -> None:
    config = operator.folder / "conveyor.yaml"
    config.write_text(config.read_text().replace("{type: webhook,", "{type: webhook, is_active: false,"))
    said = operator("resume", "backend").out
    assert said == "backend: inactive\n  → set is_active: true for backend\n"


def test_pause_of_nothing_or_nobody(operator: OperatorLine) -> None:
    assert "no destination is named" in operator("pause").err
    ended = operator("pause", "partnr")
    assert (ended.code, "did you mean 'partner'?" in ended.err) == (2, True)
    ended = operator("resume", "--label", "customer=nobody")
    assert (ended.code, "customer=nobody" in ended.err) == (2, True)


def test_destinations_show_the_place_and_no_secret(operator: OperatorLine) -> None:
    shown = {each["id"]: each for each in operator.json("destinations")}
    assert shown["backend"]["place"] == {"url": "http://127.0.0.1:9/photos"}
    assert shown["backend"]["name"] == "Our backend"
    assert shown["partner"]["place"]["host"] == "files.partner.example"
    assert shown["partner"]["labels"] == {"customer": "bolt"}
    assert (shown["partner"]["state"], shown["partner"]["reason"]) == ("ok", None)
    said = operator("destinations").out + str(shown)
    assert "host=files.partner.example username=photos" in said
    assert "not-to-be-shown" not in said
    assert [each["id"] for each in operator.json("destinations", "--label", "customer=bolt")] == ["partner"]


def test_a_url_loses_login_and_query() -> None:
    from conveyor.cli.verbs.destinations import place
    from conveyor.config.options import Options

    class Some(Options):
        url: str

    assert dict(place(Some(url="https://user:word@host/a?token=t"))) == {"url": "https://host/a"}


def test_a_replay_in_bulk_is_previewed_begun_steered_and_watched(
    operator: OperatorLine, failed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert operator.json("replay", "--status", "failed", "--preview") == {
        "matched": 1,
        "deliveries": [{"destination": "backend", "status": "failed", "count": 1}],
    }
    assert operator("replays").out == "nothing was replayed in bulk\n"
    begun = operator.json("replay", "--status", "failed", "--rate", "60/m")
    assert (begun["state"], begun["matched"], begun["turned"], begun["rate"]) == ("running", 1, 0, 1.0)
    ident = begun["id"]
    assert operator.json("replays", ident, "--pause")["state"] == "paused"
    operator.simulation.run(40)
    assert status(operator, failed) == "failed"
    assert operator.json("replays", ident, "--resume")["state"] == "running"
    operator.simulation.run(60)
    assert status(operator, failed) == "delivered"
    (shown,) = operator.json("replays")
    assert (shown["state"], shown["delivered"], shown["waiting"]) == ("done", 1, 0)
    assert "backend: 1 of 1 in line, 1 delivered, 0 failed" in operator("replays", ident).out
    ended = operator("replays", ident, "--cancel")
    assert (ended.code, "has ended: done" in ended.err) == (2, True)


def test_more_than_a_few_are_replayed_in_bulk(
    operator: OperatorLine, failed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conveyor.cli.verbs.orders.BULK", 0)
    matching, counted = Bulk.matching, []
    monkeypatch.setattr(Bulk, "matching", lambda *asked: counted.append(asked) or matching(*asked))
    ended = operator("replay", "--status", "failed")
    assert ended.code == 0
    assert len(counted) == 1, "counting many takes long: once is enough"
    assert "1 matched, replayed in bulk" in ended.out
    operator.simulation.run(60)
    assert status(operator, failed) == "delivered"


def test_a_replay_in_bulk_that_makes_no_sense(operator: OperatorLine, failed: str) -> None:
    assert "only for a replay by filters" in operator("replay", failed, "--rate", "1/s").err
    assert "expected a rate" in operator("replay", "--all", "--rate", "fast").err
    assert "this would replay every delivery" in operator("replay", "--rate", "1/s").err
    assert "there is no replay 'rpl_x'" in operator("replays", "rpl_x").err
    assert "one order, for one replay" in operator("replays", "--pause").err
