"""webdavclient3's client with another way to execute a request: see the package for why."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest
from webdav3.client import Client  # type: ignore[import-untyped]

from conveyor_connectors.webdav.adapter import make_session
from conveyor_connectors.webdav.options import WebdavOptions

if TYPE_CHECKING:
    from requests import Response

    from conveyor.network import Network

ANSWER_LIMIT = 256 * 1024
"""Bytes of an answer that are read; a longer one costs the connection."""

READ_TIMEOUT = 60.0
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said.

    Attributes:
        status: HTTP status.
        headers: Names in any case.
        body: Its beginning; whole when ``whole``.
        whole: The body was read to its end.
        late: It is not whole, since it took too long.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    whole: bool = True
    late: bool = False

    @property
    def done(self) -> bool:
        """The server did what it was asked."""
        return 200 <= self.status < 300 and self.status != 207


class DavClient(Client):  # type: ignore[misc]
    """The library's client: its methods, headers and token, over a session under the network policy.

    Args:
        options: The destination.
        network: Dials.

    Raises:
        ConveyorError: the CA file cannot be used.
    """

    def __init__(self, options: WebdavOptions, network: Network) -> None:
        token = options.token.get_secret_value() if options.token is not None else ""
        super().__init__(
            {
                "webdav_hostname": options.origin,
                "webdav_token": token,
                "webdav_timeout": READ_TIMEOUT,
                "disable_check": True,
            }
        )
        self._origin = options.origin
        self.session = make_session(network, options)

    def get_url(self, path: str) -> str:
        """The URL of a path that is percent-encoded already."""
        return self._origin + path

    def execute_request(
        self,
        action: str,
        path: str,
        data: Any = None,
        headers_ext: Sequence[str] | None = None,
        *,
        timeout: float = READ_TIMEOUT,
        limit: int = ANSWER_LIMIT,
    ) -> Answer:
        """Send one request and read its answer; a status is never an exception, a redirect never followed.

        Args:
            action: The library's word for the method: ``upload``, ``move``, ``mkdir``, ``clean``, ``info``.
            path: Percent-encoded.
            data: Body: bytes, or a file-like object with a length.
            headers_ext: ``Name: value`` lines.
            timeout: Seconds for each wait, and for reading the answer's body as a whole.
            limit: Bytes of the body to read.

        Raises:
            Exception: of urllib3 and requests, when there is no answer; for the caller to classify.
        """
        response = self._send(action, path, data, headers_ext, timeout)
        try:
            body, whole = _read(response, limit, time.monotonic() + timeout)
        finally:
            # Back to the pool when the body was read to its end; closed otherwise.
            response.close()
        late = not whole and len(body) < limit
        return Answer(response.status_code, response.headers, body, whole, late)

    def stream(self, path: str, timeout: float = READ_TIMEOUT) -> Response:
        """GET, its body unread: the caller reads and closes."""
        return self._send("download", path, None, None, timeout)

    def _send(
        self, action: str, path: str, data: Any, headers: Sequence[str] | None, timeout: float
    ) -> Response:
        request = PreparedRequest()
        # Not by the session's request(): it would take the address apart and quote it once more.
        request.method, request.url = self.requests[action], self.get_url(path)
        request.prepare_headers({**self.session.headers, **self.get_headers(action, list(headers or ()))})
        request.prepare_body(data, None)
        request.prepare_auth(self.session.auth)
        response: Response = self.session.send(request, timeout=timeout, stream=True)
        return response

    def close(self) -> None:
        """Close the connections."""
        self.session.close()


def _read(response: Response, limit: int, until: float) -> tuple[bytes, bool]:
    """At most ``limit`` bytes of the body, and whether that is all."""
    pieces: list[bytes] = []
    size = 0
    while size <= limit and time.monotonic() < until:
        piece = response.raw.read1(_PIECE)
        if not piece:
            return b"".join(pieces), True
        pieces.append(piece)
        size += len(piece)
    response.raw.close()
    return b"".join(pieces)[:limit], False
