"""``conveyor plugins``: what is installed beside the engine, what each brings, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from conveyor.cli import filters, session
from conveyor.errors import Exit

if TYPE_CHECKING:
    from conveyor.plugins import Plugin
    from conveyor.registry import Registry

HELP = """List the plugins: installed packages, and files named under `plugins:` in the config.

One that cannot be loaded is listed with the cure and does no harm to the others; the exit code is then 1.
"""
_EXAMPLES = filters.examples("conveyor plugins", "conveyor plugins --json")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("plugins", help=HELP, epilog=_EXAMPLES)(plugins)


def plugins(context: typer.Context, json: filters.Json = False) -> None:
    """List the plugins."""
    registry = session.of(context).registry()
    found = [_document(registry, plugin) for plugin in registry.plugins]
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
    raise typer.Exit(Exit.FAILED if any(each["problem"] for each in found) else Exit.OK)


def _document(registry: Registry, plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "source": plugin.source,
        "hooks": list(plugin.hooks),
        "types": registry.brought_by(plugin.name),
        "problem": plugin.problem,
        "cure": plugin.cure,
    }


def _brings(document: dict[str, Any]) -> str:
    if not document["hooks"]:
        return "nothing: see below" if document["problem"] else "nothing"
    hooks = [hook.removeprefix("conveyor_").replace("_", " ") for hook in document["hooks"]]
    types = document["types"]
    return ", ".join(f"{hook}: {' '.join(types)}" if hook == "connectors" else hook for hook in hooks)
