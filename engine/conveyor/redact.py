"""What may be shown: texts are bounded and stripped of secrets before they are logged or stored."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "***"

MESSAGE_LIMIT = 1_000
"""Characters kept of an error message or hint."""
EXCERPT_LIMIT = 2_000
"""Characters kept of a server's answer."""

_SHORTEST_SECRET = 4
"""Shorter values occur by chance and would mangle every text."""

_PATTERNS = (
    # The password of a URL's user part (RFC 3986 §3.2.1). Schemes are short; a bound keeps the search linear.
    (re.compile(r"(?P<keep>\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@]*:)[^\s/@]+(?=@)", re.I), r"\g<keep>" + HIDDEN),
    # Credentials in headers and header dumps.
    (
        re.compile(
            r"(?P<keep>\b(?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?(?:(?:basic|bearer|digest|aws4-hmac-sha256)\s+)?)[^\s,'\"]+",
            re.I,
        ),
        r"\g<keep>" + HIDDEN,
    ),
    (re.compile(r"(?P<keep>\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}", re.I), r"\g<keep>" + HIDDEN),
    # Tokens, passwords and signatures as query, form or JSON fields (S3 presigned, Azure SAS, OAuth).
    (
        re.compile(
            r"(?P<keep>['\"]?\b(?:x-amz-(?:signature|credential|security-token)|sig|access_token|refresh_token|id_token"
            r"|client_secret|code_verifier|password|passwd|secret(?:_?(?:access_)?key)?|account_?key|api_?key|token)['\"]?\s*[=:]\s*['\"]?)"
            r"[^\s&;,'\"<>}]+",
            re.I,
        ),
        r"\g<keep>" + HIDDEN,
    ),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        HIDDEN,
    ),
)


_SCHEME = re.compile(r"(basic|bearer|digest|token|api-?key)[ =]+(\S+)", re.I)
"""A secret that is the value of a header (RFC 9110 §11.4)."""


def clean(text: str) -> str:
    """Control characters, which confuse terminals and databases, as spaces; line ends stay."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def bounded(text: str, limit: int) -> str:
    """Cut ``text`` to ``limit`` characters, saying that it was cut, and clean it."""
    return clean(text) if len(text) <= limit else clean(text[: limit - 1]) + "…"


class Redactor:
    """Hides the given secret values, and whatever looks like a credential, in texts.

    Args:
        secrets: Values to hide wherever they occur, also line by line, percent-encoded and escaped as in
            JSON; of ``Bearer abc`` and its like also what follows the scheme. Values under four characters
            are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spelt = {spelling for secret in secrets for spelling in _spellings(secret)}
        values = {clean(spelling) for spelling in spelt if len(spelling) >= _SHORTEST_SECRET}
        ordered = sorted(values, key=len, reverse=True)
        self._values = re.compile("|".join(re.escape(v) for v in ordered)) if ordered else None

    def __call__(self, text: str) -> str:
        """The text without secrets and control characters."""
        text = clean(text)
        if self._values is not None:
            text = self._values.sub(HIDDEN, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def message(self, text: str) -> str:
        """A redacted error message of bounded length. Bounded last: half a secret is not recognised."""
        return bounded(self(text), MESSAGE_LIMIT)

    def excerpt(self, text: str) -> str:
        """A redacted beginning of a server's answer."""
        return bounded(self(text), EXCERPT_LIMIT)


def _spellings(secret: str) -> Iterator[str]:
    """A secret as it is, line by line, and as URLs (RFC 3986) and JSON write it."""
    for line in (secret, *secret.splitlines(), *_credentials(secret)):
        yield from (line, json.dumps(line)[1:-1])
        yield from (quote(line, safe, errors="replace") for safe in ("", "/"))
        yield quote_plus(line, errors="replace")


def _credentials(secret: str) -> Iterator[str]:
    """What follows the scheme in a header's value, and of Basic what it says: answers name it alone."""
    header = _SCHEME.fullmatch(secret.strip())
    if header is None:
        return
    yield header[2]
    if header[1].lower() == "basic":
        with suppress(ValueError):
            login = b64decode(header[2]).decode()
            yield from (login, login.partition(":")[2])


def secrets_of(options: Any) -> Iterator[str]:
    """Every secret value inside a pydantic options model, however deep."""
    if hasattr(options, "get_secret_value"):
        value = options.get_secret_value()
        yield value if isinstance(value, str) else value.decode("utf-8", "replace")
    elif isinstance(options, dict):
        for value in options.values():
            yield from secrets_of(value)
    elif isinstance(options, (list, tuple, set, frozenset)):
        for value in options:
            yield from secrets_of(value)
    elif hasattr(type(options), "model_fields"):
        for name in type(options).model_fields:
            yield from secrets_of(getattr(options, name))
