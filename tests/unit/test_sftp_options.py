"""Options of ftp, ftps and sftp: what is refused when the config is read, and with which words."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from conveyor_connectors.ftp.hostkeys import HostKey, memory_name
from conveyor_connectors.ftp.options import FtpOptions

LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGicji/Hhm/fOY1a9kOZr2dOfWimbHklohta6p0MyyW6"
GOOD = {"host": "h", "username": "u", "password": "p", "protocol": "sftp"}


def problem_of(**options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        FtpOptions.model_validate({**GOOD, **options})
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ({"protocol": "sftp"}, 22),
        ({"protocol": "ftps"}, 21),
        ({"protocol": "ftps", "implicit": True}, 990),
        ({"protocol": "ftp"}, 21),
        ({}, 21),
        ({"protocol": "sftp", "port": 2222}, 2222),
    ],
)
def test_the_port_follows_the_protocol(given: dict[str, Any], port: int) -> None:
    options = FtpOptions.model_validate({"host": "h", "username": "u", "password": "p", **given})
    assert (options.port, options.protocol) == (port, given.get("protocol", "ftp"))


@pytest.mark.parametrize(
    ("protocol", "option", "value", "words"),
    [
        ("ftp", "private_key", "-----BEGIN OPENSSH PRIVATE KEY-----", "with protocol sftp only"),
        ("ftps", "host_key", "accept-new", "with protocol sftp only"),
        ("ftp", "implicit", True, "with protocol ftps only"),
        ("ftp", "ca_file", "ca.pem", "with protocol ftps only"),
        ("sftp", "encoding", "latin-1", "with protocol ftp and ftps only"),
        ("ftps", "password", None, "give a password: ftps"),
        ("ftps", "password", "two\nlines", "line break"),
        ("ftp", "username", "u\r\nDELE x", "control characters"),
        ("ftp", "remote_path", "/in\r\nDELE x", "control characters"),
    ],
)
def test_what_does_not_fit_the_protocol_is_named(protocol: str, option: str, value: Any, words: str) -> None:
    assert words in problem_of(protocol=protocol, **{option: value})


def test_published_spelling_is_accepted() -> None:
    options = FtpOptions.model_validate(
        {**GOOD, "remotePath": "/in/", "privateKey": "-----BEGIN OPENSSH PRIVATE KEY-----"}
    )
    assert options.remote_path == "/in"
    assert options.private_key is not None


def test_some_login_is_needed() -> None:
    assert "password or a private_key" in problem_of(password=None)
    assert "belongs to a private_key" in problem_of(passphrase="x")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("private_key", "PuTTY-User-Key-File-3: ssh-ed25519", "puttygen"),
        ("private_key", LINE, "no private key"),
        ("host_key", "AAAAC3Nza", "expected a public host key"),
        ("host_key", LINE[:40], "cut off"),
        ("host_key", "ssh-rsa " + LINE.split()[1], "not that of an ssh-rsa key"),
        ("host_key", "@cert-authority * " + LINE, "not supported"),
        ("host_key", [LINE, "accept-new"], "expected a public host key"),
        ("file_mode", "0999", "octal"),
        ("remote_path", "../in", "climb"),
        ("remote_path", "~/in", "means nothing"),
        ("port", 0, "greater than or equal to 1"),
    ],
)
def test_mistakes_are_named(option: str, value: Any, words: str) -> None:
    problem = problem_of(**{option: value})
    assert words in problem
    assert "AAAAC3Nza" not in problem or option == "host_key"


def test_secrets_are_not_shown() -> None:
    options = FtpOptions.model_validate({**GOOD, "password": "hunter2-hunter2"})
    assert "hunter2" not in repr(options)


@pytest.mark.parametrize("line", [LINE, f"{LINE} root@host", f"files.example {LINE}", f"[h]:22 {LINE}"])
def test_host_keys_are_read_in_every_common_form(line: str) -> None:
    key = HostKey.parse(line)
    assert key.line == LINE
    assert key.fingerprint == "SHA256:Iuywti6/y1ypx0ZZGyDyxIbAB5Qgn354WIIei+HN+5w"  # ssh-keygen -l


def test_another_host_asks_for_trust_again() -> None:
    assert len({memory_name("a", 22), memory_name("b", 22), memory_name("a", 2222)}) == 3


def test_options_and_specs_import_no_sdk() -> None:
    code = (
        "import sys, conveyor_connectors, conveyor_connectors.ftp.options;"
        "sys.exit(any(name.split('.')[0] in ('paramiko', 'cryptography') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
