"""Token requests that need no person: client credentials, with a secret or a certificate."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from conveyor.contract import DeliveryError, ErrorKind

if TYPE_CHECKING:
    from conveyor_connectors.onedrive.options import OneDriveOptions

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_KEY = re.compile(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?-----END \1PRIVATE KEY-----", re.DOTALL)


def form(
    options: OneDriveOptions, now: float, token_url: str
) -> Mapping[str, str] | Callable[[], Mapping[str, str]] | None:
    """The form of the token request, or None where a person signs in.

    https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow

    Args:
        options: The destination's.
        now: Seconds since the epoch.
        token_url: The assertion's audience.

    Raises:
        DeliveryError: CONFIG, by what makes a signed form, when the certificate cannot be used or msal
            is not installed.
    """
    if not options.app_only or options.client_id is None:
        return None
    asked = {
        "grant_type": "client_credentials",
        "client_id": options.client_id,
        "scope": " ".join(options.scopes or (_resource(options.graph_url),)),
    }
    if options.client_secret is not None:
        return {**asked, "client_secret": options.client_secret.get_secret_value()}
    pem = options.certificate.get_secret_value() if options.certificate is not None else ""
    client_id = options.client_id
    return lambda: {
        **asked,
        "client_assertion_type": ASSERTION,
        "client_assertion": _signed(client_id, pem, token_url, now),
    }


def _resource(graph_url: str) -> str:
    """What the token is for: Graph, in the cloud that ``graph_url`` names."""
    parts = urlsplit(graph_url)
    return f"{parts.scheme}://{parts.netloc}/.default"


def _signed(client: str, pem: str, audience: str, now: float) -> str:
    """https://learn.microsoft.com/entra/identity-platform/certificate-credentials."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from msal.oauth2cli.assertion import JwtAssertionCreator
    except ImportError:
        hint = "pip install msal where the workers run"
        raise DeliveryError(ErrorKind.CONFIG, "certificate needs the package msal", hint=hint) from None
    try:
        thumbprint = x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256())
        key = _KEY.search(pem)
        creator = JwtAssertionCreator(key[0] if key else "", "PS256", sha256_thumbprint=thumbprint.hex())
        signed: str | bytes = creator.create_normal_assertion(
            audience, client, issued_at=now, expires_at=now + 300
        )
    except (ValueError, TypeError) as error:
        text = f"the certificate cannot be used: {type(error).__name__}"
        hint = "put certificate and private key, both as PEM, into one file"
        raise DeliveryError(ErrorKind.CONFIG, text, hint=hint) from None
    return signed.decode() if isinstance(signed, bytes) else signed
