"""The root of the command line: global options, errors, exit codes. Verbs live in their own files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from conveyor.cli import session
from conveyor.cli.verbs import Verbs
from conveyor.errors import ConveyorError, Exit
from conveyor.version import __version__

EPILOG = (
    "Exit codes: 0 ok, 1 something failed, 2 wrong use, 75 still waiting, 78 mistakes in the config. "
    "Every listing takes --json."
)

app = typer.Typer(
    name="conveyor",
    cls=Verbs,
    help="Delivers files, verified, to every place that your customers chose: webhook, S3, SFTP and more.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar="CONVEYOR_CONFIG",
            help="The config file; by default conveyor.yaml in this folder.",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[
        str, typer.Option(help="debug, info, warning or error.", envvar="CONVEYOR_LOG_LEVEL")
    ] = "info",
    log_json: Annotated[
        bool | None,
        typer.Option("--log-json/--log-text", help="How to log; by default text on a terminal, else JSON."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options for every verb."""
    context.obj = session.Session(config=config, log_level=log_level, log_json=log_json)


def run() -> None:
    """Run the command line and leave with its exit code."""
    try:
        code = app(standalone_mode=False)
    except ConveyorError as error:
        code = _complain(error)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader of a pipe has gone (``| head``): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.OK
    except Exception as error:
        code = _usage(error)
    sys.exit(int(code or 0))


def _complain(error: ConveyorError) -> int:
    typer.secho(f"error: {error}", fg="red" if sys.stderr.isatty() else None, err=True)
    return error.exit_code


def _usage(error: Exception) -> int:
    """Typer's own errors (wrong options, missing arguments); anything else is a defect and shows itself."""
    show = getattr(error, "show", None)
    if show is None:
        raise error
    show()
    return int(getattr(error, "exit_code", Exit.USAGE))
