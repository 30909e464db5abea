"""``conveyor plugins``: what is installed beside the engine, what each brings, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from conveyor.cli import filters, session
from conveyor.errors import ConveyorError, Exit

if TYPE_CHECKING:
    from conveyor.ledger.plugin_failures import PluginFailure
    from conveyor.plugins import Plugin
    from conveyor.registry import Registry

HELP = """List the plugins: installed packages, and files named under `plugins:` in the config.

One that cannot be loaded is listed with the cure and does no harm to the others; the exit code is then 1.
Hooks that have failed while workers ran are counted below the list.
"""
_EXAMPLES = filters.examples("conveyor plugins", "conveyor plugins --json")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("plugins", help=HELP, epilog=_EXAMPLES)(plugins)


def plugins(context: typer.Context, json: filters.Json = False) -> None:
    """List the plugins."""
    here = session.of(context)
    registry = here.registry()
    failures = _failures(here)
    found = [_document(registry, plugin, failures) for plugin in registry.plugins]
    if json:
        session.print_json(found)
    else:
        rows = [(each["name"], each["source"], _brings(each)) for each in found]
        session.print_table(
            ("Plugin", "From", "Brings"), rows, empty="no plugin is installed", whole=("Plugin",)
        )
        for each in found:
            if each["problem"] is not None:
                cure = f"\n  → {each['cure']}" if each["cure"] else ""
                typer.echo(f"{each['name']}: {each['problem']}{cure}", err=True)
            for failure in each["failures"]:
                typer.echo(f"{each['name']}: {failure_in_words(failure)}", err=True)
    raise typer.Exit(Exit.FAILED if any(each["problem"] for each in found) else Exit.OK)


def _failures(here: session.Session) -> list[PluginFailure]:
    """What the workers have counted; nothing where no config names a ledger that can be read."""
    from conveyor.config import load
    from conveyor.installation import Installation, config_path

    try:
        config = load(config_path(here.config))
        file = config.settings.ledger_file
        if file is not None and not file.exists():
            return []  # to open it would make it
        here.logging()
        with closing(Installation(config)) as opened:
            return opened.ledger.plugin_failures.all()
    except ConveyorError:
        return []


def failure_view(failure: PluginFailure) -> dict[str, Any]:
    """How often one hook has failed, for JSON."""
    from conveyor.status.times import iso

    return {**asdict(failure), "last_at": iso(failure.last_at)}


def failure_in_words(failure: dict[str, Any]) -> str:
    """The same for a person, without the plugin's name."""
    times = "once" if failure["count"] == 1 else f"{failure['count']} times"
    return f"{failure['hook']} has failed {times}, last at {failure['last_at']}: {failure['error']}"


def _document(registry: Registry, plugin: Plugin, failures: Sequence[PluginFailure]) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "source": plugin.source,
        "hooks": list(plugin.hooks),
        "types": registry.brought_by(plugin.name),
        "problem": plugin.problem,
        "cure": plugin.cure,
        "failures": [
            {name: value for name, value in failure_view(each).items() if name != "plugin"}
            for each in failures
            if each.plugin == plugin.name
        ],
    }


def _brings(document: dict[str, Any]) -> str:
    if not document["hooks"]:
        return "nothing: see below" if document["problem"] else "nothing"
    hooks = [hook.removeprefix("conveyor_").replace("_", " ") for hook in document["hooks"]]
    types = document["types"]
    return ", ".join(f"{hook}: {' '.join(types)}" if hook == "connectors" else hook for hook in hooks)
