"""The sign-in itself: what the address asks, which answers are taken, PKCE, devices, endpoints."""

from __future__ import annotations

import threading
import urllib.request
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from pydantic import ValidationError
from servers.oauth_server import Fault

from conveyor.contract import OAuthOptions
from conveyor.errors import ConveyorError, UsageError
from conveyor.oauth import enrolment, signin
from conveyor.oauth.application import Application
from conveyor.oauth.listener import Listener
from conveyor.oauth.refusals import Refused
from conveyor.testing import free_port

HOME = "http://127.0.0.1:5000/"


def application(kit: Any, **options: Any) -> Application:
    return kit.connections.application(kit.destination(**options))


def go(url: str) -> int:
    """What a browser is shown at an address."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def begin(kit: Any, **options: Any) -> tuple[Application, signin.Invitation, dict[str, str]]:
    app = application(kit, **options)
    invitation = signin.invite(app, signin.new_state(), HOME)
    return app, invitation, dict(parse_qsl(urlsplit(invitation.url).query))


def test_the_address_asks_for_what_the_rfcs_want(kit: Any) -> None:
    kit.reset(authorize_params={"access_type": "offline"})
    _, invitation, asked = begin(kit)
    assert asked["response_type"] == "code"
    assert asked["access_type"] == "offline"
    assert asked["scope"] == "files.write offline"
    assert (asked["state"], asked["redirect_uri"]) == (invitation.state, HOME)
    assert asked["code_challenge_method"] == "S256"
    assert 43 <= len(invitation.verifier or "") <= 128
    assert len({begin(kit)[1].state for _ in range(5)}) == 5
    assert (invitation.verifier or "") not in invitation.url + repr(invitation)
    _, _, narrower = begin(kit, scopes=("files.read",))
    assert narrower["scope"] == "files.read"


def test_a_code_is_redeemed_with_the_verifier_of_its_own_sign_in(kit: Any) -> None:
    app, invitation, asked = begin(kit)
    granted = signin.redeem(app, invitation, {"code": kit.rules.authorize(asked)})
    assert kit.rules.whose(granted.access) == "ann"
    assert granted.scopes == ("files.write", "offline")
    other = begin(kit)[1]
    with pytest.raises(Refused, match="the verifier does not fit"):
        signin.redeem(app, other, {"code": kit.rules.authorize(asked)})


def test_without_pkce_where_the_provider_has_none(kit: Any) -> None:
    kit.rules.pkce = False
    kit.reset()
    app, invitation, asked = begin(kit)
    assert "code_challenge" not in asked
    granted = signin.redeem(app, invitation, {"code": kit.rules.authorize(asked)})
    assert granted.refresh in kit.rules.refresh


def test_a_public_client_and_one_that_authenticates_by_basic(kit: Any) -> None:
    kit.reset(basic_auth=True)
    app, invitation, asked = begin(kit)
    signin.redeem(app, invitation, {"code": kit.rules.authorize(asked)})
    assert "client_secret" not in kit.server.requests[-1].form
    kit.rules.secret = None
    kit.reset()
    app, invitation, asked = begin(kit, client_secret=None)
    signin.redeem(app, invitation, {"code": kit.rules.authorize(asked)})
    assert kit.server.requests[-1].form["client_id"] == "app-1"


def test_a_declined_sign_in_says_why(kit: Any) -> None:
    app, invitation, _ = begin(kit)
    with pytest.raises(ConveyorError, match="did not sign you in: too young"):
        signin.redeem(app, invitation, {"error": "access_denied", "error_description": "too young"})
    assert kit.server.requests == []


PASTED = [
    ("http://127.0.0.1:5000/?code=abc&state={}", {"code": "abc"}),
    ("  ?code=abc&state={}\n", {"code": "abc"}),
    ("abc-123/4\n", {"code": "abc-123/4"}),
]


@pytest.mark.parametrize(("text", "expected"), PASTED)
def test_pasted_answers(kit: Any, text: str, expected: dict[str, str]) -> None:
    invitation = begin(kit)[1]
    found = signin.pasted(invitation, text.format(invitation.state))
    assert {**found, "state": ""} == {**expected, "state": ""}


@pytest.mark.parametrize("text", ["", "http://127.0.0.1:5000/?code=abc", "code=abc&state=other"])
def test_answers_that_are_not_taken(kit: Any, text: str) -> None:
    with pytest.raises(UsageError):
        signin.pasted(begin(kit)[1], text)


def test_the_listener_takes_one_answer_with_the_right_state_and_path() -> None:
    with Listener("right-state", path="/back") as listener:
        home = listener.redirect_uri
        assert go(f"{home}?{urlencode({'code': 'forged', 'state': 'wrong'})}") == 400
        assert go(f"{home}?state=right-state") == 400
        assert go(f"{home}er?code=c&state=right-state") == 400
        assert listener.wait(0) is None
        assert go(f"{home}?code=c&state=right-state") == 200
        assert go(f"{home}?code=later&state=right-state") == 200
        assert (listener.wait(5) or {})["code"] == "c"


def test_the_listener_passes_a_refusal_on_and_shows_it_harmlessly() -> None:
    with Listener("s" * 16) as listener:
        query = urlencode({"error": "<script>", "state": "s" * 16})
        with urllib.request.urlopen(f"{listener.redirect_uri}?{query}", timeout=20) as answer:
            assert b"<script>" not in answer.read()
        assert (listener.wait(5) or {})["error"] == "<script>"


def test_a_fixed_port_that_is_taken_is_named() -> None:
    port = free_port()
    with Listener("s", host="localhost", port=port) as listener:
        assert listener.redirect_uri == f"http://localhost:{port}/"
        with pytest.raises(UsageError, match=f"port {port} cannot be listened on"):
            Listener("s", port=port)


# --- devices -----------------------------------------------------------------------------------------


class Pauses(list[float]):
    """Sleeps on the fake clock; somebody types the code during the n-th."""

    def __init__(self, kit: Any, device: signin.DeviceCode, agree: int, yes: bool = True) -> None:
        super().__init__()
        self._kit, self._device, self._agree, self._yes = kit, device, agree, yes

    def __call__(self, seconds: float) -> None:
        self.append(seconds)
        self._kit.clock.advance(seconds)
        if len(self) == self._agree:
            self._kit.rules.decide(self._device.user_code, agree=self._yes)


def test_a_device_is_polled_at_the_providers_pace(kit: Any) -> None:
    kit.server.interval = 5.0
    app = application(kit)
    device = signin.begin_device(app)
    pauses = Pauses(kit, device, agree=5)
    kit.server.faults = [Fault("/token", answer=(400, {"error": "slow_down"})), Fault("/token", cut=True)]
    granted = signin.poll_device(app, device, 300, pause=pauses)
    assert kit.rules.whose(granted.access) == "ann"
    assert pauses == [5, 10, 20, 20, 20]
    assert kit.rules.refusals == ["authorization_pending"] * 2


@pytest.mark.parametrize("stated", [float("nan"), float("inf"), -1, "soon"])
def test_a_device_is_polled_at_a_sane_pace_whatever_is_stated(kit: Any, stated: Any) -> None:
    document = {"device_code": "dc", "user_code": "WDJB", "verification_uri": "https://example.org/device"}
    answer = {**document, "interval": stated, "expires_in": stated}
    kit.server.faults = [Fault("/device", answer=(200, answer))]
    device = signin.begin_device(application(kit))
    assert 1 <= device.interval <= 60
    assert 1 <= device.expires_in <= 3600


def test_a_device_whose_sign_in_is_declined_or_forgotten(kit: Any) -> None:
    app = application(kit)
    device = signin.begin_device(app)
    with pytest.raises(ConveyorError, match="declined"):
        signin.poll_device(app, device, 300, pause=Pauses(kit, device, agree=2, yes=False))
    device = signin.begin_device(app)
    with pytest.raises(ConveyorError, match="nobody signed in in time"):
        signin.poll_device(app, device, 20, pause=Pauses(kit, device, agree=999))


# --- what follows ------------------------------------------------------------------------------------


def test_another_account_is_noticed_before_anything_is_stored(kit: Any) -> None:
    kit.connect()
    kit.rules.account = "bob"
    app, invitation, asked = begin(kit)
    granted = signin.redeem(app, invitation, {"code": kit.rules.authorize(asked)})
    found = enrolment.enrol(kit.ledger, "d", app, granted)
    assert (found.account.name, found.earlier) == ("bob@example.org", "ann@example.org")
    assert kit.ledger.connections.get("d").account_id == "id-ann"
    enrolment.store(kit.ledger, app, found, ["d"], kit.clock)
    assert kit.ledger.connections.get("d").account_id == "id-bob"
    assert enrolment.enrol(kit.ledger, "d", app, granted).earlier is None


def test_signing_out_revokes_and_forgets(kit: Any) -> None:
    kit.connect()
    record = kit.ledger.connections.get("d")
    refresh = kit.secrets().refresh
    assert enrolment.sign_out(kit.ledger, record, application(kit))
    assert kit.rules.refresh[refresh].revoked
    assert kit.ledger.connections.get("d") is None


# --- endpoints ---------------------------------------------------------------------------------------


def test_endpoints_can_be_replaced_and_filled_in(kit: Any) -> None:
    kit.reset(authorize_url="https://login.example/{connection}/authorize", revoke_url=None)
    app = application(kit, connection="te.am", token_url="https://gov.example/token")
    assert app.endpoint("authorize_url") == "https://login.example/te.am/authorize"
    assert app.endpoint("token_url") == "https://gov.example/token"
    assert app.endpoint("revoke_url") is None
    with pytest.raises(ConveyorError, match="needs the option connection"):
        application(kit).endpoint("authorize_url")


@pytest.mark.parametrize("url", ["http://example.org/token", "ftp://127.0.0.1/", "token", "https://"])
def test_endpoints_are_encrypted(url: str) -> None:
    with pytest.raises(ValidationError):
        OAuthOptions(token_url=url)


def test_a_missing_client_id_is_named(kit: Any) -> None:
    with pytest.raises(UsageError, match="needs the id of an application"):
        begin(kit, client_id=None)


def test_requests_obey_the_network_policy(kit: Any) -> None:
    from conveyor.network import Network, NetworkRefused

    app = Application(kit.provider, kit.options(), Network(), kit.clock)
    with pytest.raises(NetworkRefused):
        app.request_token({"grant_type": "refresh_token", "refresh_token": "r"})
    assert kit.server.requests == []


def test_redirects_of_the_token_endpoint_are_not_followed(kit: Any) -> None:
    kit.server.faults = [Fault("/token", answer=(307, {}), headers={"Location": f"{kit.server.url}/me"})]
    with pytest.raises(Refused):
        application(kit).request_token({"grant_type": "refresh_token", "refresh_token": "r"})
    assert [request.path for request in kit.server.requests] == ["/token"]


def test_threads_of_a_listener_end_with_it() -> None:
    with Listener("s"):
        assert any(thread.name == "sign-in" for thread in threading.enumerate())
    assert not any(thread.name == "sign-in" and thread.is_alive() for thread in threading.enumerate())
