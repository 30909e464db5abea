"""The verbs, one file for each group of them. Each file has ``register(app)``."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

if TYPE_CHECKING:
    # Typer's own copy of click.
    from typer._click import Command, Context

PANELS: dict[str, dict[str, tuple[str, str]]] = {
    "Set up": {
        "demo": ("demo", "Watch real files arrive: retries, a repair, a replay."),
        "init": ("config", "Write a commented config to start from."),
        "validate": ("config", "Check the config: each mistake with line and cure."),
        "schema": ("config", "Print the config's JSON Schema, for editors."),
        "migrate": ("upkeep", "Make the ledger's tables, or bring them up to date."),
        "doctor": ("doctor", "Look the whole installation over, with cures."),
        "version": ("upkeep", "Tell the versions of everything that is used."),
    },
    "Deliver": {
        "send": ("send", "Submit files for delivery."),
        "run": ("run", "Deliver: dispatcher, workers and housekeeping in one."),
        "worker": ("worker", "Deliver, on one of many machines."),
        "dispatcher": ("worker", "Wake the workers of many machines for what is due."),
    },
    "Watch": {
        "status": ("status", "Show how every destination stands, and why."),
        "top": ("top", "Watch what is due, running, late, held or stuck."),
        "deliveries": ("deliveries", "List deliveries, filtered, newest first."),
        "show": ("show", "Tell all about a delivery or a job."),
    },
    "Intervene": {
        "replay": ("orders", "Deliver again what failed, was cancelled or waits."),
        "replays": ("replays", "Follow, pause and cancel replays in bulk."),
        "cancel": ("orders", "Give up deliveries that wait or run."),
        "pause": ("destinations", "Hold destinations; submissions wait."),
        "resume": ("destinations", "End a pause or a block."),
        "forget": ("forget", "Erase jobs with payload, metadata and excerpts."),
    },
    "Destinations and their logins": {
        "destinations": ("destinations", "List the configured destinations."),
        "test": ("check", "Try destinations out: log in, write, verify, delete."),
        "trust": ("trust", "Compare a server's key, and trust it."),
        "connect": ("connect", "Sign in to the account of a destination."),
        "connections": ("connections", "List the accounts that destinations use."),
        "disconnect": ("connections", "Revoke a login and forget it."),
        "render": ("render", "Show the path that a template makes of a file."),
        "listen": ("listen", "Receive and check webhook deliveries on this machine."),
    },
    "Connectors and plugins": {
        "connectors": ("connectors", "List the destination types; tell all about one."),
        "plugins": ("plugins", "List the plugins that are installed or configured."),
        "plugin": ("plugin", "Write a plugin of your own."),
    },
    "Keep": {
        "backup": ("backup", "Back up ledger, payloads and key while engines run."),
        "restore": ("backup", "Make a fresh installation of a backup."),
        "migrate-ledger": ("move", "Move a SQLite ledger to PostgreSQL."),
        "keys": ("keys", "Manage the keys that encrypt secrets and payloads."),
    },
}
"""What ``conveyor --help`` lists: in each panel the verbs, each with its file and what it does, in a line."""

FILES = {verb: file for verbs in PANELS.values() for verb, (file, _) in verbs.items()}
"""The file of each verb."""


class Verbs(TyperGroup):
    """All verbs, of which one is imported when it is asked for: the list says no more than :data:`PANELS`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for panel, verbs in PANELS.items():
            for verb, (_, line) in verbs.items():
                self.commands[verb] = TyperCommand(verb, help=line, rich_help_panel=panel)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """The verb that ``args`` begin with, and the other arguments."""
        name, _, others = super().resolve_command(ctx, args)
        return name, None if name is None else _commands(FILES[name])[name], others


def _commands(file: str) -> dict[str, Command]:
    app = typer.Typer()
    importlib.import_module(f"conveyor.cli.verbs.{file}").register(app)
    _reflow(app)
    return dict(get_group(app).commands)


def _reflow(app: typer.Typer) -> None:
    """Have the terminal's width break the lines of help texts, not the width of the source."""
    for command in app.registered_commands:
        said = command.help or inspect.getdoc(command.callback) or ""
        parts = said.strip().split("\n\n")
        command.help = "\n\n".join(re.sub(r"\n(?=\w|[(`-])", " ", part) for part in parts)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _reflow(group.typer_instance)
