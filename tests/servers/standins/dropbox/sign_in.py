"""Signing in at Dropbox, as https://developers.dropbox.com/oauth-guide has it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from conveyor.contract import Rotation
from servers.oauth_rules import SECRET, Family, No, Rules

NO_REDIRECT = "none: the code is shown, and typed into the application"


class DropboxRules(Rules):
    """An application's sign-in.

    Attributes:
        app_scopes: What the application may ask for (App Console, Permissions).
        redirects: Registered redirect URIs, matched to the letter; None takes any on loopback, which the real
            service does not.
    """

    def __init__(self, **known: Any) -> None:
        settings: dict[str, Any] = {"rotation": Rotation.KEPT, "life": 14_400.0, "secret": None}
        super().__init__(**{**settings, **known})
        self.app_scopes: tuple[str, ...] = ()
        self.redirects: set[str] | None = None
        self._offline: set[str] = set()

    def authorize(self, asked: Mapping[str, str]) -> str:
        """A code, and whether it will bring a refresh token.

        Without a redirect the code is shown on a page, and no state is needed. Without scopes the sign-in has
        all of the application's.
        """
        redirect = asked.get("redirect_uri")
        kind = asked.get("token_access_type", "online")
        if kind not in ("online", "offline", "legacy"):
            raise No("invalid_request", "token_access_type")
        if redirect is not None and not self._registered(redirect):
            raise No(
                "invalid_request", "Invalid redirect_uri. It must exactly match one of the redirect URIs"
            )
        scopes = asked.get("scope") or " ".join(self.app_scopes)
        self._within(scopes, self.app_scopes)
        state = asked.get("state", "" if redirect else "not needed without a redirect")
        full = {**asked, "redirect_uri": redirect or NO_REDIRECT, "state": state, "scope": scopes}
        code = super().authorize(full)
        if kind == "offline":
            self._offline.add(code)
        return code

    def _registered(self, redirect: str) -> bool:
        if self.redirects is not None:
            return redirect in self.redirects
        parts = urlsplit(redirect)
        return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1")

    def _within(self, asked: str, allowed: tuple[str, ...]) -> None:
        if allowed and (unknown := set(asked.split()) - set(allowed)):
            raise No("invalid_scope", f"not granted: {' '.join(sorted(unknown))}")

    def _authenticate(self, form: Mapping[str, str], client: tuple[str, str | None]) -> None:
        """As it is seen in the wild: 400, with the description in the error's name; not RFC 6749's 401."""
        try:
            if client[1] and client[1] != (self.secret or SECRET):
                raise No("invalid_client")
            super()._authenticate(form, client)
        except No:
            raise No("invalid_client: Invalid client_id or client_secret") from None

    def _by_code(self, form: Mapping[str, str]) -> dict[str, Any]:
        answer = super()._by_code({"redirect_uri": NO_REDIRECT, **form})
        if form["code"] not in self._offline:
            self.refresh.pop(answer.pop("refresh_token"), None)
        return {**answer, "account_id": account_id(self.account), "uid": "12345"}

    def _by_refresh(self, form: Mapping[str, str]) -> dict[str, Any]:
        family = self.refresh.get(form.get("refresh_token", ""))
        if family is not None and "scope" in form:
            self._within(form["scope"], tuple(family.scopes.split()))
        return super()._by_refresh(form)

    def _issue(self, family: Family, refresh: str | None, replaces: str | None = None) -> dict[str, Any]:
        answer = super()._issue(family, refresh, replaces)
        return {**answer, "expires_in": math.ceil(self.life)}


def account_id(account: str) -> str:
    """Forty characters (users_common.AccountId)."""
    return "dbid:" + hashlib.sha256(account.encode()).hexdigest()[:35]
