"""Box's sign-in: code with secret, single-use refresh tokens, client credentials, signed assertions.

* Codes live 30 s, refresh tokens 60 days or one use, access tokens 60 minutes
  (https://developer.box.com/guides/api-calls/permissions-and-errors/expiration/). No PKCE, no device flow:
  the description's ``PostOAuth2Token`` has no field for them, and none for ``redirect_uri``.
* A used refresh token is honoured until the new access token is used: not in the vendor's pages
  (https://developer.box.com/guides/authentication/tokens/refresh/ has "once"), but the report of a heavy
  user, Kloudless; :attr:`conveyor.contract.Rotation.UNTIL_USED`.
* Client credentials: ``box_subject_type`` and ``box_subject_id`` of the description.
* Assertions: claims as the vendor's SDK makes them (box_sdk_gen/box/jwt_auth.py, internal/utils.py); 60 s
  ahead at most (github.com/cburnette/boxr/issues/69); a ``jti`` of 16 to 128 characters
  (support.box.com 360049140434).
* Error texts: 'exp' and 'jti' by that issue, box/box-windows-sdk-v2/issues/265 and
  box/box-node-sdk/issues/138; 'sub' by support.box.com 360043691734; client, administrator and refresh token
  by box/developer.box.com pull 902. Those of 'iss', 'aud', a wrong signature, a wrong code, and a wrong
  subject of client credentials are by analogy.
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

from conveyor.contract import Rotation
from servers.oauth_rules import CLIENT, SECRET, Family, No, Rules

SCOPE = "root_readwrite"
ENTERPRISE, USER, SERVICE = "400001", "10001", "20001"
"""Ids: the company, the person who signs in, the application's own account."""
KEY_ID = "k7f3a9x2"
PASSPHRASE = "key-passphrase-5d1c"
AUDIENCE = "https://api.box.com/oauth2/token"
DAY = 86_400.0


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def app_config() -> dict[str, Any]:
    """The configuration that the developer console gives for an application with a key pair."""
    kept = serialization.BestAvailableEncryption(PASSPHRASE.encode())
    pem = _key().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kept)
    key = {"publicKeyID": KEY_ID, "privateKey": pem.decode(), "passphrase": PASSPHRASE}
    settings = {"clientID": CLIENT, "clientSecret": SECRET, "appAuth": key}
    return {"boxAppSettings": settings, "enterpriseID": ENTERPRISE}


def _no(error: str, description: str) -> No:
    return No(error, description, 400)


@dataclass
class BoxRules(Rules):
    """What is Box's own.

    Attributes:
        refresh_life: Seconds.
        code_life: Seconds.
        approved: The company's administrator has agreed to the application.
        redirects: Registered redirect addresses; None takes any.
    """

    rotation: Rotation = Rotation.UNTIL_USED
    pkce: bool = False
    refresh_life: float = 60 * DAY
    code_life: float = 30.0
    approved: bool = True
    redirects: frozenset[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._born: dict[str, float] = {}
        self._assertions: dict[str, float] = {}

    def _new(self, kind: str) -> str:
        token = super()._new(kind)
        if kind == "rt":
            self._born[token] = self.clock()
        return token

    def authorize(self, asked: Mapping[str, str]) -> str:
        """As any other; without scopes the application's own."""
        with self.lock:
            if self.redirects is not None and asked.get("redirect_uri") not in self.redirects:
                raise _no("redirect_uri_mismatch", "The redirect_uri is not one of the application's")
            if not set(asked.get("scope", SCOPE).split()) <= {SCOPE, "root_readonly"}:
                raise _no("invalid_scope", "The application does not have this scope")
            code = super().authorize({"redirect_uri": "", **asked, "scope": asked.get("scope") or SCOPE})
            self.codes[code].until = self.clock() + self.code_life
            return code

    def _authenticate(self, form: Mapping[str, str], client: tuple[str, str | None]) -> None:
        if client[0] != CLIENT or client[1] != self.secret:
            raise _no("invalid_client", "The client credentials are invalid.")

    def check_client(self, form: Mapping[str, str]) -> None:
        """Raises:
        No: invalid_client.
        """
        self._authenticate(form, (form.get("client_id", ""), form.get("client_secret")))

    def _issue(self, family: Family, refresh: str | None, replaces: str | None = None) -> dict[str, Any]:
        answer = super()._issue(family, refresh, replaces)
        del answer["scope"]
        return {**answer, "expires_in": math.ceil(self.life), "restricted_to": []}

    def _by_code(self, form: Mapping[str, str]) -> dict[str, Any]:
        code = self.codes.get(form.get("code", ""))
        if code is None or code.until < self.clock() or code.family is not None:
            if code is not None and code.family is not None:
                code.family.revoked = True
            raise _no("invalid_grant", "Auth code doesn't exist or is invalid for the client")
        return super()._by_code({"redirect_uri": code.redirect, **form})

    def _by_refresh(self, form: Mapping[str, str]) -> dict[str, Any]:
        token = form.get("refresh_token", "")
        if self.clock() - self._born.get(token, math.inf) > self.refresh_life:
            raise _no("invalid_grant", "Refresh token has expired")
        try:
            return super()._by_refresh(form)
        except No:
            raise _no("invalid_grant", "Invalid refresh token") from None

    def _by_client(self, form: Mapping[str, str]) -> dict[str, Any]:
        return self._unattended(
            form.get("box_subject_type", ""), form.get("box_subject_id", ""), "Grant credentials are invalid"
        )

    def _by_assertion(self, form: Mapping[str, str]) -> dict[str, Any]:
        try:
            token = form.get("assertion", "")
            if jwt.get_unverified_header(token).get("kid") != KEY_ID:
                raise _no("invalid_grant", "OAuth JWT signature is invalid.")
            claims = jwt.decode(
                token,
                _key().public_key(),
                algorithms=["RS256", "RS384", "RS512"],
                options={"verify_exp": False, "verify_aud": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.PyJWTError:
            raise _no("invalid_grant", "OAuth JWT signature is invalid.") from None
        self._check_claims(claims)
        wrong = "Please check the 'sub' claim. The 'sub' specified is invalid."
        return self._unattended(claims.get("box_sub_type", ""), claims.get("sub", ""), wrong)

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        now, until, name = self.clock(), claims.get("exp"), claims.get("jti")
        if claims.get("iss") != CLIENT:
            raise _no("invalid_grant", "Please check the 'iss' claim.")
        if claims.get("aud") != AUDIENCE:
            raise _no("invalid_grant", "Please check the 'aud' claim.")
        if not isinstance(until, int | float):
            raise _no("invalid_grant", "Please check the 'exp' claim.")
        if until <= now:
            late = "Current date/time MUST be before the expiration date/time listed in the 'exp' claim"
            raise _no("invalid_grant", late)
        if until > now + 60:
            far = "The 'exp' value exceeds the maximum value of 60 seconds beyond the issue time."
            raise _no("invalid_grant", f"Please check the 'exp' claim. {far}")
        if not isinstance(name, str) or not 16 <= len(name) <= 128 or name in self._assertions:
            raise _no("invalid_grant", "Please check the 'jti' claim. A unique 'jti' value is required.")
        self._assertions = {kept: end for kept, end in self._assertions.items() if end > now}
        self._assertions[name] = until

    def _unattended(self, kind: str, number: str, wrong: str) -> dict[str, Any]:
        """A token without a person: of the application's own account, or of a user it may act for."""
        users = {USER: self.account, SERVICE: SERVICE}
        account = users.get(number) if kind == "user" else {ENTERPRISE: SERVICE}.get(number)
        if account is None:
            raise _no("invalid_grant", wrong)
        if not self.approved:
            raise _no("unauthorized_client", "This app is not authorized by the enterprise admin.")
        return self._issue(Family(account, SCOPE), None)
