"""The SDK over one policed session: every token from the ledger, every body a stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dropbox
from dropbox.common import PathRoot
from dropbox.session import API_CONTENT_HOST

from conveyor.contract import ConnectorEnv, DeliveryError, ErrorKind, Token
from conveyor.kit.sessions import CONNECT_TIMEOUT, READ_TIMEOUT, make_session
from conveyor.kit.waits import stated_delay
from conveyor_connectors.dropbox.options import DropboxOptions

if TYPE_CHECKING:
    from requests import Response, Session

    from conveyor.kit.bodies import Body

PLACEHOLDER = b""
"""What the SDK is given as the body; :class:`Wire` sends the stream in its place."""


class Wire:
    """The SDK's session as far as it uses it: ``post``.

    Attributes:
        body: Sent in place of the SDK's bytes while it is set.
        headers: Of the last answer, names in lower case.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.body: Body | None = None
        self.headers: dict[str, str] = {}

    def post(self, url: str, *, data: Any = None, **known: Any) -> Response:
        """Send once."""
        self.headers = {}
        answer = self.session.post(url, data=data if self.body is None else self.body, **known)
        self.headers = {name.lower(): value for name, value in answer.headers.items()}
        # The SDK takes the delay of a 429 for a whole number and fails on a date; see stated_delay below.
        answer.headers.pop("Retry-After", None)
        return answer


class Client(dropbox.Dropbox):  # type: ignore[misc]  # the SDK has no types
    """The SDK's client under our rules.

    Args:
        options: The destination's.
        env: For network and tokens.

    Raises:
        DeliveryError: CONFIG, without a sign-in.
    """

    def __init__(self, options: DropboxOptions, env: ConnectorEnv) -> None:
        if env.tokens is None:
            raise DeliveryError(ErrorKind.CONFIG, "dropbox has no sign-in here")
        self._tokens = env.tokens
        self._urls = options.api_url.rstrip("/"), options.content_url.rstrip("/")
        self._used: Token | None = None
        self._patience = READ_TIMEOUT
        root = options.namespace_id
        headers = {"Dropbox-API-Path-Root": _root(root)} if root is not None else None
        session = make_session(env.network)
        super().__init__(
            oauth2_access_token="none yet",  # noqa: S106 -- each request sets it
            user_agent="conveyor",
            session=session,
            headers=headers,
        )
        self.wire = Wire(session)
        self._session = self.wire

    def _get_route_url(self, hostname: str, route_name: str) -> str:
        base = self._urls[1] if hostname == API_CONTENT_HOST else self._urls[0]
        return f"{base}/2/{route_name}"

    def request_json_string_with_retry(self, *args: Any, **known: Any) -> Any:
        """One request, with a token that lives and the attempt's patience.

        The SDK's own method waits for ever when it is asked to slow down, and sends what was refused for an
        expired token again, with the same token and with what is left of the body: nothing.
        """
        self._used = self._tokens.token()
        self._oauth2_access_token = self._used.value
        known["timeout"] = (CONNECT_TIMEOUT, self._patience)
        try:
            return self.request_json_string(*args, **known)
        finally:
            self._oauth2_access_token = "none"  # noqa: S105

    def limit(self, seconds: float) -> None:
        """Let the next requests take no longer than that in any one wait."""
        self._patience = max(0.1, min(READ_TIMEOUT, seconds))

    def renew(self) -> None:
        """The last token was rejected: take another.

        Raises:
            DeliveryError: There is none.
        """
        if self._used is not None:
            self._tokens.rejected(self._used)

    @contextmanager
    def sending(self, body: Body) -> Iterator[bytes]:
        """While entered, this body is what an upload sends; yields what to give the SDK."""
        self.wire.body = body
        try:
            yield PLACEHOLDER
        finally:
            self.wire.body = None

    def stated_delay(self) -> float | None:
        """Seconds that the last answer asked to wait."""
        return stated_delay(self.wire.headers)

    def close(self) -> None:
        """Close its connections."""
        self.wire.session.close()


def _root(namespace: str) -> str:
    from dropbox.stone_serializers import json_encode

    encoded: str = json_encode(dropbox.common.PathRoot_validator, PathRoot.namespace_id(namespace))
    return encoded
