"""Handing out tokens and renewing them: once, under the lock, stored before use; troubles told apart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from servers.oauth_server import Fault

from conveyor.contract import DeliveryError, ErrorKind, Rotation, Scope, Token, Trouble
from conveyor.ledger.connections import ConnectionState, Tokens
from conveyor.oauth import http
from conveyor.testing.ports import wait_until


def refused(call: Callable[[], Any]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        call()
    assert caught.value.scope is Scope.CONNECTION
    return caught.value


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What ``count`` threads got that began at once."""
    barrier, got = threading.Barrier(count), []

    def run(number: int) -> None:
        barrier.wait()
        got.append(work(number))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(got) == count
    return got


def test_a_token_serves_until_it_is_near_its_end(kit: Any) -> None:
    kit.connect()
    source = kit.tokens()
    first = source.token()
    assert first.value == kit.secrets().access
    assert first.bearer == f"Bearer {first.value}"
    kit.clock.advance(3000)
    assert source.token().generation == first.generation
    kit.clock.advance(310)
    second = source.token()
    assert second.generation == first.generation + 1
    assert second.value != first.value
    assert kit.rules.exchanges == 1


def test_a_longer_life_can_be_asked_for_but_not_more_than_half_of_what_is_granted(kit: Any) -> None:
    kit.connect()
    source = kit.tokens()
    kit.clock.advance(1000)
    source.token(2000)
    assert kit.rules.exchanges == 0
    kit.clock.advance(900)
    source.token(2000)
    assert kit.rules.exchanges == 1
    source.token(7200)
    assert kit.rules.exchanges == 1


def test_the_value_of_a_token_shows_nowhere(kit: Any) -> None:
    token = kit.connect()
    assert token.value not in repr(token) + str(token) + repr(kit.tokens().token())


def test_of_many_threads_one_renews(kit: Any) -> None:
    kit.connect(life=-1)
    source = kit.tokens()
    got = together(16, lambda _: source.token())
    assert kit.rules.exchanges == 1
    assert {token.generation for token in got} == {2}


@pytest.mark.parametrize("rotation", [Rotation.STRICT, Rotation.UNTIL_USED])
def test_of_many_processes_one_renews(kit: Any, rotation: Rotation) -> None:
    kit.rules.rotation = rotation
    kit.reset()
    kit.connect(life=-1)
    processes = [kit.process() for _ in range(4)]
    got = together(16, lambda n: kit.tokens(processes[n % 4]).token())
    assert kit.rules.exchanges == 1
    assert {token.value for token in got} == {kit.secrets().access}
    assert kit.rules.refusals == []


def test_a_rejected_token_is_replaced_by_the_one_in_the_ledger_or_renewed_once(kit: Any) -> None:
    old = kit.connect()
    source, other = kit.tokens(), kit.tokens(kit.process())
    old = source.token()
    new = source.rejected(old)
    assert (new.generation, kit.rules.exchanges) == (old.generation + 1, 1)
    assert other.rejected(old).value == new.value
    assert together(8, lambda n: (source, other)[n % 2].rejected(old).value) == [new.value] * 8
    assert kit.rules.exchanges == 1


def test_a_token_that_another_process_renewed_is_seen(kit: Any) -> None:
    kit.connect()
    mine, other = kit.tokens(), kit.tokens(kit.process())
    seen = mine.token()
    renewed = other.rejected(other.token())
    kit.clock.advance(6)
    assert mine.token().value == renewed.value != seen.value


@pytest.mark.parametrize("rotation", list(Rotation))
def test_refresh_tokens_rotate_as_the_provider_has_it(kit: Any, rotation: Rotation) -> None:
    kit.rules.rotation = rotation
    kit.reset()
    kit.connect()
    source = kit.tokens()
    seen = {kit.secrets().refresh}
    for _ in range(3):
        token = source.rejected(source.token())
        assert kit.rules.whose(token.value) == "ann"
        seen.add(kit.secrets().refresh)
    assert len(seen) == (1 if rotation is Rotation.KEPT else 4)


def test_a_lost_answer_is_asked_for_again_with_the_old_token(kit: Any) -> None:
    kit.rules.rotation = Rotation.UNTIL_USED
    kit.reset()
    kit.connect(life=-1)
    kit.server.faults = [Fault("/token", lost=True)]
    token = kit.tokens().token()
    assert kit.rules.whose(token.value) == "ann"
    assert (kit.rules.exchanges, kit.rules.refusals) == (2, [])


def test_a_strict_provider_is_not_asked_again_within_the_same_renewal(kit: Any) -> None:
    kit.rules.rotation = Rotation.STRICT
    kit.reset()
    kit.connect(life=-1)
    source = kit.tokens()
    kit.server.faults = [Fault("/token", lost=True)]
    assert refused(source.token).kind is ErrorKind.TRANSIENT
    assert kit.server.count("/token") == 1
    # It is the only token there is: the next one to ask tries it, and learns that the login is lost.
    assert refused(source.token).kind is ErrorKind.AUTH_REVOKED


def test_a_provider_that_is_away_is_transient_and_a_living_token_serves_meanwhile(kit: Any) -> None:
    kit.connect()
    source = kit.tokens()
    kit.clock.advance(3400)
    kit.server.faults = [Fault("/token", cut=True)] * 4
    assert source.token().generation == 1
    kit.clock.advance(200)
    error = refused(source.token)
    assert error.kind is ErrorKind.TRANSIENT
    assert kit.ledger.connections.get("d").error
    assert source.token().generation == 2
    assert kit.ledger.connections.get("d").error is None


@pytest.mark.parametrize("life", [-1, 100])
def test_a_provider_that_hangs_is_waited_for_once_by_all_who_ask(
    kit: Any, monkeypatch: pytest.MonkeyPatch, life: int
) -> None:
    monkeypatch.setattr(http, "TOTAL_TIMEOUT", 0.5)
    kit.connect(life=life)
    kit.clock.advance(60)
    kit.server.hold = threading.Event()
    source = kit.tokens()

    def ask(_: int) -> int | ErrorKind:
        try:
            return int(source.token().generation)
        except DeliveryError as error:
            return error.kind

    begun = time.monotonic()
    assert together(8, ask) == [1 if life > 0 else ErrorKind.TRANSIENT] * 8
    assert kit.server.count("/token") == 2  # asked, and once more
    assert time.monotonic() - begun < 4 * 0.5
    kit.server.hold.set()
    assert source.token().generation == 2  # who asks later asks the provider


def test_a_revoked_login_is_noted_and_the_provider_is_left_alone(kit: Any) -> None:
    kit.connect(life=-1)
    kit.rules.revoke_all()
    source = kit.tokens()
    for asker in (source, source, kit.tokens(kit.process()), kit.tokens(name="d")):
        error = refused(asker.token)
        assert error.kind is ErrorKind.AUTH_REVOKED
        assert error.hint == "conveyor connect d"
    assert kit.server.count("/token") == 1
    assert kit.ledger.connections.get("d").state is ConnectionState.REVOKED
    kit.connect()
    assert source.token().generation == 2


def test_nobody_has_signed_in(kit: Any) -> None:
    error = refused(kit.tokens().token)
    assert error.kind is ErrorKind.AUTH_REVOKED
    assert "nobody has signed in" in error.message
    assert kit.server.requests == []


ANSWERS = [
    ({"error": "invalid_grant"}, 400, ErrorKind.AUTH_REVOKED, "conveyor connect d"),
    ({"error": "invalid_scope"}, 400, ErrorKind.AUTH_REVOKED, "agree"),
    ({"error": "invalid_client"}, 401, ErrorKind.CONFIG, "client_secret"),
    ({"error": "temporarily_unavailable"}, 503, ErrorKind.TRANSIENT, None),
    ({}, 502, ErrorKind.TRANSIENT, None),
    ({}, 404, ErrorKind.CONFIG, "endpoints"),
    ({"error": "invalid_grant", "error_description": "ACME65001: ask the admin"}, 400, None, "administrator"),
    ({"error": "invalid_request", "suberror": "busy"}, 400, ErrorKind.THROTTLED, None),
]


@pytest.mark.parametrize(("document", "status", "kind", "hint"), ANSWERS)
def test_refusals_are_told_apart(kit: Any, document: Any, status: int, kind: Any, hint: Any) -> None:
    kit.reset(errors={"ACME65001": Trouble.CONSENT, "busy": Trouble.THROTTLED})
    kit.connect(life=-1)
    kit.server.faults = [Fault("/token", answer=(status, document))]
    error = refused(kit.tokens().token)
    assert error.kind is (kind or ErrorKind.AUTH_REVOKED)
    assert (hint is None and error.hint is None) or hint in str(error.hint)
    assert kit.secrets().refresh not in error.message


def test_a_throttled_token_endpoint_states_its_delay(kit: Any) -> None:
    kit.connect(life=-1)
    kit.server.faults = [Fault("/token", answer=(429, {}), headers={"Retry-After": "17"})]
    error = refused(kit.tokens().token)
    assert (error.kind, error.retry_after) == (ErrorKind.THROTTLED, 17.0)


def grant(**more: Any) -> dict[str, Any]:
    return {"access_token": "at-new", "refresh_token": "rt-new", **more}


ODD_LIVES = {
    "nan": float("nan"), "inf": float("inf"), "long": 2**63 - 1, "longer": 10**400, "words": "never",
    "list": [], "negative": -5,
}  # fmt: skip


@pytest.mark.parametrize("life", ODD_LIVES.values(), ids=ODD_LIVES)
def test_a_life_that_no_calendar_holds_costs_no_login(kit: Any, life: Any) -> None:
    kit.connect(life=-1)
    kit.server.faults = [Fault("/token", answer=(200, grant(expires_in=life)))]
    assert kit.tokens().token().value == "at-new"
    assert kit.secrets().refresh == "rt-new"


def test_a_date_that_no_calendar_has_costs_no_login(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.connect(life=-1)
    odd = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda *_: odd)
    kit.server.faults = [Fault("/token", answer=(200, grant()))]
    assert kit.tokens().token().value == "at-new"


def test_an_answer_nested_without_end_is_no_answer(kit: Any) -> None:
    kit.connect(life=-1)
    kit.server.faults = [Fault("/token", answer=(200, b"[" * 100_000))] * 2
    error = refused(kit.tokens().token)
    assert (error.kind, "no access token" in error.message) == (ErrorKind.TRANSIENT, True)


def test_secrets_that_a_provider_repeats_are_hidden(kit: Any) -> None:
    kit.connect(life=-1)
    secret = kit.secrets().refresh
    said = {"error": "invalid_grant", "error_description": f"token {secret} is unknown"}
    kit.server.faults = [Fault("/token", answer=(400, said))]
    assert secret not in refused(kit.tokens().token).message
    assert secret not in str(kit.ledger.connections.get("d").error)


def test_a_refused_renewal_counts_for_nothing_when_a_sign_in_was_faster(kit: Any) -> None:
    kit.connect(life=-1)
    kit.rules.revoke_all()
    kit.server.hold = threading.Event()
    got: list[Token] = []
    thread = threading.Thread(target=lambda: got.append(kit.tokens().token()))
    thread.start()
    wait_until(lambda: kit.server.count("/token") == 1, 10, "the request")
    kit.connect()
    kit.server.hold.set()
    thread.join(10)
    assert [token.value for token in got] == [kit.secrets().access]
    assert kit.ledger.connections.get("d").state is ConnectionState.OK


def test_what_was_granted_to_a_holder_that_lost_its_lease_is_never_used(kit: Any) -> None:
    kit.rules.rotation = Rotation.UNTIL_USED
    kit.reset()
    kit.connect(life=-1)
    slow = kit.tokens(kit.process(lease=60))
    kit.server.hold = held = threading.Event()
    got: list[Any] = []

    def ask() -> None:
        try:
            got.append(slow.token().value)
        except DeliveryError as error:
            got.append(error.kind)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: kit.server.count("/token") == 1, 10, "the request")
    kit.clock.advance(61)  # the holder froze: its lease has run out
    kit.server.hold = None
    winner = kit.tokens().token()
    held.set()
    thread.join(10)
    # The late answer took the winner's place at the provider: it was told by the late exchange. The winner is
    # what the ledger has; a rejection of it brings the login back.
    assert got == [winner.value]
    assert kit.secrets().access == winner.value


def test_a_refresh_token_in_the_config_is_taken_and_a_changed_one_replaces_it(kit: Any) -> None:
    _, first = kit.server.sign_in()
    _, second = kit.server.sign_in()
    kit.rules.revoke(first)
    error = refused(kit.tokens(refresh_token=first).token)
    assert error.kind is ErrorKind.AUTH_REVOKED
    token = kit.tokens(refresh_token=second).token()
    assert kit.rules.whose(token.value) == "ann"
    assert kit.secrets().refresh == second


def test_a_changed_refresh_token_that_another_process_has_put_in_place_stays(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.rules.rotation = Rotation.STRICT
    kit.reset()
    (_, first), (_, second) = kit.server.sign_in(), kit.server.sign_in()
    kit.tokens(refresh_token=first).token()
    store, slow = kit.ledger.connections, kit.process()
    seen, get = [store.get("d")], store.get
    winner = kit.tokens(kit.process(), refresh_token=second).token()
    # What the slow one has read is from before.
    monkeypatch.setattr(store, "get", lambda name: seen.pop() if seen else get(name))
    assert kit.tokens(slow, refresh_token=second).token().value == winner.value
    assert kit.rules.refusals == []


@pytest.mark.parametrize("how", ["client", "assertion"])
def test_a_login_that_needs_no_person(kit: Any, how: str) -> None:
    source = kit.tokens(unattended=how)
    first = source.token()
    assert kit.rules.whose(first.value) == "the application"
    assert kit.secrets() == Tokens(first.value)
    kit.clock.advance(3500)
    assert source.token().generation == first.generation + 1
    kit.server.faults = [Fault("/token", answer=(400, {"error": "invalid_grant"}))]
    kit.clock.advance(4000)
    assert refused(source.token).hint == "put the credentials in the config right"
    assert source.token().generation == first.generation + 2  # nobody had to sign in


def test_nothing_is_signed_to_tell_whether_a_person_signs_in(kit: Any) -> None:
    application = kit.connections.application
    assert not application(kit.destination("d", unattended="broken")).attended
    assert application(kit.destination("d")).attended
    with pytest.raises(DeliveryError, match="the key cannot be used"):
        kit.tokens(unattended="broken").token()


def test_a_wrong_clock_is_named(kit: Any) -> None:
    kit.server.rules.clock = lambda: kit.clock.time() + 4000
    error = refused(kit.tokens(unattended="assertion").token)
    assert error.kind is ErrorKind.CONFIG
    assert "clock" in error.message
    assert "clock" in str(error.hint)


def test_destinations_of_one_connection_share_its_tokens(kit: Any) -> None:
    kit.connect("team", life=-1)
    sources = [kit.tokens(name=name, connection="team") for name in ("a", "b", "c")]
    assert len({source.token().value for source in sources}) == 1
    assert kit.rules.exchanges == 1


def test_no_token_lies_in_the_ledger_in_clear_or_in_the_log(kit: Any) -> None:
    kit.rules.rotation = Rotation.UNTIL_USED
    kit.reset()
    kit.connect()
    source = kit.tokens()
    secrets = set()
    for _ in range(3):
        token = source.rejected(source.token())
        secrets |= {token.value, kit.secrets().refresh}
    stored = b"".join(path.read_bytes() for path in kit.path.parent.glob("ledger.db*"))
    for secret in secrets:
        assert secret.encode() not in stored
        assert secret not in str(kit.log.lines)
