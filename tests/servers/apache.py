"""Apache's mod_dav (Debian: apache2), as the user www-data when started by root, else as who starts it."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.testing.bench import FolderObserver
from servers.dav import LOOPBACK, DavServer, attempts, htpasswd
from servers.process import folder, listening, program, running

PACKAGE = "apache2"
MODULES = Path("/usr/lib/apache2/modules")
LOADED = (
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    "auth_basic",
    "dav",
    "dav_fs",
)


def available() -> bool:
    return program("apache2") is not None and MODULES.is_dir()


def can_be_filled() -> bool:
    """A disk of its own, to be filled, takes root and mount namespaces."""
    return os.geteuid() == 0 and program("unshare") is not None


class ApacheObserver(FolderObserver):
    """Does not count the files that mod_dav_fs receives into: they go when the request that was cut ends."""

    def names(self) -> set[str]:
        return {name for name in super().names() if not name.rpartition("/")[2].startswith(".davfs.tmp")}


@contextmanager
def start(*, disk: int | None = None) -> Iterator[DavServer]:
    """A server of its own folder.

    Args:
        disk: Put its folder on a disk of so many bytes, seen by this server alone. Only for root.
    """
    with attempts(lambda port: _start(port, disk)) as server:
        yield server


@contextmanager
def _start(port: int, disk: int | None) -> Iterator[DavServer]:
    with folder("apache") as home:
        root = home / "www" / "dav"
        root.mkdir(parents=True)
        (home / "lock").mkdir()
        config = home / "apache.conf"
        config.write_text(_config(home, port))
        htpasswd(home / "htpasswd")
        if os.geteuid() == 0:
            for path in (home, root, home / "lock"):
                shutil.chown(path, "www-data", "www-data")
        argv = [program("apache2") or "apache2", "-DFOREGROUND", "-f", str(config)]
        if disk is not None:
            options = f"size={disk},mode=0755,uid={root.stat().st_uid}"
            mount = f'mount -t tmpfs -o {options} conveyor "$0" && exec "$@"'
            argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, str(root), *argv]
        with running(argv, log=home / "log", ready=listening(port)) as process:
            server = DavServer("Apache", LOOPBACK, port, root)
            inside = Path(f"/proc/{process.pid}/root{root}")
            yield server if disk is None else dataclasses.replace(server, root=inside)


def _config(home: Path, port: int) -> str:
    owner = ["User www-data", "Group www-data"] if os.geteuid() == 0 else []
    return "\n".join(
        (
            f"ServerRoot {MODULES.parent}",
            "ServerName localhost",
            f"Listen {LOOPBACK}:{port}",
            f"PidFile {home}/pid",
            f"Mutex file:{home}/lock",
            f"ErrorLog {home}/log",
            *owner,
            *(f"LoadModule {name}_module modules/mod_{name}.so" for name in LOADED),
            "StartServers 1",
            "MinSpareThreads 4",
            "MaxSpareThreads 64",
            f"DocumentRoot {home}/www",
            f"DavLockDB {home}/lock/db",
            "<Directory />",
            "  Require all denied",
            "</Directory>",
            f"<Directory {home}/www>",
            "  Dav On",
            "  AuthType Basic",
            "  AuthName dav",
            f"  AuthUserFile {home}/htpasswd",
            "  Require valid-user",
            "</Directory>",
            "",
        )
    )
