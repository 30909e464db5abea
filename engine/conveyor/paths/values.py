"""What a template can draw from: one delivery's job, destination and time."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:  # the records import the contract, which imports this package
    from conveyor.contract import Parcel
    from conveyor.hooks import Place
    from conveyor.ledger.records import JobRecord

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMESPACE = uuid.UUID("6f0c9f0e-5c0b-4c57-9d3a-6a1f3f0a7b11")
"""Of the ``uuid`` variable; never to be changed, or replays would land elsewhere."""


@dataclass(slots=True)
class Values:
    """The raw values of one delivery. Nothing here is safe as a path."""

    job: JobRecord
    delivery_id: str
    destination: str
    labels: Mapping[str, str]
    time_zone: tzinfo = UTC
    cycle: int = 1
    type: str = ""
    _moment: datetime | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        job: JobRecord,
        delivery_id: str,
        destination_id: str,
        labels: Mapping[str, str] | None = None,
        time_zone: tzinfo = UTC,
        cycle: int = 1,
    ) -> Values:
        """Gather what a template may use for one delivery.

        Args:
            job: The submitted job.
            delivery_id: The delivery's id; ``uuid`` is derived from it.
            destination_id: The destination's id.
            labels: The destination's labels.
            time_zone: In which ``date`` is written.
            cycle: The delivery's cycle, from 1.
        """
        return cls(job, delivery_id, destination_id, labels or {}, time_zone, cycle)

    def parcel(self) -> Parcel:
        """The job as plugins see it; its bytes are not to be read."""
        return self.job.parcel(self.delivery_id, _unreadable)

    def place(self) -> Place:
        """The destination as plugins see it."""
        from conveyor.hooks import Place

        return Place(self.destination, self.type, dict(self.labels))

    def moment(self) -> datetime:
        """The time of submission in the configured time zone."""
        if self._moment is None:
            self._moment = (_EPOCH + timedelta(microseconds=self.job.created_at)).astimezone(self.time_zone)
        return self._moment

    def tag(self, key: str) -> str | None:
        """The value of the last tag ``key:value``; ``"true"`` for a bare tag ``key``; None without one."""
        for tag in reversed(self.job.tags):
            name, colon, value = tag.partition(":")
            if name == key:
                return value if colon else "true"
        return None

    def uuid(self) -> str:
        """A UUID that is always the same for this delivery (RFC 9562 version 5, of the delivery's id)."""
        return str(uuid.uuid5(_NAMESPACE, self.delivery_id))


def _unreadable() -> BinaryIO:
    raise TypeError("a path is made without reading the file")


def stem(filename: str) -> str:
    """``photo`` of ``photo.jpg``; the whole name when it has no extension (``.profile``, ``README``)."""
    head, dot, _ = filename.rpartition(".")
    return head if dot and head.strip(".") else filename


def extension(filename: str) -> str:
    """``jpg`` of ``photo.jpg``; empty when the name has none."""
    head, dot, tail = filename.rpartition(".")
    return tail if dot and head.strip(".") else ""
