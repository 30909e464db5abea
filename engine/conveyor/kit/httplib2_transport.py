"""httplib2's interface, as Google's API client wants it, over pools that the network policy dials for.

httplib2 itself is not safe for threads, dials by itself, follows redirects (308, which resumable uploads
answer with, among them) and sends a request again when a connection breaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httplib2

from conveyor.kit.pools import READ_TIMEOUT, exchange, policed_pools

if TYPE_CHECKING:
    from conveyor.network import Network

_DECODED = ("content-encoding", "content-length", "transfer-encoding")


class PolicedHttp:
    """Takes the place of ``httplib2.Http``. Safe for many threads; no redirects, cookies, cache or retries.

    ``google_auth_httplib2.AuthorizedHttp`` around it sends again after a refused token: give it
    ``refresh_status_codes=()`` where a body must not go out twice.

    Args:
        network: The policy to obey.
        connections: Idle connections kept per host.
        timeout: Seconds the answer may be silent.
        verify: Check certificates.
        ca: As for :meth:`conveyor.network.Network.tls_context`.

    Raises:
        ConveyorError: the CA file cannot be used.
    """

    follow_redirects = False
    redirect_codes: frozenset[int] = frozenset()

    def __init__(
        self,
        network: Network,
        *,
        connections: int = 1,
        timeout: float = READ_TIMEOUT,
        verify: bool = True,
        ca: Path | None = None,
    ) -> None:
        self.timeout = timeout
        self._pools = policed_pools(network, connections=connections, verify=verify, ca=ca)

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        redirections: int = 0,
        connection_type: Any = None,
    ) -> tuple[httplib2.Response, bytes]:
        """Send one request, once. The last two are httplib2's and not heard.

        Args:
            uri, method, headers: The request.
            body: Bytes, text, or a file-like object, which is streamed: with a length where it or the headers
                state one, else chunked.

        Returns:
            The answer, whatever its status, and its content, decoded; header names are in lower case.

        Raises:
            urllib3.exceptions.HTTPError, OSError: no answer.
            ConveyorError: the policy forbids the address.
        """
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        sent.setdefault("user-agent", "conveyor")
        sent.setdefault("accept-encoding", "identity")
        if isinstance(body, str):
            body = body.encode()
        if body is not None and hasattr(body, "__len__"):
            sent.setdefault("content-length", str(len(body)))
        answer, content = exchange(self._pools, method, uri, body, sent, read=self.timeout)
        told = {name.lower(): value for name, value in answer.headers.items()}
        if "content-encoding" in told:
            told = {name: value for name, value in told.items() if name not in _DECODED}
            told["content-length"] = str(len(content))
        response = httplib2.Response({**told, "status": str(answer.status)})
        response.reason = answer.reason or ""
        return response, content

    def close(self) -> None:
        """Close every idle connection."""
        self._pools.clear()
