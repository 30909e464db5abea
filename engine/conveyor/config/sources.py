"""Where the engine gets its destinations from: the YAML, the ledger's table, or both."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from conveyor.config.build import Builder
from conveyor.config.expand import Verbatim
from conveyor.config.model import Destination
from conveyor.config.nodes import Fault, Mark, from_data
from conveyor.errors import LedgerUnavailable, Problem


class DestinationSource(Protocol):
    """Destinations by id; safe from many threads. A quarantined one is there, with its ``problem``."""

    def revision(self) -> str:
        """Changes when any destination does."""

    def get(self, destination_id: str, /) -> Destination | None:
        """The newest state of one destination; None when there is none of this id."""

    def list(self) -> Sequence[Destination]:
        """All destinations, in the order of the config."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All destinations of one reading of the config, and what builds further ones under its defaults."""

    destinations: Mapping[str, Destination]
    revision: str
    builder: Builder

    @classmethod
    def of(cls, destinations: Mapping[str, Destination], builder: Builder) -> Snapshot:
        """A snapshot with its revision."""
        return cls(destinations, revision_of(destinations), builder)


def revision_of(destinations: Mapping[str, Destination]) -> str:
    """One digest over the revisions of all destinations and over which of them are usable."""
    digest = hashlib.blake2b(digest_size=12)
    for name, destination in destinations.items():
        digest.update(f"{name}={destination.revision}{'!' if destination.problem else ''}\n".encode())
    return digest.hexdigest()


class YamlSource:
    """The destinations of the config file; a reload puts a new snapshot in its place at once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def take_over(self, snapshot: Snapshot) -> None:
        """Use another snapshot from now on."""
        self.snapshot = snapshot

    def revision(self) -> str:
        """Changes when any destination does."""
        return self.snapshot.revision

    def get(self, destination_id: str, /) -> Destination | None:
        """One destination, or None."""
        return self.snapshot.destinations.get(destination_id)

    def list(self) -> Sequence[Destination]:
        """All destinations, in the order of the file."""
        return tuple(self.snapshot.destinations.values())


class Documents(Protocol):
    """The ledger's table of destinations: see ``conveyor.ledger.destinations``."""

    def revision(self) -> int:
        """Grows with every change."""

    def list(self) -> Mapping[str, Mapping[str, Any]]:
        """All documents by destination id."""


class LedgerSource:
    """Destinations that an application manages, validated by the same models as the YAML's.

    Documents are taken literally: ``${…}`` means nothing in them, they cannot extend presets, and they have
    no way to read a file's content into an option.

    Args:
        documents: The table.
        yaml: Whose defaults, network policy and registry apply, at any time those of its newest snapshot.
        max_age: Seconds for which the table's revision is not asked for again.
        monotonic: A clock that never goes back.
    """

    def __init__(
        self,
        documents: Documents,
        yaml: YamlSource,
        *,
        max_age: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents = documents
        self._yaml = yaml
        self._max_age = max_age
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._current: Snapshot | None = None
        self._read_revision = -1
        self._checked = 0.0

    def revision(self) -> str:
        """Changes when any destination does."""
        return self._newest().revision

    def get(self, destination_id: str, /) -> Destination | None:
        """One destination, or None."""
        return self._newest().destinations.get(destination_id)

    def list(self) -> Sequence[Destination]:
        """All destinations, by id."""
        return tuple(self._newest().destinations.values())

    def validate(self, destination_id: str, document: Mapping[str, Any]) -> tuple[Problem, ...]:
        """What is wrong with a document, before an application stores it; empty when it is right."""
        return _built(self._yaml.snapshot.builder, destination_id, document, {})[1]

    def refresh(self) -> None:
        """Look at the table at the next question, however recent the last look is."""
        self._checked = float("-inf")

    def _newest(self) -> Snapshot:
        current = self._current
        if current is not None and not self._is_stale(current):
            return current
        with self._lock:
            current = self._current
            if current is None or self._is_stale(current):
                try:
                    current = self._read(current)
                except LedgerUnavailable:
                    if current is None:
                        raise  # nothing to go on with; otherwise the last known state serves
                self._current = current
                self._checked = self._monotonic()
        return current

    def _is_stale(self, current: Snapshot) -> bool:
        if current.builder is not self._yaml.snapshot.builder:
            return True
        return self._monotonic() - self._checked >= self._max_age

    def _read(self, current: Snapshot | None) -> Snapshot:
        builder = self._yaml.snapshot.builder
        revision = self._documents.revision()  # before the list: a change in between is seen next time
        if current is not None and current.builder is builder and revision == self._read_revision:
            return current
        known = current.destinations if current is not None else {}
        found = {
            name: _built(builder, name, document, known)[0]
            for name, document in self._documents.list().items()
        }
        self._read_revision = revision
        return Snapshot.of(found, builder)


def _built(
    builder: Builder, name: str, document: Mapping[str, Any], known: Mapping[str, Destination]
) -> tuple[Destination, tuple[Problem, ...]]:
    tree = from_data(document)
    if "extends" in (tree.mapping or {}):
        fault = Fault("presets belong to the config file", Mark("", 0, 0), "write the options themselves")
        tree.faults = (fault,)
        tree = tree.without(("extends",))
    built = builder.build(name, tree, Verbatim(), known)
    return built.destination, built.problems


class ChainSource:
    """Several sources as one; of one id in two of them the first one's is used."""

    def __init__(self, *sources: DestinationSource) -> None:
        self._sources = sources

    def revision(self) -> str:
        """Changes when any destination does."""
        return "+".join(source.revision() for source in self._sources)

    def get(self, destination_id: str, /) -> Destination | None:
        """One destination, or None."""
        for source in self._sources:
            found = source.get(destination_id)
            if found is not None:
                return found
        return None

    def list(self) -> Sequence[Destination]:
        """All destinations, source by source."""
        found: dict[str, Destination] = {}
        for source in self._sources:
            for destination in source.list():
                found.setdefault(destination.id, destination)
        return tuple(found.values())
