"""What happens in the demo, from the first line to the last."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from conveyor.clock import SECOND
from conveyor.demo.board import Board
from conveyor.demo.compare import Comparison, compare
from conveyor.demo.photos import photos
from conveyor.demo.stage import Interrupted, Interruption, Stage, build, require_packages
from conveyor.errors import ConveyorError, Exit
from conveyor.ledger.records import AttemptOutcome, AttemptRecord
from conveyor.status.views import DeliveryStatus

LIMIT = 50.0
"""Seconds after which the demo gives up, as counted from its first line."""

TICK = 0.1
READ = 1.5
"""Seconds to read what has happened before it goes on, on a terminal."""

COLUMNS = (
    ("shop", "webhook"),
    ("archive", "S3"),
    ("partner", "SFTP"),
    ("crm", "broken hook"),
)
SESSION = "demo"

OPENING = """\
Conveyor demo: real files to real servers, all on this machine, in about 20 seconds.
Nothing is installed; what is made lies in a temporary folder and is gone at the end.

  shop     webhook   its receiver answers 503 once, then 429 with Retry-After: 3
  archive  S3        moto, in a process of its own
  partner  SFTP      asyncssh, in a process of its own
  crm      webhook   its receiver is broken; it will be repaired, and what failed replayed

Retries wait 2 s, 4 s and 6 s here. That is shortened: the default is 5 s, 30 s, 2 min, 10 min, 1 h.
"""

CLOSING = """
Next:
{activate}  conveyor init                a conveyor.yaml to start from
  conveyor run                 deliver what is submitted, until Ctrl-C
  conveyor send photo.jpg      submit a file; conveyor --help lists all verbs
"""


def demo(console: Console) -> int:
    """Play it.

    Args:
        console: Standard output.

    Returns:
        0 when everything arrived and is right, 1 when not, 128 + the signal's number when interrupted.

    Raises:
        ConveyorError: A package is missing, or a server did not start.
    """
    require_packages()
    board = Board(console, COLUMNS)
    board.say(OPENING)
    try:
        with Interruption().heeded() as interruption:
            board.say("starting the servers …", "dim")
            with build(interruption) as stage:
                results = _Play(stage, board, interruption).run()
    except Interrupted as interrupted:
        board.say("stopped; nothing is left behind")
        return 128 + interrupted.number
    right = all(result.right for result in results)
    if right:
        board.say(CLOSING.format(activate=_activation()))
    else:
        board.say("Not everything arrived as it was sent: please report this.", "red")
    return Exit.OK if right else Exit.FAILED


def _activation() -> str:
    """The line that puts the command on the path, where a plain ``conveyor`` would not find this one."""
    own = Path(sys.prefix, "bin")
    if shutil.which("conveyor") == str(own / "conveyor") or not (own / "activate").is_file():
        return ""
    script = own / "activate"
    if script.is_relative_to(Path.cwd()):
        script = script.relative_to(Path.cwd())
    return f"  {'. ' + str(script):<27}  puts conveyor on the path of this shell\n"


class _Play:
    """One performance."""

    def __init__(self, stage: Stage, board: Board, interruption: Interruption) -> None:
        self._stage = stage
        self._board = board
        self._interruption = interruption
        self._pictures = photos()
        self._jobs: list[str] = []
        self._told: dict[str, int] = {}
        """The last attempt that was told, by delivery."""

    def run(self) -> list[Comparison]:
        """From submission to comparison."""
        board = self._board
        with board:
            self._submit()
            self._until_final()
            self._repair_and_replay()
            self._until_final()
        return self._compare()

    def _submit(self) -> None:
        for index, photo in enumerate(self._pictures):
            submitted = self._stage.conveyor.submit(
                photo.data, filename=photo.name, session_id=SESSION, image_index=index
            )
            self._jobs.append(submitted.job_id)
            self._told.update(dict.fromkeys(submitted.deliveries.values(), 0))
            self._board.event("", f"submitted {photo.name} ({len(photo.data):,} bytes) to 4 destinations")
        self._stage.engine.ring()

    def _until_final(self) -> None:
        final = False
        while not final:
            self._interruption.wait(TICK)
            deliveries = self._stage.conveyor.deliveries(session=[SESSION], limit=None)
            self._tell(deliveries)
            self._board.show(self._rows(deliveries))
            final = all(d.status in ("delivered", "failed", "cancelled") for d in deliveries)
            if self._board.seconds > LIMIT and not final:
                self._give_up(deliveries)

    def _rows(self, deliveries: Iterable[DeliveryStatus]) -> list[tuple[str, list[DeliveryStatus]]]:
        by_place = {(d.job_id, d.destination): d for d in deliveries}
        return [
            (photo.name, [by_place[job, name] for name, _ in COLUMNS])
            for photo, job in zip(self._pictures, self._jobs, strict=True)
        ]

    def _tell(self, deliveries: Iterable[DeliveryStatus]) -> None:
        """Say what ended since the last look, in the order in which it did."""
        ended: list[tuple[int, DeliveryStatus, AttemptRecord]] = []
        for delivery in deliveries:
            if delivery.attempts == self._told[delivery.id]:
                continue
            for attempt in self._stage.installation.ledger.deliveries.attempts(delivery.id):
                if attempt.finished_at is not None and attempt.attempt > self._told[delivery.id]:
                    ended.append((attempt.finished_at, delivery, attempt))
                    self._told[delivery.id] = attempt.attempt
        for _, delivery, attempt in sorted(ended, key=lambda end: end[0]):
            self._board.event(delivery.destination, *_line(delivery, attempt))

    def _repair_and_replay(self) -> None:
        board, stage = self._board, self._stage
        if board.live:
            self._interruption.wait(READ)
        stage.crm.answer_always(None)
        board.event("crm", "the receiver is repaired", "bold")
        result = stage.conveyor.replay(destination=["crm"], status=["failed"])
        done = f"{len(result.done)} of {result.matched} failed deliveries replayed"
        board.event("crm", f"{done}, as conveyor replay --destination crm --status failed does", "bold")
        stage.engine.ring()

    def _compare(self) -> list[Comparison]:
        board = self._board
        board.say("\nCompared with what was sent, by another way than they came:")
        results = compare(self._stage, self._pictures)
        for result in results:
            verdict = "identical, one copy each" if result.right else "NOT AS SENT"
            mark, style = ("✓", "green") if result.right else ("✗", "red")
            seen = f"{result.files} files, {result.size:,} bytes, {verdict}"
            board.say(f"  {mark} {result.destination:<8} {seen} ({result.way})", style)
        return results

    def _give_up(self, deliveries: Iterable[DeliveryStatus]) -> NoReturn:
        open_ones = [
            f"{d.filename} to {d.destination}: {d.last_error or d.status}"
            for d in deliveries
            if d.status not in ("delivered", "failed", "cancelled")
        ]
        raise ConveyorError(f"not finished after {LIMIT:g} s: {'; '.join(open_ones)}")


def _line(delivery: DeliveryStatus, attempt: AttemptRecord) -> tuple[str, str]:
    """How an attempt ended, and what follows."""
    name = delivery.filename
    if attempt.outcome is AttemptOutcome.DELIVERED:
        as_what = Path(attempt.reference or "").name
        renamed = f" as {as_what}" if (delivery.receipt or {}).get("renamed") else ""
        return f"{name}: delivered{renamed}", "green"
    said = f"{name}: {attempt.message or attempt.outcome}"
    if attempt.next_attempt_at is None or attempt.finished_at is None:
        return f"{said}: failed for good after {attempt.attempt} tries", "red"
    wait = (attempt.next_attempt_at - attempt.finished_at) / SECOND
    if attempt.follows == "throttle":
        return f"{said}: the whole destination pauses for {wait:.0f} s, as it asked", "yellow"
    return f"{said}: again in {wait:.0f} s", "yellow"
