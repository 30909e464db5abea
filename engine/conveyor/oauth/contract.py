"""The words of sign-in that plugins use: tokens, and how a provider of accounts announces itself.

Plugins import them from :mod:`conveyor.contract`. A provider is data: endpoints, scopes, how its refresh
tokens behave, what its errors mean. Nothing here imports a library of the vendor.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Token:
    """An access token. Its value never shows in a repr, a log line or an error.

    Args:
        value: What goes into the ``Authorization`` header.
        generation: Grows with every renewal of the connection.
        expires_at: Seconds since the epoch, by this machine's clock.
    """

    __slots__ = ("_value", "expires_at", "generation")

    def __init__(self, value: str, generation: int, expires_at: float) -> None:
        self._value = value
        self.generation = generation
        self.expires_at = expires_at

    @property
    def value(self) -> str:
        """The token itself."""
        return self._value

    @property
    def bearer(self) -> str:
        """What the ``Authorization`` header says (RFC 6750 §2.1)."""
        return f"Bearer {self._value}"

    def __repr__(self) -> str:
        return f"Token(…, generation={self.generation})"


class TokenSource(Protocol):
    """Access tokens of the account that a destination is linked to. Safe from many threads.

    Both methods raise ``DeliveryError`` and reach over all threads, processes and machines: of all that ask
    at once, one renews the login.
    """

    def token(self, min_life: float = 300.0) -> Token:
        """A token that lives for ``min_life`` seconds more, if the provider's tokens live that long."""

    def rejected(self, token: Token) -> Token:
        """Another token for one that the service answered with 401.

        Whoever was faster has renewed it already; else it is renewed now, once.
        """


class Rotation(enum.Enum):
    """What becomes of a refresh token when it is used."""

    KEPT = "kept"
    """It stays valid, whether or not the answer brings another one (Google, Dropbox)."""
    REPLACED = "replaced"
    """The answer brings a new one, the old one stays valid (Microsoft)."""
    UNTIL_USED = "until_used"
    """Single use; yet the old one is honoured until the new access token is used for the first time (Box)."""
    STRICT = "strict"
    """Single use; a second use revokes the login (RFC 9700 §4.14.2)."""

    @property
    def forgiving(self) -> bool:
        """Whether the same refresh token may be sent again when an answer was lost."""
        return self is not Rotation.STRICT


class Trouble(enum.Enum):
    """What a refused token request means."""

    REVOKED = "revoked"
    """The login is gone: revoked, expired, password changed."""
    CONSENT = "consent"
    """A person, or an administrator, has to agree to something first."""
    CLOCK = "clock"
    """The clock of this machine is wrong: a signed assertion is not valid yet, or not any more."""
    CLIENT = "client"
    """The application is not known: client id, secret or certificate are wrong."""
    THROTTLED = "throttled"
    TRANSIENT = "transient"


@dataclass(frozen=True, slots=True)
class AccountQuestion:
    """How to ask the service whose account it is.

    Attributes:
        url: Asked with the access token.
        method: ``GET`` or ``POST``.
        body: Sent with it, for instance ``null`` as JSON.
        id: Path of the account's lasting id in the JSON answer, ``user.permissionId``.
        name: Paths of what people know it by; the first one that is there.
    """

    url: str
    method: str = "GET"
    body: str | None = None
    id: str = "id"
    name: tuple[str, ...] = ("email", "name", "id")


@dataclass(frozen=True, slots=True)
class OAuthProvider:
    """How a plugin announces a provider of accounts.

    A word in braces inside an endpoint, ``https://login.example/{tenant}/token``, is an option of the
    destination. Each endpoint can be replaced by the destination's option ``…_url``.

    Attributes:
        name: What ``ConnectorSpec.oauth`` refers to.
        title: For people: ``Google``.
        authorize_url, token_url: Authorization code flow (RFC 6749 §4.1).
        device_url: Device authorization (RFC 8628); None where the provider has none.
        revoke_url: Token revocation (RFC 7009); None where the provider has none.
        revoke_bearer: The token to revoke goes into the ``Authorization`` header, not into a form.
        account: Who am I.
        scopes: Asked for where the destination sets none: the least that does the work.
        pkce: Whether the provider takes PKCE (RFC 7636), always with S256.
        secret: Whether the application needs a client secret.
        basic_auth: The client authenticates by HTTP Basic rather than in the body (RFC 6749 §2.3.1).
        rotation: What becomes of refresh tokens.
        authorize_params: Added to the authorization URL: ``{"access_type": "offline"}``.
        token_params: Added to each token request.
        redirect_host: Of the loopback redirect: ``127.0.0.1`` (RFC 8252 §7.3), or ``localhost`` for providers
            that insist on it.
        redirect_path: Its path.
        redirect_exact: The provider compares redirects to the letter, the port too: the destination has to
            set ``redirect_port``, and the application to be registered with the address.
        renew_after: Share of a token's life after which it is renewed ahead of need.
        renew_idle: Seconds after which even an unused login is renewed, so that it does not lapse.
        login_lasts: Seconds that an unused refresh token lives; None for ever. Shown as its expiry.
        errors: What the provider's own words mean. Looked up are ``error_subcode``/``suberror``, then each
            word of ``error_description``, then ``error``; what is not listed follows RFC 6749 §5.2.
        unattended: ``"module:callable"``, called as ``callable(options, now, token_url)`` with seconds since
            the epoch. Returns the form of a token request that needs no person (client credentials, a signed
            assertion: RFC 6749 §4.4, RFC 7523), or None when the options describe none. A form that has to
            be signed is returned as a function that makes it: it is called before a request alone.
    """

    name: str
    title: str
    authorize_url: str
    token_url: str
    device_url: str | None = None
    revoke_url: str | None = None
    revoke_bearer: bool = False
    account: AccountQuestion | None = None
    scopes: tuple[str, ...] = ()
    pkce: bool = True
    secret: bool = False
    basic_auth: bool = False
    rotation: Rotation = Rotation.KEPT
    authorize_params: Mapping[str, str] = field(default_factory=dict)
    token_params: Mapping[str, str] = field(default_factory=dict)
    redirect_host: str = "127.0.0.1"
    redirect_path: str = "/"
    redirect_exact: bool = False
    renew_after: float = 0.75
    renew_idle: float = 7 * 86400.0
    login_lasts: float | None = None
    errors: Mapping[str, Trouble] = field(default_factory=dict)
    unattended: str | None = None


TokenForm = Mapping[str, str] | Callable[[], Mapping[str, str]]
"""The form of a token request, or what makes it."""


class Unattended(Protocol):
    """What ``OAuthProvider.unattended`` names."""

    def __call__(self, options: Any, now: float, token_url: str, /) -> TokenForm | None:
        """The form of the token request; ``client_id`` and the secret are not added to it."""
