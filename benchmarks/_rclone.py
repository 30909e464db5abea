"""``rclone copy`` to the servers it can reach."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Options = dict[str, Any]


def s3(options: Options) -> str:
    """The bucket's root."""
    return (
        f":s3,provider=Other,force_path_style=true,endpoint='{options['endpoint']}',region={options['region']},"
        f"access_key_id={options['access_key']},secret_access_key={options['secret_key']}:{options['bucket']}"
    )


def azure_blob(options: Options) -> str:
    """The container's root, by what the connection string says."""
    known = dict(part.split("=", 1) for part in options["connection_string"].split(";") if part)
    return (
        f":azureblob,account={known['AccountName']},key='{known['AccountKey']}',"
        f"endpoint='{known['BlobEndpoint']}':{options['container']}"
    )


def ftp(options: Options) -> str:
    """Explicit TLS, the certificate not looked at; by TLS 1.3 pyftpdlib gets rclone's files cut short."""
    return (
        f":ftp,host={options['host']},port={options['port']},user={options['username']},"
        f"pass='{obscured(options['password'])}',explicit_tls=true,disable_tls13=true,no_check_certificate=true:"
    )


def sftp(options: Options) -> str:
    """With the key; no commands on the server, as conveyor needs none."""
    key = options["private_key"].replace("\n", "\\n")
    return (
        f":sftp,host={options['host']},port={options['port']},user={options['username']},key_pem='{key}',"
        f"shell_type=none:{options['remote_path']}"
    )


def webdav(options: Options) -> str:
    """Any vendor's."""
    return (
        f":webdav,url='{options['url']}',vendor=other,user={options['username']},"
        f"pass='{obscured(options['password'])}':"
    )


REMOTES: dict[str, Callable[[Options], str]] = {
    "s3": s3,
    "azure_blob": azure_blob,
    "ftp": ftp,
    "sftp": sftp,
    "webdav": webdav,
}
"""By the name of a place in :mod:`benchmarks.bench_files`."""


def binary() -> str | None:
    """rclone's program, when it is installed."""
    from servers.process import program

    return program("rclone")


def obscured(password: str) -> str:
    """As rclone wants passwords on its command line."""
    done = subprocess.run([str(binary()), "obscure", password], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def copy(remote: str, folder: Path, at_once: int) -> tuple[float, float]:
    """Seconds from rclone's start to its end, and its peak memory in MB."""
    flags = [
        "--config",
        "",
        "--transfers",
        str(at_once),
        "--checkers",
        str(at_once),
        "--ignore-times",
        "--quiet",
    ]
    began = time.monotonic()
    process = subprocess.Popen([str(binary()), "copy", str(folder), remote, *flags])
    status, memory = Path(f"/proc/{process.pid}/status"), 0.0
    while process.poll() is None:
        text = status.read_text()
        if "VmHWM:" in text:
            memory = int(text.split("VmHWM:")[1].split()[0]) / 1024
        time.sleep(0.01)
    if process.returncode != 0:
        raise SystemExit(f"rclone ended with {process.returncode}")
    return time.monotonic() - began, memory
