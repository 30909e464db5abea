"""The vendor's SDK, as it is, at a stand-in."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import dropbox
import requests
from requests.adapters import HTTPAdapter

from servers.standins.dropbox.calls import Calls


class Diverted(HTTPAdapter):
    """Sends what is meant for ``https://…dropbox…`` to another address."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, *args: Any, **known: Any) -> requests.Response:
        """Send it there."""
        parts = urlsplit(str(request.url))
        request.url = self._url + parts.path + (f"?{parts.query}" if parts.query else "")
        return super().send(request, *args, **known)


def diverted(url: str) -> requests.Session:
    """A session that takes Dropbox's hosts to this address."""
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Diverted(url))
    return session


def client(standin: Calls, *scopes: str, **known: Any) -> dropbox.Dropbox:
    """The SDK, signed in with these scopes, all of them by default."""
    token, _ = standin.sign_in(" ".join(scopes or standin.scopes))
    settings: dict[str, Any] = {"max_retries_on_error": 0, "max_retries_on_rate_limit": 0, "timeout": 10}
    return dropbox.Dropbox(token, session=diverted(standin.url), **{**settings, **known})
