"""SDK clients, one for each container and sign-in in a process.

A client is safe for many threads and keeps connections and tokens: so all connectors that need the same
share one, counted, and the last of them closes it.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient

from conveyor_connectors.azure_blob.identity import machine_identity
from conveyor_connectors.azure_blob.options import AzureBlobOptions
from conveyor_connectors.azure_blob.transport import CONNECT_TIMEOUT, READ_TIMEOUT, session

if TYPE_CHECKING:
    from conveyor.network import Network

CONNECTIONS = 64
"""Idle connections kept per host: above the number of threads that a process runs."""


@dataclass(slots=True)
class Shared:
    """A client and how many use it."""

    client: ContainerClient
    credential: Any
    key: tuple[Any, ...] = field(repr=False)
    users: int = 0

    def close(self) -> None:
        """Close connections and what the sign-in holds."""
        self.client.close()
        if (close := getattr(self.credential, "close", None)) is not None:
            close()


@dataclass(slots=True)
class Clients:
    """The clients of this process."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: dict[tuple[Any, ...], Shared] = field(default_factory=dict)

    def acquire(self, options: AzureBlobOptions, network: Network) -> Shared:
        """The client for these options, made on first use. Give it back with :meth:`release`.

        Raises:
            DeliveryError: CONFIG, when the package for ``identity`` is missing.
            ConveyorError: the CA file cannot be used.
        """
        key = _key(options, network)
        with self._lock:
            shared = self._open.get(key)
            if shared is None:
                shared = self._open[key] = Shared(*_create(options, network), key)
            shared.users += 1
            return shared

    def release(self, shared: Shared) -> None:
        """One user less; the last one closes the client."""
        with self._lock:
            shared.users -= 1
            if shared.users > 0:
                return
            if self._open.get(shared.key) is shared:
                del self._open[shared.key]
        shared.close()

    def discard(self, shared: Shared) -> None:
        """The client's token was refused: who asks next gets a new client, and with it a new token."""
        with self._lock:
            if self._open.get(shared.key) is shared:
                del self._open[shared.key]

    def __len__(self) -> int:
        return len(self._open)


CLIENTS = Clients()


def _key(options: AzureBlobOptions, network: Network) -> tuple[Any, ...]:
    account = options.account
    return (
        os.getpid(),
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


def _create(options: AzureBlobOptions, network: Network) -> tuple[ContainerClient, Any]:
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
    return client, credential
