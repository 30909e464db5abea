"""Checking a request's signatures and digest while its body streams in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

TOLERANCE = 300.0
"""Seconds that ``webhook-timestamp`` may differ from the receiver's clock (Standard Webhooks)."""

PUBLISHED = ("x-aptr-signature", "x-apertur-signature")


class Verifier:
    """Feed it the body, then ask for the verdict.

    Args:
        headers: The request's, names in lower case.
        secrets: Any of them may have signed. None at all: signatures are not looked at.
        now: Seconds since the epoch.
        prefix: The header prefix of the sender.
    """

    def __init__(
        self, headers: Mapping[str, str], secrets: Sequence[str], now: float, prefix: str = "x-aptr-"
    ) -> None:
        self._headers = headers
        self._now = now
        self._names = dict.fromkeys((*PUBLISHED, f"{prefix.lower()}signature"))
        self._digest = hashlib.sha256()
        self._plain = [hmac.new(secret.encode(), digestmod="sha256") for secret in secrets]
        preface = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode()
        keys = [_key(secret) for secret in secrets]
        self._standard = [hmac.new(key, preface, "sha256") for key in keys if key]

    def update(self, chunk: bytes) -> None:
        """The next bytes of the body."""
        self._digest.update(chunk)
        for mac in (*self._plain, *self._standard):
            mac.update(chunk)

    @property
    def sha256(self) -> str:
        """Hex digest of the body so far."""
        return self._digest.hexdigest()

    def damaged(self) -> bool:
        """The body does not match its ``Content-Digest`` (RFC 9530); False when there is none to compare."""
        for part in self._headers.get("content-digest", "").split(","):
            name, _, value = part.strip().partition("=")
            if name.lower() == "sha-256" and value.strip(":") != _b64(self._digest.digest()):
                return True
        return False

    def verdicts(self) -> dict[str, bool]:
        """For each signature header that is there, whether one of the secrets made it."""
        found: dict[str, bool] = {}
        for name in self._names:
            if name in self._headers:
                found[name] = any(
                    hmac.compare_digest(f"sha256={mac.hexdigest()}".encode(), self._headers[name].encode())
                    for mac in self._plain
                )
        if "webhook-signature" in self._headers and self._standard:
            found["webhook-signature"] = self._fresh() and self._standard_matches()
        return found

    def trusted(self) -> bool:
        """No secret is set, or there are signatures and all of them are right."""
        verdicts = self.verdicts()
        return not self._plain or (bool(verdicts) and all(verdicts.values()))

    def _fresh(self) -> bool:
        try:
            return abs(float(self._headers.get("webhook-timestamp", "")) - self._now) <= TOLERANCE
        except ValueError:
            return False

    def _standard_matches(self) -> bool:
        made = {f"v1,{_b64(mac.digest())}" for mac in self._standard}
        given = self._headers["webhook-signature"].split(" ")
        return any(hmac.compare_digest(one.encode(), other.encode()) for one in made for other in given)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _key(secret: str) -> bytes | None:
    if not secret.startswith("whsec_"):
        return None
    encoded = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    except binascii.Error:
        return None
