"""A webhook's URL, taken apart once and checked."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

_SAFE = "/%:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to POST.

    Attributes:
        secure: https.
        host: Name or address, ASCII, IPv6 without brackets.
        port: TCP port.
        authority: The ``Host`` header.
        target: Path and query, percent-encoded.
    """

    secure: bool
    host: str
    port: int
    authority: str
    target: str

    @property
    def origin(self) -> str:
        """Scheme and host: all of the URL that messages show, since paths and queries may hold tokens."""
        return f"{'https' if self.secure else 'http'}://{self.authority}"

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Take ``url`` apart.

        Raises:
            ValueError: it is not an absolute http or https URL that can be posted to.
        """
        if any(character <= " " or character == "\x7f" for character in url):
            raise ValueError("the URL holds a space or a control character; percent-encode it")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ValueError("the URL must begin with https:// or http://")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the URL holds a user name; put an Authorization header into custom_headers")
        if parts.fragment:
            raise ValueError("the URL has a fragment (#…), which is never sent")
        if not parts.hostname:
            raise ValueError("the URL names no host")
        host = _ascii(parts.hostname)
        secure = parts.scheme == "https"
        default = 443 if secure else 80
        port = parts.port if parts.port is not None else default
        if port == 0:
            raise ValueError("port 0 cannot be connected to")
        bracketed = f"[{host}]" if ":" in host else host
        target = quote(parts.path or "/", safe=_SAFE)
        if parts.query:
            target += "?" + quote(parts.query, safe=_SAFE + "?")
        return cls(secure, host, port, bracketed if port == default else f"{bracketed}:{port}", target)


def _ascii(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("the URL's host is not a host name") from None
