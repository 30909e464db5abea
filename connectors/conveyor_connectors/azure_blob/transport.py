"""The SDK's HTTP layer under our rules: the network policy dials, nothing comes from the environment.

azure-core sends through a ``requests`` session. :func:`session` makes one whose only adapter hands each
request to :meth:`conveyor.network.Network.pool`: addresses are checked as they are dialled, TLS contexts are
ours, nothing is retried and no redirect followed.
"""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError, SSLError

from conveyor.kit.pools import policed_pools, send_once

if TYPE_CHECKING:
    from urllib3 import PoolManager

    from conveyor.network import Network


class PolicedAdapter(HTTPAdapter):
    """A requests adapter that opens no connection but by the network policy.

    Args:
        pools: Of :meth:`Network.pool`.
    """

    def __init__(self, pools: PoolManager) -> None:
        self._pools = pools
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use ours."""
        self.poolmanager = self._pools

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
                self._pools,
                request.method or "GET",
                request.url or "",
                request.body,
                request.headers,
                connect=connect,
                read=read,
            )
        except (NewConnectionError, ConnectTimeoutError):
            raise  # the transport knows them by these names
        except ReadTimeoutError as error:
            raise requests.ReadTimeout(error, request=request) from error
        except SSLError as error:
            raise requests.exceptions.SSLError(error, request=request) from error
        except (HTTPError, OSError) as error:
            raise requests.ConnectionError(error, request=request) from error
        return self.build_response(request, answer)

    def close(self) -> None:
        """Close every idle connection."""
        self._pools.clear()


def session(network: Network, *, verify: bool, ca: Path | None, connections: int) -> requests.Session:
    """A session for the SDK's transport. Safe for many threads, as its only adapter is.

    Args:
        network: The policy to obey.
        verify: Check certificates.
        ca: As for :meth:`Network.tls_context`.
        connections: Idle connections kept per host.

    Raises:
        ConveyorError: the CA file cannot be used.
    """
    made = requests.Session()
    made.trust_env = False
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    made.adapters.clear()
    adapter = PolicedAdapter(policed_pools(network, verify=verify, ca=ca, connections=connections))
    for scheme in ("http://", "https://"):
        made.mount(scheme, adapter)
    return made
