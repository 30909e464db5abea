"""SDK clients, one for each container and sign-in in a process.

A client is safe for many threads and keeps connections and tokens: so all connectors that need the same
share one, counted, and the last of them closes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient

from conveyor.kit.pools import CONNECT_TIMEOUT, READ_TIMEOUT
from conveyor.kit.shared import Clients, Shared
from conveyor_connectors.azure_blob.identity import machine_identity
from conveyor_connectors.azure_blob.options import AzureBlobOptions
from conveyor_connectors.azure_blob.transport import session

if TYPE_CHECKING:
    from conveyor.network import Network

CONNECTIONS = 64
"""Idle connections kept per host: above the number of threads that a process runs."""


@dataclass(slots=True)
class SignedIn:
    """A client with its sign-in."""

    container: ContainerClient
    credential: Any = field(repr=False)

    def close(self) -> None:
        """Close connections and what the sign-in holds."""
        self.container.close()
        if (close := getattr(self.credential, "close", None)) is not None:
            close()


CLIENTS: Clients[SignedIn] = Clients(SignedIn.close)
"""The clients of this process."""


def acquire(options: AzureBlobOptions, network: Network) -> Shared[SignedIn]:
    """The client for these options, made on first use. Give it back with ``CLIENTS.release``.

    Raises:
        DeliveryError: CONFIG, when the package for ``identity`` is missing.
        ConveyorError: the CA file cannot be used.
    """
    return CLIENTS.acquire(_key(options, network), lambda: _create(options, network))


def _key(options: AzureBlobOptions, network: Network) -> tuple[Any, ...]:
    account = options.account
    return (
        account.url,
        account.name,
        account.key,
        account.sas,
        options.place,
        options.identity,
        options.identity_client_id,
        options.verify_tls,
        options.ca_bundle,
        network.allow_private,
        network.ca_bundle,
        network.proxy,
    )


def _create(options: AzureBlobOptions, network: Network) -> SignedIn:
    account = options.account
    credential: Any = None
    if account.key is not None:
        credential = AzureNamedKeyCredential(account.name or "", account.key)
    elif account.sas is not None:
        credential = AzureSasCredential(account.sas)
    elif options.identity:
        credential = machine_identity(network, options.identity_client_id)
    wire = session(network, verify=options.verify_tls, ca=options.ca_bundle, connections=CONNECTIONS)
    client = ContainerClient(
        account.url,
        options.place,
        credential=credential,
        transport=RequestsTransport(session=wire),
        connection_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retry_total=0,
        permit_redirects=False,
        user_agent="conveyor",
    )
    return SignedIn(client, credential)
