"""What all SFTP test servers have in common: keys, and how to reach them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

PASSWORD = "conveyor-test-password"


@dataclass(frozen=True)
class Keys:
    """OpenSSH files: the host's private key, a client's that is let in, one that is not, and who is."""

    host_key: Path
    host_public: str
    client_key: Path
    stranger_key: Path
    authorized: Path


@dataclass(frozen=True)
class SshServer:
    """A running SFTP server. ``root`` is on disk what ``base`` is over SFTP.

    ``password`` is None where only keys are let in.
    """

    name: str
    host: str
    port: int
    username: str
    root: Path
    keys: Keys
    base: str = ""
    password: str | None = None

    @property
    def host_key(self) -> str:
        """What goes into ``host_key``: type and base64."""
        return self.keys.host_public


def make_keys(folder: Path) -> Keys:
    """Make ed25519 keys in OpenSSH's form."""
    keys = Keys(
        host_key=folder / "host_key",
        host_public=_write(folder / "host_key"),
        client_key=folder / "client_key",
        stranger_key=folder / "stranger_key",
        authorized=folder / "authorized_keys",
    )
    _write(keys.stranger_key)
    keys.authorized.write_text(_write(keys.client_key) + "\n")
    return keys


def _write(path: Path) -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    path.touch(0o600)
    path.write_bytes(private)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return public.decode()


def give(folder: Path, user: str) -> None:
    """Make everything in ``folder`` belong to ``user``."""
    import pwd

    owner = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)
