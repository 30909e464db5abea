"""A progress bar on standard error: on a terminal, and when there is enough to wait for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def shown(wanted: bool) -> bool:
    """Whether a bar would be shown: what else is printed meanwhile would run into it."""
    return wanted and sys.stderr.isatty()


@contextmanager
def bar(
    label: str, total: int | None, *, wanted: bool, size: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show progress while the block runs.

    Args:
        label: What goes on.
        total: Of what is counted; None when unknown.
        wanted: Whether there is enough to wait for.
        size: What is counted are bytes.

    Yields:
        To be called with how much more is done.
    """
    if not shown(wanted):
        yield lambda count: None
        return
    from rich import progress

    from conveyor.cli.session import console

    amount = progress.DownloadColumn(binary_units=True) if size else progress.MofNCompleteColumn()
    speed = (progress.TransferSpeedColumn(),) if size else ()
    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), amount, *speed)
    with progress.Progress(
        *columns,
        progress.TimeRemainingColumn(),
        console=console(stderr=True),
        transient=True,
        redirect_stdout=False,  # what a pipe reads stays on standard output
    ) as live:
        task = live.add_task(label, total=total)
        yield lambda count: live.update(task, advance=count)
