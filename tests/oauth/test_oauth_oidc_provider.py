"""Against oidc-provider, a real one: sign-in with PKCE, strict rotation under a race, revocation, reuse."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import oidc

from conveyor.clock import SystemClock
from conveyor.contract import DeliveryError, ErrorKind, OAuthOptions
from conveyor.keyring import Keyring
from conveyor.ledger import open_ledger
from conveyor.ledger.connections import ConnectionState, Tokens
from conveyor.oauth import enrolment, signin
from conveyor.oauth.connections import Connections
from conveyor.registry import Registry
from conveyor.testing.harness import LogRecorder
from conveyor.testing.plugin import requires
from conveyor.testing.scripted import SCRIPTED_SPEC
from conveyor.testing.simulation import destination

pytestmark = pytest.mark.server
HOME = "http://127.0.0.1:39999/"


@pytest.fixture(scope="module")
def server() -> Iterator[oidc.Oidc]:
    requires(oidc.available(), oidc.PACKAGE)
    with oidc.start() as started:
        yield started


class SignedIn:
    """A ledger with a login at the server."""

    def __init__(self, folder: Path, server: oidc.Oidc) -> None:
        from dataclasses import replace

        self.clock = SystemClock()
        keyring = Keyring.load(file=folder / "key", create=True)
        self.ledger = open_ledger(f"sqlite:///{folder}/ledger.db", clock=self.clock, keyring=keyring)
        self.registry = Registry([], providers=[server.provider()])
        options = OAuthOptions(client_id="app-1", client_secret="app-secret-7f3a")
        self.destination = destination("d", spec=replace(SCRIPTED_SPEC, oauth="acme"), options=options)
        self.application = self.process().application(self.destination)
        invitation = signin.invite(self.application, signin.new_state(), HOME)
        answer = server.agree(invitation.url)
        assert answer["state"] == invitation.state
        self.granted = signin.redeem(self.application, invitation, answer)
        found = enrolment.enrol(self.ledger, "d", self.application, self.granted)
        self.account = found.account
        enrolment.store(self.ledger, self.application, found, ["d"], self.clock)

    def process(self) -> Connections:
        return Connections(self.ledger, self.registry, self.clock, LogRecorder())

    def source(self) -> Any:
        return self.process().tokens(self.destination)

    @property
    def secrets(self) -> Tokens:
        record = self.ledger.connections.get("d")
        assert record is not None
        return self.ledger.connections.open(record)


@pytest.fixture
def login(tmp_path: Path, server: oidc.Oidc) -> Iterator[SignedIn]:
    made = SignedIn(tmp_path, server)
    with made.ledger:
        yield made


def test_signing_in_tells_whose_account_it_is(login: SignedIn) -> None:
    assert login.account.name == "ann"
    assert login.granted.refresh
    assert login.source().token().value == login.granted.access


def test_rotation_under_a_race_of_processes_and_threads(login: SignedIn) -> None:
    sources = [login.source() for _ in range(4)]
    for _ in range(5):
        before = login.secrets
        stale = sources[0].token(0)
        barrier, got = threading.Barrier(16), []

        def work(number: int, stale: Any = stale, barrier: Any = barrier, got: Any = got) -> None:
            barrier.wait()
            got.append(sources[number % 4].rejected(stale).value)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert got == [login.secrets.access] * 16
        assert login.secrets.refresh != before.refresh
        assert login.application.account(got[0]).name == "ann"


def test_a_refresh_token_that_comes_back_costs_the_login_which_is_held_once(login: SignedIn) -> None:
    source = login.source()
    used = login.secrets.refresh
    assert used is not None
    token = source.rejected(source.token())
    with pytest.raises(Exception, match="invalid_grant"):
        login.application.request_token({"grant_type": "refresh_token", "refresh_token": used})
    for asker in (source, login.source()):
        with pytest.raises(DeliveryError) as caught:
            asker.rejected(token)
        assert caught.value.kind is ErrorKind.AUTH_REVOKED
    record = login.ledger.connections.get("d")
    assert record is not None
    assert record.state is ConnectionState.REVOKED


def test_signing_out_revokes_there(login: SignedIn) -> None:
    secrets = login.secrets
    record = login.ledger.connections.get("d")
    assert record is not None
    assert enrolment.sign_out(login.ledger, record, login.application)
    with pytest.raises(Exception, match="invalid_grant"):
        login.application.request_token(login.application.renewal(secrets.refresh))


def test_a_wrong_secret_is_the_configs_fault(tmp_path: Path, server: oidc.Oidc) -> None:
    from dataclasses import replace

    login = SignedIn(tmp_path, server)
    with login.ledger:
        options = OAuthOptions(client_id="app-1", client_secret="wrong")
        wrong = login.process().tokens(replace(login.destination, options=options))
        assert wrong is not None
        with pytest.raises(DeliveryError) as caught:
            wrong.rejected(wrong.token())
        assert caught.value.kind is ErrorKind.CONFIG
        assert login.source().rejected(login.source().token())
