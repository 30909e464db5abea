"""Each sign-in that needs no person, by the real command line: tested, delivered, renewed by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli.commandline import CommandLine
from oauth.test_oauth_vendors import VENDORS, load
from servers.oauth_rules import CLIENT, SECRET
from servers.standins.box.sign_in import ENTERPRISE, app_config
from servers.standins.google_drive.sign_in import service_account
from servers.standins.kit import StandIn, running
from servers.standins.onedrive.application import application_key

pytestmark = pytest.mark.server

Way = Callable[[Any, Path], dict[str, str]]
"""Writes what the options name into a file; returns the options."""


def box_client_credentials(standin: Any, key: Path) -> dict[str, str]:
    return {"client_id": CLIENT, "client_secret": SECRET, "enterprise_id": f'"{ENTERPRISE}"'}


def box_jwt(standin: Any, key: Path) -> dict[str, str]:
    key.write_text(json.dumps(app_config()))
    return {"jwt_config": f"!file {key}"}


def microsoft(standin: Any) -> dict[str, str]:
    own = {"client_id": CLIENT, "app_only": "true", "tenant": standin.tenant, "drive_id": standin.drive.id}
    return {**own, "graph_url": f"{standin.url}/v1.0"}


def microsoft_secret(standin: Any, key: Path) -> dict[str, str]:
    return {**microsoft(standin), "client_secret": SECRET}


def microsoft_certificate(standin: Any, key: Path) -> dict[str, str]:
    private, standin.app_certificate, _ = application_key()
    key.write_text(private + standin.app_certificate.decode())
    return {**microsoft(standin), "certificate": f"!file {key}", "client_secret": ""}


def google_service_account(standin: Any, key: Path) -> dict[str, str]:
    key.write_text(json.dumps(service_account(standin.url + standin.token_path)))
    return {"service_account": f"!file {key}", "folder_id": standin.add_drive("Shared")}


def dropbox_refresh_token(standin: Any, key: Path) -> dict[str, str]:
    key.write_text(standin.sign_in(" ".join(standin.scopes))[1])
    return {"client_id": CLIENT, "refresh_token": f"!file {key}"}


WAYS: list[tuple[str, Way, str]] = [
    ("box", box_client_credentials, ""),
    ("box", box_jwt, ""),
    ("onedrive", microsoft_secret, "Conveyor/"),
    ("onedrive", microsoft_certificate, "Conveyor/"),
    ("google_drive", google_service_account, ""),
    ("dropbox", dropbox_refresh_token, "Apps/Conveyor/"),
]
"""Type, sign-in, and where files go, as the stand-in names it."""


@dataclass
class Signed:
    """A destination that signs in by itself."""

    name: str
    base: str
    standin: StandIn
    lines: str
    private: str


def signed(kind: str, way: Way, base: str, standin: StandIn, folder: Path) -> Signed:
    """Its part of the config, and its key's file."""
    key = folder / f"{way.__name__}.key"
    known = {name: value.format(url=standin.url) for name, value in VENDORS[kind].options.items()}
    known.pop("client_secret", None)
    options = {"type": kind, "token_url": standin.url + standin.token_path, **known, **way(standin, key)}
    lines = "".join(f"    {name}: {value}\n" for name, value in options.items() if value)
    private = key.read_text() if key.exists() else SECRET
    return Signed(way.__name__, base, standin, f"  {way.__name__}:\n{lines}", private)


def line_of(folder: Path, *destinations: Signed) -> CommandLine:
    """A command line with these destinations."""
    (folder / "conveyor.yaml").write_text(
        "network: {allow_private: [127.0.0.0/8]}\n"
        f"default_destinations: [{', '.join(each.name for each in destinations)}]\n"
        f"destinations:\n{''.join(each.lines for each in destinations)}"
    )
    return CommandLine(folder)


@pytest.fixture
def destinations(tmp_path: Path) -> Iterator[list[Signed]]:
    with ExitStack() as stack:
        yield [
            signed(kind, way, base, stack.enter_context(running(load(VENDORS[kind].standin)())), tmp_path)
            for kind, way, base in WAYS
        ]


def test_nobody_has_to_sign_in(destinations: list[Signed], tmp_path: Path) -> None:
    line = line_of(tmp_path, *destinations)
    ended = [line.run("test", *(each.name for each in destinations))]
    assert ended[0].code == 0, ended[0].out + ended[0].err
    for each in destinations:
        assert not each.standin.files(), f"{each.name} keeps its canary"
        with each.standin.lock:
            each.standin.rules.access.clear()  # the service takes no token any more that it has given
    ended.append(line.run("send", str(line.file("photo.jpg")), "--session", "first"))
    ended.append(line.run("run", "--until-idle"))
    assert [end.code for end in ended] == [0, 0, 0], ended[-1].err
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("conveyor.db*"))
    for each in destinations:
        assert [path for path, _ in each.standin.files()] == [f"{each.base}first/photo.jpg"], each.name
        assert each.standin.count("token") == 2, f"{each.name}: one for the test, one after the 401"
        for secret in (SECRET, each.private, *each.standin.rules.access):
            assert secret.encode() not in stored, each.name
            assert not any(secret in end.out + end.err for end in ended), each.name


def test_a_wrong_secret_says_what_to_put_right(tmp_path: Path) -> None:
    with running(load(VENDORS["onedrive"].standin)()) as standin:
        line = line_of(tmp_path, signed("onedrive", microsoft_secret, "", standin, tmp_path))
        config = line.folder / "conveyor.yaml"
        config.write_text(config.read_text().replace(SECRET, "another-secret"))
        tested = line.run("test", "microsoft_secret")
    assert tested.code != 0
    said = tested.out + tested.err
    assert "client_id" in said
    assert "conveyor connect" not in said, "nobody can sign in for an application"
    assert "another-secret" not in said
