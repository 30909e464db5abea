"""The demo's SFTP server, a program: asyncssh over one folder.

``python -m conveyor.demo.sftp_server PARENT FOLDER USERNAME PASSWORD``
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from conveyor.demo.children import announce, begin


def main(parent: str, folder: str, username: str, password: str) -> None:
    """Serve until terminated."""
    begin(int(parent))
    asyncio.run(_serve(folder, username, password))


async def _serve(folder: str, username: str, password: str) -> None:
    import asyncssh

    class Door(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, given_name: str, given: str) -> bool:
            return (given_name, given) == (username, password)

    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.create_server(
        Door,
        "127.0.0.1",
        0,
        server_host_keys=[key],
        sftp_factory=partial(asyncssh.SFTPServer, chroot=folder.encode()),
    )
    public = " ".join(key.export_public_key().decode().split()[:2])
    announce(port=server.get_port(), host_key=public)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
