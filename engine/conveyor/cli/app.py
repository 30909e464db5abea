"""The root of the command line: global options, errors, exit codes. Verbs live in their own files."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from conveyor.cli import session
from conveyor.cli.verbs import Verbs
from conveyor.errors import ConveyorError, Exit, UsageError
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
    _write_anything()
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
    except UnicodeEncodeError as error:
        code = _complain(_no_text(error))
    except Exception as error:
        code = _full(error) or _usage(error)
    sys.exit(int(code or 0))


def _write_anything() -> None:
    """Names from strangers' phones must not end a command because the terminal has no such letters.

    JSON stays JSON: it escapes alike.
    """
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 -- until the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _no_text(error: UnicodeEncodeError) -> UsageError:
    """A word of the command line that is no text, and cannot be looked up or kept."""
    start = max(0, error.start - 20)
    shown = error.object[start : start + 40].encode("ascii", "backslashreplace").decode()
    return UsageError(f"this is no text in UTF-8: {shown}", cure="write it in UTF-8")


def _full(error: Exception) -> int:
    """Exit code of an output, usually, that the disk has no room for; 0 for any other error."""
    if not isinstance(error, OSError) or error.errno != errno.ENOSPC:
        return 0
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 -- or the end of Python complains
    where = f"{error.filename}: " if error.filename else "the output cannot be written: "
    cure = "free some space; what was ordered may be done all the same: conveyor deliveries"
    return _complain(ConveyorError(f"{where}{error.strerror}", cure=cure))


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
