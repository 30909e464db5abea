"""oidc-provider (npm): a certified authorization server, strict about refresh tokens that come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

from conveyor.contract import AccountQuestion, OAuthProvider, Rotation
from conveyor.testing.ports import LOOPBACK, free_port
from servers import npm
from servers.process import ATTEMPTS, NotReady, folder, listening, running

PACKAGE = "oidc-provider (npm; scripts/npm.sh now)"
SCRIPT = Path(__file__).with_name("oidc.mjs")


@dataclass(frozen=True)
class Oidc:
    """A running server."""

    url: str

    def provider(self, **changes: Any) -> OAuthProvider:
        """How a plugin announces it."""
        known: dict[str, Any] = {
            "name": "acme",
            "title": "OIDC",
            "authorize_url": f"{self.url}/auth",
            "token_url": f"{self.url}/token",
            "revoke_url": f"{self.url}/token/revocation",
            "account": AccountQuestion(f"{self.url}/me", id="sub", name=("sub",)),
            "scopes": ("openid", "offline_access"),
            "authorize_params": {"prompt": "consent"},
            "rotation": Rotation.STRICT,
        }
        return OAuthProvider(**{**known, **changes})

    def agree(self, address: str, account: str = "ann") -> dict[str, str]:
        """What a person does in a browser: log in, consent; returns what the redirect brings."""
        browser = build_opener(HTTPCookieProcessor(CookieJar()), _Stay)
        form: bytes | None = None
        for _ in range(12):
            location = _location(browser, address, form)
            address, form = urljoin(address, location), None
            parts = urlsplit(address)
            if not address.startswith(self.url):
                return dict(parse_qsl(parts.query))
            if parts.path.startswith("/interaction/"):
                page = browser.open(address, timeout=20).read().decode()
                prompt = "login" if 'value="login"' in page else "consent"
                form = urlencode({"prompt": prompt, "login": account, "password": "any"}).encode()
        raise AssertionError(f"the sign-in does not end: {address}")


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _location(browser: Any, address: str, form: bytes | None) -> str:
    try:
        with browser.open(Request(address, data=form), timeout=20) as answer:
            raise AssertionError(f"{address} answered {answer.status}, no redirect")
    except HTTPError as error:
        with error:
            if error.code not in (302, 303):
                raise AssertionError(f"{address} answered {error.code}: {error.read()!r}") from None
            return str(error.headers["Location"])


def available() -> bool:
    return npm.available("oidc-provider")


@contextmanager
def start(life: int = 3600) -> Iterator[Oidc]:
    """Run a server whose access tokens live for ``life`` seconds."""
    with folder("oidc") as home:
        for attempt in range(ATTEMPTS):
            port = free_port()
            argv = [npm.node() or "node", str(SCRIPT), str(npm.MODULES), str(port), str(life)]
            try:
                with running(argv, log=home / "log", ready=listening(port)):
                    yield Oidc(f"http://{LOOPBACK}:{port}")
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise
