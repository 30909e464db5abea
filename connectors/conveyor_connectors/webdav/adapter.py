"""``requests`` under the network policy, for a server whose answers may be long: they are left unread."""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest, Response
from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth
from requests.cookies import RequestsCookieJar

from conveyor.kit import sessions
from conveyor.kit.pools import policed_pools, send_once
from conveyor.kit.sessions import Session
from conveyor_connectors.webdav.options import Auth, WebdavOptions

if TYPE_CHECKING:
    from conveyor.network import Network

REFUSAL_LIMIT = 64 * 1024
"""Bytes read of an answer that asks for a login."""


class Adapter(sessions.PolicedAdapter):
    """Sends by policed pools, and leaves the answer's body to the caller."""

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """Send one request, once. What comes after ``timeout`` is the pools' own business.

        Raises:
            urllib3.exceptions.HTTPError: no answer.
            NetworkRefused: the policy forbids the address.
        """
        answer = send_once(
            self.pools, str(request.method), str(request.url), request.body, request.headers,
            connect=timeout, read=timeout,
        )  # fmt: skip
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
        # requests wants a jar for the cookies of a refusal; this one takes none.
        r.request._cookies = RequestsCookieJar(DefaultCookiePolicy(allowed_domains=()))
        return super().handle_401(r, **kwargs)


class _Namespace:
    pass


def make_session(network: Network, options: WebdavOptions) -> Session:
    """A session with the destination's login.

    Raises:
        ConveyorError: the CA file cannot be used.
    """
    pools = policed_pools(network, connections=1, verify=options.verify_tls, ca=options.ca_bundle)
    made = sessions.session_by(Adapter(pools))
    made.auth = _login(options)
    return made


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
