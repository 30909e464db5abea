"""What one run of the command line shares: the config, opened on first use, and how to print."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from conveyor.installation import Installation
    from conveyor.registry import Registry


@dataclass
class Session:
    """The global options."""

    config: Path | None = None
    log_level: str = "info"
    log_json: bool | None = None

    def logging(self) -> None:
        """Set logging up."""
        from conveyor import log

        log.configure(json=self.log_json, level=self.log_level)

    def words(self) -> list[str]:
        """The options about logging, for a process that is to log alike."""
        form = [] if self.log_json is None else ["--log-json" if self.log_json else "--log-text"]
        return ["--log-level", self.log_level, *form]

    def registry(self) -> Registry:
        """The destination types of all installed plugins and, where there is a config, of its own files.

        Raises:
            ConfigError: The config that was asked for is missing.
        """
        from conveyor.config import load
        from conveyor.errors import ConfigError
        from conveyor.installation import config_path
        from conveyor.registry import default_registry

        registry = default_registry()
        try:
            path = config_path(self.config)
        except ConfigError:
            if self.config is not None:
                raise
            return registry
        with suppress(ConfigError):  # its mistakes are the other verbs' business
            load(path, registry=registry)
        return registry

    @contextmanager
    def installation(self, *, threads: int | None = None) -> Iterator[Installation]:
        """Open what the config describes, for the length of a verb.

        Args:
            threads: Deliveries at a time in this process, where it is not what the config says.

        Raises:
            ConfigError: The config is missing or has mistakes.
            LedgerError: The ledger cannot be opened.
        """
        from conveyor.installation import Installation

        self.logging()
        opened = Installation.open(self.config, threads=threads)
        try:
            yield opened
        finally:
            opened.close()


def of(context: typer.Context) -> Session:
    """The session of a verb."""
    session: Session = context.find_root().obj
    return session


def console(*, stderr: bool = False) -> Console:
    """Where people are talked to; wide when it is not a terminal, so that nothing is cut."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else 200, soft_wrap=True)


def print_json(document: Any) -> None:
    """JSON on standard output, readable; where that has not all letters, they are escaped as JSON does."""
    escape = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    typer.echo(json.dumps(document, indent=2, ensure_ascii=escape, default=str))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    empty: str,
    styles: Mapping[str, str] = {},
    whole: Collection[str] = (),
) -> None:
    """A table, or the sentence ``empty`` when there is nothing to show.

    Args:
        columns: Their names.
        rows: The cells; None is an empty one.
        empty: Said in place of a table without rows.
        styles: Of some columns.
        whole: Columns that are never broken: ids, which people copy.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, style=styles.get(name), overflow="fold", no_wrap=name in whole)
    count = 0
    for row in rows:
        table.add_row(*("" if cell is None else Text(str(cell)) for cell in row))
        count += 1
    if count:
        console().print(table)
    else:
        typer.echo(empty)


def print_listing(
    columns: Sequence[str], rows: Iterable[tuple[Sequence[object], str | None]], *, empty: str
) -> None:
    """Short cells in columns and, below each row, a sentence that needs the whole width.

    Args:
        columns: Their names.
        rows: Cells, and what is said below them.
        empty: Said in place of a list without rows.
    """
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.text import Text

    shown = [(["" if cell is None else str(cell) for cell in cells], note) for cells, note in rows]
    if not shown:
        typer.echo(empty)
        return
    widths = [
        max(map(cell_len, column)) for column in zip(columns, *(cells for cells, _ in shown), strict=True)
    ]
    out = console()

    def line(cells: Sequence[str]) -> str:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True))
        return "  ".join(padded).rstrip()

    out.print(Text(line(columns), style="bold"))
    for cells, note in shown:
        out.print(Text(line(cells)))
        if note:
            out.print(
                Padding(Text(note, style="dim", overflow="fold"), (0, 0, 0, 4), expand=False), soft_wrap=False
            )
