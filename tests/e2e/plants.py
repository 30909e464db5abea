"""Bugs planted in the engines of a proof, each of which its checker has to report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any


def no_fence() -> None:
    """Workers whose lease is over go on: they publish, and what they report is written."""
    from conveyor.delivery.context import EngineContext, Stop
    from conveyor.ledger import outcomes

    write, stop = outcomes.Outcomes.write, EngineContext.stop

    def unfenced(self: Any, reports: Sequence[Any], now: int) -> list[Any]:
        with self._database.read() as connection:
            found = outcomes._HELD.rows(connection, {"ids": [report.delivery_id for report in reports]})
        fences = {row[0]: row[1] for row in found}
        current = [replace(r, fence=fences.get(r.delivery_id, r.fence)) for r in reports]
        written = write(self, current, now)
        known = {report.delivery_id for report in written}
        others = [report for report in current if report.delivery_id not in known]
        if others:
            with self._database.write() as connection:
                rows = [outcomes._attempt_row(report) for report in others]
                outcomes._END_ATTEMPT.run_each(connection, rows)
        return [*written, *others]

    def deaf(self: Any, reason: Stop) -> None:
        if reason not in (Stop.FENCED, Stop.LEASE):
            stop(self, reason)

    outcomes.Outcomes.write = unfenced  # type: ignore[method-assign]
    EngineContext.stop = deaf  # type: ignore[method-assign]
    EngineContext.before_commit = EngineContext.check  # type: ignore[method-assign]


def no_abandon() -> None:
    """What dead deliveries left at their destinations counts as removed and stays."""
    from conveyor.delivery.cleaner import Cleaner

    def forget(self: Any, cleanup: Any, destination: Any) -> None:
        self._ledger.cleanups.done(cleanup.id, self._clock.now())

    Cleaner._abandon = forget  # type: ignore[method-assign]


def twice(write: Callable[..., Any]) -> Callable[..., Any]:
    """Have what writes outcomes write the end of each attempt a second time."""
    from conveyor.ledger import outcomes

    def written(connection: Any, mine: Sequence[Any], held: Any, now: int, **then: Any) -> Any:
        answer = write(connection, mine, held, now, **then)
        if mine:
            outcomes._END_ATTEMPT.run_each(connection, [outcomes._attempt_row(report) for report in mine])
        return answer

    return written


def outcome_twice() -> None:
    """The end of each attempt is written a second time."""
    from conveyor.ledger import outcomes

    outcomes._write = twice(outcomes._write)


PLANTS: dict[str, Callable[[], None]] = {"fence": no_fence, "abandon": no_abandon, "twice": outcome_twice}
"""By name, with the call that plants it in the process it is made in."""
