"""The options of the type ``smtp``."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from conveyor.contract import Options
from conveyor.kit.options import LocalPath

_ADDRESS = re.compile(r"[\w!#$%&'*+/=?^`{|}~.-]{1,64}@[^\W_](?:[^\W_]|[.-]){0,252}[^\W_]", re.ASCII)
PORTS = {"starttls": 587, "tls": 465, "none": 25}
"""Submission (RFC 6409), submissions (RFC 8314), and relaying."""


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError("an address is name@domain, in ASCII and without a display name")
    return text


Address = Annotated[str, AfterValidator(_address)]


class SmtpOptions(Options):
    """Which server takes the mail, and whom it goes to."""

    host: str = Field(description="The mail server that takes the mail.", min_length=1)
    port: int | None = Field(
        default=None, ge=1, le=65535, description="587 with starttls, 465 with tls, 25 with none."
    )
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="TLS after a greeting in clear, from the first byte, or not at all. A server that does "
        "not offer the one that is asked for is not used.",
    )
    username: str | None = Field(default=None, description="Login; none by default.")
    password: SecretStr | None = Field(default=None, description="Its password.")
    sender: Address = Field(description="The address that the mail comes from, and that bounces go to.")
    to: tuple[Address, ...] = Field(min_length=1, description="Who gets it; all of them or none.")
    subject: str = Field(
        default="{filename}", description="The subject; {filename} and {path} are replaced.", max_length=200
    )
    verify_tls: bool = Field(default=True, description="Check the server's certificate and name.")
    ca_bundle: LocalPath | None = Field(
        default=None, description="PEM file of the authorities to trust instead of network.ca_bundle."
    )

    @model_validator(mode="after")
    def _sound(self) -> SmtpOptions:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        if self.username is not None and self.security == "none":
            raise ValueError("security: none would send the password in clear; use starttls or tls")
        return self

    @property
    def place(self) -> int:
        """The port that is dialled."""
        return self.port or PORTS[self.security]
