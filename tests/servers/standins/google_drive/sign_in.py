"""Google's sign-in: what it has of its own beside :mod:`servers.oauth_rules`.

* Refresh tokens do not rotate; an installed application always gets one
  (https://developers.google.com/identity/protocols/oauth2/native-app).
* ``/revoke`` takes the token as a form's field or a query's parameter, 200 or 400 with an error
  (same page, "Revoking a token"); of a token that is unknown, over or revoked: 400 ``invalid_token``
  (github.com/hashicorp/vault-plugin-secrets-gcp/pull/15, github.com/customeros/customeros/pull/11611).
* Devices (https://developers.google.com/identity/protocols/oauth2/limited-input-device): few scopes, of
  Drive's ``drive.file`` and ``drive.appdata`` alone, else 400 ``invalid_scope`` "Invalid device flow scope"
  (github.com/hickford/git-credential-oauth/issues/38); ``verification_url``; codes live 1800 s, are polled
  every 5 s; pending is 428, too fast and denied are 403.
* Service accounts (https://developers.google.com/identity/protocols/oauth2/service-account): a JWT of RS256
  with iss, scope, aud, iat, exp at most an hour after iat; ``sub`` acts for a user where the domain allows
  it. Texts of errors: github.com/googleapis/google-cloud-python/issues/10004 (signature),
  github.com/erebusnz/gapi-google-analytics-php-interface/issues/147 (times),
  github.com/googleapis/google-api-php-client/issues/2214 (``sub``); no source for those of the account, the
  audience and the scope.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from servers.oauth_rules import CLIENT, Family, No, Rules

PREFIX = "https://www.googleapis.com/auth/"
USER = "ann@example.org"
SERVICE = "conveyor@standin.iam.gserviceaccount.com"
KEY_ID = "2f6b1c0d9e8a7f5e4d3c2b1a0918273645546372"
GOOGLE = "https://oauth2.googleapis.com/token"
DEVICE_SCOPES = frozenset({"email", "openid", "profile", PREFIX + "drive.appdata", PREFIX + "drive.file",
                           PREFIX + "youtube", PREFIX + "youtube.readonly"})  # fmt: skip
_TIMES = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)
_POLLED = {"authorization_pending": 428, "slow_down": 403, "access_denied": 403}


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def service_account(token_uri: str) -> dict[str, str]:
    """The JSON key of a service account, as Google's console gives it."""
    pem = _key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "standin",
        "private_key_id": KEY_ID,
        "private_key": pem.decode(),
        "client_email": SERVICE,
        "client_id": "100000000000000000001",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }


@dataclass
class GoogleRules(Rules):
    """What is Google's own.

    Attributes:
        known: Scopes that exist.
        audiences: What an assertion may be meant for.
        delegated: Users for whom a service account may act (domain-wide delegation).
        device_interval: Seconds between polls.
    """

    known: frozenset[str] = frozenset()
    audiences: frozenset[str] = frozenset({GOOGLE})
    delegated: frozenset[str] = frozenset({USER})
    device_interval: float = 5.0

    def authorize(self, asked: Mapping[str, str]) -> str:
        """As any other; the scopes have to exist."""
        if "redirect_uri" not in asked:
            raise No("invalid_request", "Missing required parameter: redirect_uri")
        self._check_scopes(asked.get("scope", ""))
        return super().authorize(asked)

    def _check_scopes(self, scopes: str) -> None:
        unknown = set(scopes.split()) - self.known - DEVICE_SCOPES
        if unknown or not scopes.split():
            raise No("invalid_scope", f"Some requested scopes were invalid. {sorted(unknown)}")

    def _issue(self, family: Family, refresh: str | None, replaces: str | None = None) -> dict[str, Any]:
        answer = super()._issue(family, refresh, replaces)
        return {**answer, "token_type": "Bearer", "expires_in": math.ceil(self.life)}

    def _by_refresh(self, form: Mapping[str, str]) -> dict[str, Any]:
        try:
            return super()._by_refresh(form)
        except No:
            raise No("invalid_grant", "Token has been expired or revoked.") from None

    def _by_client(self, form: Mapping[str, str]) -> dict[str, Any]:
        raise No("unsupported_grant_type", "Invalid grant_type: client_credentials")

    def end(self, token: str | None) -> None:
        """Revoke a token and what belongs to it.

        Raises:
            No: 400; it is missing, or not one that holds.
        """
        if not token:
            raise No("invalid_request", "Missing required parameter: token")
        with self.lock:
            access = self.access.get(token)
            family = self.refresh.get(token) or (access.family if access else None)
            if family is None or family.revoked or (access is not None and access.until < self.clock()):
                raise No("invalid_token", "Token expired or revoked")
            self.revoke(token)

    # --- devices -----------------------------------------------------------------------------------

    def begin_device(self, form: Mapping[str, str], interval: float) -> dict[str, Any]:
        """Few scopes are offered."""
        if form.get("client_id") != CLIENT:
            raise No("invalid_client", "The OAuth client was not found.", 401)
        scopes = form.get("scope", "").split()
        if not scopes:
            raise No("invalid_request", "Missing required parameter: scope")
        if wrong := [scope for scope in scopes if scope not in DEVICE_SCOPES]:
            raise No("invalid_scope", f"Invalid device flow scope: {wrong[0]}")
        answer = super().begin_device(form, self.device_interval)
        del answer["verification_uri"]
        with self.lock:
            self.devices[answer["device_code"]].until = self.clock() + 1800
        return {**answer, "verification_url": "https://www.google.com/device", "expires_in": 1800}

    def _by_device(self, form: Mapping[str, str]) -> dict[str, Any]:
        try:
            return super()._by_device(form)
        except No as no:
            no.status = _POLLED.get(no.document["error"], no.status)
            raise

    # --- service accounts --------------------------------------------------------------------------

    def _by_assertion(self, form: Mapping[str, str]) -> dict[str, Any]:
        claims = self._claims(form.get("assertion", ""))
        scopes = claims.get("scope")
        if not isinstance(scopes, str) or set(scopes.split()) - self.known or not scopes.split():
            raise No("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        user = claims.get("sub", SERVICE)
        if user != SERVICE and user not in self.delegated:
            text = "Client is unauthorized to retrieve access tokens using this method, or client not "
            raise No("unauthorized_client", text + "authorized for any of the scopes requested.", 401)
        answer = self._issue(Family(SERVICE if user == SERVICE else self.account, scopes), None)
        del answer["scope"]
        return answer

    def _claims(self, token: str) -> Mapping[str, Any]:
        skipped = {f"verify_{name}": False for name in ("exp", "aud", "iat", "nbf", "sub", "jti", "iss")}
        try:
            if jwt.get_unverified_header(token).get("kid", KEY_ID) != KEY_ID:
                raise jwt.InvalidKeyError
            claims: Mapping[str, Any] = jwt.decode(
                token, _key().public_key(), algorithms=["RS256"], options=skipped
            )
        except jwt.PyJWTError:
            raise No("invalid_grant", "Invalid JWT Signature.") from None
        if claims.get("iss") != SERVICE:
            raise No("invalid_grant", "Invalid grant: account not found")
        if claims.get("aud") not in self.audiences:
            raise No("invalid_grant", f"Invalid JWT: Failed audience check. The right audience is {GOOGLE}")
        now, issued, until = self.clock(), claims.get("iat"), claims.get("exp")
        numbers = isinstance(issued, int | float) and isinstance(until, int | float)
        if not numbers or not issued - 300 <= now <= until or until - issued > 3600:  # type: ignore[operator]
            raise No("invalid_grant", _TIMES)
        return claims
