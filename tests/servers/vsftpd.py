"""vsftpd (Debian: vsftpd) over TLS: data connections must resume the control connection's TLS session.

Its users come from the system's accounts, so the tests log in as its anonymous user, whom it asks for a
password from a list: nothing of the system changes. As root it works as daemon inside a chroot; without root
it runs as whoever started it.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.testing.ports import LOOPBACK, free_port
from servers.ftp import FtpServer
from servers.process import ATTEMPTS, NotReady, folder, listening, program, running
from servers.ssh import give
from servers.tls import make_certificates

PACKAGE = "vsftpd"
PASSWORD = "conveyor-test@password"
ORDINARY = "daemon"
"""A system account whose home exists, as vsftpd wants: nobody's does not."""


def available() -> bool:
    return program("vsftpd") is not None


def can_be_filled() -> bool:
    """A disk of its own, to be filled, takes root and mount namespaces."""
    return os.geteuid() == 0 and program("unshare") is not None


@contextmanager
def start(*, disk: int | None = None, read_only: bool = False) -> Iterator[FtpServer]:
    """A server of its own folder.

    Args:
        disk: Put its folder on a disk of so many bytes, seen by this server alone. Only for root.
        read_only: The login may not write.
    """
    with folder("vsftpd") as home:
        # The anonymous user's own folder must not be writable; what is delivered goes one level below.
        root, empty = home / "root" / "data", home / "empty"
        root.mkdir(parents=True)
        empty.mkdir()
        certificates = make_certificates(home)
        (home / "passwords").write_text(PASSWORD + "\n")
        if os.geteuid() == 0:
            give(root, ORDINARY)
        for attempt in range(ATTEMPTS):
            server = FtpServer(
                "vsftpd", LOOPBACK, free_port(), "anonymous", PASSWORD, root, certificates, base="data"
            )
            argv = ["vsftpd", str(_configured(server, home, write=not read_only))]
            if disk is not None:
                mount = f'mount -t tmpfs -o size={disk},mode=0777 conveyor "$0" && exec "$@"'
                argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, str(root), *argv]
            try:
                with running(argv, log=home / "log", ready=listening(server.port)):
                    yield server
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise


def _configured(server: FtpServer, home: Path, *, write: bool) -> Path:
    assert server.certificates is not None
    may_write = "YES" if write else "NO"
    settings = {
        "listen": "YES",
        "listen_ipv6": "NO",
        "listen_address": LOOPBACK,
        "listen_port": server.port,
        "background": "NO",
        "anonymous_enable": "YES",
        "local_enable": "NO",
        "ftp_username": ORDINARY if os.geteuid() == 0 else getpass.getuser(),
        "nopriv_user": ORDINARY,
        "run_as_launching_user": "NO" if os.geteuid() == 0 else "YES",
        "anon_root": server.root.parent,
        "secure_chroot_dir": home / "empty",
        "secure_email_list_enable": "YES",
        "email_password_file": home / "passwords",
        "write_enable": may_write,
        "anon_upload_enable": may_write,
        "anon_mkdir_write_enable": may_write,
        "anon_other_write_enable": may_write,
        "anon_world_readable_only": "NO",
        "anon_umask": "022",
        "ssl_enable": "YES",
        "allow_anon_ssl": "YES",
        "force_anon_logins_ssl": "YES",
        "force_anon_data_ssl": "YES",
        "require_ssl_reuse": "YES",
        "rsa_cert_file": server.certificates.certificate,
        "rsa_private_key_file": server.certificates.key,
        "ssl_ciphers": "HIGH",
        "seccomp_sandbox": "NO",
        "max_per_ip": 0,
    }
    path = home / "vsftpd.conf"
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return path
