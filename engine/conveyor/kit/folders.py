"""Folders by path at services that know them by id: made once, remembered, found again.

What is known of a folder stands in the destination's memory, which all workers share:

* ``{"id": …}``: it is there;
* ``{"claim": …, "until": …, "planned": …}``: somebody is looking for it, or making it; others wait for the
  id. A claim whose holder died ends by itself; who takes it over keeps the planned id, so that at services
  that take ids from the client the second attempt makes the same folder and no twin.

What begins with ``folder:`` and is not used for 30 days is forgotten, and found again at the service.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from conveyor.contract import AttemptContext, DeliveryError, Json, Memory

T = TypeVar("T")

CLAIM = 30.0
"""Seconds after which a claim may be taken over."""
LOOK = 0.05
"""Seconds between two looks at somebody else's claim."""
TRUSTED = 600.0
"""Seconds that a folder is used before the service is asked again whether it is still there."""


class FolderService(Protocol):
    """What a connector brings; each method is one or two requests and raises ``DeliveryError``."""

    def find(self, parent: str, name: str) -> str | None:
        """The id of the folder of this name in ``parent``; of twins always the same one."""

    def create(self, parent: str, name: str, planned: str | None) -> str:
        """Make it, under the planned id where the service takes one; or the id of the one that is there."""

    def is_still(self, folder: str, parent: str, name: str) -> bool:
        """Whether ``folder`` is in ``parent`` under this name, and in no trash."""

    def plan(self) -> str | None:
        """An id for a folder that will be made; None where the service gives ids itself."""


@dataclass
class Folders:
    """Folders below one root, for one connector.

    Attributes:
        service: Asks the service.
        memory: The destination's.
        root: The id of the folder that paths begin in.
        clock: Seconds since the epoch.
        key: Makes one name of all that are one there: ``str.casefold`` where case does not count.
        finds_first: Ask ``find`` before ``create``; needless where ``create`` tells the id of what is there.
        missing: Whether an error of the service says that a folder is gone, or in the trash.
    """

    service: FolderService
    memory: Memory
    root: str
    clock: Callable[[], float] = time.time
    key: Callable[[str], str] = str
    finds_first: bool = True
    missing: Callable[[DeliveryError], bool] = lambda error: False
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict, init=False, repr=False)
    """What this connector has used of late: id, and when it was last known to be right."""

    def ensure(self, parents: Sequence[str], context: AttemptContext) -> str:
        """The id of the folder at that path, made where it is missing.

        Args:
            parents: Names, the outermost first; none of them means the root.
            context: Asked while waiting for another worker.

        Raises:
            DeliveryError: What the service raises.
        """
        folder = self.root
        for depth, name in enumerate(parents, 1):
            folder = self._one(self._place(parents[:depth]), folder, name, context)
        return folder

    def locate(self, parents: Sequence[str]) -> str | None:
        """The id of the folder at that path, or None; makes nothing.

        Raises:
            DeliveryError: What the service raises.
        """
        folder: str | None = self.root
        for depth, name in enumerate(parents, 1):
            if folder is None:
                return None
            folder = self._known(self._place(parents[:depth]), folder, name) or self.service.find(
                folder, name
            )
        return folder

    def within(self, parents: Sequence[str], context: AttemptContext, act: Callable[[str], T]) -> T:
        """Do something in the folder at that path; once more, where somebody has moved or deleted a folder
        since it was remembered.

        Args:
            parents, context: As for :meth:`ensure`.
            act: Gets the folder's id.

        Raises:
            DeliveryError: What the service or ``act`` raises.
        """
        try:
            return act(self.ensure(parents, context))
        except DeliveryError as error:
            if not parents or not self.missing(error):
                raise
        self.forget(parents)
        return act(self.ensure(parents, context))

    def look(self, parents: Sequence[str], act: Callable[[str], T | None]) -> T | None:
        """As :meth:`within`, making nothing: None where there is no such folder.

        Raises:
            DeliveryError: What the service or ``act`` raises.
        """
        for last in (False, True):
            try:
                folder = self.locate(parents)
                return None if folder is None else act(folder)
            except DeliveryError as error:
                if last or not parents or not self.missing(error):
                    raise
            self.forget(parents)
        raise AssertionError("unreachable")

    def forget(self, parents: Sequence[str]) -> None:
        """The service does not know a remembered id any more: ask for each level anew."""
        for depth in range(1, len(parents) + 1):
            place = self._place(parents[:depth])
            self._seen.pop(place, None)
            self.memory.forget(place)

    def _place(self, parents: Sequence[str]) -> str:
        return f"folder:{self.root}:" + "/".join(self.key(name) for name in parents)

    def _one(self, place: str, parent: str, name: str, context: AttemptContext) -> str:
        known = self._known(place, parent, name)
        while known is None:
            held = self._claim(place)
            if isinstance(held, str):
                known = self._known(place, parent, name)
            elif held is None:
                context.check()
                time.sleep(LOOK)
                known = self._known(place, parent, name)
            else:
                known = self._settle(place, held, parent, name)
        return known

    def _known(self, place: str, parent: str, name: str) -> str | None:
        """The remembered id, unless the service says that it is no longer the one."""
        stored = self.memory.get(place) if place not in self._seen else {"id": self._seen[place][0]}
        folder = _id(stored)
        if folder is None:
            return None
        now = time.monotonic()
        since = self._seen[place][1] if place in self._seen else float("-inf")
        if now - since > TRUSTED:
            if not self.service.is_still(folder, parent, name):
                self._seen.pop(place, None)
                if _id(self.memory.get(place)) == folder:
                    self.memory.forget(place)
                return None
            self._seen[place] = folder, now
        return folder

    def _claim(self, place: str) -> str | dict[str, Any] | None:
        """Our claim; the id, where somebody was faster; None while somebody else's claim holds."""
        stored = self.memory.get(place)
        if _id(stored) is not None:
            return _id(stored)
        planned = stored.get("planned") if isinstance(stored, dict) else None
        if isinstance(stored, dict) and float(stored.get("until", 0)) > self.clock():
            return None
        mine: dict[str, Any] = {
            "claim": uuid.uuid4().hex,
            "until": self.clock() + CLAIM,
            "planned": planned or self.service.plan(),
        }
        after = (
            self.memory.exchange(place, stored, mine) if stored else self.memory.put_if_absent(place, mine)
        )
        return mine if after == mine else _id(after)

    def _settle(self, place: str, mine: dict[str, Any], parent: str, name: str) -> str:
        """Find or make the folder under our claim, and tell its id."""
        try:
            found = self.service.find(parent, name) if self.finds_first else None
            folder = found or self.service.create(parent, name, mine["planned"])
        except BaseException:
            self.memory.exchange(place, mine, {**mine, "until": 0.0})  # the next one need not wait
            raise
        if _id(self.memory.exchange(place, mine, {"id": folder})) != folder:
            # Our claim ran out and somebody else's took its place: what they found is what counts.
            folder = _id(self.memory.get(place)) or folder
        self._seen[place] = folder, time.monotonic()
        return folder


def _id(stored: Json) -> str | None:
    """The id in what is stored, if it is one."""
    found = stored.get("id") if isinstance(stored, dict) else None
    return found if isinstance(found, str) else None
