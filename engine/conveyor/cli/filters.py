"""Options that several verbs share, and how examples stand in ``--help``."""

from __future__ import annotations

from typing import Annotated

import typer

Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID",
        help="Deliveries or jobs; the unique beginning of an id is enough.",
        show_default=False,
    ),
]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        "-s",
        metavar="STATUS",
        help="pending, delivering, delivered, failed, cancelled, held or retrying. Repeatable.",
        show_default=False,
    ),
]
Destinations = Annotated[
    list[str] | None,
    typer.Option(
        "--destination", "-d", metavar="ID", help="To this destination. Repeatable.", show_default=False
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        "-l",
        metavar="KEY=VALUE",
        help="To destinations with this label, or with any value of KEY. Repeated: all of them.",
        show_default=False,
    ),
]
Sessions = Annotated[
    list[str] | None,
    typer.Option("--session", metavar="ID", help="Of this session. Repeatable.", show_default=False),
]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--error-kind",
        metavar="KIND",
        help="Whose last error is of this kind: TRANSIENT, THROTTLED, EXPIRED … Repeatable.",
        show_default=False,
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Submitted since: an age (2h, 7d) or ISO 8601, UTC.", show_default=False
    ),
]
Until = Annotated[
    str | None, typer.Option(metavar="TIME", help="Submitted before, likewise.", show_default=False)
]
Everything = Annotated[
    bool, typer.Option("--all", help="Every delivery there is; without it, an order needs ids or filters.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Change nothing, only tell.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def examples(*lines: str) -> str:
    """The end of a verb's help; each line stays one."""
    return "\n\n".join(["Examples:", *lines])
