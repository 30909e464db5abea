"""``conveyor test`` and ``conveyor trust``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.commandline import CommandLine
from servers import asyncssh_sftp
from servers.ssh import SshServer

from conveyor.receiver import Answer, Receiver

DEAD = "  dead: {type: webhook, url: 'http://127.0.0.1:9/', labels: {customer: acme}}"


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "received") as receiver:
        yield receiver


def sftp(server: SshServer, **more: str) -> str:
    options = {
        "host": server.host,
        "port": str(server.port),
        "username": server.username,
        "password": str(server.password),
        **more,
    }
    lines = ["  partner:", "    type: sftp", *(f"    {key}: {value}" for key, value in options.items())]
    return "\n".join(lines)


def test_a_check_posts_nothing(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url, more=DEAD)

    good = line.run("test", "backend")
    every = line.run("test", "--all", "--json")
    labelled = line.run("test", "--label", "customer=acme")

    assert good.code == 0
    assert "done      connect" in good.out
    assert "not done  post" in good.out
    assert receiver.requests == []
    assert every.code == labelled.code == 1
    found = {each["destination"]: each for each in every.json}
    assert (found["backend"]["ok"], found["dead"]["ok"], found["dead"]["kind"]) == (True, False, "TRANSIENT")
    assert found["backend"]["seconds"] > 0
    assert "Connection refused" in labelled.out
    assert "backend" not in labelled.out


@pytest.mark.parametrize(
    ("words", "said"), [((), "--all"), (("bakend",), "did you mean 'backend'?"), (("-l", "x=y"), "label")]
)
def test_which_destinations(line: CommandLine, words: tuple[str, ...], said: str) -> None:
    line.config("http://127.0.0.1:9/")

    ended = line.run("test", *words)

    assert ended.code == 2
    assert said in ended.err


def test_a_quarantined_destination_fails_alone(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url, more="  broken: {type: s3}")

    ended = line.run("test", "--all", "--json")

    found = {each["destination"]: each for each in ended.json}
    assert ended.code == 1
    assert found["backend"]["ok"]
    assert "bucket: required" in found["broken"]["error"]


def test_a_sample_takes_the_real_path(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)

    ended = line.run("test", "backend", "--send-sample")

    (received,) = receiver.received
    ((job, tags),) = line.rows("SELECT id, tags FROM jobs")
    assert ended.code == 0
    assert received.filename is not None
    assert received.filename.startswith("conveyor-test-")
    assert received.tags == ("conveyor:test",)
    assert "conveyor:test" in tags
    assert job in received.path.as_posix()
    assert f"reference  {receiver.url[:-1]}" in ended.out
    assert line.rows("SELECT status FROM deliveries") == [("delivered",)]


def test_a_sample_that_does_not_arrive_is_cancelled(line: CommandLine, receiver: Receiver) -> None:
    line.config(receiver.url)
    receiver.answer_always(Answer(500))

    ended = line.run("test", "backend", "--send-sample", "--timeout", "1", "--json")

    assert ended.code == 1
    assert ended.json[0]["ok"] is True
    assert ended.json[0]["sample"]["last_error_kind"] == "TRANSIENT"
    assert line.rows("SELECT status FROM deliveries") == [("cancelled",)]


def test_a_canary_comes_and_goes(line: CommandLine, asyncssh_server: SshServer) -> None:
    line.config("http://127.0.0.1:9/", more=sftp(asyncssh_server, host_key="accept-new"))
    before = set(asyncssh_server.root.rglob("*"))

    ended = line.run("test", "partner")

    assert ended.code == 0, ended.out
    assert "done      write" in ended.out
    assert "connect" in ended.out.splitlines()[0]  # its time
    assert set(asyncssh_server.root.rglob("*")) == before


def test_wrong_credentials_show_no_secret(line: CommandLine, asyncssh_server: SshServer) -> None:
    more = sftp(asyncssh_server, host_key="accept-new", password="not-the-password")
    line.config("http://127.0.0.1:9/", more=more)

    ended = line.run("test", "partner", "--json")

    assert ended.code == 1
    assert ended.json[0]["kind"] == "AUTH_REVOKED"
    assert "not-the-password" not in ended.out + ended.err


# --- trust -----------------------------------------------------------------------------------------


def test_trust_pins_the_key_and_ends_the_hold(line: CommandLine, asyncssh_server: SshServer) -> None:
    line.config("http://127.0.0.1:9/", more=sftp(asyncssh_server))
    line.file("photo.jpg")
    held = line.run("send", "photo.jpg", "--to", "partner", "--wait")
    asked = line.run("trust", "partner")

    ended = line.run("trust", "partner", "--yes")
    again = line.run("trust", "partner", "--json")

    assert held.code == 1
    assert "conveyor trust partner" in held.out + held.err
    assert asked.code == 2  # nobody could be asked
    assert "--yes" in asked.err
    assert ended.code == again.code == 0
    assert asyncssh_server.host_key in ended.out
    assert "SHA256:" in ended.out
    assert again.json["was_trusted"] is True
    assert line.run("send", "photo.jpg", "--to", "partner", "--wait").code == 0
    assert line.run("run", "--until-idle").code == 0
    assert line.rows("SELECT DISTINCT status FROM deliveries") == [("delivered",)]


def test_another_key_is_said_loudly(line: CommandLine, asyncssh_server: SshServer) -> None:
    with asyncssh_sftp.start() as imposter:
        line.config("http://127.0.0.1:9/", more=sftp(asyncssh_server, host_key=f'"{imposter.host_key}"'))

        changed = line.run("trust", "partner", "--yes")

    assert changed.code == 1
    assert "ANOTHER KEY" in changed.out
    assert "the host_key of the config decides" in changed.err
    assert asyncssh_server.host_key in changed.err


def test_trust_means_nothing_to_a_webhook(line: CommandLine) -> None:
    line.config("http://127.0.0.1:9/")

    ended = line.run("trust", "backend")

    assert ended.code == 2
    assert "no key to trust" in ended.err


def test_trust_cannot_reach_the_server(line: CommandLine) -> None:
    more = "  partner: {type: sftp, host: 127.0.0.1, port: 9, username: u, password: some-password}"
    line.config("http://127.0.0.1:9/", more=more)

    ended = line.run("trust", "partner", "--yes")

    assert ended.code == 1
    assert "partner: " in ended.err
    assert "some-password" not in ended.err
