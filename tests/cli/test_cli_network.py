"""A private address: the destination is held, the line that allows it is printed, and the line works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli.commandline import CommandLine

from conveyor.receiver import Receiver

CONFIG = """\
default_destinations: [backend]
{everywhere}
destinations:
  backend: {{type: webhook, url: "{url}"{own}}}
"""


@pytest.mark.parametrize("place", ["everywhere", "own"])
def test_the_line_that_the_refusal_prints_lets_the_file_through(tmp_path: Path, place: str) -> None:
    line = CommandLine(tmp_path)
    with Receiver(tmp_path / "received") as receiver:
        config = {"url": receiver.url, "everywhere": "", "own": ""}
        (tmp_path / "conveyor.yaml").write_text(CONFIG.format(**config))
        line.file("photo.jpg")

        sent = line.run("send", "photo.jpg", "--wait", "--timeout", "20")
        told = line.run("test", "backend")

        assert sent.code != 0
        assert told.code != 0
        assert receiver.requests == []
        found = re.search(r"network: \{allow_private: \[127\.0\.0\.1/32\]\}", told.out + told.err)
        assert found is not None, told.out + told.err
        assert "config_error" in line.run("status").out

        config[place] = found[0] if place == "everywhere" else f", {found[0]}"
        (tmp_path / "conveyor.yaml").write_text(CONFIG.format(**config))
        assert line.run("send", "photo.jpg", "--wait").code == 0
        assert len(receiver.received) == 2, "what was held goes too, without an order"


def test_a_url_to_send_obeys_the_policy_too(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    with Receiver(tmp_path / "received") as receiver:
        (tmp_path / "conveyor.yaml").write_text(CONFIG.format(url=receiver.url, everywhere="", own=""))
        ended = line.run("send", receiver.url)
        metadata = line.run("send", "http://169.254.169.254/latest/meta-data/")
        assert receiver.requests == []
    assert "network: {allow_private: [127.0.0.1/32]}" in ended.err
    assert "never dialled" in metadata.err
    assert (ended.code != 0, metadata.code != 0) == (True, True)
    assert not (tmp_path / "conveyor.db").exists() or line.rows("SELECT id FROM jobs") == []
