"""Host keys as text: reading pins, fingerprints, what to tell the operator. Imports no SDK."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

ACCEPT_NEW = "accept-new"
"""OpenSSH's word for: take the first key, refuse any other from then on."""

KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
"""Types of public key that a pin may have; an ``ssh-rsa`` key is used with SHA-2 signatures only."""


@dataclass(frozen=True, slots=True)
class HostKey:
    """A server's public key: its type and its blob (RFC 4253, 6.6)."""

    type: str
    blob: bytes

    @classmethod
    def parse(cls, line: str) -> HostKey:
        """Read ``ssh-ed25519 AAAA… [comment]``, or the same after a host name as in ``known_hosts``.

        Raises:
            ValueError: With one sentence that says what is wrong.
        """
        words = line.split()
        if words and words[0].startswith("@"):
            raise ValueError(f"{words[0]} lines are not supported; pin the server's own key")
        if words and words[0] not in KEY_TYPES:
            words = words[1:]
        if len(words) < 2 or words[0] not in KEY_TYPES:
            raise ValueError("expected a public host key such as `ssh-ed25519 AAAA…`, or accept-new")
        try:
            blob = base64.b64decode(words[1], validate=True)
        except binascii.Error:
            raise ValueError("the host key's second word is not base64; was it cut off?") from None
        fields = _fields(blob)
        if len(fields) < 2 or fields[0] != words[0].encode():
            raise ValueError(f"the host key's data is not that of an {words[0]} key; was it cut off?")
        return cls(words[0], blob)

    @property
    def line(self) -> str:
        """The text to paste after ``host_key:``."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """As OpenSSH prints it: ``SHA256:…``."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _fields(blob: bytes) -> list[bytes]:
    """The strings that a key's blob is made of (RFC 4253, 6.6); none when it does not end with one's end."""
    fields, at = [], 0
    while at < len(blob):
        end = at + 4 + int.from_bytes(blob[at : at + 4], "big")
        fields.append(blob[at + 4 : end])
        at = end
    return fields if at == len(blob) else []


def host_key_problem(line: str) -> str | None:
    """What is wrong with a pinned key, or None."""
    try:
        HostKey.parse(line)
    except ValueError as error:
        return str(error)
    return None


def memory_name(host: str, port: int) -> str:
    """Under which name a destination remembers the key of ``host``: another host asks for trust again."""
    return f"host_key [{host}]:{port}"
