"""Options of the types ``ftp`` and ``sftp``. Imports no SDK."""

from __future__ import annotations

import enum
import re

from pydantic import field_validator, model_validator

from conveyor.config.options import Field, Options, SecretStr
from conveyor_connectors.ftp.hostkeys import ACCEPT_NEW, host_key_problem

_MODE = re.compile(r"0?[0-7]{3}")


class Protocol(enum.StrEnum):
    """What the server speaks."""

    SFTP = "sftp"
    FTPS = "ftps"
    FTP = "ftp"


class Verify(enum.StrEnum):
    """How what arrived is checked."""

    SIZE = "size"
    SHA256 = "sha256"


class FtpOptions(Options):
    """A folder on a file server, reached by SFTP."""

    host: str = Field(description="Name or address of the server.", min_length=1)
    port: int = Field(22, description="Port of the SSH server.", ge=1, le=65535)
    username: str = Field(description="Who logs in.", min_length=1)
    password: SecretStr | None = Field(
        None, description="Password; also answers keyboard-interactive prompts."
    )
    private_key: SecretStr | None = Field(
        None, description="Private key in OpenSSH or PEM form, best as `!file secrets/id_ed25519`."
    )
    passphrase: SecretStr | None = Field(None, description="Passphrase of the private key.")
    protocol: Protocol = Field(
        Protocol.FTP,
        validate_default=True,
        description="`sftp`; `ftps` and `ftp` are not available in this version.",
    )
    host_key: str | list[str] | None = Field(
        None,
        description="The server's public key as `ssh-ed25519 AAAA…` (several during a change of keys), or "
        "`accept-new`: take the key of the first connection and refuse any other from then on. Without "
        "it the destination waits for `conveyor trust`.",
    )
    remote_path: str = Field(
        "", description="Folder that must exist on the server; empty is the login's own folder."
    )
    verify: Verify = Field(
        Verify.SIZE,
        description="`size`, or `sha256`: the server's own `sha256sum` where it has a shell, else the file "
        "is read back.",
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
    def host_keys(self) -> tuple[str, ...]:
        """The pinned keys; empty when none is pinned in the config."""
        if self.host_key is None or self.host_key == ACCEPT_NEW:
            return ()
        return (self.host_key,) if isinstance(self.host_key, str) else tuple(self.host_key)

    @property
    def accepts_new(self) -> bool:
        """The key of the first connection is taken."""
        return self.host_key == ACCEPT_NEW

    @field_validator("protocol")
    @classmethod
    def _only_sftp(cls, value: Protocol) -> Protocol:
        if value is not Protocol.SFTP:
            raise ValueError(
                f"protocol {value.value} is not available in this version of Conveyor; only sftp is: "
                "write `protocol: sftp` (or `type: sftp`) if the server offers it"
            )
        return value

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
        if "\0" in value or any(part == ".." for part in value.split("/")):
            raise ValueError("a remote path must not contain NUL or climb with ..")
        if value.startswith("~"):
            raise ValueError("~ means nothing to an SFTP server; leave it out: relative paths start there")
        return value.rstrip("/") or ("/" if value else "")

    @model_validator(mode="after")
    def _some_login(self) -> FtpOptions:
        if self.password is None and self.private_key is None:
            raise ValueError("give a password or a private_key (or both)")
        if self.passphrase is not None and self.private_key is None:
            raise ValueError("a passphrase belongs to a private_key, and there is none")
        return self
