"""Trouble of an account holds all its destinations, uncharged, until somebody signs in; upkeep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers import oauth_server
from servers.oauth_rules import Rules
from servers.oauth_server import Fault

from conveyor.clock import SECOND
from conveyor.contract import DeliveryError, ErrorKind, OAuthOptions, Rotation, Scope
from conveyor.ledger.connections import Tokens
from conveyor.ledger.records import BlockReason, Status
from conveyor.registry import Registry
from conveyor.status.reasons import Standing
from conveyor.testing.scripted import SCRIPTED_SPEC, forget_scripts, script
from conveyor.testing.simulation import Simulation, destination


class SignedOptions(OAuthOptions):
    """The scripted type's, with a sign-in."""

    script: str = ""


SPEC = replace(SCRIPTED_SPEC, oauth="acme")


@pytest.fixture
def server() -> Iterator[Any]:
    with oauth_server.start(Rules(rotation=Rotation.UNTIL_USED)) as started:
        yield started


@pytest.fixture
def sim(tmp_path: Path, server: Any) -> Iterator[Simulation]:
    forget_scripts()
    names = {"a": "team", "b": "team", "c": None}
    made = Simulation(
        tmp_path,
        *(
            destination(name, spec=SPEC, options=SignedOptions(script=name, client_id="app-1",
                        client_secret="app-secret-7f3a", connection=team))
            for name, team in names.items()
        ),
        destination("plain"),
    )  # fmt: skip
    server.rules.clock = made.clock.time
    made.registry = Registry([SCRIPTED_SPEC], providers=[server.provider(renew_idle=86400.0 * 7)])
    made.parts = made.process()
    yield made
    made.close()


def held(sim: Simulation) -> dict[str, str | None]:
    standing = Standing(sim.source, sim.ledger.health.get(None))
    return {each.id: standing.hold(each.id) for each in sim.source.list()}


def sign_in(sim: Simulation, server: Any, connection: str = "team") -> None:
    access, refresh = server.sign_in()
    now = sim.clock.now()
    sim.ledger.connections.put(
        connection, "acme", Tokens(access, refresh), expires_at=now + 3600 * SECOND, scopes=(),
        account=("id", "ann"), now=now,
    )  # fmt: skip


REVOKED = DeliveryError(ErrorKind.AUTH_REVOKED, "revoked", scope=Scope.CONNECTION, hint="conveyor connect a")


def test_a_revoked_login_holds_every_destination_of_the_account_uncharged(sim: Simulation) -> None:
    script("a").then(REVOKED)
    ids = sim.submit(to=("a",))
    sim.step()
    assert held(sim) == {"a": "needs_login", "b": "needs_login", "c": None, "plain": None}
    waiting = sim.submit(to=("b", "c", "plain"))
    sim.step()
    assert sim.delivery(waiting["b"]).attempt == 0
    assert sim.delivery(waiting["c"]).status is Status.DELIVERED
    assert sim.delivery(ids["a"]).failures == 0
    standing = Standing(sim.source, sim.ledger.health.get(None))
    assert standing.cure(sim.delivery(waiting["b"])) == "conveyor connect b"
    sim.ledger.health.signed_in(["a", "b"])
    sim.parts.dispatcher.ring()
    sim.step()
    assert {sim.delivery(ident).status for ident in (ids["a"], waiting["b"])} == {Status.DELIVERED}


def test_a_throttled_account_pauses_every_destination_of_it(sim: Simulation) -> None:
    script("a").then(DeliveryError(ErrorKind.THROTTLED, "slow down", retry_after=300, scope=Scope.CONNECTION))
    sim.submit(to=("a",))
    sim.step()
    assert held(sim) == {"a": "throttled", "b": "throttled", "c": None, "plain": None}
    waiting = sim.submit(to=("b",))
    sim.run(280)
    assert sim.delivery(waiting["b"]).attempt == 0
    sim.run(40)
    assert sim.delivery(waiting["b"]).status is Status.DELIVERED


def test_a_throttled_destination_pauses_alone(sim: Simulation) -> None:
    script("a").then(DeliveryError(ErrorKind.THROTTLED, "slow down", retry_after=300))
    sim.submit(to=("a",))
    sim.step()
    assert held(sim)["b"] is None


def test_what_holds_a_destination_already_stays(sim: Simulation) -> None:
    script("b").then(DeliveryError(ErrorKind.QUOTA, "full"))
    script("a").then(REVOKED)
    sim.submit(to=("b",))
    sim.step()
    sim.submit(to=("a",))
    sim.step()
    assert held(sim) == {"a": "needs_login", "b": "quota", "c": None, "plain": None}
    sim.ledger.health.signed_in(["a", "b"])
    assert held(sim) == {"a": None, "b": "quota", "c": None, "plain": None}


def test_an_edit_ends_a_shared_hold_of_the_edited_destination_alone(sim: Simulation) -> None:
    script("a").then(REVOKED)
    sim.submit(to=("a",))
    sim.step()
    known = sim.source.get("b")
    assert known is not None
    sim.source.put(replace(known, revision="2"))
    assert held(sim) == {"a": "needs_login", "b": None, "c": None, "plain": None}


def test_a_token_that_a_service_repeats_is_hidden(sim: Simulation, server: Any) -> None:
    sign_in(sim, server)
    known = sim.source.get("a")
    assert known is not None
    source = sim.parts.connections.tokens(known)
    assert source is not None
    values = [source.token().value, source.rejected(source.token()).value]
    said = f"the tokens {' and '.join(values)} are odd"
    script("a").then(DeliveryError(ErrorKind.TRANSIENT, said, hint=said, response=said, code=values[0]))
    ids = sim.submit(to=("a",))
    sim.step()
    (attempt,) = sim.attempts(ids["a"])
    assert attempt.message == "the tokens *** and *** are odd"
    assert not any(value in str(attempt) for value in values)


# --- upkeep ------------------------------------------------------------------------------------------


def test_a_login_in_use_is_renewed_before_its_token_ends(sim: Simulation, server: Any) -> None:
    sign_in(sim, server)
    upkeep = sim.parts.upkeep
    known = sim.source.get("a")
    assert known is not None
    source = sim.parts.connections.tokens(known)
    assert source is not None
    first = source.token()
    sim.clock.advance(2600)
    assert upkeep.look() == 0
    sim.clock.advance(200)
    assert upkeep.look() == 1
    assert upkeep.look() == 0
    sim.clock.advance(6)
    assert source.token().generation == first.generation + 1
    assert server.rules.exchanges == 1


def test_an_idle_login_is_renewed_so_that_it_does_not_lapse(sim: Simulation, server: Any) -> None:
    sign_in(sim, server)
    sim.clock.advance(6 * 86400)
    assert sim.parts.upkeep.look() == 0
    sim.clock.advance(86401)
    assert sim.parts.upkeep.look() == 1
    assert server.rules.exchanges == 1


def test_several_processes_renew_once(sim: Simulation, server: Any) -> None:
    sign_in(sim, server)
    sim.clock.advance(8 * 86400)
    for parts in (sim.parts, sim.process(), sim.process()):
        parts.upkeep.look()
    assert server.rules.exchanges == 1


def test_a_revocation_found_by_upkeep_holds_what_would_fail(sim: Simulation, server: Any) -> None:
    sign_in(sim, server)
    server.rules.revoke_all()
    sim.clock.advance(8 * 86400)
    sim.parts.upkeep.look()
    assert held(sim) == {"a": "needs_login", "b": "needs_login", "c": None, "plain": None}
    block = sim.ledger.health.get(["a"])["a"].block
    assert block is not None
    assert block.reason is BlockReason.NEEDS_LOGIN
    assert sim.parts.upkeep.look() == 0


def test_a_provider_that_is_away_is_asked_again_later_and_later(sim: Simulation, server: Any) -> None:
    sign_in(sim, server)
    sim.clock.advance(8 * 86400)
    server.faults = [Fault("/token", cut=True)] * 100
    tried = []
    for second in range(0, 4000, 50):
        sim.clock.advance(50)
        if sim.parts.upkeep.look():
            tried.append(second)
    assert tried == [0, 300, 900, 2100]
    assert held(sim)["a"] is None


def test_a_mistake_in_one_connection_does_not_keep_the_others_from_it(sim: Simulation, server: Any) -> None:
    for connection in ("c", "team"):
        sign_in(sim, server, connection)
    spoilt = sim.source.get("c")
    assert spoilt is not None
    sim.source.put(replace(spoilt, options=SignedOptions(script="c")))  # no client_id
    sim.clock.advance(8 * 86400)
    assert sim.parts.upkeep.look() == 1
    record = sim.ledger.connections.get("team")
    assert record is not None
    assert record.generation == 2
    assert sim.ledger.connections.lock("c", "x", until=1, now=0, left=lambda _: False) is not None


def test_a_round_survives_a_missing_provider(sim: Simulation, server: Any) -> None:
    sign_in(sim, server)
    sim.registry = Registry([SCRIPTED_SPEC])
    sim.clock.advance(8 * 86400)
    assert sim.process().upkeep.round() > 0
