"""The verbs, one file for each group of them. Each file has ``register(app)``."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup
from typer.main import get_group

if TYPE_CHECKING:
    # Typer's own copy of click.
    from typer._click import Command, Context

FILES = {
    "config": ("init", "validate", "schema"),
    "send": ("send",),
    "run": ("run",),
    "worker": ("worker", "dispatcher"),
    "status": ("status",),
    "top": ("top",),
    "deliveries": ("deliveries",),
    "show": ("show",),
    "orders": ("replay", "cancel"),
    "replays": ("replays",),
    "forget": ("forget",),
    "destinations": ("destinations", "pause", "resume"),
    "check": ("test",),
    "doctor": ("doctor",),
    "trust": ("trust",),
    "connect": ("connect",),
    "connections": ("connections", "disconnect"),
    "connectors": ("connectors",),
    "plugins": ("plugins",),
    "plugin": ("plugin",),
    "render": ("render",),
    "listen": ("listen",),
    "upkeep": ("migrate", "version"),
    "move": ("migrate-ledger",),
    "backup": ("backup", "restore"),
    "keys": ("keys",),
    "demo": ("demo",),
}
"""The verbs of each file, in the order of ``conveyor --help``."""

VERBS = tuple(verb for verbs in FILES.values() for verb in verbs)


class Verbs(TyperGroup):
    """All verbs; a file is imported when a verb of its is asked for: most commands need one."""

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The verb of this name, or None."""
        # Of one that is none, others are suggested.
        self._load([cmd_name] if cmd_name in VERBS else VERBS)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Context) -> list[str]:
        """The names of all."""
        self._load(VERBS)
        return list(VERBS)

    def _load(self, verbs: Sequence[str]) -> None:
        missing = set(verbs) - self.commands.keys()
        for file in [file for file, has in FILES.items() if not missing.isdisjoint(has)]:
            self.commands.update(_commands(file))


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
