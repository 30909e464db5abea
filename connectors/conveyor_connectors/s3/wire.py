"""botocore's HTTP layer under our rules: the network policy dials, one call's own limits and headers apply.

botocore opens sockets in its ``URLLib3Session``. :class:`PolicedSession` is that class with connections
that dial through :class:`conveyor.network.Network`, TLS contexts of ours and nothing taken from the
environment. What differs from call to call on a client that many threads share (time limit, extra headers,
the body) travels in a thread-local :class:`Call` that event handlers read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from urllib3 import exceptions as lower

from conveyor.kit import pools
from conveyor.kit.bodies import BLOCK, Body

if TYPE_CHECKING:
    from conveyor.network import Network

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
SEND_TIMEOUT = 60.0
"""Seconds that one block of a body may wait for the peer to take it."""

HOSTS = 64
"""Host names whose connections are kept; with the bucket in the name, each bucket is a host."""

EXPECT_ABOVE = 1 << 20
"""Bodies above this size ask first (``Expect: 100-continue``), so that a refusal costs no upload and is read
instead of ending as a broken pipe. Below it the extra round trip costs more than it saves."""

_OBJECT_OPERATIONS = frozenset({"PutObject", "CreateMultipartUpload"})


class Call(threading.local):
    """What applies to the request that this thread is making."""

    read_timeout: float | None = None
    whole: float | None = None
    headers: Mapping[str, str] = {}
    body: Body | None = None


_call = Call()


@contextmanager
def calling(
    read_timeout: float,
    *,
    whole: float | None = None,
    headers: Mapping[str, str] | None = None,
    body: Body | None = None,
) -> Iterator[None]:
    """Apply limits, object headers and body to the SDK call made inside.

    Args:
        read_timeout: Seconds to wait for each part of the answer.
        whole: Seconds from its beginning to its end; the kit's ANSWER_TIMEOUT when None.
        headers: Sent with the operations that create an object, and signed.
        body: Told when its bytes really go out, and not only into a hash.
    """
    _call.read_timeout, _call.whole, _call.headers, _call.body = read_timeout, whole, headers or {}, body
    try:
        yield
    finally:
        _call.read_timeout, _call.whole, _call.headers, _call.body = None, None, {}, None


def _before_call(model: Any, params: dict[str, Any], **_: object) -> None:
    context = params["context"]
    if _call.read_timeout is not None:
        context["read_timeout"] = _call.read_timeout
    if "s3_redirect" in context:
        # The SDK would send a request for a bucket elsewhere again, to wherever the answer points.
        context["s3_redirect"]["redirected"] = True
    if model.name in _OBJECT_OPERATIONS:
        params["headers"].update(_call.headers)
    if _call.body is None or len(_call.body) <= EXPECT_ABOVE:
        params["headers"].pop("Expect", None)


def _before_send(**_: object) -> None:
    if _call.body is not None:
        _call.body.begin()


def police(client: Any, network: Network, *, verify: bool, ca: Path | None, connections: int) -> None:
    """Make every connection of an SDK client obey the network policy, and every call its :class:`Call`."""
    endpoint = client._endpoint
    endpoint.http_session.close()
    endpoint.http_session = PolicedSession(network, verify=verify, ca=ca, connections=connections)
    client.meta.events.register_last("before-call.s3", _before_call)
    client.meta.events.register("before-send.s3", _before_send)


class _Patience:
    """Mixin: while a body is sent, the socket waits no longer than the call may take."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self._limit()

    def request(self, *args: Any, **kwargs: Any) -> Any:
        self._limit()
        return super().request(*args, **kwargs)  # type: ignore[misc]

    def _limit(self) -> None:
        if self.sock is not None:
            self.sock.settimeout(min(SEND_TIMEOUT, _call.read_timeout or SEND_TIMEOUT))


class _Http(_Patience, AWSHTTPConnection):  # type: ignore[misc]
    pass


class _Https(_Patience, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _HttpsPool(AWSHTTPSConnectionPool):
    """No warning for each request where the operator chose ``verify_tls: false``."""

    def _validate_conn(self, conn: Any) -> None:
        if conn.is_closed:
            conn.connect()


class PolicedSession(URLLib3Session):
    """botocore's HTTP session with connections that dial through the network policy.

    Args:
        network: The policy.
        verify: Check certificates.
        ca: As for :meth:`Network.tls_context`.
        connections: Idle connections kept per host.
        timeout: Seconds for a connection and for each part of an answer; default the connector's own.

    Raises:
        ConveyorError: the CA file cannot be used.
    """

    def __init__(
        self,
        network: Network,
        *,
        verify: bool,
        ca: Path | None,
        connections: int,
        timeout: float | None = None,
    ) -> None:
        self._network = network
        self._context = network.tls_context(verify, ca)
        proxies = {"http": network.proxy, "https": network.proxy} if network.proxy else {}
        super().__init__(
            verify=verify,
            proxies=proxies,
            timeout=(timeout or CONNECT_TIMEOUT, timeout or READ_TIMEOUT),  # type: ignore[arg-type]
            max_pool_connections=connections,
        )
        http, https = network.connection_classes(_Http, _Https)
        classes: dict[str, type] = self._pool_classes_by_scheme  # type: ignore[attr-defined]
        classes.update(
            http=type("PolicedPool", (AWSHTTPConnectionPool,), {"ConnectionCls": http}),
            https=type("PolicedTlsPool", (_HttpsPool,), {"ConnectionCls": https}),
        )

    def send(self, request: Any) -> Any:
        if self._network.proxy is not None:
            self._network.check_literal(urlsplit(request.url).hostname or "")
        streamed, request.stream_output = request.stream_output, True  # botocore would read without limits
        try:
            answer = super().send(request)
        finally:
            request.stream_output = streamed
        if not streamed or answer.status_code >= 300:
            answer._content = self._content_of(answer.raw, request)  # type: ignore[attr-defined]
        return answer

    def _content_of(self, raw: Any, request: Any) -> bytes:
        """The answer's content, in botocore's errors."""
        try:
            return pools.whole(raw, _call.whole, decode=False)
        except lower.ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except lower.ProtocolError as error:
            raise ConnectionClosedError(endpoint_url=request.url, request=request, error=error) from error
        except (lower.HTTPError, OSError) as error:
            raise HTTPClientError(error=error) from error

    def _get_pool_manager_kwargs(self, **extra: Any) -> dict[str, Any]:
        kwargs: dict[str, Any] = super()._get_pool_manager_kwargs(  # type: ignore[misc]
            **{"num_pools": HOSTS, "blocksize": BLOCK, **extra}
        )
        # Without socket options urllib3's default (no delay) applies.
        kwargs.pop("socket_options", None)
        return kwargs

    def _get_ssl_context(self) -> Any:
        return self._context

    def _setup_ssl_cert(self, conn: Any, url: str, verify: Any) -> None:
        """Leave the context as it is: it is shared, and it verifies already."""
