"""Token requests that need no person: client credentials, and assertions signed by the application's key."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from conveyor.contract import DeliveryError, ErrorKind

if TYPE_CHECKING:
    from conveyor_connectors.box.options import BoxOptions

AUDIENCE = "https://api.box.com/oauth2/token"
LIFE = 45
"""Seconds an assertion is valid; Box takes at most 60 (https://developer.box.com/guides/authentication/jwt/)."""


def form(
    options: BoxOptions, now: float, token_url: str
) -> Mapping[str, str] | Callable[[], Mapping[str, str]] | None:
    """The form of the token request, or None where a person signs in.

    Args:
        options: The destination's.
        now: Seconds since the epoch.
        token_url: Where it goes; the assertion's audience is Box's own address whatever it is.

    Raises:
        DeliveryError: CONFIG, by what makes a signed form, when the key cannot be used or PyJWT
            is not installed.
    """
    if options.jwt_config is not None:
        return partial(_assertion, options, json.loads(options.jwt_config.get_secret_value()), now)
    subject = options.subject
    if subject is None or options.client_id is None or options.client_secret is None:
        return None
    return {
        "grant_type": "client_credentials",
        "client_id": options.client_id,
        "client_secret": options.client_secret.get_secret_value(),
        "box_subject_type": subject[0],
        "box_subject_id": subject[1],
    }


def _assertion(options: BoxOptions, config: Mapping[str, Any], now: float) -> Mapping[str, str]:
    app = config["boxAppSettings"]
    kind, number = options.subject or ("enterprise", str(config["enterpriseID"]))
    claims = {
        "iss": app["clientID"],
        "sub": number,
        "box_sub_type": kind,
        "aud": AUDIENCE,
        "jti": uuid.uuid4().hex,
        "exp": int(now) + LIFE,
    }
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "client_id": app["clientID"],
        "client_secret": app["clientSecret"],
        "assertion": _signed(claims, app["appAuth"]),
    }


def _signed(claims: Mapping[str, Any], auth: Mapping[str, Any]) -> str:
    try:
        import jwt
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        hint = "pip install PyJWT where the workers run"
        raise DeliveryError(ErrorKind.CONFIG, "jwt_config needs the package PyJWT", hint=hint) from None
    passphrase = str(auth.get("passphrase") or "")
    try:
        key: Any = load_pem_private_key(str(auth["privateKey"]).encode(), passphrase.encode() or None)
        return jwt.encode(dict(claims), key, algorithm="RS256", headers={"kid": str(auth["publicKeyID"])})
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        text = f"the private key of jwt_config cannot be used: {type(error).__name__}"
        hint = "download the configuration anew in Box's developer console"
        raise DeliveryError(ErrorKind.CONFIG, text, hint=hint) from None
