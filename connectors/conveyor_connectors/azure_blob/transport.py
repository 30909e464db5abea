"""The SDK's HTTP layer under our rules: the network policy dials, nothing comes from the environment.

azure-core sends through a ``requests`` session. :func:`session` makes one of :mod:`conveyor.kit.sessions`
whose adapter leaves the body of a download to the SDK and raises what its transport expects.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError, SSLError

from conveyor.kit import sessions
from conveyor.kit.pools import ANSWER_TIMEOUT, policed_pools, send_once, whole

if TYPE_CHECKING:
    from conveyor.network import Network


class PolicedAdapter(sessions.PolicedAdapter):
    """A requests adapter that opens no connection but by the network policy."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send one request, once. ``verify``, ``cert`` and ``proxies`` are the pools' own business.

        Raises:
            requests.RequestException, urllib3.exceptions.HTTPError: as the SDK's transport expects them.
            ConveyorError: the policy forbids the address.
        """
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        try:
            answer = send_once(
                self.pools,
                request.method or "GET",
                request.url or "",
                request.body,
                request.headers,
                connect=connect,
                read=read,
            )
            response = self.build_response(request, answer)
            if not stream or answer.status >= 300:
                response._content = whole(answer, min(ANSWER_TIMEOUT, read or ANSWER_TIMEOUT))
                response._content_consumed = True
        except (NewConnectionError, ConnectTimeoutError):
            raise  # the transport knows them by these names
        except ReadTimeoutError as error:
            raise requests.ReadTimeout(error, request=request) from error
        except SSLError as error:
            raise requests.exceptions.SSLError(error, request=request) from error
        except (HTTPError, OSError) as error:
            raise requests.ConnectionError(error, request=request) from error
        return response


def session(network: Network, *, verify: bool, ca: Path | None, connections: int) -> sessions.Session:
    """A session for the SDK's transport. Safe for many threads, as its only adapter is.

    Args:
        network: The policy to obey.
        verify: Check certificates.
        ca: As for :meth:`Network.tls_context`.
        connections: Idle connections kept per host.

    Raises:
        ConveyorError: the CA file cannot be used.
    """
    pools = policed_pools(network, verify=verify, ca=ca, connections=connections)
    return sessions.session_by(PolicedAdapter(pools))
