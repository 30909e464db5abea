"""The verbs, one file for each group of them. Each file has ``register(app)``."""

from __future__ import annotations

import importlib

import typer

FILES = (
    "config",
    "send",
    "run",
    "worker",
    "status",
    "top",
    "deliveries",
    "show",
    "orders",
    "replays",
    "forget",
    "destinations",
    "check",
    "doctor",
    "trust",
    "connect",
    "connections",
    "connectors",
    "plugins",
    "plugin",
    "render",
    "listen",
    "upkeep",
    "move",
    "backup",
    "keys",
    "demo",
)
"""In the order of ``conveyor --help``."""


def register(app: typer.Typer) -> None:
    """Add all verbs to the app."""
    for name in FILES:
        importlib.import_module(f"conveyor.cli.verbs.{name}").register(app)
