"""Whose credentials sign: the machine's own chain, and assumed roles; all under the network policy.

botocore looks for the machine's credentials in the environment, a profile (keys, a role, SSO, ``aws login``,
a process), a web identity token, and asks the container's or the instance's metadata service. STS, SSO and
sign-in are ordinary hosts: their clients dial through the policy like the destination's own. The metadata
services have link-local addresses, which the policy never dials; they get a network that reaches them and
nothing else, so that no option of a destination can lead there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    Credentials,
    DeferredRefreshableCredentials,
    create_credential_resolver,
)
from botocore.exceptions import NoCredentialsError

from conveyor_connectors.s3.options import S3Options
from conveyor_connectors.s3.wire import CONNECT_TIMEOUT, READ_TIMEOUT, PolicedSession, police

if TYPE_CHECKING:
    from conveyor.network import Network

_CHAIN = Config(
    retries={"mode": "standard", "total_max_attempts": 1},
    connect_timeout=CONNECT_TIMEOUT,
    read_timeout=READ_TIMEOUT,
    proxies={},
    user_agent_extra="conveyor",
)
"""For clients that the chain makes: one try, as for everything else."""

_METADATA_TIMEOUT = 2.0
"""Seconds that a metadata service may take to connect or to answer: it is next door, or not there."""


class MachineSession(botocore.session.Session):
    """A session whose every client dials through the network policy.

    Args:
        profile: Of the machine's AWS configuration; None for its default.
        network: The policy.
    """

    def __init__(self, profile: str | None, network: Network) -> None:
        super().__init__(profile=profile)
        self._network = network

    def create_client(self, service_name: Any, *args: Any, **kwargs: Any) -> Any:
        """A client under the policy; its own settings precede those of the chain."""
        given = kwargs.pop("config", None)
        create: Any = super().create_client
        client = create(
            service_name, *args, config=_CHAIN if given is None else _CHAIN.merge(given), **kwargs
        )
        police(client, self._network, verify=True, ca=None, connections=1)
        return client


def machine_session(profile: str | None, region: str | None, network: Network) -> botocore.session.Session:
    """A session with the machine's own credentials.

    Args:
        profile: Of the machine's AWS configuration; None for its default.
        region: Where roles of the profile are assumed; None for the machine's own.
        network: The policy that its requests obey.

    Raises:
        botocore.exceptions.BotoCoreError: the machine's configuration cannot be used.
    """
    session = MachineSession(profile, network)
    region = region or session.get_config_variable("region") or "us-east-1"
    chain: Any = create_credential_resolver(session, region_name=region)
    instance = chain.get_provider("iam-role")._role_fetcher
    container = chain.get_provider("container-role")._fetcher
    urls = (instance.get_base_url(), os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""))
    hosts = (container.IP_ADDRESS, *(urlsplit(url).hostname or "" for url in urls))
    instance._session = container._session = PolicedSession(
        network.only(hosts), verify=True, ca=None, connections=1, timeout=_METADATA_TIMEOUT
    )
    session.register_component("credential_provider", chain)
    return session


def as_role(session: Any, options: S3Options, network: Network, region: str, config: Config) -> None:
    """Let the session's credentials be those of the role, fetched when needed and before they run out.

    Raises:
        NoCredentialsError: there is nothing to assume the role with.
    """
    own = options.sts_endpoint is not None

    def create(service: str, **kwargs: Any) -> Any:
        sts = session.create_client(
            service, region_name=region, endpoint_url=options.sts_endpoint, config=config, **kwargs
        )
        # A private authority belongs to the destination's own servers, not to Amazon's.
        police(
            sts,
            network,
            verify=options.verify_tls or not own,
            ca=options.ca_bundle if own else None,
            connections=1,
        )
        return sts

    extra = {"RoleSessionName": options.role_session_name}
    if options.external_id is not None:
        extra["ExternalId"] = options.external_id
    source: Credentials | None = session.get_credentials()
    if source is None:
        raise NoCredentialsError
    fetcher = AssumeRoleCredentialFetcher(create, source, str(options.role_arn), extra_args=extra)
    session._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
