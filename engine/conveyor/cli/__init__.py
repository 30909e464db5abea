"""The command line: ``conveyor [--config FILE] VERB``."""

from __future__ import annotations


def main() -> None:
    """Entry point of the command ``conveyor``."""
    from conveyor.cli.app import run

    run()
