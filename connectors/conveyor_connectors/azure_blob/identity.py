"""Signing in as the machine, where the package azure-identity is installed.

Token requests obey the network policy like all others, with one exception: the metadata service, where a
virtual machine gets its tokens, has a link-local address that no destination may reach. Its fixed URL, and
the one that App Service and Azure Arc put into the environment for the same purpose, are asked through a
network that reaches those hosts and nothing else.
"""

from __future__ import annotations

import functools
import importlib
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.pipeline.transport import RequestsTransport

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit.pools import CONNECT_TIMEOUT, READ_TIMEOUT
from conveyor.network import NetworkRefused
from conveyor_connectors.azure_blob.transport import session

if TYPE_CHECKING:
    from conveyor.network import Network

METADATA = "http://169.254.169.254/"
"""https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token"""

_FROM_ENVIRONMENT = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "IMDS_ENDPOINT")


def machine_identity(network: Network, client_id: str | None) -> Any:
    """A token credential of azure-identity: environment, workload or managed identity, Azure CLI.

    Args:
        network: The policy that its requests obey.
        client_id: Of a user-assigned managed identity.

    Raises:
        DeliveryError: CONFIG, when azure-identity is not installed.
    """
    try:
        create = importlib.import_module("azure.identity").DefaultAzureCredential
    except ImportError:
        raise DeliveryError(
            ErrorKind.CONFIG,
            "identity: true needs the package azure-identity, which is not installed",
            hint="pip install azure-identity    (in the environment that the workers run in)",
            code="ImportError",
        ) from None
    wire = session(network, verify=True, ca=None, connections=1)
    own = [url for url in (METADATA, *(os.environ.get(name, "") for name in _FROM_ENVIRONMENT)) if url]
    service = session(
        network.only(urlsplit(url).hostname or "" for url in own), verify=True, ca=None, connections=1
    )
    for url in own:
        if url.startswith("http"):
            wire.mount(url, service.get_adapter(url))
    more = {} if client_id is None else {"managed_identity_client_id": client_id}
    made = _MachineIdentity(wire)
    made.chain = create(
        transport=RequestsTransport(session=wire, session_owner=False),
        connection_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        **more,
    )
    return made


class _MachineIdentity:
    """azure-identity's chain, which swallows every error of its members; the policy's refusal is told.

    Args:
        wire: The session that the chain sends through.
    """

    chain: Any

    def __init__(self, wire: Any) -> None:
        self._refused: NetworkRefused | None = None
        self._send = wire.send
        wire.send = self._noticing

    def _noticing(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._send(*args, **kwargs)
        except NetworkRefused as error:
            self._refused = error
            raise

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """A token."""
        return self._ask(self.chain.get_token, *scopes, **options)

    def __getattr__(self, name: str) -> Any:
        """``get_token_info``, by which the SDK asks instead where azure-identity is new enough to have it."""
        if name != "get_token_info" or not hasattr(self.chain, name):
            raise AttributeError(name)
        return functools.partial(self._ask, self.chain.get_token_info)

    def _ask(self, ask: Any, *args: Any, **kwargs: Any) -> Any:
        self._refused = None
        try:
            return ask(*args, **kwargs)
        except Exception:
            if self._refused is not None:
                raise self._refused from None
            raise

    def close(self) -> None:
        """Close what the chain holds."""
        if (close := getattr(self.chain, "close", None)) is not None:
            close()
