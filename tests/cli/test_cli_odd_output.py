"""Words and outputs that are odd: no text, another encoding, a full disk, none at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli.commandline import CommandLine

ODD = os.fsdecode(b"b\xfcro \xf0\x9f\x93\xb7.txt")
"""A name in Latin-1, of a file with a camera in it."""


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    line = CommandLine(tmp_path)
    line.config("http://127.0.0.1:1/")
    line.file("a.txt")
    (tmp_path / ODD).write_bytes(b"x")
    (tmp_path / "ünï 📷.txt").write_bytes(b"x")
    return line


def to(encoding: str, errors: str = "strict") -> str:
    """Python that makes the output one of an encoding, as a locale does."""
    return f"import sys; sys.stdout.reconfigure(encoding={encoding!r}, errors={errors!r})"


@pytest.mark.parametrize("before", [to("utf-8"), to("utf-8", "surrogateescape"), to("ascii")])
def test_a_name_that_the_terminal_cannot_show_ends_no_command(line: CommandLine, before: str) -> None:
    sent = line.run("send", ODD, "ünï 📷.txt", "--json", before=before)
    assert [each["created"] for each in sent.json] == [True, True], sent.err
    again = line.run("send", ODD, "ünï 📷.txt", before=before)
    assert (again.code, again.out.count("job_")) == (0, 2), again.err
    for verb in ("deliveries", "status"):
        assert line.run(verb, before=before).code == 0
    listed = line.run("deliveries", "--json", before=before)
    assert "ünï 📷.txt" in {each["filename"] for each in listed.json}
    waited = line.run("send", "a.txt", "--wait", "--timeout", "0", before=before)
    assert waited.code in (1, 75), waited.err


@pytest.mark.parametrize(
    "words",
    [
        ("deliveries", "--session", ODD),
        ("show", ODD),
        ("pause", "backend", "--note", ODD),
        ("forget", "--session", ODD),
    ],
)
def test_a_word_that_is_no_text_is_wrong_use(line: CommandLine, words: tuple[str, ...]) -> None:
    told = line.run(*words)
    assert told.code == 2
    assert "no text in UTF-8: b\\udcfcro" in told.err
    assert "write it in UTF-8" in told.err


def test_a_full_disk_behind_the_output_is_told(line: CommandLine) -> None:
    for words in (("send", "a.txt"), ("deliveries",), ("status", "--json")):
        told = line.run(*words, before="import sys; sys.stdout = open('/dev/full', 'w')")
        assert told.code == 1
        assert "the output cannot be written: No space left on device" in told.err


def test_a_closed_output_ends_no_command(line: CommandLine) -> None:
    for words in (("send", "a.txt"), ("deliveries",), ("status",)):
        assert line.run(*words, before="import sys; sys.stdout = None").code == 0


def test_an_unknown_log_level_is_wrong_use(line: CommandLine) -> None:
    told = line.run("--log-level", "loud", "status")
    assert told.code == 2
    assert "there is no log level 'loud'" in told.err
    assert "debug, info, warning or error" in told.err
