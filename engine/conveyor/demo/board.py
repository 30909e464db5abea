"""Shows the demo: a live table with the events above it on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from conveyor.status.views import DeliveryStatus

STYLES = {
    "delivered": "green",
    "failed": "red",
    "cancelled": "red",
    "delivering": "cyan",
    "held": "magenta",
}


class Board:
    """Where the demo talks.

    Args:
        console: Standard output.
        columns: The destinations, with a word on each.
    """

    def __init__(self, console: Console, columns: Sequence[tuple[str, str]]) -> None:
        self._console = console
        self._columns = columns
        self._began = time.monotonic()
        self._live: Live | None = None

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._began

    @property
    def live(self) -> bool:
        """Whether somebody watches a table."""
        return self._live is not None

    def say(self, text: str, style: str = "") -> None:
        """A line of its own."""
        self._print(Text(text, style=style))

    def event(self, destination: str, text: str, style: str = "") -> None:
        """Something happened at a destination, just now."""
        self._print(Text.assemble((f"{self.seconds:5.1f} s  ", "dim"), f"{destination:<8} ", (text, style)))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=self._live is None)
        sys.stdout.flush()

    def show(self, rows: Sequence[tuple[str, Sequence[DeliveryStatus]]]) -> None:
        """The state of each delivery: per photo, in the order of the columns. Only on a terminal."""
        if self._live is not None:
            self._live.update(self._table(rows))

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=8, redirect_stdout=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self, rows: Sequence[tuple[str, Sequence[DeliveryStatus]]]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        table.add_column("photo", no_wrap=True, overflow="ellipsis", ratio=3)
        for name, word in self._columns:
            table.add_column(f"{name}\n{word}", min_width=12, ratio=2)
        for photo, deliveries in rows:
            table.add_row(photo, *(_cell(delivery) for delivery in deliveries))
        return table


def _cell(delivery: DeliveryStatus) -> Text:
    return Text(state(delivery), style=STYLES.get(delivery.status, "yellow" if delivery.failures else ""))


def state(delivery: DeliveryStatus) -> str:
    """A delivery's state in a few words."""
    match delivery.status:
        case "delivered":
            return "✓ delivered" if delivery.attempts == 1 else f"✓ on try {delivery.attempts}"
        case "failed":
            return "✗ failed"
        case "pending" if delivery.state_reason == "throttled":
            return "paused: 429"
        case "pending" if delivery.state_reason == "retrying":
            return f"retry in {_until(delivery.next_attempt_at):.0f} s"
        case "pending":
            return "queued"
        case "delivering":
            return "sending …"
        case other:
            return other


def _until(moment: str | None) -> float:
    """Seconds until a time as the API writes it; never negative."""
    if moment is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds())
