"""From the words of a command line to deliveries and destinations, and a clear no where there are none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from conveyor.cli.reading import listed
from conveyor.errors import UsageError
from conveyor.nearest import did_you_mean

if TYPE_CHECKING:
    from conveyor.installation import Installation
    from conveyor.ledger.facade import Ledger
    from conveyor.status.selection import Selection

SHORTEST = 6
"""Characters of the shortest beginning of an id that is looked up."""

PREFIXES = ("dlv_", "job_")


def selection(
    installation: Installation,
    ids: Sequence[str] | None = None,
    statuses: Sequence[str] | None = None,
    destinations: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Selection:
    """The deliveries that a verb's arguments name.

    Raises:
        UsageError: An id or destination that does not exist.
    """
    from conveyor.status.selection import Selection

    return Selection(
        ids=tuple(dict.fromkeys(full_id(installation.ledger, given) for given in ids or ())),
        status=tuple(listed(statuses or ())),
        destination=known_destinations(installation, listed(destinations or ())),
        label=tuple(labels or ()),
        session=tuple(sessions or ()),
        error_kind=tuple(listed(kinds or ())),
        since=since,
        until=until,
    )


def full_id(ledger: Ledger, given: str) -> str:
    """The delivery or job that an id, or the unique beginning of one, means.

    Raises:
        UsageError: There is none, or more than one.
    """
    if ledger.deliveries.get(given) is not None or ledger.deliveries.job(given) is not None:
        return given
    starts = [given] if given.startswith(PREFIXES) else [prefix + given for prefix in PREFIXES]
    found: list[str] = []
    if len(given.removeprefix("dlv_").removeprefix("job_")) >= SHORTEST:
        found = [ident for start in starts for ident in ledger.deliveries.starting_with(start, limit=3)]
    if len(found) == 1:
        return found[0]
    if found:
        more = " …" if len(found) > 2 else ""
        raise UsageError(f"{given!r} is the beginning of several ids", cure=", ".join(found[:2]) + more)
    raise UsageError(f"there is no delivery or job {given!r}", cure="conveyor deliveries lists what there is")


def known_destinations(installation: Installation, names: Iterable[str]) -> tuple[str, ...]:
    """The names, each of a destination that is configured or that the ledger has deliveries for.

    Raises:
        UsageError: One is neither; the nearest one is named.
    """
    from conveyor.ledger.records import Filter

    chosen = tuple(dict.fromkeys(names))
    ledger = installation.ledger
    for name in chosen:
        if installation.source.get(name) is None and not ledger.deliveries.find(
            Filter(destinations=frozenset({name})), limit=1
        ):
            known = {destination.id for destination in installation.source.list()}
            cure = did_you_mean(name, known | set(ledger.health.get(None)), label="destinations")
            raise UsageError(f"there is no destination {name!r}", cure=cure)
    return chosen


def destinations(
    installation: Installation, names: Sequence[str] | None, labels: Sequence[str] | None, everything: bool
) -> tuple[str, ...]:
    """The destinations that a bulk verb is for: named ones and those with all the labels.

    Raises:
        UsageError: None is named, one does not exist, or no destination has the labels.
    """
    from conveyor.status.selection import labelled

    chosen = list(known_destinations(installation, listed(names or ())))
    if labels:
        found = labelled(installation.source, labels)
        if not found:
            raise UsageError("no destination has the label " + " and ".join(labels))
        chosen += sorted(found)
    if everything:
        chosen += [destination.id for destination in installation.source.list()]
    if not chosen:
        raise UsageError("no destination is named", cure="name some, or say --label KEY=VALUE or --all")
    return tuple(dict.fromkeys(chosen))
