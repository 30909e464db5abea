"""Signing in and out by the real command line, against the strict provider, with a third party's plugin."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from cli.commandline import PATIENCE, CommandLine, Ended
from servers import oauth_server
from servers.oauth_rules import Rules
from servers.oauth_server import Fault, OAuthServer
from servers.process import python_path

from conveyor.contract import Rotation

DESTINATION = """\
  {name}:
    type: acme
    client_id: app-1
    client_secret: app-secret-7f3a
    connection: team
    authorize_url: {url}/authorize
    token_url: {url}/token
    device_url: {url}/device
    revoke_url: {url}/revoke
    account_url: {url}/me
"""
BROWSER = "import sys, urllib.request\nurllib.request.urlopen(sys.argv[1], timeout=20).read()\n"


@pytest.fixture
def server() -> Iterator[OAuthServer]:
    with oauth_server.start(Rules(rotation=Rotation.UNTIL_USED)) as started:
        started.interval = 0.2
        yield started


@pytest.fixture
def line(tmp_path: Path, server: OAuthServer) -> CommandLine:
    plugins = tmp_path / "plugins"
    info = plugins / "acme_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("acme_plugin.py"), plugins)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[conveyor]\nacme = acme_plugin\n")
    browser = tmp_path / "browser.py"
    browser.write_text(BROWSER)
    made = CommandLine(tmp_path)
    made.environment |= {"PYTHONPATH": python_path(plugins), "BROWSER": f"{sys.executable} {browser} %s"}
    destinations = "".join(DESTINATION.format(name=name, url=server.url) for name in ("photos", "albums"))
    config = f"network: {{allow_private: [127.0.0.0/8]}}\ndestinations:\n{destinations}"
    (tmp_path / "conveyor.yaml").write_text(config)
    return made


def secrets_of(server: OAuthServer) -> set[str]:
    rules = server.rules
    return {*rules.access, *rules.refresh, *rules.codes, *rules.successors, "app-secret-7f3a"}


def assert_hidden(line: CommandLine, server: OAuthServer, *ends: Ended) -> None:
    stored = b"".join(path.read_bytes() for path in line.folder.glob("conveyor.db*"))
    for secret in secrets_of(server):
        assert secret.encode() not in stored
        assert not any(secret in end.out + end.err for end in ends)


def test_sign_in_deliver_revoke_hold_and_sign_in_again(line: CommandLine, server: OAuthServer) -> None:
    connected = line.run("connect", "photos", "--json")
    assert connected.code == 0, connected.err
    assert connected.json == {
        "connection": "team",
        "account": "ann@example.org",
        "account_id": "id-ann",
        "destinations": ["photos", "albums"],
        "places": {"photos": "folder of id-ann", "albums": "folder of id-ann"},
        "problems": [],
    }
    file = str(line.file("a.jpg"))
    for name in ("photos", "albums"):
        assert line.run("send", file, "--to", name).code == 0
    ran = line.run("run", "--until-idle")
    assert ran.code == 0, ran.err
    (listed,) = line.run("connections", "--json").json
    assert (listed["state"], listed["account"]) == ("ok", "ann@example.org")
    assert listed["destinations"] == ["photos", "albums"]
    assert listed["scopes"] == ["files.write", "offline"]
    assert listed["login_expires_at"] > listed["last_refresh"]

    server.rules.revoke_all()
    for name in ("photos", "albums"):
        assert line.run("send", file, "--to", name).code == 0
    held = line.run("run", "--until-idle")
    status = line.run("status", "--json")
    assert {each["reason"] for each in status.json["destinations"]} == {"needs_login"}
    assert [each["cure"] for each in status.json["destinations"]] == [
        f"conveyor connect {each['id']}" for each in status.json["destinations"]
    ]
    assert line.rows("SELECT max(failures) FROM deliveries") == [(0,)]
    assert line.rows("SELECT count(*) FROM attempts WHERE kind IS NOT NULL AND charged") == [(0,)]
    (listed,) = line.run("connections", "--json").json
    assert (listed["state"], listed["cure"]) == ("revoked", "conveyor connect photos")

    assert line.run("connect", "albums").code == 0
    assert line.run("run", "--until-idle").code == 0
    assert line.rows("SELECT status, count(*) FROM deliveries GROUP BY 1") == [("delivered", 4)]
    assert_hidden(line, server, connected, ran, held, status)


def test_a_folder_that_cannot_be_prepared_is_told_and_the_login_stays(
    line: CommandLine, server: OAuthServer
) -> None:
    # The first answer says who has signed in, the second prepares the first destination.
    server.faults.append(Fault("/me", after=1, answer=(403, {"error": "out_of_sight"})))
    ended = line.run("connect", "photos")
    assert ended.code == 1
    assert "connected: photos, albums → ann@example.org" in ended.out
    assert "albums: folder of id-ann" in ended.out
    assert "photos: HTTP 403" in ended.err
    (listed,) = line.run("connections", "--json").json
    assert listed["state"] == "ok"


def paste(line: CommandLine, *words: str, change: Any = lambda text: text) -> Ended:
    """Sign in with --no-browser: go to the printed address, and paste where the browser ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "conveyor", "connect", "photos", "--no-browser", *words],
        cwd=line.folder,
        env=line.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        address = next(text for text in process.stderr if text.startswith("http"))
        out, err = process.communicate(change(redirect_of(address.strip())) + "\n", timeout=PATIENCE)
        return Ended(process.returncode, out, err)


def redirect_of(address: str) -> str:
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    with pytest.raises(HTTPError) as caught:
        urllib.request.build_opener(Stay).open(address, timeout=20)
    with caught.value as answer:
        return str(answer.headers["Location"])


def test_without_a_browser_the_answer_is_pasted(line: CommandLine, server: OAuthServer) -> None:
    ended = paste(line)
    assert (ended.code, "ann@example.org" in ended.out) == (0, True), ended.err
    code_alone = paste(line, change=lambda text: re.search(r"code=([^&]+)", text)[1])  # type: ignore[index]
    assert code_alone.code == 0, code_alone.err
    forged = paste(line, change=lambda text: re.sub(r"state=[^&]+", "state=forged", text))
    assert (forged.code, "another sign-in" in forged.err) == (2, True)
    assert line.run("test", "photos").code == 0


def test_another_account_is_noticed(line: CommandLine, server: OAuthServer) -> None:
    assert line.run("connect", "photos").code == 0
    server.rules.account = "bob"
    other = line.run("connect", "photos")
    assert other.code == 2
    assert "was connected to ann@example.org; this is bob@example.org" in other.err
    assert line.run("connections", "--json").json[0]["account"] == "ann@example.org"
    assert line.run("connect", "photos", "--yes").code == 0
    assert line.run("connections", "--json").json[0]["account"] == "bob@example.org"


def test_by_another_device(line: CommandLine, server: OAuthServer) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "conveyor", "connect", "photos", "--device"],
        cwd=line.folder,
        env=line.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        server.rules.decide(said.split()[-1])
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "ann@example.org" in out) == (0, True), err


def test_signing_out_revokes_and_forgets(line: CommandLine, server: OAuthServer) -> None:
    assert line.run("connect", "photos").code == 0
    asked = line.run("disconnect", "photos")
    assert (asked.code, "--yes" in asked.err) == (2, True)
    server.faults = [Fault("/revoke", answer=(503, {}))]
    failed = line.run("disconnect", "photos", "--yes")
    assert (failed.code, "was not revoked" in failed.err) == (1, True)
    assert line.run("connections", "--json").json[0]["state"] == "ok"
    assert line.run("disconnect", "team", "--yes", "--json").json == {
        "connection": "team",
        "revoked": True,
        "destinations": ["photos", "albums"],
    }
    assert all(family.revoked for family in server.rules.refresh.values())
    assert line.run("connections", "--json").json[0]["state"] == "not connected"
    assert "not connected" in line.run("connections").out


def test_a_refused_sign_in_changes_nothing(line: CommandLine, server: OAuthServer) -> None:
    server.faults = [Fault("/token", answer=(401, {"error": "invalid_client"}))]
    ended = line.run("connect", "photos")
    assert (ended.code, "client_secret" in ended.err) == (1, True)
    assert line.rows("SELECT count(*) FROM connections") == [(0,)]


def test_what_cannot_be_connected_says_so(line: CommandLine, server: OAuthServer) -> None:
    config = line.folder / "conveyor.yaml"
    hook = "  hook: {type: webhook, url: 'https://example.org/', secret: 'a-long-enough-secret-0123456789'}\n"
    config.write_text(config.read_text() + hook)
    ended = line.run("connect", "hook")
    assert (ended.code, "credentials in the config" in ended.err) == (2, True)
    assert line.run("connect", "photo").code == 2
    assert line.run("disconnect", "photos", "--yes").code == 2


def test_the_type_says_where_it_signs_in(line: CommandLine) -> None:
    said = line.run("connectors", "show", "acme").out
    assert "signs in to an account: Acme, by conveyor connect, for files.write offline" in said
    assert "client_secret" in said


def test_keys_rotate(line: CommandLine, server: OAuthServer) -> None:
    assert line.run("connect", "photos").code == 0
    before = line.run("connections", "--json").json[0]["key_id"]
    rotated = line.run("keys", "rotate", "--new-key", "--json")
    assert rotated.json["changed"]["connections"] == 1
    assert line.run("connections", "--json").json[0]["key_id"] == rotated.json["key_id"] != before
    key = line.folder / "conveyor.key"
    newest = key.read_text().split()[0]
    key.write_text(newest + "\n")
    assert line.run("test", "photos").code == 0
    key.write_text("bGVkZ2VyLXRlc3Qta2V5LWxlZGdlci10ZXN0LWtleSE=\n")
    stored = line.rows("SELECT tokens, key_id FROM connections")
    for words in (("keys", "rotate"), ("keys", "rotate", "--new-key")):
        wrong = line.run(*words)
        assert (wrong.code, "another key" in wrong.err) == (1, True)
    assert line.rows("SELECT tokens, key_id FROM connections") == stored
    assert key.read_text().count("\n") == 1
