"""Token requests of service accounts: an assertion signed by the account's key (RFC 7523)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from conveyor.contract import DeliveryError, ErrorKind
from conveyor_connectors.google_drive.provider import DRIVE

if TYPE_CHECKING:
    from conveyor_connectors.google_drive.options import GoogleDriveOptions

LIFE = 3600
"""Seconds an assertion may be valid at most
(https://developers.google.com/identity/protocols/oauth2/service-account)."""


def form(
    options: GoogleDriveOptions, now: float, token_url: str
) -> Mapping[str, str] | Callable[[], Mapping[str, str]] | None:
    """The form of the token request, or None where a person signs in.

    Args:
        options: The destination's.
        now: Seconds since the epoch.
        token_url: Where it goes; the assertion's audience is the one that the key names.

    Raises:
        DeliveryError: CONFIG, by what makes a signed form, when the key cannot be used or google-auth
            is not installed.
    """
    if options.service_account is None:
        return None
    key = json.loads(options.service_account.get_secret_value())
    claims = {
        "iss": key["client_email"],
        "scope": " ".join(options.scopes or (DRIVE,)),
        "aud": key["token_uri"],
        "iat": int(now),
        "exp": int(now) + LIFE,
    }
    if options.subject is not None:
        claims["sub"] = options.subject
    return lambda: {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": _signed(claims, key),
    }


def _signed(claims: Mapping[str, object], key: Mapping[str, str]) -> str:
    try:
        from google.auth import crypt, jwt
    except ImportError:
        hint = "pip install google-auth where the workers run"
        raise DeliveryError(ErrorKind.CONFIG, "service_account needs google-auth", hint=hint) from None
    try:
        make: Any = crypt.RSASigner.from_service_account_info
        encode: Any = jwt.encode
        signed: bytes = encode(make(key), claims)
    except (ValueError, TypeError) as error:
        text = f"the key of the service account cannot be used: {type(error).__name__}"
        raise DeliveryError(ErrorKind.CONFIG, text, hint="make a new key in Google's console") from None
    return signed.decode()
