"""Requests to Graph, for one attempt: tokens from the ledger, time limits, errors of the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from conveyor.contract import AttemptContext, ConnectorEnv, DeliveryError, ErrorKind, Token, TokenSource
from conveyor.kit.errors import from_transport
from conveyor.kit.sessions import CONNECT_TIMEOUT, READ_TIMEOUT, make_session
from conveyor_connectors.onedrive.errors import from_answer
from conveyor_connectors.onedrive.options import OneDriveOptions

if TYPE_CHECKING:
    from requests import Response

AGENT = "NONISV|Conveyor|Conveyor/1.0"
"""Traffic that says who it is is throttled later
(https://learn.microsoft.com/sharepoint/dev/general-development/how-to-avoid-getting-throttled-or-blocked-in-sharepoint-online)."""

BEHAVIOR = "@microsoft.graph.conflictBehavior"
GONE = "uploadSessionNotFound"
OTHER_RANGE = "invalidRange"
"""Codes of what a session's address says by 404 and 416."""


class Wire:
    """One connector's connections and tokens."""

    def __init__(self, options: OneDriveOptions, env: ConnectorEnv) -> None:
        if env.tokens is None:
            raise DeliveryError(ErrorKind.CONFIG, "onedrive has no sign-in here")
        self.tokens: TokenSource = env.tokens
        self.session = make_session(env.network)
        self.session.headers["User-Agent"] = AGENT
        self.base = options.graph_url.rstrip("/")
        self.drive = options.drive

    def close(self) -> None:
        """Close the connections."""
        self.session.close()


class Graph:
    """Requests of one attempt.

    Args:
        wire: To send by.
        context: None of them waits longer than it may take.
    """

    def __init__(self, wire: Wire, context: AttemptContext) -> None:
        self._wire = wire
        self._context = context

    def ask(
        self,
        doing: str,
        method: str,
        path: str,
        *,
        json: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        publishes: bool = False,
    ) -> Any:
        """One request about the drive, its answer's document; {} for none.

        Args:
            doing: For the message: ``"look at the file"``.
            method: HTTP method.
            path: Below the drive's address, as :func:`item` makes it.
            json: Sent.
            query, headers: Added.
            publishes: It makes the file: without an answer its outcome is unknown.

        Raises:
            DeliveryError: Anything but a success.
        """

        def send(token: Token) -> Response:
            return self._wire.session.request(
                method,
                self._wire.base + self._wire.drive + path,
                json=json,
                params=query,
                headers={**(headers or {}), "Authorization": token.bearer},
                timeout=self._patience(),
                allow_redirects=False,
            )

        return _document(self._answered(doing, send, publishes), doing, publishes)

    def _answered(self, doing: str, send: Callable[[Token], Response], publishes: bool) -> Response:
        try:
            token = self._wire.tokens.token()
            answer = send(token)
            if answer.status_code == 401 and from_answer(answer, doing).kind is ErrorKind.AUTH_EXPIRED:
                answer = send(self._wire.tokens.rejected(token))
        except DeliveryError:
            raise
        except Exception as error:
            raise from_transport(error, doing, sent=publishes) from None
        if not 200 <= answer.status_code < 300:
            raise from_answer(answer, doing, sent=publishes)
        return answer

    def put(self, doing: str, path: str, query: Mapping[str, str], data: bytes) -> Any:
        """A small body, which makes a file, to the drive; its answer's document."""

        def send(token: Token) -> Response:
            self._context.before_commit()
            return self._wire.session.put(
                self._wire.base + self._wire.drive + path,
                data=data,
                params=query,
                headers={"Authorization": token.bearer, "Content-Type": "application/octet-stream"},
                timeout=self._patience(),
                allow_redirects=False,
            )

        return _document(self._answered(doing, send, True), doing, True)

    def upload(
        self,
        doing: str,
        method: str,
        url: str,
        *,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        sent: Callable[[], bool] | None = None,
    ) -> Response:
        """One request to a session's own address, which is a secret and refuses a token.

        Raises:
            DeliveryError: No answer, or a refusal.
        """
        try:
            answer = self._wire.session.request(
                method, url, data=data, headers=headers, timeout=self._patience(), allow_redirects=False
            )
        except DeliveryError:
            raise
        except Exception as error:
            raise from_transport(error, doing, sent=bool(sent and sent())) from None
        if 200 <= answer.status_code < 300:
            return answer
        # By the status: which code goes with it is documented nowhere.
        if answer.status_code == 404:
            text = f"could not {doing}: the session is gone"
            raise DeliveryError(ErrorKind.SESSION_LOST, text, code=GONE)
        if answer.status_code == 416:
            text = f"could not {doing}: the session expects other bytes"
            raise DeliveryError(ErrorKind.SESSION_LOST, text, code=OTHER_RANGE)
        raise from_answer(answer, doing, sent=bool(sent and sent()))

    def _patience(self) -> tuple[float, float]:
        left = max(0.1, self._context.remaining())
        return min(CONNECT_TIMEOUT, left), min(READ_TIMEOUT, left)


def _document(answer: Response, doing: str, publishes: bool) -> Mapping[str, Any]:
    """What a success says; {} for nothing.

    Raises:
        DeliveryError: Something else than Graph has answered: a proxy's page, say.
    """
    try:
        found = answer.json() if answer.content else {}
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        kind = ErrorKind.UNKNOWN_OUTCOME if publishes else ErrorKind.TRANSIENT
        raise DeliveryError(kind, f"could not {doing}: the answer is not Graph's")
    return found


def item(folder: str, name: str | None = None, ending: str = "") -> str:
    """The address of an item by its id, or by a name below it (graph/onedrive-addressing-driveitems)."""
    if name is None:
        return f"/items/{folder}{ending}"
    return f"/items/{folder}:/{quote(name, safe='')}" + (f":{ending}" if ending else "")
