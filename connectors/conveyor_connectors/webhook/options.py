"""The options of a webhook destination. Imports no HTTP library."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, field_validator, model_validator

from conveyor.config.options import Duration, Field, LocalPath, Options, SecretStr
from conveyor_connectors.webhook.endpoint import Endpoint
from conveyor_connectors.webhook.headers import check_custom, is_token
from conveyor_connectors.webhook.signing import standard_key


def _url(url: str) -> str:
    Endpoint.parse(url)
    return url


def _prefix(prefix: str) -> str:
    if not is_token(prefix):
        raise ValueError("a header prefix may hold letters, digits and - only")
    return prefix


def _secret(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not value:
        raise ValueError("the secret is empty")
    if value.startswith(("whsk_", "whpk_")):
        raise ValueError("asymmetric keys (whsk_, whpk_) are not supported; use a whsec_ secret")
    standard_key(value)
    return secret


def _status(status: int) -> int:
    if not 300 <= status <= 599:
        raise ValueError("a permanent status lies between 300 and 599")
    return status


Secret = Annotated[SecretStr, AfterValidator(_secret)]
Status = Annotated[int, AfterValidator(_status)]


class WebhookOptions(Options):
    """Where and how to POST."""

    url: Annotated[str, AfterValidator(_url)] = Field(
        description="Absolute http or https URL. Never followed to another one."
    )
    secret: Secret | tuple[Secret, ...] | None = Field(
        default=None,
        description="Signs each request. Several during a rotation: each whsec_ one makes a Standard "
        "Webhooks signature, the first the X-Aptr-Signature, or after a 401 or 403 the next.",
    )
    format: Literal["multipart", "json_base64", "binary"] = Field(
        default="multipart",
        description="How the file travels: form data, JSON with base64, or the raw bytes.",
    )
    custom_headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="Further headers, for instance Authorization."
    )
    header_prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        default="X-Aptr-", description="Prefix of the metadata and signature headers."
    )
    permanent_statuses: tuple[Status, ...] = Field(
        default=(), description="Answers that are final for a delivery, instead of being retried."
    )
    verify_tls: bool = Field(default=True, description="Check the server's certificate and name.")
    ca_bundle: LocalPath | None = Field(
        default=None, description="PEM file of the authorities to trust for this destination."
    )
    connect_timeout: Duration = Field(
        default=10.0, gt=0, description="Time to connect, and for the TLS handshake."
    )

    @field_validator("custom_headers")
    @classmethod
    def _no_injection(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            check_custom(name, value.get_secret_value())
        return headers

    @model_validator(mode="after")
    def _no_replacement(self) -> WebhookOptions:
        for name in self.custom_headers:
            if name.lower().startswith(self.header_prefix.lower()):
                raise ValueError(f"the header {name} is set by Conveyor itself (header_prefix)")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets in clear, the current one first."""
        if self.secret is None:
            return ()
        given = self.secret if isinstance(self.secret, tuple) else (self.secret,)
        return tuple(secret.get_secret_value() for secret in given)
