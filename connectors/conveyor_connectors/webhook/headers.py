"""Header values: what may stand in them, and how file names and metadata get there."""

from __future__ import annotations

import re
from urllib.parse import quote

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~]*")
_ATTR_CHARS = "!#$&+-.^_`|~"
"""Characters that RFC 8187 leaves as they are, beside letters and digits."""

_UNENCODED = "".join(chr(code) for code in range(32, 127) if chr(code) != "%")

_OURS = frozenset(
    [
        "connection",
        "content-digest",
        "content-disposition",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-apertur-signature",
    ]
)


def is_token(text: str) -> bool:
    """True for what HTTP allows as a header name (RFC 9110 §5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def is_value(text: str) -> bool:
    """True for printable ASCII: no CR, LF or NUL, nothing that two parsers read differently."""
    return _VALUE.fullmatch(text) is not None


def check_custom(name: str, value: str) -> None:
    """Refuse a custom header that could not be sent, or would inject or replace one of ours.

    Raises:
        ValueError: says which name; never shows the value.
    """
    if not is_token(name):
        raise ValueError(f"{name!r} is not a header name")
    if name.lower() in _OURS:
        raise ValueError(f"the header {name} is set by Conveyor itself")
    if not is_value(value):
        raise ValueError(
            f"the value of the header {name} holds a line break or another character that is not ASCII"
        )


def plain(text: str) -> str:
    """Metadata as a header value: itself when it is plain ASCII, else percent-encoded UTF-8."""
    if is_value(text) and text == text.strip():
        return text
    return quote(text, safe=_UNENCODED, errors="replace").strip()


def attachment(filename: str) -> str:
    """A ``Content-Disposition`` header (RFC 6266).

    A name beyond ASCII travels as ``filename*`` (RFC 8187), after an ASCII stand-in for recipients that do
    not know it.
    """
    stand_in = "".join(c if " " <= c <= "~" and c not in '"\\' else "_" for c in filename)
    return f'attachment; filename="{stand_in}"{_extended(filename, stand_in)}'


def form_part(name: str, filename: str | None = None) -> str:
    """The ``Content-Disposition`` of one part of form data.

    Part headers are UTF-8 and escape as browsers do (WHATWG HTML, multipart/form-data); a file name that is
    not ASCII or could be read in two ways comes as ``filename*`` too, which most parsers prefer.
    """
    text = f'form-data; name="{_escaped(name)}"'
    if filename is None:
        return text
    shown = _escaped(filename)
    certain = shown if shown.isascii() and "%" not in shown else ""
    return f'{text}; filename="{shown}"{_extended(filename, certain)}'


def _extended(filename: str, shown: str) -> str:
    if filename == shown:
        return ""
    return f"; filename*=UTF-8''{quote(filename, safe=_ATTR_CHARS, errors='replace')}"


def _escaped(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").replace("\0", "%00")
