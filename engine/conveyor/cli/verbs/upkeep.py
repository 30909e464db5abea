"""``conveyor migrate`` and ``conveyor version``."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import typer

from conveyor.cli import filters, session

_EXTRA = re.compile(r"extra == ['\"]([^'\"]+)")
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(
        "migrate", epilog=filters.examples("conveyor migrate", "conveyor --config /etc/conveyor.yaml migrate")
    )(migrate)
    app.command("version", epilog=filters.examples("conveyor version --json"))(version)


def migrate(context: typer.Context, json: filters.Json = False) -> None:
    """Make the ledger's tables, or bring them up to this version.

    A PostgreSQL ledger is migrated by this verb alone: stop the workers,
    migrate, start the new ones. A SQLite ledger is also migrated by whoever
    opens it first.
    """
    from conveyor.config import load
    from conveyor.installation import config_path
    from conveyor.ledger import current_version
    from conveyor.ledger import migrate as carry_out

    opened = session.of(context)
    opened.logging()
    url = load(config_path(opened.config)).settings.ledger
    before = current_version(url)
    after = carry_out(url)
    if json:
        session.print_json({"before": before, "after": after})
    elif before == after:
        typer.echo(f"the ledger is current: version {after}")
    else:
        typer.echo(f"the ledger was migrated from {before or 'nothing'} to version {after}")


def version(json: filters.Json = False) -> None:
    """The versions of Conveyor, Python, the libraries it uses, and the destination types there are."""
    document = _versions()
    if json:
        session.print_json(document)
        return
    typer.echo(f"conveyor {document['conveyor']}")
    typer.echo(f"python {document['python']} on {document['platform']}, sqlite {document['sqlite']}")
    typer.echo(
        ", ".join(f"{name} {found or '(missing)'}" for name, found in document["dependencies"].items())
    )
    typer.echo(f"connectors: {', '.join(document['connectors'])}")
    for problem in document["problems"]:
        typer.echo(f"warning: {problem}", err=True)


def _versions() -> dict[str, Any]:
    import platform
    import sqlite3

    from conveyor.registry import default_registry
    from conveyor.version import __version__

    registry = default_registry()
    return {
        "conveyor": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "sqlite": sqlite3.sqlite_version,
        "dependencies": _dependencies({spec.extra for spec in registry.specs()} | {"postgres"}),
        "connectors": registry.types(),
        "problems": [str(problem) for problem in registry.problems],
    }


def _dependencies(extras: Collection[str | None]) -> dict[str, str | None]:
    """The libraries that Conveyor needs always, and those of these extras that are installed."""
    from importlib.metadata import PackageNotFoundError, requires
    from importlib.metadata import version as installed

    from conveyor.version import requirement

    own = requirement("").removesuffix("[]")
    found: dict[str, str | None] = {}
    for line in requires(own) or ():
        matched, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        if matched is None or matched.group() == own or (extra and extra.group(1) not in extras):
            continue
        try:
            found.setdefault(matched.group(), installed(matched.group()))
        except PackageNotFoundError:
            if extra is None:
                found[matched.group()] = None
    return dict(sorted(found.items()))
