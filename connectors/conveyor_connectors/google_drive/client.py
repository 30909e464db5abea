"""The SDK's methods over one policed connection: every token from the ledger."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from googleapiclient.discovery import build_from_document

from conveyor.contract import ConnectorEnv, DeliveryError, ErrorKind, Token, TokenSource
from conveyor.kit.httplib2_transport import PolicedHttp
from conveyor.kit.pools import dialled_by
from conveyor.kit.sessions import READ_TIMEOUT
from conveyor_connectors.google_drive.options import GoogleDriveOptions

OWN_DOMAIN = "googleapis.com"
"""Where an upload's address may be; it gets the token."""


@functools.cache
def _description() -> dict[str, Any]:
    """The packaged description of the API; no request is made for it."""
    place = files("googleapiclient") / "discovery_cache" / "documents" / "drive.v3.json"
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


class _Unused:
    """In place of a connection: requests are made for many connectors, and each sends its own."""

    def request(self, *_: Any, **__: Any) -> Any:
        """Never called."""
        raise AssertionError("a request was sent by no connector")


@functools.lru_cache(maxsize=16)
def _methods(root: str) -> tuple[Any, Any]:
    """The SDK's methods of files and revisions, at this address. Making them takes longer than a request."""
    # Media uploads take their address from rootUrl alone; client_options.api_endpoint does not reach it.
    document = {**_description(), "rootUrl": root, "baseUrl": f"{root}drive/v3/"}
    drive = build_from_document(document, http=_Unused())
    return drive.files(), drive.revisions()


class SignedHttp(PolicedHttp):
    """Adds the token, to each request anew."""

    def __init__(self, env: ConnectorEnv, tokens: TokenSource) -> None:
        super().__init__(env.network)
        self._tokens = tokens
        self.used: Token | None = None

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        redirections: int = 0,
        connection_type: Any = None,
    ) -> tuple[Any, bytes]:
        """Send one request, once, signed."""
        self.used = self._tokens.token()
        signed = {**(headers or {}), "authorization": self.used.bearer}
        return super().request(uri, method, body, signed)

    def renew(self) -> None:
        """The last token was rejected: take another.

        Raises:
            DeliveryError: There is none.
        """
        if self.used is not None:
            self._tokens.rejected(self.used)


class Client:
    """What is used of the SDK.

    Attributes:
        http: Sends.
        files: Its methods of files.
        revisions: Those of a file's earlier contents.
    """

    def __init__(self, options: GoogleDriveOptions, env: ConnectorEnv) -> None:
        if env.tokens is None:
            raise DeliveryError(ErrorKind.CONFIG, "google_drive has no sign-in here")
        self.http = SignedHttp(env, env.tokens)
        self._own = dialled_by(options.api_url)
        self.files, self.revisions = _methods(options.api_url.rstrip("/") + "/")

    def check_address(self, url: str) -> str:
        """An address that an answer named, which will get the token.

        Raises:
            DeliveryError: CONFIG, when it is not Google's.
        """
        scheme, host, port = dialled_by(url)
        known = (scheme, host, port) == self._own  # a test server's, too
        if known or (scheme == "https" and f".{host}".endswith(f".{OWN_DOMAIN}")):
            return url
        raise DeliveryError(
            ErrorKind.CONFIG, f"Drive named an upload address outside its domain: {host[:80]}"
        )

    def limit(self, seconds: float) -> None:
        """Let the next requests take no longer than that in any one wait."""
        self.http.timeout = max(0.1, min(READ_TIMEOUT, seconds))

    def close(self) -> None:
        """Close its connections."""
        self.http.close()
