"""OpenSSH's own server (Debian: openssh-server), as root or as an ordinary user.

Without root it lets in the user who started it, by key. As root it is started as ``nobody`` unless asked
otherwise, so that permissions mean something; a server that runs as root itself lets in root.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.testing.ports import LOOPBACK, free_port
from servers.process import ATTEMPTS, NotReady, folder, listening, program, running
from servers.ssh import SshServer, give, make_keys

PACKAGE = "openssh-server"
ORDINARY = "nobody"


def available() -> bool:
    return program("sshd") is not None


def can_be_filled() -> bool:
    """A disk of its own, to be filled, takes root and mount namespaces."""
    return os.geteuid() == 0 and program("unshare") is not None


@contextmanager
def start(*, as_root: bool = False, disk: int | None = None) -> Iterator[SshServer]:
    """A server of its own folder.

    Args:
        as_root: Run it as root; only for root.
        disk: Put its folder on a disk of so many bytes, seen by this server alone (``server.root`` leads
            there). Only for root; the server then runs as root.
    """
    root_now = os.geteuid() == 0
    runs_as_root = root_now and (as_root or disk is not None)
    user = ORDINARY if root_now and not runs_as_root else getpass.getuser()
    with folder("sshd") as home:
        root = home / "data"
        root.mkdir()
        keys = make_keys(home)
        (home / "log").touch()
        if root_now and not runs_as_root:
            give(home, user)
        if runs_as_root:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for attempt in range(ATTEMPTS):
            server = SshServer("OpenSSH", LOOPBACK, free_port(), user, root, keys, base=str(root))
            argv = _arguments(server, home)
            if disk is not None:
                mount = f'mount -t tmpfs -o size={disk},mode=0755 conveyor "$0" && exec "$@"'
                argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, str(root), *argv]
            try:
                with running(
                    argv,
                    log=home / "log",
                    ready=listening(server.port),
                    user=user if root_now and not runs_as_root else None,
                ) as process:
                    yield server if disk is None else _inside(server, process.pid)
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise


def _inside(server: SshServer, pid: int) -> SshServer:
    import dataclasses

    return dataclasses.replace(server, root=Path(f"/proc/{pid}/root{server.root}"))


def _arguments(server: SshServer, home: Path) -> list[str]:
    # Without root sshd cannot read the shadow file and takes every account for locked; PAM can ask a helper.
    pam = "no" if server.username == "root" else "yes"
    config = home / "sshd_config"
    config.write_text(
        "\n".join(
            (
                f"ListenAddress {LOOPBACK}:{server.port}",
                f"HostKey {server.keys.host_key}",
                "PidFile none",
                f"AuthorizedKeysFile {server.keys.authorized}",
                "StrictModes no",
                f"UsePAM {pam}",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "PermitRootLogin prohibit-password",
                "MaxStartups 100:30:200",
                "MaxSessions 100",
                "Subsystem sftp internal-sftp",
                "ForceCommand internal-sftp",
                "",
            )
        )
    )
    config.chmod(0o644)
    path = program("sshd")
    assert path is not None
    return [path, "-D", "-e", "-f", str(config)]
