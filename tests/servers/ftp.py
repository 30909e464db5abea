"""What all FTP test servers have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from servers.tls import Certificates


@dataclass(frozen=True)
class FtpServer:
    """A running FTP server. ``root`` is on disk what ``base`` is over FTP.

    ``certificates`` is None where the server speaks plain FTP.
    """

    name: str
    host: str
    port: int
    username: str
    password: str
    root: Path
    certificates: Certificates | None = None
    base: str = ""
    implicit: bool = False

    @property
    def options(self) -> dict[str, object]:
        """The destination's options."""
        found: dict[str, object] = {
            "protocol": "ftp" if self.certificates is None else "ftps",
            "host": self.host,
            "port": self.port,
            "username": self.username,
            "password": self.password,
            "remote_path": self.base,
        }
        if self.certificates is not None:
            found |= {"ca_file": str(self.certificates.ca), "implicit": self.implicit}
        return found
