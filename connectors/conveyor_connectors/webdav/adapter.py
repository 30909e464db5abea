"""``requests`` under the network policy: every dial through it, no retries, nothing from the environment."""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth
from urllib3.util.timeout import Timeout

from conveyor_connectors.webdav.options import Auth, WebdavOptions

if TYPE_CHECKING:
    from urllib3 import PoolManager

    from conveyor.network import Network

CONNECT_TIMEOUT = 10.0
BLOCK = 64 * 1024
"""Bytes read and sent at a time; a send that takes longer than the connect timeout ends the attempt."""
REFUSAL_LIMIT = 64 * 1024
"""Bytes read of an answer that asks for a login."""


class PolicedAdapter(HTTPAdapter):
    """Sends by a pool of :class:`conveyor.network.Network`, which dials, verifies and goes through the proxy.

    What ``requests`` says about verification, client certificates and proxies is not heard: it may come from
    the environment.
    """

    def __init__(self, pool: PoolManager) -> None:
        self._pool = pool
        super().__init__(max_retries=0)

    def init_poolmanager(self, *_: Any, **__: Any) -> None:
        """Use the policed pool, and no other."""
        self.poolmanager = self._pool

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """Send one request; its answer's body is not read yet.

        Raises:
            urllib3.exceptions.HTTPError: no answer.
            NetworkRefused: the policy forbids the address.
        """
        answer = self._pool.urlopen(
            str(request.method),
            str(request.url),
            body=request.body,
            headers=request.headers,
            preload_content=False,
            decode_content=False,
            timeout=Timeout(connect=min(CONNECT_TIMEOUT, timeout), read=timeout),
        )
        return self.build_response(request, answer)


class BoundedDigest(HTTPDigestAuth):
    """Digest authentication that remembers the server's challenge whatever thread asks.

    A connector is used by one thread at a time, but not always by the same one; and ``requests`` reads the
    whole body of a refusal, however long it is.
    """

    def __init__(self, username: str, password: str) -> None:
        super().__init__(username, password)
        self._thread_local: Any = _Namespace()

    def handle_401(self, r: Response, **kwargs: Any) -> Response:
        """Answer the challenge."""
        if r.status_code == 401 and not r._content_consumed:
            r._content = r.raw.read(REFUSAL_LIMIT)
            r._content_consumed = True
        return super().handle_401(r, **kwargs)


class _Namespace:
    pass


def make_session(session: Session, network: Network, options: WebdavOptions) -> None:
    """Bring a session under the policy and the destination's login.

    Raises:
        ConveyorError: the CA file cannot be used.
    """
    pool = network.pool(
        connections=1, connect_timeout=CONNECT_TIMEOUT, verify=options.verify_tls, ca=options.ca_bundle
    )
    pool.connection_pool_kw["blocksize"] = BLOCK
    adapter = PolicedAdapter(pool)
    for old in session.adapters.values():
        old.close()
    session.adapters.clear()
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    session.trust_env = False
    # Also with allow_redirects=False requests reads a redirect's whole body and prepares the next request.
    session.get_redirect_target = _nowhere  # type: ignore[method-assign, assignment]
    session.headers.clear()
    session.headers.update({"User-Agent": "conveyor", "Accept-Encoding": "identity"})
    session.auth = _login(options)
    # Each request stands for itself, whichever connector sends it.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))


def _nowhere(response: Response) -> None:
    """The target of every redirect."""


def _login(options: WebdavOptions) -> AuthBase:
    if options.username is None or options.password is None:
        return _Nothing()
    password = options.password.get_secret_value()
    if options.auth is Auth.DIGEST:
        return BoundedDigest(options.username, password)
    # As bytes: requests would encode text as Latin-1; RFC 7617 prefers UTF-8.
    return HTTPBasicAuth(options.username.encode(), password.encode())


class _Nothing(AuthBase):
    """No login of the session's own; keeps webdavclient3 and requests from looking for one elsewhere."""

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        return r
