"""A third party's plugin with a sign-in, as one would write it: a provider, a type, a small connector.

Its service is the stand-in's ``/me``: a delivery has arrived when the service knows the token.
"""

from __future__ import annotations

from collections.abc import Iterable

from conveyor.contract import (
    AccountQuestion,
    AttemptContext,
    Capabilities,
    CheckReport,
    CheckStep,
    ConnectorEnv,
    ConnectorSpec,
    DeliveryError,
    ErrorKind,
    OAuthOptions,
    OAuthProvider,
    Parcel,
    Receipt,
    Rotation,
    State,
    Target,
)
from conveyor.hookspecs import hookimpl

PROVIDER = OAuthProvider(
    name="acme",
    title="Acme",
    authorize_url="https://acme.example/authorize",
    token_url="https://acme.example/token",
    device_url="https://acme.example/device",
    revoke_url="https://acme.example/revoke",
    account=AccountQuestion("https://acme.example/me", id="user.id", name=("user.email",)),
    scopes=("files.write", "offline"),
    rotation=Rotation.UNTIL_USED,
    login_lasts=60 * 86400.0,
)
SPEC = ConnectorSpec(
    type="acme",
    summary="Acme's folders.",
    factory="acme_plugin:AcmeConnector",
    options="acme_plugin:AcmeOptions",
    capabilities=Capabilities(deletes=False, observable=False),
    oauth="acme",
)


@hookimpl
def conveyor_connectors() -> Iterable[ConnectorSpec]:
    return [SPEC]


@hookimpl
def conveyor_oauth_providers() -> Iterable[OAuthProvider]:
    return [PROVIDER]


class AcmeOptions(OAuthOptions):
    """Nothing but the sign-in."""


class AcmeConnector:
    def __init__(self, options: AcmeOptions, env: ConnectorEnv) -> None:
        assert env.tokens is not None
        assert options.account_url is not None
        self._tokens, self._url = env.tokens, options.account_url
        self._pool = env.network.pool()

    def _call(self) -> str:
        token = self._tokens.token()
        for _ in range(2):
            answer = self._pool.request("GET", self._url, headers={"Authorization": token.bearer})
            if answer.status == 200:
                return str(answer.json()["user"]["id"])
            if answer.status != 401:
                raise DeliveryError(ErrorKind.TRANSIENT, f"HTTP {answer.status}")
            token = self._tokens.rejected(token)
        raise DeliveryError(ErrorKind.AUTH_EXPIRED, "the service rejects a fresh token")

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        return Receipt(f"{self._call()}/{target.path}", size=parcel.size)

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Nothing is left."""

    def check(self, context: AttemptContext) -> CheckReport:
        return CheckReport((CheckStep("log in", True, self._call()),))

    def prepare(self, context: AttemptContext) -> str:
        return f"folder of {self._call()}"

    def close(self) -> None:
        self._pool.clear()
