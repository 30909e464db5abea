"""``conveyor connectors``, ``render``, ``migrate``, ``version``; start-up; mistakes from outside."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cli.commandline import CommandLine
from cli.operator_line import OperatorLine

from conveyor.cli.verbs import FILES, PANELS, _commands


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def test_connectors_lists_all_types_without_an_sdk(operator: OperatorLine) -> None:
    assert {each["type"] for each in operator.json("connectors")} >= {"webhook", "s3", "sftp", "ftp"}
    assert "webhook" in operator("connectors").out


def test_connectors_show_tells_options_promises_and_an_example(operator: OperatorLine) -> None:
    said = operator("connectors", "show", "sftp").out
    assert "implies protocol: sftp" in said
    assert "* a reader never sees a part of a file under its final name" in said
    assert "text, required" in said
    assert "  partner:\n    type: sftp" in said
    shown = operator.json("connectors", "show", "s3")
    options = {each["name"]: each for each in shown["options"]}
    assert options["secret_key"]["secret"] is True
    assert options["secret_key"]["alias"] == "secretKey"
    assert options["bucket"]["required"] is True
    assert shown["usable"] is True
    ended = operator("connectors", "show", "web-hook")
    assert (ended.code, "did you mean 'webhook'?" in ended.err) == (2, True)


def test_connectors_show_works_without_the_sdk(
    operator: OperatorLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("conveyor_connectors.s3.", "boto"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "botocore", None)
    ended = operator("connectors", "show", "s3")
    assert ended.code == 0
    assert "not usable here: destination type 's3' needs boto" in ended.out
    assert "pip install 'conveyor[s3]'" in ended.out


# --- render ----------------------------------------------------------------------------------------------


def test_render_for_a_type_needs_no_config(line: CommandLine) -> None:
    ended = line.run(
        "render", "{tags.order|none}/{image_index:03d}-{filename}", "--file", "x/a.jpg",
        "--tag", "order:7", "--image-index", "4", "--for", "s3",
    )  # fmt: skip
    assert (ended.code, ended.out) == (0, "7/004-a.jpg\n")
    assert not list(line.folder.iterdir())


def test_render_shows_what_had_to_change(operator: OperatorLine) -> None:
    shown = operator.json("render", "{session_id}/{filename}", "--session", "a/b", "--for", "s3")
    assert shown["path"].startswith("a_b-")
    (change,) = shown["changes"]
    assert (change["level"], change["before"], change["reason"]) == (1, "a/b", "'/' is not allowed")
    assert shown["mistakes"] == []
    said = operator("render", "{session_id}/{filename}", "--session", "a/b", "--for", "s3").out
    assert "  level 1: 'a/b' became 'a_b-" in said


def test_render_for_a_destination_uses_its_template_and_labels(operator: OperatorLine) -> None:
    config = operator.folder / "conveyor.yaml"
    config.write_text(config.read_text() + "    path_template: '{labels.customer}/{filename!upper}'\n")
    shown = operator.json("render", "--for", "partner", "--file", "a.jpg")
    assert (shown["path"], shown["type"]) == ("bolt/A.JPG", "sftp")


def test_render_computes_the_digest_of_a_file_that_is_there(operator: OperatorLine) -> None:
    photo = operator.folder / "photo.jpg"
    photo.write_bytes(b"photo")
    shown = operator.json("render", "{sha256}", "--file", str(photo))
    assert shown["path"] == hashlib.sha256(b"photo").hexdigest()
    ended = operator("render", "{sha256}", "--file", "nowhere.jpg")
    assert ended.out == "0" * 64 + "\n"
    assert "cannot be read" in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{filname}", "--for", "s3"], 2, "did you mean 'filename'?"),
        (["{filename", "--for", "s3"], 2, "  {filename\n  ^"),
        (["{tags.none|session_id}", "--for", "s3"], 1, "no file name"),
        (["--for", "partnr"], 2, "did you mean 'partner'?"),
        (["{filename}", "--meta", "word"], 2, "expected key=value"),
        (["{filename}", "--file", ".."], 2, "is no file name"),
    ],
)
def test_render_and_mistakes(operator: OperatorLine, arguments: list[str], code: int, message: str) -> None:
    ended = operator("render", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err


def test_render_says_what_the_config_would_refuse(operator: OperatorLine) -> None:
    ended = operator("render", f"{'x' * 300}/{{filename}}", "--for", "sftp")
    assert ended.code == 1
    assert "the config would be refused: the level" in ended.out


# --- migrate, version ------------------------------------------------------------------------------------


def test_migrate_makes_the_tables_and_is_content_with_them(line: CommandLine) -> None:
    line.config("http://127.0.0.1:9/")
    ended = line.run("migrate", "--json")
    assert (ended.code, ended.json["before"]) == (0, None)
    assert f"the ledger is current: version {ended.json['after']}" in line.run("migrate").out


def test_version_names_what_a_report_needs(operator: OperatorLine) -> None:
    shown = operator.json("version")
    assert shown["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"sqlalchemy", "dramatiq", "pydantic", "boto3", "paramiko"} <= set(shown["dependencies"])
    assert "pytest" not in shown["dependencies"]
    assert {"webhook", "s3", "sftp"} <= set(shown["connectors"])
    assert shown["problems"] == []
    assert f"conveyor {shown['conveyor']}\n" in operator("version").out


# --- from outside ----------------------------------------------------------------------------------------


LISTED = sorted(set(FILES.values()))
"""The files of verbs."""


@pytest.mark.parametrize("file", LISTED)
def test_each_file_has_the_verbs_that_it_is_said_to_have(file: str) -> None:
    assert set(_commands(file)) == {verb for verb, its in FILES.items() if its == file}


def test_help_lists_each_verb_in_a_line_of_80_columns(operator: OperatorLine) -> None:
    lines = operator("--help").out.splitlines()
    for verbs in PANELS.values():
        for verb, (_, says) in verbs.items():
            (line,) = [line for line in lines if line.startswith(f"│ {verb} ")]
            assert line.split(maxsplit=2)[2].removesuffix("│").rstrip() == says
            assert len(line) <= 80


def test_a_verb_imports_no_other_verbs_file_and_their_list_none(operator: OperatorLine) -> None:
    code = """
import sys
sys.argv = ["conveyor", "VERB"]
from conveyor.cli.app import run
try:
    run()
except SystemExit as end:
    assert not end.code, end.code
print("VERBS", *(name for name in sys.modules if name.startswith("conveyor.cli.verbs.")))
"""
    for argument, imported in (("version", ["conveyor.cli.verbs.upkeep"]), ("--help", [])):
        argv = [sys.executable, "-c", code.replace("VERB", argument, 1)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert done.stdout.rpartition("VERBS")[2].split() == imported


def test_a_verb_that_is_none_gets_the_nearest(operator: OperatorLine) -> None:
    ended = operator("statsu")
    assert ended.code == 2
    assert "Did you mean 'status'" in ended.err


def help_of(commands: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, command in commands.items():
        yield name, command.get_short_help_str(200)
        yield from help_of(getattr(command, "commands", {}))


@pytest.mark.parametrize("file", LISTED)
def test_each_verb_says_in_a_line_what_it_does(file: str) -> None:
    for name, line in help_of(_commands(file)):
        assert len(line) > 15, name


@pytest.mark.parametrize("verb", FILES)
def test_help_has_an_example(operator: OperatorLine, verb: str) -> None:
    ended = operator(verb, "--help")
    assert ended.code == 0
    assert f"conveyor {verb}" in ended.out.partition("Examples:")[2]


def test_the_readme_names_every_verb() -> None:
    page = (Path(__file__).parents[2] / "README.md").read_text()
    table = page.partition("## The command line")[2].partition("\n\nListings")[0]
    firsts = [re.split(r"(?<!\\)\|", row)[1] for row in table.splitlines() if row.startswith("| `")]
    named = {word.split()[0] for first in firsts for word in re.findall(r"`([^`]+)`", first)}
    assert named == set(FILES)


HEAVY = (
    "sqlalchemy",
    "pydantic",
    "dramatiq",
    "yaml",
    "structlog",
    "boto3",
    "paramiko",
    "alembic",
    "tenacity",
)


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [(["--help"], set()), (["replay", "--help"], {"pydantic"})],  # typer's own, for a verb's option types
)
def test_help_imports_nothing_heavy(arguments: list[str], allowed: set[str]) -> None:
    code = f"""
import sys, json
sys.argv = ["conveyor", *{arguments!r}]
from conveyor.cli.app import run
try:
    run()
except SystemExit as end:
    assert not end.code, end.code
print("MODULES", json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout.rpartition("MODULES ")[2])
    assert "typer" in modules
    assert set(HEAVY) & set(modules) <= allowed


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["deliveries"], ["show", "x"], ["replay", "--all"], ["cancel", "x"], ["destinations"]],
)  # fmt: skip
def test_a_missing_config_is_78_and_no_traceback(operator: OperatorLine, arguments: list[str]) -> None:
    (operator.folder / "conveyor.yaml").unlink()
    ended = operator(*arguments)
    assert (ended.code, ended.out) == (78, "")
    assert "there is no such config file\n  → conveyor init writes one" in ended.err


def test_a_newer_ledger_gets_one_message(line: CommandLine) -> None:
    line.config("http://127.0.0.1:9/")
    assert line.run("status").code == 0
    line.outgrow()
    for verb in ("status", "deliveries", "migrate"):
        ended = line.run(verb)
        assert (ended.code, ended.out) == (1, "")
        assert "is of version 9999, newer than this program's" in ended.err
        assert "upgrade Conveyor" in ended.err
        assert "Traceback" not in ended.err


def test_wrong_options_are_wrong_use_without_traceback(line: CommandLine) -> None:
    line.config("http://127.0.0.1:9/")
    for arguments in (["deliveries", "--limit", "few"], ["status", "--max-age", "long"], ["show"], ["pauze"]):
        ended = line.run(*arguments)
        assert ended.code == 2, arguments
        assert "Traceback" not in ended.err
