"""What a provider's refusal means, and what follows from it for deliveries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from conveyor.contract import DeliveryError, ErrorKind, OAuthProvider, Scope, Trouble
from conveyor.oauth.http import Answer
from conveyor.redact import Redactor

SKEW = 60.0
"""Seconds between the provider's clock and ours from which a refused assertion is the clock's fault."""

_RFC: Mapping[str, Trouble] = {
    # RFC 6749 §5.2
    "invalid_grant": Trouble.REVOKED,
    "invalid_client": Trouble.CLIENT,
    "unauthorized_client": Trouble.CLIENT,
    "unsupported_grant_type": Trouble.CLIENT,
    "invalid_request": Trouble.CLIENT,
    "invalid_scope": Trouble.CONSENT,
    # RFC 6749 §4.1.2.1
    "access_denied": Trouble.CONSENT,
    "server_error": Trouble.TRANSIENT,
    "temporarily_unavailable": Trouble.TRANSIENT,
    # OpenID Connect Core §3.1.2.6
    "consent_required": Trouble.CONSENT,
    "interaction_required": Trouble.CONSENT,
    "login_required": Trouble.REVOKED,
    # RFC 8628 §3.5
    "slow_down": Trouble.THROTTLED,
}
_WORD = re.compile(r"[A-Za-z0-9_]+")

_KINDS = {
    Trouble.REVOKED: ErrorKind.AUTH_REVOKED,
    Trouble.CONSENT: ErrorKind.AUTH_REVOKED,
    Trouble.CLOCK: ErrorKind.CONFIG,
    Trouble.CLIENT: ErrorKind.CONFIG,
    Trouble.THROTTLED: ErrorKind.THROTTLED,
    Trouble.TRANSIENT: ErrorKind.TRANSIENT,
}


class Refused(Exception):
    """The provider said no, or the ledger knows already that it would.

    Args:
        trouble: What it means.
        message: For people, without secrets.
        code: The provider's word, or the HTTP status.
        retry_after: Seconds to wait.
    """

    def __init__(
        self, trouble: Trouble, message: str, *, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.message = message
        self.code = code
        self.retry_after = retry_after


class NotConnected(Refused):
    """Nobody has signed in yet."""

    def __init__(self, provider: OAuthProvider) -> None:
        super().__init__(Trouble.REVOKED, f"not connected: nobody has signed in at {provider.title} yet")


def refusal(
    provider: OAuthProvider, answer: Answer, *, now: float, form: Mapping[str, str], secrets: Iterable[str]
) -> Refused:
    """Read a refusal.

    Args:
        provider: Whose words they are.
        answer: With a status that is no success.
        now: Our clock, seconds since the epoch.
        form: What was asked.
        secrets: To keep out of the message.
    """
    error = _text(answer.document.get("error"))
    description = _text(answer.document.get("error_description"))
    trouble = _trouble(provider, answer, error, description)
    message = f"{provider.title} refused the login: {error or f'HTTP {answer.status}'}"
    if description:
        message += f" ({description})"
    signed = "assertion" in form or "client_assertion" in form
    if signed and trouble in (Trouble.REVOKED, Trouble.CLIENT) and answer.date is not None:
        skew = now - answer.date
        if abs(skew) > SKEW:
            trouble = Trouble.CLOCK
            ahead = "ahead of" if skew > 0 else "behind"
            message += f"; this machine's clock is {abs(skew):.0f} s {ahead} the provider's"
    redact = Redactor(secrets)
    code = error or str(answer.status)
    return Refused(trouble, redact.message(message), code=code[:64], retry_after=answer.retry_after)


def _trouble(provider: OAuthProvider, answer: Answer, error: str, description: str) -> Trouble:
    finer = (_text(answer.document.get(name)) for name in ("error_subcode", "suberror"))
    for word in (*finer, *_WORD.findall(description), error):
        if word in provider.errors:
            return provider.errors[word]
    if answer.status == 429:
        return Trouble.THROTTLED
    if error in _RFC:
        return _RFC[error]
    # Without a word of OAuth it is not the provider's token endpoint that spoke, or it is unwell.
    return Trouble.TRANSIENT if answer.status >= 500 else Trouble.CLIENT


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def delivery_error(refused: Refused, destination: str, *, attended: bool) -> DeliveryError:
    """What a connector lets pass on to the engine.

    Args:
        refused: Why there is no token.
        destination: Whose delivery asks.
        attended: Whether a person signs in for it, so that ``conveyor connect`` cures it.
    """
    return DeliveryError(
        _KINDS[refused.trouble],
        refused.message,
        retry_after=refused.retry_after,
        scope=Scope.CONNECTION,
        hint=_hint(refused.trouble, destination, attended),
        code=refused.code,
    )


def _hint(trouble: Trouble, destination: str, attended: bool) -> str | None:
    sign_in = f"conveyor connect {destination}"
    match trouble:
        case Trouble.REVOKED:
            return sign_in if attended else "put the credentials in the config right"
        case Trouble.CONSENT:
            who = "agree to what is asked for, or have an administrator do it"
            return f"{who}: {sign_in}" if attended else f"{who}"
        case Trouble.CLOCK:
            return "set this machine's clock (NTP)"
        case Trouble.CLIENT:
            return "check client_id, client_secret and the endpoints in the config"
        case _:
            return None
