"""What transforms have made of a delivery's payload: a payload of its own, named in the delivery's row."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from conveyor.ledger import rows
from conveyor.ledger.database import Database
from conveyor.ledger.records import PayloadState, Status, Transformed
from conveyor.ledger.schema import deliveries, payloads
from conveyor.ledger.transitions import is_

_D = deliveries.c
_MINE = (_D.id == sa.bindparam("b_id"), _D.fence == sa.bindparam("b_fence"), is_(Status.DELIVERING))
_LOCK_EARLIER = (
    sa.select(payloads.c.id)
    .where(payloads.c.id.in_(sa.select(_D.payload_id).where(*_MINE)))
    .with_for_update()
)
"""Before the delivery, as everybody does; only the holder of the claim makes it another one."""
_BEFORE = sa.select(_D.payload_id).where(*_MINE).with_for_update()
_SET = (
    sa.update(deliveries)
    .where(*_MINE)
    .values(payload_id=sa.bindparam("b_payload"), transformed=sa.bindparam("b_transformed"))
)
_DROP = (
    sa.update(payloads)
    .where(payloads.c.id == sa.bindparam("b_id"), payloads.c.state == PayloadState.PRESENT.value)
    .values(state=PayloadState.REMOVING.value)
)


class TransformResults:
    """Writes what transforms have made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, delivery_id: str, fence: int, made: Transformed) -> bool:
        """Take a result, whose bytes are stored already, for this delivery; an earlier one is removed.

        Returns:
            False when the delivery is no longer held under this fence: nothing was written.
        """
        mine: dict[str, Any] = {"b_id": delivery_id, "b_fence": fence}
        with self._database.write(durable=True) as connection:
            connection.execute(_LOCK_EARLIER, mine)
            before = connection.execute(_BEFORE, mine).first()
            if before is None:
                return False
            if made.payload is not None:
                connection.execute(sa.insert(payloads), rows.payload_row(made.payload))
            ident = None if made.payload is None else made.payload.id
            row = {**mine, "b_payload": ident, "b_transformed": rows.dump_transformed(made)}
            connection.execute(_SET, row)
            if before[0] is not None:
                connection.execute(_DROP, {"b_id": before[0]})
        return True
