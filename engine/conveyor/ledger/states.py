"""What a connector saved in the middle of a delivery, and the questions it asks before it publishes."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from conveyor.contract import ConflictPolicy
from conveyor.ledger.database import Database
from conveyor.ledger.grouping import Grouped
from conveyor.ledger.prepared import Prepared, among, together
from conveyor.ledger.records import Status
from conveyor.ledger.schema import deliveries, jobs
from conveyor.ledger.transitions import is_, stands_at

_D = deliveries.c
_MINE = (_D.id == sa.bindparam("b_id"), _D.fence == sa.bindparam("b_fence"), is_(Status.DELIVERING))
_SAVE = Prepared(sa.update(deliveries).where(*_MINE).values(state=sa.bindparam("b_state")))
_OWNS = Prepared(sa.select(_D.id).where(*_MINE))
_HELD = Prepared(sa.select(_D.id, _D.fence).where(among(_D.id, "ids"), stands_at(Status.DELIVERING)))
_SUPERSEDED = (
    sa.select(_D.id)
    .join(jobs, jobs.c.id == _D.job_id)
    .where(
        _D.destination == sa.bindparam("destination"),
        _D.path == sa.bindparam("path"),
        _D.conflict == sa.literal_column(f"'{ConflictPolicy.OVERWRITE.value}'"),
        is_(Status.DELIVERED),
        sa.tuple_(jobs.c.created_at, jobs.c.id)
        > sa.tuple_(sa.bindparam("created_at", type_=sa.BigInteger), sa.bindparam("job", type_=sa.Text)),
    )
    .limit(1)
)


_Saved = tuple[str, int, bytes | None]
"""Delivery id, fence, state."""


class States:
    """Fenced reads and writes of one attempt."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._save = Grouped(self._save_all)
        self._held = Grouped(self._owns_all)

    def save(self, delivery_id: str, fence: int, blob: bytes | None) -> bool:
        """Replace the saved state, durably, before returning; None clears it.

        Returns:
            False when the delivery is no longer held under this fence: nothing was written.
        """
        return self._save((delivery_id, fence, blob))

    def _save_all(self, group: Sequence[_Saved]) -> list[bool]:
        ordered = sorted(group, key=lambda saved: saved[:2])
        with self._database.write(durable=True, quiet=True) as connection:
            answers = together(
                connection,
                [
                    (_SAVE, {"b_id": ident, "b_fence": fence, "b_state": blob})
                    for ident, fence, blob in ordered
                ],
            )
        held = {saved[:2] for saved, answer in zip(ordered, answers, strict=True) if answer.rowcount == 1}
        return [saved[:2] in held for saved in group]

    def owns(self, delivery_id: str, fence: int) -> bool:
        """Whether the delivery is still held under this fence."""
        if self._database.remote:
            return self._held((delivery_id, fence))
        return self._database.first(_OWNS, {"b_id": delivery_id, "b_fence": fence}) is not None

    def _owns_all(self, group: Sequence[tuple[str, int]]) -> list[bool]:
        found = self._database.ask(_HELD, {"ids": [ident for ident, _ in group]})
        held = {(row[0], row[1]) for row in found}
        return [claim in held for claim in group]

    def superseded(self, destination: str, path: str, created_at: int, job_id: str) -> bool:
        """Whether a job submitted later has already been delivered to this path under ``overwrite``.

        Args:
            destination: Destination id.
            path: The placement's path.
            created_at: Submission time of the job that asks, microseconds.
            job_id: Its id; decides between jobs of the same microsecond.
        """
        values = {"destination": destination, "path": path, "created_at": created_at, "job": job_id}
        with self._database.read() as connection:
            return connection.execute(_SUPERSEDED, values).first() is not None
