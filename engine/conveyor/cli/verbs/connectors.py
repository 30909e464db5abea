"""``conveyor connectors``: the destination types that are installed. Imports no SDK to list them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli import filters, session

if TYPE_CHECKING:
    from conveyor.contract import Capabilities, ConnectorSpec
    from conveyor.registry import Registry

_EXAMPLES = filters.examples(
    "conveyor connectors", "conveyor connectors show s3", "conveyor connectors show webhook --json"
)

group = typer.Typer(invoke_without_command=True, epilog=_EXAMPLES)


def register(app: typer.Typer) -> None:
    """Add the verb with its own verb ``show``."""
    app.add_typer(group, name="connectors")


@group.callback()
def connectors(context: typer.Context, json: filters.Json = False) -> None:
    """List the destination types that are installed; `connectors show TYPE` tells all about one."""
    if context.invoked_subcommand is not None:
        return
    registry = session.of(context).registry()
    if json:
        session.print_json([_brief(spec) for spec in registry.specs()])
    else:
        rows = [(spec.type, spec.summary) for spec in registry.specs()]
        session.print_table(("Type", "What it is"), rows, empty="no connector is installed", whole=("Type",))
    for problem in registry.problems:
        typer.echo(f"warning: {problem}", err=True)


def _brief(spec: ConnectorSpec) -> dict[str, Any]:
    return {"type": spec.type, "summary": spec.summary, "extra": spec.extra, "presets": dict(spec.presets)}


@group.command("show", epilog=_EXAMPLES)
def show(
    context: typer.Context,
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="The word in the YAML, for instance s3.")],
    json: filters.Json = False,
) -> None:
    """One destination type: its options with types and defaults, what it promises, and an example."""
    from dataclasses import asdict

    from conveyor.config.describe import describe_options

    registry = session.of(context).registry()
    spec = registry.spec(type_)
    options = describe_options(registry.options_model(type_))
    missing = _missing(registry, type_)
    if json:
        session.print_json(
            {
                **_brief(spec),
                "usable": missing is None,
                "missing": missing,
                "sign_in": spec.oauth,
                "capabilities": list(in_words(spec.capabilities)),
                "options": [asdict(info) for info in options],
                "example": spec.example,
            }
        )
        return
    typer.echo(f"{spec.type}: {spec.summary}")
    if spec.presets:
        implied = ", ".join(f"{key}: {value}" for key, value in spec.presets.items())
        typer.echo(f"implies {implied}")
    if missing is not None:
        typer.echo(f"not usable here: {missing}")
    if spec.oauth is not None:
        typer.echo(f"signs in to an account: {_accounts(registry, spec.oauth)}")
    typer.echo("")
    for line in in_words(spec.capabilities):
        typer.echo(f"* {line}")
    rows = [(info.name, _kind(info), info.help) for info in options]
    session.print_table(("Option", "Type and default", "Meaning"), rows, empty="no options")
    typer.echo("Every destination also takes the options of docs/configuration.md: labels, retry, limits …")
    if spec.example:
        typer.echo("\nExample, under destinations:\n")
        typer.echo("\n".join(f"  {line}" for line in spec.example.rstrip().splitlines()))


def _kind(info: Any) -> str:
    kind = info.type + (", secret" if info.secret else "")
    if info.required:
        return f"{kind}, required"
    return f"{kind} = {info.default}" if info.default else kind


def _accounts(registry: Registry, provider: str) -> str:
    """Where, and by which verb."""
    from conveyor.errors import ConveyorError

    try:
        known = registry.provider(provider)
    except ConveyorError as error:
        return f"{error.message}: {error.cure}"
    scopes = f", for {' '.join(known.scopes)}" if known.scopes else ""
    return f"{known.title}, by conveyor connect{scopes}"


def _missing(registry: Registry, type_: str) -> str | None:
    """What keeps the type from being used here; imports its SDK, as a delivery would."""
    from conveyor.errors import ConveyorError

    try:
        registry.factory(type_)
    except ConveyorError as error:
        return f"{error.message}: {error.cure}" if error.cure else error.message
    return None


def _largest(size: int) -> str:
    """A limit is never rounded up: ``5TiB``, else bytes."""
    from conveyor.config.units import format_size

    text = format_size(size)
    return f"{size:,} bytes" if text.isdigit() else text


def in_words(promises: Capabilities) -> Iterator[str]:
    """What a connector promises, as sentences."""
    from conveyor.contract import ConflictPolicy

    if promises.atomic:
        yield "a reader never sees a part of a file under its final name"
    if promises.create_only:
        yield "fail, skip and rename rest on the server's own precondition: no race overwrites a file"
    if promises.resumable:
        yield "a half-sent file is continued by the next attempt, on any worker"
    if promises.find:
        yield "after a lost answer it looks whether the file arrived, before it sends it again"
    else:
        yield "after a lost answer it sends again, under the same delivery id: the receiver drops repeats"
    if promises.digest:
        yield f"the destination checks each file's digest ({promises.digest})"
    if promises.conflicts != frozenset(ConflictPolicy):
        yield f"conflict policies: {', '.join(sorted(promises.conflicts))}"
    if promises.max_size is not None:
        yield f"files up to {_largest(promises.max_size)}"
    if promises.names.case_insensitive:
        yield "Photo.jpg and photo.jpg are one name there"
    yield (
        f"names up to {promises.names.segment_max}, paths up to {promises.names.path_max} "
        f"{promises.names.unit}; {promises.concurrency} deliveries at a time by default"
    )
