"""``conveyor init``, ``validate`` and ``schema``: writing the config, and keeping it right."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conveyor.cli import filters, session
from conveyor.cli.verbs.listen import PORT
from conveyor.errors import ConfigError, ConveyorError, Exit, Problem, UsageError

if TYPE_CHECKING:
    from conveyor.config import Config
    from conveyor.contract import ConnectorSpec

INIT_HELP = """Write a commented config to start from; an existing one is never overwritten.

Without --type it works at once: one webhook destination that `conveyor listen` receives on this machine.
"""

VALIDATE_HELP = """Check the config: every mistake with file, line, column and cure; exit 78 if there is any.

--strict also wants that all plugins load and that each destination's SDK is installed.
"""

SCHEMA_HELP = """Print the JSON Schema of the config, for completion and checks in editors.
"""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(
        "init",
        help=INIT_HELP,
        epilog=filters.examples("conveyor init", "conveyor init --type s3 --type sftp"),
    )(init)
    app.command(
        "validate",
        help=VALIDATE_HELP,
        epilog=filters.examples("conveyor validate", "conveyor validate --strict --json"),
    )(validate)
    app.command(
        "schema", help=SCHEMA_HELP, epilog=filters.examples("conveyor schema > conveyor.schema.json")
    )(schema)


# --- init ----------------------------------------------------------------------------------------


def init(
    context: typer.Context,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="Start from this destination type's example; may be repeated."),
    ] = None,
) -> None:
    """Write a config to start from."""
    from conveyor.cli import starter

    path = session.of(context).config or Path("conveyor.yaml")
    secret = starter.new_secret()
    specs = _specs(types or ())
    text = starter.config_of(specs) if specs else starter.listener_config(PORT, secret)
    _write_new(path, text)
    typer.echo(f"wrote {path}\n")
    typer.echo("next:")
    chosen = "" if path == Path("conveyor.yaml") else f"--config {path} "
    if specs:
        steps = [
            (f"conveyor {chosen}validate", f"after you have put {path} right"),
            (f"conveyor {chosen}test --all", "log in, write and delete a small file"),
        ]
    else:
        steps = [(f"conveyor listen --secret {secret}", "in another terminal: receives")]
    steps += [
        (f"conveyor {chosen}send FILE", "submit a file"),
        (f"conveyor {chosen}run", "deliver; Ctrl-C ends"),
    ]
    for command, what in steps:
        typer.echo(f"  {command}\n      {what}")
    typer.echo("\nnot for a repository (.gitignore): " + " ".join(starter.IGNORED))


def _specs(types: Sequence[str]) -> list[ConnectorSpec]:
    if not types:
        return []
    from conveyor.registry import default_registry

    registry = default_registry()
    specs = []
    for name in dict.fromkeys(types):
        try:
            spec = registry.spec(name)
        except ConveyorError as error:
            raise UsageError(error.message, cure=error.cure) from None
        if not spec.example:
            raise UsageError(f"the destination type {name!r} brings no example")
        specs.append(spec)
    return specs


def _write_new(path: Path, text: str) -> None:
    """Write a file that must not exist; only its owner may read it, for it holds secrets."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        cure = "edit it, or write another one: conveyor --config other.yaml init"
        raise ConveyorError(f"{path} exists already; it was not touched", cure=cure) from None
    except OSError as error:
        raise ConveyorError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConveyorError(f"{path} cannot be written: {error.strerror}", cure="free some space") from None


# --- validate ------------------------------------------------------------------------------------


def validate(
    context: typer.Context,
    strict: Annotated[
        bool, typer.Option("--strict", help="Also: all plugins load, all SDKs are installed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check the config."""
    path, config, problems = _read(session.of(context).config)
    if config is not None and strict:
        problems += _missing(config)
    if as_json:
        document = {"file": str(path), "valid": not problems, "problems": [asdict(each) for each in problems]}
        session.print_json(document)
    elif problems:
        for problem in problems:
            typer.echo(f"error: {problem}", err=True)
        typer.echo(f"{len(problems)} {'mistake' if len(problems) == 1 else 'mistakes'}", err=True)
    elif config is not None:
        count = len(config.source.list())
        typer.echo(f"{path}: right; {count} {'destination' if count == 1 else 'destinations'}")
    raise typer.Exit(Exit.CONFIG if problems else Exit.OK)


def _read(given: Path | None) -> tuple[Path, Config | None, list[Problem]]:
    """The config where it can be read, and every mistake."""
    from conveyor.config import load
    from conveyor.installation import DEFAULT_CONFIG, config_path

    path = given or Path(DEFAULT_CONFIG)
    try:
        path = config_path(given)
        config = load(path)
    except ConfigError as error:
        return path, None, list(error.problems)
    return path, config, list(config.problems)


def _missing(config: Config) -> list[Problem]:
    """Plugins that do not load, and what destinations need that is not installed."""
    problems = list(config.registry.problems)
    first = {each.type: each.id for each in reversed(config.source.list()) if each.problem is None}
    for name, destination in first.items():
        try:
            config.registry.factory(name)
        except ConveyorError as error:
            problems.append(
                Problem(error.message, str(config.path), cure=error.cure, destination=destination)
            )
    return problems


# --- schema --------------------------------------------------------------------------------------


def schema(context: typer.Context) -> None:
    """Print the JSON Schema."""
    from conveyor.config.schema import json_schema

    session.print_json(json_schema(session.of(context).registry()))
