"""Signing in: the authorization code flow with PKCE, and the device flow."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from conveyor.contract import Trouble
from conveyor.errors import ConveyorError, UsageError
from conveyor.oauth.http import stated_seconds
from conveyor.oauth.refusals import Refused

if TYPE_CHECKING:
    from conveyor.oauth.application import Application, Granted

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

DEVICE_LIFE = 3600.0
DEVICE_INTERVAL = 60.0
"""Seconds at most that a device code is waited for, and between two questions."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """A sign-in that has begun.

    Attributes:
        url: Where the person goes.
        state: What the answer repeats.
        redirect_uri: Where the answer goes.
        verifier: PKCE's secret; None without PKCE.
    """

    url: str = field(repr=False)
    state: str = field(repr=False)
    redirect_uri: str
    verifier: str | None = field(repr=False)


def new_state() -> str:
    """An unguessable state (RFC 6749 §10.12)."""
    return secrets.token_urlsafe(32)


def invite(application: Application, state: str, redirect_uri: str) -> Invitation:
    """Begin a sign-in.

    Raises:
        ConveyorError: The config lacks something, the client id for instance.
    """
    provider = application.provider
    verifier = secrets.token_urlsafe(64) if provider.pkce else None  # 86 characters (RFC 7636 §4.1)
    asked: dict[str, str] = {
        **provider.authorize_params,
        "response_type": "code",
        "client_id": application.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
    }
    if application.scopes:
        asked["scope"] = " ".join(application.scopes)
    if verifier is not None:
        digest = hashlib.sha256(verifier.encode()).digest()
        asked["code_challenge"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        asked["code_challenge_method"] = "S256"
    url = application.endpoint("authorize_url") or ""
    joint = "&" if urlsplit(url).query else "?"
    return Invitation(f"{url}{joint}{urlencode(asked)}", state, redirect_uri, verifier)


def pasted(invitation: Invitation, text: str) -> Mapping[str, str]:
    """The answer that a person pasted: the address the browser ended at, its query, or the code alone.

    Raises:
        UsageError: It is the answer to another sign-in, or none.
    """
    text = text.strip()
    query = urlsplit(text).query if "://" in text else text.lstrip("?")
    if "://" not in text and "=" not in text:
        if not text:
            raise UsageError("nothing was pasted", cure="run conveyor connect again")
        return {"code": text}
    answer = dict(parse_qsl(query))
    if not secrets.compare_digest(answer.get("state", "").encode(), invitation.state.encode()):
        raise UsageError(
            "this is the answer to another sign-in", cure="paste the address that this sign-in ended at"
        )
    return answer


def redeem(application: Application, invitation: Invitation, answer: Mapping[str, str]) -> Granted:
    """Exchange the answer for tokens.

    Raises:
        ConveyorError: The person, or the provider, declined.
        Refused: The provider did not take the code.
        NoAnswer: It did not answer.
    """
    code = answer.get("code")
    if not code:
        reason = answer.get("error_description") or answer.get("error") or "no code came back"
        raise ConveyorError(f"{application.provider.title} did not sign you in: {reason[:300]}")
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": invitation.redirect_uri}
    if invitation.verifier is not None:
        form["code_verifier"] = invitation.verifier
    return application.request_token(form)


# --- devices -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person types at another device (RFC 8628 §3.2)."""

    code: str = field(repr=False)
    user_code: str
    address: str
    expires_in: float
    interval: float


def begin_device(application: Application) -> DeviceCode:
    """Ask for a device code.

    Raises:
        UsageError: The provider has no device flow.
        ConveyorError: It gave none.
        NoAnswer: It did not answer.
    """
    answer = application.post("device_url", {"scope": " ".join(application.scopes)})
    document = answer.document
    try:
        return DeviceCode(
            str(document["device_code"]),
            str(document["user_code"]),
            # Before the RFC, Google called it verification_url.
            str(document.get("verification_uri") or document["verification_url"]),
            stated_seconds(document.get("expires_in"), 600.0, most=DEVICE_LIFE),
            stated_seconds(document.get("interval"), 5.0, most=DEVICE_INTERVAL),
        )
    except KeyError:
        reason = document.get("error") or f"HTTP {answer.status}"
        raise ConveyorError(f"{application.provider.title} gave no device code: {reason}") from None


def poll_device(
    application: Application,
    device: DeviceCode,
    seconds: float,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Granted:
    """Wait until the person has agreed, asking no faster than the provider allows (RFC 8628 §3.5).

    Raises:
        ConveyorError: The person declined, or took too long.
        Refused: The provider refused otherwise.
    """
    from conveyor.oauth.http import NoAnswer

    interval, waited = device.interval, 0.0
    while waited < min(seconds, device.expires_in):
        pause(interval)
        waited += interval
        try:
            return application.request_token({"grant_type": DEVICE_GRANT, "device_code": device.code})
        except NoAnswer:
            interval *= 2  # RFC 8628 §3.5: exponential backoff after a timeout
        except Refused as error:
            if error.code == "slow_down":
                interval += 5
            elif error.code == "access_denied" or error.trouble is Trouble.CONSENT:
                raise ConveyorError(f"{application.provider.title}: the sign-in was declined") from None
            elif error.code != "authorization_pending":
                raise
    raise ConveyorError("nobody signed in in time", cure="run conveyor connect again")
