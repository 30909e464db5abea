"""``conveyor plugin new``: the beginning of a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conveyor.cli import filters

HELP = """Write the beginning of a connector plugin: a distribution that passes its own tests as it is.

It has the entry point, a connector with its options, a stand-in of the service in memory, the conformance
suite at that stand-in, a CI file and a README.
"""

_EXAMPLES = filters.examples(
    "conveyor plugin new acme-files",
    "conveyor plugin new acme-files --conveyor ../conveyor",
)


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    plugin = typer.Typer(help="Write a plugin of your own.", no_args_is_help=True, epilog=_EXAMPLES)
    plugin.command("new", help=HELP, epilog=_EXAMPLES)(new)
    app.add_typer(plugin, name="plugin")


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The destination type: acme-files.")],
    folder: Annotated[
        Path | None,
        typer.Option(help="Where to; by default a new folder conveyor-NAME.", show_default=False),
    ] = None,
    conveyor: Annotated[
        str | None,
        typer.Option(
            metavar="PATH-OR-VERSION",
            help="The Conveyor that its tests install: a wheel, a checkout or a version; else this one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the beginning of a plugin."""
    from conveyor.errors import UsageError
    from conveyor.registry import default_registry
    from conveyor.scaffold import names_of, write

    type_ = names_of(name)["type"]
    if type_ in default_registry():
        raise UsageError(f"there is a destination type {type_!r} already", cure="choose another name")
    written = write(name, folder, conveyor=conveyor)
    typer.echo(f"wrote {written}")
    typer.echo(f"now: cd {written} && python -m venv .venv && . .venv/bin/activate")
    typer.echo("     pip install -r requirements-test.txt && pytest")
