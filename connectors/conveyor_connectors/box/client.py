"""The SDK's managers over one session: every dial by the policy, every token from the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from box_sdk_gen.managers.chunked_uploads import ChunkedUploadsManager
from box_sdk_gen.managers.files import FilesManager
from box_sdk_gen.managers.folders import FoldersManager
from box_sdk_gen.managers.uploads import UploadsManager
from box_sdk_gen.networking.auth import Authentication
from box_sdk_gen.networking.base_urls import BaseUrls
from box_sdk_gen.networking.box_network_client import BoxNetworkClient
from box_sdk_gen.networking.fetch_options import FetchOptions, ResponseFormat
from box_sdk_gen.networking.fetch_response import FetchResponse
from box_sdk_gen.networking.network import NetworkSession
from box_sdk_gen.networking.retries import BoxRetryStrategy
from box_sdk_gen.networking.timeout_config import TimeoutConfig
from box_sdk_gen.schemas.access_token import AccessToken
from box_sdk_gen.schemas.files import Files
from box_sdk_gen.schemas.upload_part import UploadPart
from box_sdk_gen.serialization.json import deserialize, serialize

from conveyor.contract import ConnectorEnv, DeliveryError, ErrorKind, Token, TokenSource
from conveyor.kit.pools import dialled_by
from conveyor.kit.sessions import CONNECT_TIMEOUT, READ_TIMEOUT, make_session
from conveyor.kit.waits import stated_delay
from conveyor_connectors.box.options import BoxOptions

if TYPE_CHECKING:
    from requests import Session

OWN_HOSTS = ("box.com", "boxcloud.com")
"""Domains that a session's addresses may be in; they get the token."""


class LedgerTokens(Authentication):
    """The SDK's view of the engine's tokens; it never renews one by itself.

    Attributes:
        used: The token of the last request, for handing it back when Box rejects it.
    """

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens
        self.used: Token | None = None

    def retrieve_authorization_header(self, *, network_session: NetworkSession | None = None) -> str:
        """A token that lives."""
        self.used = self._tokens.token()
        return self.used.bearer

    def retrieve_token(self, *, network_session: NetworkSession | None = None) -> AccessToken:
        """The token as an object, which no request of ours asks for."""
        self.retrieve_authorization_header()
        return AccessToken(access_token=self.used.value if self.used else None)

    def refresh_token(self, *, network_session: NetworkSession | None = None) -> AccessToken:
        """Renewal is the ledger's: asked only by the SDK's retries, which are off."""
        self.renew()
        return self.retrieve_token()

    def revoke_token(self, *, network_session: NetworkSession | None = None) -> None:
        """``conveyor disconnect`` does that."""

    def downscope_token(
        self,
        scopes: list[str],
        *,
        resource: str | None = None,
        shared_link: str | None = None,
        network_session: NetworkSession | None = None,
    ) -> AccessToken:
        """Not for us: the same token."""
        return self.retrieve_token()

    def renew(self) -> None:
        """The last token was rejected: take another.

        Raises:
            DeliveryError: There is none.
        """
        if self.used is not None:
            self.used = self._tokens.rejected(self.used)


class Wire(BoxNetworkClient):
    """The SDK's transport, which keeps what an answer said beside its document.

    Attributes:
        headers: Of the last answer that was no error.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.headers: dict[str, str] = {}

    def fetch(self, options: FetchOptions) -> FetchResponse:
        """Send once."""
        self.headers = {}
        answer = super().fetch(options)
        self.headers = {name.lower(): value for name, value in answer.headers.items()}
        return answer


@dataclass
class Client:
    """What is used of the SDK, over one session.

    Attributes:
        options: The destination's.
        network: Its settings.
        wire: Its transport.
        auth: Its tokens.
    """

    options: BoxOptions
    network: NetworkSession
    wire: Wire
    auth: LedgerTokens
    uploads: UploadsManager
    chunked: ChunkedUploadsManager
    files: FilesManager
    folders: FoldersManager

    @classmethod
    def open(cls, options: BoxOptions, env: ConnectorEnv) -> Client:
        """A client of its own; it connects when it is used.

        Raises:
            DeliveryError: CONFIG, without a sign-in.
        """
        if env.tokens is None:
            raise DeliveryError(ErrorKind.CONFIG, "box has no sign-in here")
        wire = Wire(make_session(env.network))
        auth = LedgerTokens(env.tokens)
        network = NetworkSession(
            network_client=wire,
            base_urls=BaseUrls(base_url=options.api_url, upload_url=options.upload_url),
            retry_strategy=BoxRetryStrategy(max_attempts=1, max_retries_on_exception=0),
            additional_headers={"As-User": options.as_user} if options.as_user else {},
        )
        managers = {
            "uploads": UploadsManager(auth=auth, network_session=network),
            "chunked": ChunkedUploadsManager(auth=auth, network_session=network),
            "files": FilesManager(auth=auth, network_session=network),
            "folders": FoldersManager(auth=auth, network_session=network),
        }
        return cls(options=options, network=network, wire=wire, auth=auth, **managers)  # type: ignore[arg-type]

    def check_address(self, url: str) -> str:
        """An address that Box named, which will get the token.

        Raises:
            DeliveryError: CONFIG, when it is not Box's.
        """
        scheme, host, port = dialled_by(url)
        known = (scheme, host, port) == dialled_by(self.options.upload_url)  # a test server's, too
        if known or (scheme == "https" and any(host.endswith(f".{domain}") for domain in OWN_HOSTS)):
            return url
        raise DeliveryError(ErrorKind.CONFIG, f"Box named an upload address outside its domains: {host[:80]}")

    def commit(
        self, url: str, parts: Sequence[UploadPart], digest: str, times: Mapping[str, str], etag: str | None
    ) -> Files | None:
        """Order Box to join the parts; None when it will do so later (202).

        The SDK's own method has no ``attributes``, by which the file gets its times as rclone's backend/box
        sends them.

        Args:
            url: That the session named.
            parts: As Box described them, in their order.
            digest: ``sha=`` and the SHA-1 of the whole file in base64.
            times: ``content_created_at`` and ``content_modified_at``.
            etag: Of the file that is replaced; it must not have changed.

        Raises:
            BoxAPIError, BoxSDKError: What the SDK raises.
        """
        body: Any = {"parts": [serialize(part) for part in parts], "attributes": dict(times)}
        answer = self.wire.fetch(
            FetchOptions(
                url=url,
                method="POST",
                headers={"digest": digest, **({"if-match": etag} if etag else {})},
                data=body,
                content_type="application/json",
                response_format=ResponseFormat.JSON,
                auth=self.auth,
                network_session=self.network,
            )
        )
        found: Files | None = None if answer.status == 202 else deserialize(answer.data, Files)
        return found

    def limit(self, seconds: float) -> None:
        """Let the next requests take no longer than that in any one wait."""
        left = max(0.1, seconds)
        self.network.timeout_config = TimeoutConfig(
            connection_timeout_ms=int(min(CONNECT_TIMEOUT, left) * 1000),
            read_timeout_ms=int(min(READ_TIMEOUT, left) * 1000),
        )

    def stated_delay(self) -> float | None:
        """Seconds that the last answer asked to wait."""
        return stated_delay(self.wire.headers)

    def close(self) -> None:
        """Close its connections."""
        self.wire.requests_session.close()
