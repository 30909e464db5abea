"""The options that every destination with a sign-in takes."""

from __future__ import annotations

from pydantic import Field

from conveyor.config.options import EndpointUrl, Options, SecretStr


class OAuthOptions(Options):
    """Base of the option models of connectors with ``ConnectorSpec.oauth``."""

    client_id: str | None = Field(
        None, description="The id of your application at the provider: see the page of this type."
    )
    client_secret: SecretStr | None = Field(
        None, description="The application's secret, where the provider gives one."
    )
    connection: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="A name for the login. Destinations with the same name share one account; without it "
        "each destination has its own.",
    )
    scopes: tuple[str, ...] | None = Field(
        None, description="What to ask the provider for, in place of the least that does the work."
    )
    refresh_token: SecretStr | None = Field(
        None, description="A refresh token obtained elsewhere, in place of `conveyor connect`."
    )
    redirect_port: int = Field(
        0, ge=0, le=65535, description="Fixed port of the sign-in's redirect; 0 takes a free one."
    )
    authorize_url: EndpointUrl | None = Field(None, description="Another authorization endpoint.")
    token_url: EndpointUrl | None = Field(None, description="Another token endpoint.")
    device_url: EndpointUrl | None = Field(None, description="Another device authorization endpoint.")
    revoke_url: EndpointUrl | None = Field(None, description="Another revocation endpoint.")
    account_url: EndpointUrl | None = Field(None, description="Another address to ask whose account it is.")
