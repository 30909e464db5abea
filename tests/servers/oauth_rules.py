"""What a strict authorization server does, as the RFCs and the vendors' notes have it; no HTTP here.

* codes: one use, bound to client, redirect and PKCE challenge, a second use revokes what the first gave
  (RFC 6749 §4.1.2 and §10.5, RFC 7636 §4.6);
* refresh tokens: four habits, :class:`conveyor.contract.Rotation`. STRICT revokes the whole family when a
  used one comes back (RFC 9700 §4.14.2). UNTIL_USED is Box's: the old token is honoured until the new access
  token is used for the first time; a second exchange of it makes the first one's tokens worthless;
* device codes: polled no faster than the interval, or the interval grows (RFC 8628 §3.5).
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from conveyor.contract import Rotation

CLIENT, SECRET = "app-1", "app-secret-7f3a"


class No(Exception):
    """An error answer of RFC 6749 §5.2."""

    def __init__(self, error: str, description: str = "", status: int = 400) -> None:
        super().__init__(error)
        self.status = status
        self.document = {"error": error, "error_description": description}


@dataclass
class Family:
    """All tokens that descend from one sign-in."""

    account: str
    scopes: str
    revoked: bool = False


@dataclass
class Access:
    family: Family
    until: float
    replaces: str | None = None
    """The refresh token that dies at the first use of this one."""


@dataclass
class Code:
    client: str
    redirect: str
    challenge: str | None
    scopes: str
    account: str
    until: float
    family: Family | None = None


@dataclass
class Device:
    user_code: str
    scopes: str
    until: float
    interval: float
    family: Family | None = None
    denied: bool = False
    polled: float = float("-inf")


@dataclass
class Rules:
    """The state of the server; every method is one request's effect, atomic."""

    rotation: Rotation = Rotation.KEPT
    life: float = 3600.0
    pkce: bool = True
    secret: str | None = SECRET
    account: str = "ann"
    clock: Callable[[], float] = time.time
    refusals: list[str] = field(default_factory=list)
    """``error`` of each refused token request."""
    exchanges: int = 0
    """Refresh tokens exchanged."""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.codes: dict[str, Code] = {}
        self.refresh: dict[str, Family] = {}
        self.successors: dict[str, tuple[str, str]] = {}
        self.used_up: dict[str, Family] = {}
        self.access: dict[str, Access] = {}
        self.devices: dict[str, Device] = {}
        self._numbers = itertools.count(1)

    def _new(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}-{secrets.token_urlsafe(12)}"

    # --- the authorization endpoint --------------------------------------------------------------

    def authorize(self, asked: Mapping[str, str]) -> str:
        """A code for a well-formed request (RFC 6749 §4.1.1); the account has agreed."""
        with self.lock:
            if asked.get("client_id") != CLIENT or asked.get("response_type") != "code":
                raise No("unauthorized_client")
            challenge = asked.get("code_challenge")
            if self.pkce and (challenge is None or asked.get("code_challenge_method") != "S256"):
                raise No("invalid_request", "PKCE with S256 is required")
            if len(asked.get("state", "")) < 16:
                raise No("invalid_request", "the state can be guessed")
            code = self._new("code")
            self.codes[code] = Code(
                CLIENT,
                asked["redirect_uri"],
                challenge,
                asked.get("scope", ""),
                self.account,
                self.clock() + 60,
            )
            return code

    # --- the token endpoint ----------------------------------------------------------------------

    def token(self, form: Mapping[str, str], client: tuple[str, str | None]) -> dict[str, Any]:
        """Answer a token request."""
        with self.lock:
            try:
                self._authenticate(form, client)
                grants = {
                    "authorization_code": self._by_code,
                    "refresh_token": self._by_refresh,
                    "client_credentials": self._by_client,
                    "urn:ietf:params:oauth:grant-type:device_code": self._by_device,
                    "urn:ietf:params:oauth:grant-type:jwt-bearer": self._by_assertion,
                }
                grant = grants.get(form.get("grant_type", ""))
                if grant is None:
                    raise No("unsupported_grant_type")
                return grant(form)
            except No as no:
                self.refusals.append(no.document["error"])
                raise

    def _authenticate(self, form: Mapping[str, str], client: tuple[str, str | None]) -> None:
        if "assertion" in form:
            return
        if client[0] != CLIENT or (self.secret is not None and client[1] != self.secret):
            raise No("invalid_client", "unknown client or wrong secret", 401)

    def _issue(self, family: Family, refresh: str | None, replaces: str | None = None) -> dict[str, Any]:
        access = self._new("at")
        self.access[access] = Access(family, self.clock() + self.life, replaces)
        answer = {
            "access_token": access, "token_type": "bearer", "expires_in": self.life, "scope": family.scopes
        }  # fmt: skip
        if refresh is not None:
            answer["refresh_token"] = refresh
        return answer

    def _fresh(self, family: Family) -> dict[str, Any]:
        refresh = self._new("rt")
        self.refresh[refresh] = family
        return self._issue(family, refresh)

    def _by_code(self, form: Mapping[str, str]) -> dict[str, Any]:
        code = self.codes.get(form.get("code", ""))
        if code is None or code.until < self.clock():
            raise No("invalid_grant", "unknown or expired code")
        if code.family is not None:
            code.family.revoked = True
            raise No("invalid_grant", "the code was used before")
        if form.get("redirect_uri") != code.redirect:
            raise No("invalid_grant", "another redirect_uri")
        if code.challenge is not None:
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
                raise No("invalid_grant", "the verifier does not fit")
        code.family = Family(code.account, code.scopes)
        return self._fresh(code.family)

    def _by_refresh(self, form: Mapping[str, str]) -> dict[str, Any]:
        token = form.get("refresh_token", "")
        family = self.refresh.get(token)
        if family is None or family.revoked:
            if self.rotation is Rotation.STRICT and token in self.used_up:
                self.used_up[token].revoked = True
            raise No("invalid_grant", "the refresh token is invalid or was used")
        self.exchanges += 1
        if self.rotation is Rotation.KEPT:
            return self._issue(family, None)
        new = self._new("rt")
        self.refresh[new] = family
        answer = self._issue(family, new, token if self.rotation is Rotation.UNTIL_USED else None)
        if self.rotation is Rotation.STRICT:
            self.used_up[token] = self.refresh.pop(token)
        if self.rotation is Rotation.UNTIL_USED:
            if token in self.successors:  # the answer before this one was lost: what it gave is worthless
                access, refresh = self.successors[token]
                self.access.pop(access, None)
                self.refresh.pop(refresh, None)
            self.successors[token] = answer["access_token"], new
        return answer

    def _by_client(self, form: Mapping[str, str]) -> dict[str, Any]:
        return self._issue(Family("the application", form.get("scope", "")), None)

    def _by_assertion(self, form: Mapping[str, str]) -> dict[str, Any]:
        issued = float(form["assertion"].rpartition("@")[2])
        if abs(issued - self.clock()) > 300:
            raise No("invalid_grant", "the assertion is not valid at this time")
        return self._issue(Family("the application", ""), None)

    # --- devices ---------------------------------------------------------------------------------

    def begin_device(self, form: Mapping[str, str], interval: float) -> dict[str, Any]:
        """RFC 8628 §3.2."""
        with self.lock:
            code, user = self._new("dc"), f"WDJB-{next(self._numbers):04d}"
            self.devices[code] = Device(user, form.get("scope", ""), self.clock() + 600, interval)
            return {
                "device_code": code, "user_code": user, "verification_uri": "https://example.org/device",
                "expires_in": 600, "interval": interval,
            }  # fmt: skip

    def decide(self, user_code: str, *, agree: bool = True) -> None:
        """A person has typed the code."""
        with self.lock:
            (device,) = [d for d in self.devices.values() if d.user_code == user_code]
            device.denied = not agree
            device.family = Family(self.account, device.scopes) if agree else None

    def _by_device(self, form: Mapping[str, str]) -> dict[str, Any]:
        device = self.devices.get(form.get("device_code", ""))
        if device is None:
            raise No("invalid_grant")
        if device.until < self.clock():
            raise No("expired_token")
        early = self.clock() - device.polled < device.interval * 0.99
        device.polled = self.clock()
        if early:
            device.interval += 5
            raise No("slow_down")
        if device.denied:
            raise No("access_denied")
        if device.family is None:
            raise No("authorization_pending")
        del self.devices[form["device_code"]]
        return self._fresh(device.family)

    # --- using and revoking ----------------------------------------------------------------------

    def whose(self, access: str) -> str:
        """The account of an access token; its first use ends the refresh token it replaced."""
        with self.lock:
            found = self.access.get(access)
            if found is None or found.family.revoked or found.until < self.clock():
                raise No("invalid_token", status=401)
            if found.replaces is not None:
                self.refresh.pop(found.replaces, None)
                self.successors.pop(found.replaces, None)
                found.replaces = None
            return found.family.account

    def revoke(self, token: str) -> None:
        """RFC 7009: unknown tokens are no error."""
        with self.lock:
            family = self.refresh.get(token)
            if family is None and token in self.access:
                family = self.access[token].family
            if family is not None:
                family.revoked = True

    def revoke_all(self) -> None:
        """The user has removed the application."""
        with self.lock:
            for family in self.refresh.values():
                family.revoked = True
