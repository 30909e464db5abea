"""``conveyor init``, ``validate`` and ``schema``."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import jsonschema
import pytest
import yaml
from cli.commandline import CommandLine

from conveyor.config import load


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def test_init_writes_a_config_that_is_right(line: CommandLine) -> None:
    ended = line.run("init")

    path = line.folder / "conveyor.yaml"
    config = load(path, strict=True)
    (destination,) = config.source.list()
    secret = destination.options.secret.get_secret_value()
    assert ended.code == 0
    assert (destination.type, config.settings.default_destinations) == ("webhook", ("backend",))
    assert f"conveyor listen --secret {secret}" in ended.out
    assert "conveyor.key" in ended.out  # what not to put into a repository
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert line.run("validate", "--strict").code == 0


def test_init_never_overwrites(line: CommandLine) -> None:
    (line.folder / "conveyor.yaml").write_text("mine\n")

    ended = line.run("init")
    other = line.run("--config", "other.yaml", "init")

    assert ended.code == 1
    assert "conveyor.yaml exists already" in ended.err
    assert (line.folder / "conveyor.yaml").read_text() == "mine\n"
    assert other.code == 0
    assert "conveyor --config other.yaml run" in other.out


def test_init_from_the_examples_of_types(line: CommandLine) -> None:
    ended = line.run("init", "--type", "s3", "--type", "sftp")

    document = line.run("validate", "--json").json
    assert ended.code == 0
    assert "conveyor validate" in ended.out
    # What the user has to fill in is all that is wrong.
    assert {problem["field"] for problem in document["problems"]} == {
        "destinations.production-s3.access_key",
        "destinations.production-s3.secret_key",
        "destinations.partner.private_key",
    }


def test_init_knows_no_such_type(line: CommandLine) -> None:
    ended = line.run("init", "--type", "sftpp")

    assert ended.code == 2
    assert "did you mean 'sftp'?" in ended.err
    assert list(line.folder.iterdir()) == []


MISTAKES = """\
destinations:
  a: {type: webhook, url: "https://example.com/", retrry: {}}
  b: {type: s3}
leger: 1
"""


def test_validate_names_every_mistake_with_its_place(line: CommandLine) -> None:
    (line.folder / "conveyor.yaml").write_text(MISTAKES)

    ended = line.run("validate")
    document = line.run("validate", "--json")

    assert (ended.code, document.code, ended.out) == (78, 78, "")
    assert "conveyor.yaml:2:51: destinations.a.retrry: unknown option" in ended.err
    assert "did you mean 'retry'?" in ended.err
    assert "conveyor.yaml:4:1: leger" in ended.err
    assert "destinations.b.bucket: required, but missing" in ended.err
    problems = document.json["problems"]
    assert document.json["valid"] is False
    assert {problem["line"] for problem in problems} == {2, 3, 4}
    assert {problem["destination"] for problem in problems} >= {"a", "b", None}


def test_validate_counts_quarantined_destinations(line: CommandLine) -> None:
    (line.folder / "conveyor.yaml").write_text("destinations:\n  a: {type: webhok}\n")

    ended = line.run("validate")

    assert ended.code == 78
    assert "did you mean 'webhook'?" in ended.err


WITHOUT_BOTO3 = """
import sys
sys.modules["boto3"] = None
"""


def test_strict_wants_the_sdks(line: CommandLine) -> None:
    text = "destinations:\n  a: {type: s3, bucket: b, access_key: k, secret_key: s}\n"
    (line.folder / "conveyor.yaml").write_text(text)

    assert line.run("validate", before=WITHOUT_BOTO3).code == 0
    ended = line.run("validate", "--strict", before=WITHOUT_BOTO3)
    assert ended.code == 78
    assert "pip install 'conveyor[s3]'" in ended.err


def test_validate_without_a_config(line: CommandLine) -> None:
    ended = line.run("validate")

    assert ended.code == 78
    assert "conveyor init" in ended.err


def test_schema_accepts_what_init_writes(line: CommandLine) -> None:
    line.run("init")

    schema = json.loads(line.run("schema").out)

    document = yaml.safe_load((line.folder / "conveyor.yaml").read_text())
    jsonschema.validate(document, schema)
    document["destinations"]["backend"]["formatt"] = "binary"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)
