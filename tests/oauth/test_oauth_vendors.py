"""Each vendor's sign-in by the real command line: connect, deliver, lose the login, connect again."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cli.commandline import CommandLine, Ended
from servers.oauth_rules import CLIENT, SECRET
from servers.standins.kit import StandIn, running

from conveyor.errors import Exit
from conveyor.testing import free_port

BROWSER = "import sys, urllib.request\nurllib.request.urlopen(sys.argv[1], timeout=20).read()\n"


@dataclass
class Vendor:
    """One type's part of the config.

    Attributes:
        standin: ``module:class``.
        options: With ``{url}`` for the stand-in's address.
        account: Where it is asked whose account it is.
        base: Where files go, as the stand-in names them.
        home: Host of the redirect, which is registered with its port; empty where any port will do.
    """

    standin: str
    account: str
    options: dict[str, Any] = field(default_factory=dict)
    base: str = ""
    authorize: str = ""
    place: str = ""
    home: str = ""


VENDORS = {
    "google_drive": Vendor(
        "servers.standins.google_drive:GoogleDrive",
        "{url}/drive/v3/about?fields=user",
        {"client_secret": SECRET, "api_url": "{url}"},
        base="Conveyor/",
        place="folder Conveyor (id ",
    ),
    "box": Vendor(
        "servers.standins.box:BoxStandIn",
        "{url}/2.0/users/me",
        {"client_secret": SECRET, "api_url": "{url}", "upload_url": "{url}/api"},
        place="folder All Files (id 0)",
        home="127.0.0.1",
    ),
    "dropbox": Vendor(
        "servers.standins.dropbox:DropboxStandIn",
        "{url}/2/users/get_current_account",
        {"api_url": "{url}", "content_url": "{url}"},
        base="Apps/Conveyor/",
        place="folder /Apps/Conveyor",
        home="localhost",
    ),
    "onedrive": Vendor(
        "servers.standins.onedrive:OneDrive",
        "{url}/v1.0/me",
        {"graph_url": "{url}/v1.0", "client_secret": SECRET},
        base="Conveyor/",
        place="folder /Conveyor of the drive personal",
    ),
}


@dataclass
class Scene:
    name: str
    vendor: Vendor
    standin: StandIn
    line: CommandLine

    def hidden(self, *ends: Ended) -> None:
        """No token stands in the ledger's file or in what was printed."""
        rules = self.standin.rules
        stored = b"".join(path.read_bytes() for path in self.line.folder.glob("conveyor.db*"))
        for secret in {*rules.access, *rules.refresh, *rules.codes}:
            assert secret.encode() not in stored
            assert not any(secret in end.out + end.err for end in ends)

    def names(self) -> set[str]:
        return {path for path, _ in self.standin.files()}


def load(place: str) -> type[StandIn]:
    import importlib

    module, _, name = place.partition(":")
    found: type[StandIn] = getattr(importlib.import_module(module), name)
    return found


@pytest.fixture(params=VENDORS)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    vendor = VENDORS[request.param]
    with running(load(vendor.standin)()) as standin:
        browser = tmp_path / "browser.py"
        browser.write_text(BROWSER)
        line = CommandLine(tmp_path)
        line.environment |= {"BROWSER": f"{sys.executable} {browser} %s"}
        options = {
            "type": request.param,
            "client_id": CLIENT,
            "authorize_url": standin.url + standin.authorize_path,
            "token_url": standin.url + standin.token_path,
            "account_url": vendor.account.format(url=standin.url),
            **{key: value.format(url=standin.url) for key, value in vendor.options.items()},
        }
        if standin.revoke_path:
            options["revoke_url"] = standin.url + standin.revoke_path
        if vendor.home:
            port = free_port()
            standin.rules.redirects = frozenset({f"http://{vendor.home}:{port}/"})  # type: ignore[attr-defined]
            options["redirect_port"] = str(port)
        lines = "".join(f"    {key}: {value}\n" for key, value in options.items())
        (tmp_path / "conveyor.yaml").write_text(
            "network: {allow_private: [127.0.0.0/8]}\ndefault_destinations: [mine]\n"
            f"destinations:\n  mine:\n{lines}"
        )
        yield Scene(request.param, vendor, standin, line)


def test_sign_in_deliver_lose_the_login_and_sign_in_again(scene: Scene) -> None:
    line = scene.line
    file = str(line.file("photo.jpg"))
    assert line.run("send", file, "--session", "first").code == 0
    waits = line.run("run", "--until-idle")
    assert scene.names() == set()
    connected = line.run("connect", "mine")
    assert connected.code == 0, connected.err
    assert scene.vendor.place in connected.out
    ran = line.run("run", "--until-idle")
    assert ran.code == 0, ran.err
    assert scene.names() == {f"{scene.vendor.base}first/photo.jpg"}
    tested = line.run("test", "mine")
    assert tested.code == 0, tested.out + tested.err
    assert scene.names() == {f"{scene.vendor.base}first/photo.jpg"}, "the canary is gone again"

    scene.standin.rules.revoke_all()
    assert line.run("send", file, "--session", "second").code == 0
    held = line.run("run", "--until-idle")
    status = line.run("status", "--json")
    (destination,) = status.json["destinations"]
    assert (destination["reason"], destination["cure"]) == ("needs_login", "conveyor connect mine")
    again = line.run("connect", "mine")
    assert again.code == 0, again.err
    assert line.run("run", "--until-idle").code == 0
    assert scene.names() == {f"{scene.vendor.base}{name}/photo.jpg" for name in ("first", "second")}
    left = line.run("disconnect", "mine", "--yes")
    assert left.code == 0, left.err
    (forgotten,) = line.run("connections", "--json").json
    assert forgotten["state"] == "not connected"
    scene.hidden(waits, connected, ran, tested, held, status, again, left)


@pytest.mark.parametrize("scene", [name for name, each in VENDORS.items() if each.home], indirect=True)
def test_a_port_that_was_not_registered_is_asked_for_before_the_browser_opens(scene: Scene) -> None:
    config = scene.line.folder / "conveyor.yaml"
    config.write_text(re.sub(r" +redirect_port: .*\n", "", config.read_text()))
    refused = scene.line.run("connect", "mine")
    assert refused.code == Exit.USAGE
    assert f"register http://{scene.vendor.home}:8765/" in refused.err
    assert "redirect_port: 8765" in refused.err
    assert not scene.standin.seen
