"""Requests to the JSON API, each sent once, under the network policy, with a token that lives."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from conveyor.contract import AttemptContext, ConnectorEnv, DeliveryError, ErrorKind
from conveyor.kit.errors import guarded
from conveyor.kit.pools import READ_TIMEOUT, exchange, policed_pools
from conveyor.kit.shared import Clients, Shared
from conveyor_gcs.errors import KEY, Taken, classify, refused
from conveyor_gcs.options import GcsOptions
from conveyor_gcs.tokens import Tokens

OWN_DOMAIN = "googleapis.com"
"""Where an upload's address may be; it gets the customer's file."""
LEAST = 0.1
"""Seconds that a request gets at least; the attempt's deadline ends it otherwise."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was asked for.

    Attributes:
        status: One of those.
        headers: By their names in small letters.
        content: Its body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes

    def document(self) -> Mapping[str, Any]:
        """The object that it holds.

        Raises:
            ValueError, TypeError: It holds none.
        """
        found = json.loads(self.content)
        if not isinstance(found, Mapping):
            raise TypeError("no object")
        return found


class Client:
    """What the connectors of a process that have the same options share: connections and the token.

    Args:
        options: The destination's.
        env: Of the connector that is the first to use it.
    """

    def __init__(self, options: GcsOptions, env: ConnectorEnv) -> None:
        self._own = urlsplit(options.endpoint)
        self._endpoint = options.endpoint
        self._payer = options.user_project
        self._pools = policed_pools(
            env.network, connections=env.concurrency, verify=options.verify_tls, ca=options.ca_bundle
        )
        self._tokens = None if options.anonymous else Tokens(options, env)

    def url(self, path: str, **query: str | None) -> str:
        """An address of the API: ``/storage/v1/…``, its parts quoted; what is None is left out."""
        told = {**query, "userProject": self._payer}
        text = urlencode({name: value for name, value in told.items() if value is not None})
        return f"{self._endpoint}{path}" + (f"?{text}" if text else "")

    def call(
        self,
        doing: str,
        context: AttemptContext,
        method: str,
        url: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (200,),
        sent: Callable[[], bool] = _never,
        signed: bool = True,
    ) -> Answer:
        """Send one request; with another token once more, when its token is refused.

        Args:
            doing: For messages: ``"upload the file"``.
            context: The attempt, whose deadline counts.
            method, url, body, headers: The request; its length is among the headers.
            accept: Statuses that are no error.
            sent: Whether the whole of a publishing request is out.
            signed: It gets the token.

        Raises:
            Taken: 412: what the request assumes is not so.
            DeliveryError: As the errors' module says.
        """
        for last in (False, True):
            token = self._tokens.token() if signed and self._tokens is not None else None
            bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
            with guarded(doing, lambda error, doing: classify(error, doing, sent=sent())):
                patience = max(LEAST, min(READ_TIMEOUT, context.remaining()))
                raw, content = exchange(
                    self._pools,
                    method,
                    url,
                    body,
                    {"User-Agent": "conveyor", **(headers or {}), **bearer},
                    connect=patience,
                    read=patience,
                )
            told = {str(name).lower(): str(value) for name, value in raw.headers.items()}
            if raw.status in accept:
                return Answer(raw.status, told, content)
            error = refused(raw.status, told, content, doing, sent=sent())
            if raw.status == 412 and error.code != "orgPolicyConstraintFailed":
                raise Taken
            if error.kind is not ErrorKind.AUTH_EXPIRED:
                raise error
            if last or token is None or self._tokens is None:
                break
            self._tokens.refuse(token)
        hint = KEY if token is not None else "Set credentials: this bucket takes nothing from strangers."
        raise DeliveryError(ErrorKind.AUTH_REVOKED, error.message, hint=hint, code=error.code) from None

    def check_address(self, url: str) -> str:
        """The address that an answer named, which will get the file.

        Raises:
            DeliveryError: CONFIG, when it is not Google's, nor where the answer came from.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        if (parts.scheme, parts.netloc) == (self._own.scheme, self._own.netloc):
            return url
        if parts.scheme == "https" and f".{host}".endswith(f".{OWN_DOMAIN}"):
            return url
        text = f"Cloud Storage named an upload address outside its domain: {host[:80]}"
        raise DeliveryError(ErrorKind.CONFIG, text, hint="Check endpoint.")

    def close(self) -> None:
        """Close the connections."""
        self._pools.clear()
        if self._tokens is not None:
            self._tokens.close()


CLIENTS: Clients[Client] = Clients(lambda client: client.close())
"""The clients of this process."""


def acquire(options: GcsOptions, env: ConnectorEnv) -> Shared[Client]:
    """The client for these options, made on first use. Give it back with ``CLIENTS.release``.

    Raises:
        ConveyorError: the CA file cannot be used.
    """
    key = None if options.credentials is None else options.credentials.get_secret_value()
    parts = (options.endpoint, options.user_project, options.verify_tls, options.ca_bundle, options.anonymous)
    policy = (env.network.allow_private, env.network.ca_bundle, env.network.proxy)
    return CLIENTS.acquire((key, parts, policy, env.concurrency), lambda: Client(options, env))
