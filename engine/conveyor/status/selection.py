"""Which deliveries a person means, in the words of command line and API, as the ledger's filter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from conveyor.clock import SECOND, micros
from conveyor.contract import ErrorKind
from conveyor.errors import UsageError
from conveyor.ledger.records import Filter, Status
from conveyor.nearest import did_you_mean
from conveyor.status.reasons import HELD, RETRYING, Standing

if TYPE_CHECKING:
    from conveyor.config.sources import DestinationSource

STATUSES = (*(status.value for status in Status), HELD, RETRYING)

_KINDS = tuple(kind.value for kind in ErrorKind)

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice of deliveries; what is empty does not restrict it.

    Attributes:
        ids: Delivery or job ids.
        status: Any of :data:`STATUSES`; several are alternatives.
        destination: Destination ids.
        label: ``key=value`` or ``key``: all must fit the destination.
        session: Session ids.
        error_kind: Kinds of the last error.
        since, until: Bounds of the submission: a datetime, ISO 8601, or an age such as ``2h``.
    """

    ids: Sequence[str] = ()
    status: Sequence[str] = ()
    destination: Sequence[str] = ()
    label: Sequence[str] = ()
    session: Sequence[str] = ()
    error_kind: Sequence[str] = ()
    since: str | datetime | None = None
    until: str | datetime | None = None

    @property
    def matches_all(self) -> bool:
        """Nothing restricts it."""
        return not any(
            (self.ids, self.status, self.destination, self.label, self.session, self.error_kind)
        ) and (self.since is None and self.until is None)

    def filter(self, source: DestinationSource, standing: Standing, known: Iterable[str], now: int) -> Filter:
        """The ledger's filter.

        Args:
            source: The configured destinations.
            standing: Tells which destinations are held.
            known: Ids of destinations that the ledger has pending deliveries for, configured or not.
            now: Microseconds, for ages.

        Raises:
            UsageError: An unknown status or error kind, a malformed time, a label that no destination has.
        """
        statuses = [_one_of(word, STATUSES, "status") for word in self.status]
        return Filter(
            ids=tuple(self.ids),
            statuses=frozenset(Status(word) for word in statuses if word not in (HELD, RETRYING)),
            destinations=self._destinations(source),
            held=standing.held_destinations(frozenset(known)) if HELD in statuses else None,
            retrying=RETRYING in statuses,
            sessions=frozenset(self.session),
            error_kinds=frozenset(
                ErrorKind(_one_of(word.upper(), _KINDS, "error kind")) for word in self.error_kind
            ),
            since=moment(self.since, now),
            until=moment(self.until, now),
        )

    def _destinations(self, source: DestinationSource) -> frozenset[str]:
        if not self.label:
            return frozenset(self.destination)
        chosen = labelled(source, self.label)
        if self.destination:
            chosen &= frozenset(self.destination)
        if not chosen:
            raise UsageError("no destination fits " + " and ".join([*self.label, *self.destination]))
        return chosen


def labelled(source: DestinationSource, labels: Iterable[str]) -> frozenset[str]:
    """Ids of the destinations that have all these labels (``key=value``, or ``key`` with any value)."""
    wanted = [(key, value if equals else None) for key, equals, value in (w.partition("=") for w in labels)]
    return frozenset(
        destination.id
        for destination in source.list()
        if all(
            key in destination.labels and value in (None, destination.labels[key]) for key, value in wanted
        )
    )


def moment(given: str | datetime | None, now: int) -> int | None:
    """A time as microseconds: a datetime, ISO 8601, or an age (``90s``, ``2h``, ``7d``).

    A time without a zone is UTC.

    Raises:
        UsageError: It is none of these.
    """
    if given is None:
        return None
    if isinstance(given, str):
        if ago := _AGO.fullmatch(given.strip()):
            return max(0, now - micros(float(ago[1]) * _SECONDS[ago[2]]))
        try:
            given = datetime.fromisoformat(given)
        except ValueError:
            cure = "write an age (2h, 7d) or ISO 8601 (2026-11-22T10:00:00Z)"
            raise UsageError(f"{given!r} is no time", cure=cure) from None
    if given.tzinfo is None:
        given = given.replace(tzinfo=UTC)
    return round(given.timestamp() * SECOND)


def _one_of(word: str, words: Sequence[str], what: str) -> str:
    if word not in words:
        raise UsageError(f"unknown {what} {word!r}", cure=did_you_mean(word, words, label=f"{what} words"))
    return word
