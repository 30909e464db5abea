"""``conveyor render``: what a path template makes of a file. Touches no ledger and no destination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli import filters, reading, session
from conveyor.errors import ConfigError, Exit, UsageError

if TYPE_CHECKING:
    from conveyor.config import Config, Destination
    from conveyor.ledger.records import JobRecord
    from conveyor.paths import NameRules, Placed, Template

UNKNOWN_DIGEST = "0" * 64


_Template = Annotated[
    str | None,
    typer.Argument(
        metavar="TEMPLATE", help="By default that of the destination named by --for.", show_default=False
    ),
]
_File = Annotated[str, typer.Option("--file", "-f", metavar="NAME", help="The file; it need not exist.")]
_For = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="TYPE|DESTINATION",
        help="Whose name rules apply. A type needs no config.",
        show_default=False,
    ),
]
_Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="KEY:VALUE", help="A tag. Repeatable.", show_default=False),
]
_Meta = Annotated[
    list[str] | None,
    typer.Option("--meta", metavar="KEY=VALUE", help="Further metadata. Repeatable.", show_default=False),
]
_Session = Annotated[
    str | None, typer.Option("--session", metavar="ID", help="The session.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "render",
        epilog=filters.examples(
            "conveyor render '{tags.order|none}/{filename}' --file photo.jpg --tag order:7 --for s3",
            "conveyor render --for partner --file 'Bild 1?.jpg' --session 4711",
        ),
    )(render)


@dataclass(frozen=True, slots=True)
class _Place:
    """Whom the path is for."""

    name: str
    type: str | None
    rules: NameRules
    template: Template | None = None
    labels: Mapping[str, str] | None = None
    headroom: int = 0
    time_zone: tzinfo = UTC


def render(
    context: typer.Context,
    template: _Template = None,
    file: _File = "photo.jpg",
    for_: _For = None,
    tag: _Tags = None,
    meta: _Meta = None,
    session_id: _Session = None,
    image_id: Annotated[str | None, typer.Option(help="The image's id.", show_default=False)] = None,
    image_index: Annotated[int | None, typer.Option(help="Its number, from 0.", show_default=False)] = None,
    source: Annotated[str | None, typer.Option(help="Where it came from.", show_default=False)] = None,
    json: filters.Json = False,
) -> None:
    """Show the path that a template makes of a file, made legal for a destination, and what had to change.

    Ids and the time of submission are examples.
    """
    from conveyor.paths import Values, mistakes, place

    where = _place(session.of(context), for_)
    parsed = _parsed(template, where)
    job = _job(
        file,
        tags=tuple(tag or ()),
        meta=reading.pairs(meta or (), "--meta"),
        session_id=session_id,
        image_id=image_id,
        image_index=image_index,
        source=source,
    )
    values = Values.of(job, "dlv_example", where.name, where.labels, where.time_zone)
    placed = place(parsed, where.rules, values, headroom=where.headroom)
    refused = mistakes(parsed, where.rules)
    if json:
        session.print_json(_view(parsed, where, placed, refused))
    else:
        _print(parsed, where, placed, refused)
    if "sha256" in parsed.names and job.payload.digests["sha256"] == UNKNOWN_DIGEST:
        typer.echo(f"note: {file} cannot be read, its sha256 stands as zeros", err=True)
    raise typer.Exit(Exit.FAILED if refused else Exit.OK)


def _view(template: Template, where: _Place, placed: Placed, refused: tuple[str, ...]) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "template": template.text,
        "for": where.name or None,
        "type": where.type,
        "path": placed.path,
        "changes": [asdict(change) for change in placed.changes],
        "mistakes": list(refused),
    }


def _print(template: Template, where: _Place, placed: Placed, refused: tuple[str, ...]) -> None:
    typer.echo(placed.path)
    for change in placed.changes:
        typer.echo(f"  level {change.level}: {change}")
    for mistake in refused:
        typer.echo(f"  the config would be refused: {mistake}")
    if where.type is None:
        typer.echo("  --for TYPE applies the name rules of a destination type", err=True)


def _parsed(given: str | None, where: _Place) -> Template:
    from conveyor.paths import DEFAULT_TEMPLATE, Template, TemplateError

    if given is None:
        return where.template or Template.parse(DEFAULT_TEMPLATE)
    try:
        return Template.parse(given)
    except TemplateError as error:
        pointer = " " * (error.column - 1) + "^"
        raise UsageError(f"{error.reason}\n  {given}\n  {pointer}", cure=error.cure) from None


def _place(opened: session.Session, name: str | None) -> _Place:
    """The destination of this name, or else the type."""
    from conveyor.paths import NameRules
    from conveyor.registry import default_registry

    if name is None:
        return _Place("", None, NameRules())
    config, complaint = _config(opened)
    if config is not None and (destination := config.source.get(name)) is not None:
        return _of_destination(destination, config.settings.zone)
    registry = config.registry if config is not None else default_registry()
    if name in registry:
        zone = config.settings.zone if config is not None else UTC
        return _Place(
            name, name, registry.spec(name).capabilities.names, headroom=_headroom(None), time_zone=zone
        )
    if complaint is not None:
        raise complaint
    from conveyor.nearest import did_you_mean

    names = [*registry.types(), *(each.id for each in (config.source.list() if config is not None else ()))]
    raise UsageError(
        f"there is no destination or type {name!r}", cure=did_you_mean(name, names, label="names")
    )


def _config(opened: session.Session) -> tuple[Config | None, ConfigError | None]:
    """The config where there is a right one; else why not, unless none was asked for."""
    from conveyor.config import load
    from conveyor.installation import config_path

    try:
        return load(config_path(opened.config)), None
    except ConfigError as error:
        return None, error


def _of_destination(destination: Destination, zone: tzinfo) -> _Place:
    return _Place(
        destination.id,
        destination.type,
        destination.spec.capabilities.names,
        destination.template,
        destination.labels,
        _headroom(destination),
        zone,
    )


def _headroom(destination: Destination | None) -> int:
    from conveyor.contract import ConflictPolicy
    from conveyor.delivery.placing import RENAME_HEADROOM

    renames = destination is None or destination.conflict is ConflictPolicy.RENAME
    return RENAME_HEADROOM if renames else 0


def _job(file: str, **fields: Any) -> JobRecord:
    from conveyor.clock import SystemClock
    from conveyor.ledger.records import JobRecord, PayloadRecord
    from conveyor.payloads.sources.media import base_name, guess

    filename = base_name(file)
    if filename is None:
        raise UsageError(f"{file!r} is no file name")
    payload = PayloadRecord("pay_example", "", False, 0, {"sha256": _sha256(file)})
    now = SystemClock().now()
    return JobRecord("job_example", now, filename, guess(filename), payload, **fields)


def _sha256(file: str) -> str:
    import hashlib

    try:
        with Path(file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return UNKNOWN_DIGEST
