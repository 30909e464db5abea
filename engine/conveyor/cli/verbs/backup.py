"""``conveyor backup`` and ``conveyor restore``: ledger, payloads and key, out of an installation and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conveyor.cli import filters, session
from conveyor.errors import Exit

if TYPE_CHECKING:
    from conveyor.backup import Made, Restored
    from conveyor.config.settings import Settings
    from conveyor.ledger.records import Status


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("backup", epilog=filters.examples("conveyor backup /backups/$(date +%F)"))(backup)
    app.command(
        "restore",
        epilog=filters.examples(
            "conveyor restore /backups/2026-11-27 --dry-run", "conveyor restore /backups/2026-11-27"
        ),
    )(restore)


def backup(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to make; its parent exists.", show_default=False)
    ],
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Leave the key file out, because you keep it elsewhere.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read also the payloads that are not copied but linked, and compare."),
    ] = False,
    json: filters.Json = False,
) -> None:
    """Back up ledger, payloads and key into a new folder, while engines run.

    The copy of the ledger is of one moment and always a SQLite file, whatever the ledger is on. Payloads get
    a second name (hard link) where DIR is on the disk of the payload store, and are copied elsewhere. DIR
    appears once it is whole: what a run that died has left is cleared by the next one.

    DIR holds customers' files and, unless left out, the key: guard it as you guard the installation. The
    config is not in it, nor are files that were submitted in place.
    """
    from conveyor.backup import make

    made = make(_settings(context), folder, key=not no_key, verify=verify, steps=_steps)
    if json:
        document = made.manifest.model_dump()
        session.print_json(
            {"folder": str(made.folder), **document, "linked": made.linked, "problem": made.problem}
        )
    else:
        _tell_made(made)
    failed = made.problem is not None or made.manifest.payloads.damaged
    raise typer.Exit(Exit.FAILED if failed else Exit.OK)


def restore(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="What `conveyor backup` has made.", show_default=False),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Check the backup and the target, change nothing.")
    ] = False,
    no_key: Annotated[
        bool,
        typer.Option("--no-key", help="Restore although the key does not open what is secret in the ledger."),
    ] = False,
    skip_damaged: Annotated[
        bool,
        typer.Option("--skip-damaged", help="Leave out payloads that are damaged; their deliveries fail."),
    ] = False,
    json: filters.Json = False,
) -> None:
    """Make a fresh installation of a backup: where the config says, which may differ from where it was.

    Everything is checked first. Then come payloads, key and, last, the ledger: a run that dies can be
    repeated. It refuses where there is a ledger already, where engines run, and where the payload store holds
    anything else. A backup of an older version is brought up to date.

    What was open is delivered. Each destination that can be asked is asked first whether the file is there,
    since it may have arrived after the backup; a webhook gets it again, under the same delivery id. Logins
    that were renewed since may have to be made again: `conveyor doctor` tells.
    """
    from conveyor.backup import restore as carry_out
    from conveyor.delivery.identity import may_live

    settings = _settings(context)
    restored = carry_out(
        settings,
        folder,
        key=not no_key,
        skip_damaged=skip_damaged,
        dry_run=dry_run,
        alive=may_live,
        steps=_steps,
    )
    if json:
        session.print_json(
            {
                "restored": not dry_run,
                "backup": restored.manifest.model_dump(),
                "version": restored.version,
                "deliveries": restored.deliveries,
                "skipped": restored.skipped,
            }
        )
    else:
        _tell_restored(restored, dry_run=dry_run)


def _settings(context: typer.Context) -> Settings:
    """Of the config; nothing is opened, since that would make what is missing."""
    from conveyor.config import load
    from conveyor.installation import config_path

    opened = session.of(context)
    opened.logging()
    return load(config_path(opened.config)).settings


def _steps(
    label: str, total: int | None, *, size: bool = False
) -> AbstractContextManager[Callable[[int], object]]:
    from conveyor.cli.progress import bar

    return bar(label, total, wanted=True, size=size)


def _tell_made(made: Made) -> None:
    from conveyor.cli.words import size

    manifest = made.manifest
    payloads = manifest.payloads
    linked = f", {made.linked} of them linked" if made.linked else ""
    typer.echo(f"backed up to {made.folder}, as of {manifest.created_at}:")
    typer.echo(f"  ledger: {_deliveries(manifest.ledger.deliveries)}; {size(manifest.ledger.size)}")
    typer.echo(f"  payloads: {payloads.count}{linked}; {size(payloads.size)}")
    keys = {
        "included": "included: who has this folder can read what is secret in the ledger",
        "left out": "left out: keep it elsewhere; without it logins and saved states are lost",
        "in a setting": "not included, since the config holds it (`key.value`): keep it elsewhere",
    }
    typer.echo(f"  key: {keys[manifest.key]}")
    for line in _warnings(made):
        typer.echo(f"warning: {line}", err=True)


def _warnings(made: Made) -> Iterator[str]:
    payloads = made.manifest.payloads
    if payloads.in_place:
        yield (
            f"{payloads.in_place} files that were submitted in place are not in it, such as "
            + (payloads.in_place_paths[0])
        )
    if made.problem is not None:
        yield f"the key does not open what is encrypted in the ledger: {made.problem}"
    for ident, reason in payloads.damaged.items():
        yield f"{ident} is not in it: {reason}"


def _tell_restored(restored: Restored, *, dry_run: bool) -> None:
    from conveyor.cli.words import size

    manifest = restored.manifest
    payloads = manifest.payloads
    done = "is whole and can be restored here" if dry_run else "is restored"
    typer.echo(f"the backup of {manifest.created_at} {done}:")
    typer.echo(f"  ledger: {_deliveries(restored.deliveries)}")
    typer.echo(f"  payloads: {payloads.count}; {size(payloads.size)}")
    for ident, reason in {**payloads.damaged, **restored.skipped}.items():
        typer.echo(f"warning: {ident} is not in it, deliveries of it will fail: {reason}", err=True)
    if not dry_run:
        typer.echo("stop the old installation if it still runs; then: conveyor doctor, conveyor run")


def _deliveries(counts: Mapping[str, int] | Mapping[Status, int]) -> str:
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{sum(counts.values())} deliveries" + (f" ({said})" if said else "")
