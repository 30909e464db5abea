"""An application at a provider: where it is asked, as whom, and for what."""

from __future__ import annotations

import base64
import hashlib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlencode

from conveyor.clock import SECOND, Clock
from conveyor.contract import OAuthProvider
from conveyor.errors import ConveyorError, UsageError
from conveyor.ledger.connections import Tokens
from conveyor.oauth.contract import TokenForm, Unattended
from conveyor.oauth.http import Answer, NoAnswer, ask, stated_seconds
from conveyor.oauth.refusals import NotConnected, refusal

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.network import Network

LIFE = 3600.0
"""Seconds an access token is taken to live where the provider does not tell (RFC 6749 §5.1)."""

LONGEST_LIFE = 366 * 86400.0
"""Seconds it is believed to live at most: providers say "for ever" by numbers that no calendar holds."""

_PLACE = re.compile(r"\{([a-z_]+)\}")
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Granted:
    """What the token endpoint gave.

    Attributes:
        refresh: None when it brought none: the old one stays.
        expires_in: Seconds.
        scopes: As granted; None when they are what was asked for.
    """

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires_in: float
    scopes: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Account:
    """Who has signed in."""

    id: str | None
    name: str | None


class Application:
    """A destination's application at its provider.

    Args:
        provider: Where accounts are.
        options: The destination's.
        network: The policy to obey.
        clock: Time.
    """

    def __init__(self, provider: OAuthProvider, options: Any, network: Network, clock: Clock) -> None:
        self.provider = provider
        self._options = options
        self._network = network
        self._clock = clock
        secret = getattr(options, "client_secret", None)
        self._secret: str | None = None if secret is None else secret.get_secret_value()
        token = getattr(options, "refresh_token", None)
        self.refresh_token: str | None = None if token is None else token.get_secret_value()
        """Given in the config."""

    @classmethod
    def of(cls, destination: Destination, provider: OAuthProvider, clock: Clock) -> Application:
        """The application of a destination."""
        return cls(provider, destination.options, destination.network, clock)

    def __repr__(self) -> str:
        return f"Application({self.provider.name!r})"

    @property
    def client_id(self) -> str:
        """The application's id. Raises UsageError when the config names none."""
        found = getattr(self._options, "client_id", None)
        if not found:
            raise UsageError(
                f"{self.provider.title} needs the id of an application of yours",
                cure="set client_id (and client_secret, where the provider gives one)",
            )
        return str(found)

    @property
    def scopes(self) -> tuple[str, ...]:
        """What is asked for."""
        own = getattr(self._options, "scopes", None)
        return self.provider.scopes if own is None else tuple(own)

    @property
    def redirect_port(self) -> int:
        """Fixed port of the redirect; 0 for any."""
        return int(getattr(self._options, "redirect_port", 0))

    @property
    def seed(self) -> str | None:
        """Digest of the refresh token in the config."""
        if self.refresh_token is None:
            return None
        return hashlib.sha256(b"conveyor seed\0" + self.refresh_token.encode()).hexdigest()

    def endpoint(self, name: str) -> str | None:
        """An endpoint, ``token_url`` for instance: the option of that name, else the provider's, filled in.

        Raises:
            ConveyorError: The provider's names an option that is not set.
        """
        own = getattr(self._options, name, None)
        if own is not None:
            return str(own)
        if name == "account_url":
            url = None if self.provider.account is None else self.provider.account.url
        else:
            url = getattr(self.provider, name)
        return None if url is None else _PLACE.sub(self._fill, url)

    def _needed(self, name: str) -> str:
        url = self.endpoint(name)
        if url is None:
            raise UsageError(f"{self.provider.title} has no {name}")
        return url

    def _fill(self, place: re.Match[str]) -> str:
        value = getattr(self._options, place.group(1), None)
        if value in (None, ""):
            raise ConveyorError(
                f"{self.provider.title} needs the option {place.group(1)}", cure=f"set {place.group(1)}"
            )
        return quote(str(value), safe="")

    def unattended(self) -> Mapping[str, str] | None:
        """The form of a token request that needs no person; None when the options describe none.

        Raises:
            ConveyorError: The provider's code cannot be loaded, or refuses the options.
        """
        found = self._described()
        return found() if callable(found) else found

    def _described(self) -> TokenForm | None:
        """What the options describe of such a form, which is not made here."""
        reference = self.provider.unattended
        if reference is None:
            return None
        module, _, attribute = reference.partition(":")
        try:
            make: Unattended = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConveyorError(
                f"OAuth provider {self.provider.name!r}: {reference} cannot be loaded: {error}",
                cure="install what the plugin needs, or update it",
            ) from None
        return make(self._options, self._now(), self._needed("token_url"))

    @property
    def attended(self) -> bool:
        """Whether its login descends from a person's: lost, only a person brings it back."""
        return self._described() is None

    def renewal(self, refresh: str | None) -> Mapping[str, str]:
        """The form that asks for new tokens.

        Args:
            refresh: The refresh token at hand; without one the login must be one that needs no person.

        Raises:
            NotConnected: It needs one.
        """
        if refresh is not None:
            return {"grant_type": "refresh_token", "refresh_token": refresh}
        form = self.unattended()
        if form is None:
            raise NotConnected(self.provider)
        return form

    # --- asking --------------------------------------------------------------------------------

    def request_token(self, form: Mapping[str, str], *, identify: bool = True) -> Granted:
        """Ask the token endpoint.

        Args:
            form: The grant.
            identify: Add client id and secret, as the provider wants them.

        Raises:
            Refused: It said no.
            NoAnswer: It said nothing.
        """
        form = {**self.provider.token_params, **form}
        answer = self._post("token_url", form, identify=identify)
        if not answer.ok or "error" in answer.document:
            raise refusal(self.provider, answer, now=self._now(), form=form, secrets=self._secrets(form))
        return _granted(answer)

    def post(self, endpoint: str, form: Mapping[str, str]) -> Answer:
        """Post a form, as this application, to another endpoint than the token's."""
        return self._post(endpoint, form, identify=True)

    def account(self, access: str) -> Account:
        """Ask whose account it is; empty where the provider has no such question.

        Raises:
            Refused: The service said no.
            NoAnswer: It said nothing.
        """
        question, url = self.provider.account, self.endpoint("account_url")
        if question is None or url is None:
            return Account(None, None)
        headers = {"Authorization": f"Bearer {access}"}
        body = None if question.body is None else question.body.encode()
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = ask(self._network, question.method, url, headers=headers, body=body)
        if not answer.ok:
            raise refusal(self.provider, answer, now=self._now(), form={}, secrets=[access])
        names = (_at(answer.document, path) for path in question.name)
        return Account(_at(answer.document, question.id), next((name for name in names if name), None))

    def revoke(self, tokens: Tokens) -> bool:
        """Revoke a login at the provider (RFC 7009); False where it offers no such thing.

        Raises:
            Refused: It said no.
            NoAnswer: It said nothing.
        """
        url = self.endpoint("revoke_url")
        if url is None:
            return False
        if self.provider.revoke_bearer:
            form: dict[str, str] = {}
            answer = ask(self._network, "POST", url, headers={"Authorization": f"Bearer {tokens.access}"})
        else:
            form = {"token": tokens.refresh or tokens.access}
            answer = self._post("revoke_url", form, identify=True)
        gone = answer.status == 401 and self.provider.revoke_bearer
        if (
            not answer.ok
            and not gone
            and answer.document.get("error") not in ("invalid_token", "invalid_grant")
        ):
            raise refusal(self.provider, answer, now=self._now(), form=form, secrets=self._secrets(form))
        return True

    def _post(self, endpoint: str, form: Mapping[str, str], *, identify: bool) -> Answer:
        url = self._needed(endpoint)
        headers = {"Content-Type": _FORM}
        fields = dict(form)
        if identify:
            if self.provider.basic_auth and self._secret is not None:
                # RFC 6749 §2.3.1: both are form-encoded before they are joined.
                pair = f"{quote_plus(self.client_id)}:{quote_plus(self._secret)}"
                headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
            else:
                fields["client_id"] = self.client_id
                if self._secret is not None:
                    fields["client_secret"] = self._secret
        return ask(self._network, "POST", url, headers=headers, body=urlencode(fields).encode())

    def _now(self) -> float:
        return self._clock.now() / SECOND

    def _secrets(self, form: Mapping[str, str]) -> list[str]:
        named = ("code", "code_verifier", "refresh_token", "token", "assertion", "client_assertion")
        return [form[name] for name in named if name in form] + ([self._secret] if self._secret else [])


def _granted(answer: Answer) -> Granted:
    document = answer.document
    access = document.get("access_token")
    if not isinstance(access, str) or not access:
        raise NoAnswer("the provider's answer holds no access token", sent=True)
    refresh, scope = document.get("refresh_token"), document.get("scope")
    return Granted(
        access,
        refresh if isinstance(refresh, str) and refresh else None,
        stated_seconds(document.get("expires_in"), LIFE, most=LONGEST_LIFE),
        # RFC 6749 §3.3 separates by spaces; some providers by commas.
        tuple(scope.replace(",", " ").split()) if isinstance(scope, str) else None,
    )


def _at(document: Any, path: str) -> str | None:
    """The text at a dotted path."""
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return None if document is None or isinstance(document, Mapping | list) else str(document)
