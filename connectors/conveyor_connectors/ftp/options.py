"""Options of the types ``ftp``, ``ftps`` and ``sftp``. Imports no SDK."""

from __future__ import annotations

import enum
import re
from typing import Any, Literal

from pydantic import field_validator, model_validator

from conveyor.config.options import Field, LocalPath, Options, SecretStr
from conveyor_connectors.ftp.hostkeys import ACCEPT_NEW, host_key_problem

_MODE = re.compile(r"0?[0-7]{3}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class Protocol(enum.StrEnum):
    """What the server speaks."""

    SFTP = "sftp"
    FTPS = "ftps"
    FTP = "ftp"


class Verify(enum.StrEnum):
    """How what arrived is checked."""

    SIZE = "size"
    SHA256 = "sha256"


_PORTS = {Protocol.SFTP: 22, Protocol.FTPS: 21, Protocol.FTP: 21}
_IMPLICIT_PORT = 990
_OF_SFTP = ("private_key", "passphrase", "host_key")
_OF_FTPS = ("implicit", "ca_file")
_OF_FTP = ("encoding",)


def _usual_port(data: dict[str, Any]) -> int:
    return _IMPLICIT_PORT if data.get("implicit") else _PORTS[data.get("protocol", Protocol.FTP)]


class FtpOptions(Options):
    """A folder on a file server, reached by FTP, FTPS or SFTP."""

    protocol: Protocol = Field(
        Protocol.FTP,
        description="`sftp` (SSH), `ftps` (FTP over TLS), or `ftp`: plain, so that all on the way can read "
        "the password and the files.",
    )
    implicit: bool = Field(
        False,
        description="FTPS only: TLS from the first byte, as some old servers want on port 990, instead of "
        "the usual AUTH TLS.",
    )
    host: str = Field(description="Name or address of the server.", min_length=1)
    port: int = Field(
        default_factory=_usual_port,
        description="Port of the server. Default 22 for SFTP, 21 for FTP and FTPS, 990 with `implicit`.",
        ge=1,
        le=65535,
    )
    username: str = Field(description="Who logs in.", min_length=1)
    password: SecretStr | None = Field(
        None, description="Password; over SFTP it also answers keyboard-interactive prompts."
    )
    private_key: SecretStr | None = Field(
        None,
        description="SFTP only: private key in OpenSSH or PEM form, best as `!file secrets/id_ed25519`.",
    )
    passphrase: SecretStr | None = Field(None, description="Passphrase of the private key.")
    host_key: str | list[str] | None = Field(
        None,
        description="SFTP only: the server's public key as `ssh-ed25519 AAAA…` (several during a change of "
        "keys), or `accept-new`: take the key of the first connection and refuse any other from then on. "
        "Without it the destination waits for `conveyor trust`.",
    )
    ca_file: LocalPath | None = Field(
        None,
        description="FTPS only: PEM file of the authority that signed the server's certificate, or a "
        "self-signed certificate itself. Default: `network.ca_bundle`, else the system's authorities.",
    )
    encoding: Literal["utf-8", "latin-1"] = Field(
        "utf-8", description="FTP and FTPS: how the server writes file names; `latin-1` for old ones."
    )
    remote_path: str = Field(
        "", description="Folder that must exist on the server; empty is the login's own folder."
    )
    verify: Verify = Field(
        Verify.SIZE,
        description="`size`, or `sha256`: the server's own digest where it has one (`sha256sum` in a shell, "
        "FTP's HASH or XSHA256), else the file is read back.",
    )
    file_mode: str | None = Field(
        None, description='Permission bits of delivered files, for instance "0640"; default: the server\'s.'
    )
    keep_time: bool = Field(
        False, description="Set the file's modification time to the time of submission instead of arrival."
    )

    @property
    def mode_bits(self) -> int | None:
        """``file_mode`` as a number."""
        return None if self.file_mode is None else int(self.file_mode, 8)

    @property
    def password_text(self) -> str:
        """The password in clear; empty when there is none."""
        return "" if self.password is None else self.password.get_secret_value()

    @property
    def host_keys(self) -> tuple[str, ...]:
        """The pinned keys; empty when none is pinned in the config."""
        if self.host_key is None or self.host_key == ACCEPT_NEW:
            return ()
        return (self.host_key,) if isinstance(self.host_key, str) else tuple(self.host_key)

    @property
    def accepts_new(self) -> bool:
        """The key of the first connection is taken."""
        return self.host_key == ACCEPT_NEW

    @field_validator("host_key")
    @classmethod
    def _readable_keys(cls, value: str | list[str] | None) -> str | list[str] | None:
        for line in [value] if isinstance(value, str) else value or []:
            if line != ACCEPT_NEW or isinstance(value, list):
                problem = host_key_problem(line)
                if problem:
                    raise ValueError(problem)
        return value

    @field_validator("private_key")
    @classmethod
    def _looks_private(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value().lstrip() if value is not None else "-----BEGIN"
        if text.startswith("PuTTY-User-Key-File"):
            raise ValueError("this is a PuTTY key; convert it: puttygen key.ppk -O private-openssh -o id_key")
        if not text.startswith("-----BEGIN"):
            raise ValueError(
                "this is no private key: expected text that begins with -----BEGIN, best given as "
                "`!file secrets/id_ed25519`"
            )
        return value

    @field_validator("file_mode")
    @classmethod
    def _octal(cls, value: str | None) -> str | None:
        if value is not None and not _MODE.fullmatch(value):
            raise ValueError('expected three octal digits in quotes, for instance "0640"')
        return value

    @field_validator("remote_path")
    @classmethod
    def _plain_path(cls, value: str) -> str:
        if any(part == ".." for part in value.split("/")):
            raise ValueError("a remote path must not climb with ..")
        if value.startswith("~"):
            raise ValueError("~ means nothing to a file server; leave it out: relative paths start there")
        return value.rstrip("/") or ("/" if value else "")

    @field_validator("username", "remote_path")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if _CONTROLS.search(value):
            raise ValueError("must not contain control characters such as a line break")
        return value

    @model_validator(mode="after")
    def _some_login(self) -> FtpOptions:
        if self.protocol is Protocol.SFTP and self.password is None and self.private_key is None:
            raise ValueError("give a password or a private_key (or both)")
        if self.passphrase is not None and self.private_key is None:
            raise ValueError("a passphrase belongs to a private_key, and there is none")
        if self.protocol is not Protocol.SFTP and self.password is None:
            raise ValueError(f"give a password: {self.protocol} has no other way to log in")
        if self.protocol is not Protocol.SFTP and _CONTROLS.search(self.password_text):
            raise ValueError("the password must not contain a line break (does its file end with one?)")
        return self

    @model_validator(mode="after")
    def _belongs_to_the_protocol(self) -> FtpOptions:
        foreign = {
            Protocol.SFTP: _OF_FTPS + _OF_FTP,
            Protocol.FTPS: _OF_SFTP,
            Protocol.FTP: _OF_SFTP + _OF_FTPS,
        }[self.protocol]
        for name in foreign:
            if getattr(self, name) != type(self).model_fields[name].default:
                whose = "sftp" if name in _OF_SFTP else "ftps" if name in _OF_FTPS else "ftp and ftps"
                raise ValueError(
                    f"{name} means something with protocol {whose} only, not with {self.protocol}"
                )
        return self
