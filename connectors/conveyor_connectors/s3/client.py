"""SDK clients, one for each set of credentials and endpoint in a process.

A client is safe for many threads, creating one is not, and it costs memory and time: so they are created
under a lock, shared by all connectors that need the same, counted, and closed with their last user.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config

from conveyor.kit.shared import Clients, Shared
from conveyor_connectors.s3.credentials import as_role, machine_session
from conveyor_connectors.s3.options import S3Options
from conveyor_connectors.s3.wire import CONNECT_TIMEOUT, READ_TIMEOUT, police

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from conveyor.network import Network

CONNECTIONS = 64
"""Idle connections kept per host: above the number of threads that a process runs."""

REGION = "us-east-1"
"""Where neither the options nor the machine's configuration name one."""

_NO_MACHINE = {
    "profile": (None, None, None, None),
    "region": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
"""botocore's session variables (setting, environment, default, conversion) without the machine's own."""


CLIENTS: Clients[S3Client] = Clients(lambda client: client.close())
"""The clients of this process."""


def acquire(options: S3Options, network: Network) -> Shared[S3Client]:
    """The client for these options, made on first use. Give it back with ``CLIENTS.release``.

    Raises:
        botocore.exceptions.BotoCoreError: it cannot be made from the options.
        ConveyorError: the CA file cannot be used.
    """
    return CLIENTS.acquire(_key(options, network), lambda: _create(options, network))


def _key(options: S3Options, network: Network) -> tuple[Any, ...]:
    secrets = (options.secret_key, options.session_token)
    return (
        options.endpoint,
        options.region,
        options.access_key,
        *(secret.get_secret_value() if secret else None for secret in secrets),
        options.profile,
        options.role_arn,
        options.external_id,
        options.role_session_name,
        options.sts_endpoint,
        options.path_style,
        options.sign_payload,
        options.verify_tls,
        options.ca_bundle,
        network.allow_private,
        network.ca_bundle,
        network.proxy,
    )


def _config(options: S3Options) -> Config:
    make: Any = Config  # the stubs lag behind
    made: Config = make(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        max_pool_connections=CONNECTIONS,
        # Digests are given explicitly: the SDK's own default sends a trailer over TLS that most compatible
        # stores refuse.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
        proxies={},
        user_agent_extra="conveyor",
        s3={
            "addressing_style": "path" if options.path_style else "virtual",
            "payload_signing_enabled": options.sign_payload,
            "us_east_1_regional_endpoint": "regional",
        },
    )
    return made


def _create(options: S3Options, network: Network) -> S3Client:
    keys = _keys(options)
    if not keys or options.role_arn is not None:
        session, keys = _own_session(options, network, keys), {}
    else:
        session = _bare()
    client = session.client(
        "s3",
        region_name=options.region or session.region_name or REGION,
        endpoint_url=options.endpoint,
        verify=options.verify_tls,
        config=_config(options),
        **keys,
    )
    police(client, network, verify=options.verify_tls, ca=options.ca_bundle, connections=CONNECTIONS)
    return client


def _keys(options: S3Options) -> dict[str, Any]:
    """The destination's own credentials; none where the machine's are used."""
    if options.access_key is None or options.secret_key is None:
        return {}
    token = options.session_token
    return {
        "aws_access_key_id": options.access_key,
        "aws_secret_access_key": options.secret_key.get_secret_value(),
        "aws_session_token": token.get_secret_value() if token else None,
    }


@functools.cache
def _loader() -> Any:
    """The parsed service descriptions: 50 ms and much memory for each session that loads its own."""
    return botocore.session.Session(session_vars=_NO_MACHINE).get_component("data_loader")


def _without_machine() -> botocore.session.Session:
    """Nothing of the machine's own AWS configuration belongs to a destination with keys."""
    session = botocore.session.Session(session_vars=_NO_MACHINE)
    session.register_component("data_loader", _loader())
    return session


@functools.cache
def _bare() -> boto3.session.Session:
    """One session for all clients with nothing but keys: to make one costs as much as a client."""
    return boto3.session.Session(botocore_session=_without_machine())


def _own_session(options: S3Options, network: Network, keys: dict[str, Any]) -> boto3.session.Session:
    """A session changed for its one client: with the machine's credentials, or with a role's."""
    if keys:
        made = _without_machine()
        made.set_credentials(*keys.values())
    else:
        made = machine_session(options.profile, options.region, network)
    if options.role_arn is not None:
        region = options.region or made.get_config_variable("region") or REGION
        as_role(made, options, network, region, _config(options))
    return boto3.session.Session(botocore_session=made)
