"""What :mod:`servers.asyncssh_sftp` runs in a process of its own; a script, so it imports no neighbour."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import asyncssh


def serve(home: Path, port: int, secret: str, posix_rename: bool) -> None:
    class Access(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return password == secret

    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: asyncssh.SSHServerChannel) -> None:
            super().__init__(channel, chroot=str(home / "data").encode())

        def posix_rename(self, oldpath: bytes, newpath: bytes) -> object:
            if not posix_rename:
                raise asyncssh.SFTPOpUnsupported("not here")
            return super().posix_rename(oldpath, newpath)

    async def main() -> None:
        await asyncssh.create_server(
            Access,
            "127.0.0.1",
            port,
            server_host_keys=[str(home / "host_key")],
            authorized_client_keys=str(home / "authorized_keys"),
            sftp_factory=Files,
        )
        await asyncio.Event().wait()

    asyncio.run(main())


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "1")
