"""Digests and signatures over the body exactly as it is sent."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

STANDARD_PREFIX = "whsec_"


def standard_key(secret: str) -> bytes | None:
    """The key of a ``whsec_`` secret (Standard Webhooks 1.0.0), or None for any other secret.

    Raises:
        ValueError: what follows ``whsec_`` is not base64.
    """
    if not secret.startswith(STANDARD_PREFIX):
        return None
    encoded = secret.removeprefix(STANDARD_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError("a whsec_ secret must be base64 after its prefix") from None
    if not key:
        raise ValueError("a whsec_ secret must hold a key after its prefix")
    return key


@dataclass(frozen=True, slots=True)
class Seal:
    """What the headers say about the body.

    Attributes:
        content_digest: ``sha-256=:…:`` (RFC 9530).
        signature: ``sha256=<hex>``, or None without a secret.
        standard: ``v1,<base64>`` for each ``whsec_`` secret, joined by spaces, or None.
    """

    content_digest: str
    signature: str | None
    standard: str | None


def content_digest(sha256: bytes) -> str:
    """The value of ``Content-Digest``."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def seal(
    pieces: Iterable[bytes],
    *,
    secrets: Sequence[str],
    message_id: str,
    timestamp: int,
    each: Callable[[], None] = lambda: None,
) -> Seal:
    """Digest and sign a body in one pass over it.

    Args:
        pieces: The body.
        secrets: The current one first.
        message_id: The ``webhook-id``.
        timestamp: The ``webhook-timestamp``, Unix seconds.
        each: Called after each piece.
    """
    digest = hashlib.sha256()
    plain = [hmac.new(secret.encode(), digestmod="sha256") for secret in secrets[:1]]
    keys = [key for key in map(standard_key, secrets) if key is not None]
    standard = [hmac.new(key, f"{message_id}.{timestamp}.".encode(), "sha256") for key in keys]
    updates = [digest.update, *(mac.update for mac in (*plain, *standard))]
    for piece in pieces:
        for update in updates:
            update(piece)
        each()
    signatures = [f"v1,{base64.b64encode(mac.digest()).decode()}" for mac in standard]
    return Seal(
        content_digest(digest.digest()),
        f"sha256={plain[0].hexdigest()}" if plain else None,
        " ".join(signatures) or None,
    )
