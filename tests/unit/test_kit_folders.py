"""Folders by path: one of each however many ask, found again after crashes, moves and deletions."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit import folders as module
from conveyor.kit.folders import Folders
from conveyor.testing import HarnessContext
from conveyor.testing.clock import FakeClock
from conveyor.testing.harness import SimpleMemory


@dataclass
class Service:
    """A service that allows twins, and lists what was made only when it is told to."""

    plans: bool = False
    made: dict[str, tuple[str, str]] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    lagging: bool = False
    calls: list[str] = field(default_factory=list)
    fail: DeliveryError | None = None
    gate: threading.Event | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, parent: str, name: str) -> str | None:
        self.calls.append(f"find {name}")
        return next(
            (key for key, place in self.made.items() if place == (parent, name) and key in self.listed), None
        )

    def create(self, parent: str, name: str, planned: str | None) -> str:
        self.calls.append(f"create {name}")
        if self.gate is not None:
            self.gate.wait(10)
        if self.fail is not None:
            raise self.fail
        with self.lock:
            folder = planned or f"id-{next(self.numbers)}"
            self.made[folder] = (parent, name)
            if not self.lagging:
                self.listed.add(folder)
        return folder

    def is_still(self, folder: str, parent: str, name: str) -> bool:
        self.calls.append(f"is_still {name}")
        return self.made.get(folder) == (parent, name)

    def plan(self) -> str | None:
        return f"planned-{next(self.numbers)}" if self.plans else None


def of(service: Service, memory: SimpleMemory, clock: FakeClock | None = None) -> Folders:
    return Folders(service, memory, "root", clock=clock.time if clock else (lambda: 1000.0))


def test_each_level_is_made_once_and_remembered() -> None:
    service, memory = Service(), SimpleMemory()
    folders = of(service, memory)
    first = folders.ensure(["a", "b"], HarnessContext())
    assert service.made[first][1] == "b"
    assert folders.ensure(["a", "b"], HarnessContext()) == first
    assert folders.ensure([], HarnessContext()) == "root"
    assert [call for call in service.calls if call.startswith("create")] == ["create a", "create b"]
    assert service.calls.count("is_still a") == 0


def test_another_worker_takes_the_remembered_id_and_checks_it_once() -> None:
    service, memory = Service(), SimpleMemory()
    made = of(service, memory).ensure(["a"], HarnessContext())
    other = of(service, memory)
    service.calls.clear()
    assert [other.ensure(["a"], HarnessContext()) for _ in range(3)] == [made] * 3
    assert service.calls == ["is_still a"]


def test_many_workers_at_once_make_one() -> None:
    service, memory = Service(lagging=True), SimpleMemory()
    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(lambda _: of(service, memory).ensure(["a", "b"], HarnessContext()), range(32)))
    assert len(ids) == 1
    assert len(service.made) == 2


def test_a_claim_of_a_dead_worker_ends_and_its_planned_id_is_kept() -> None:
    service, memory, clock = Service(plans=True, lagging=True), SimpleMemory(), FakeClock()
    dead = of(service, memory, clock)
    claim = dead._claim("folder:root:a")
    assert isinstance(claim, dict)
    service.create("root", "a", claim["planned"])  # made, and died before it could tell
    clock.advance(module.CLAIM + 1)
    assert of(service, memory, clock).ensure(["a"], HarnessContext()) == claim["planned"]
    assert len(service.made) == 1


def test_a_worker_whose_claim_ran_out_takes_what_the_next_one_found() -> None:
    service, memory, clock = Service(gate=threading.Event()), SimpleMemory(), FakeClock()
    slow = of(service, memory, clock)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slow.ensure, ["a"], HarnessContext())
        while service.calls[-1:] != ["create a"]:
            pass
        clock.advance(module.CLAIM + 1)
        memory.exchange("folder:root:a", memory.get("folder:root:a"), {"id": "theirs"})
        assert service.gate is not None
        service.gate.set()
        assert waiting.result(10) == "theirs"


def test_a_failure_frees_the_claim_at_once() -> None:
    service, memory = Service(fail=DeliveryError(ErrorKind.TRANSIENT, "no")), SimpleMemory()
    with pytest.raises(DeliveryError):
        of(service, memory).ensure(["a"], HarnessContext())
    service.fail = None
    assert of(service, memory).ensure(["a"], HarnessContext()) in service.made


def test_a_folder_that_somebody_moved_is_found_again() -> None:
    service, memory = Service(), SimpleMemory()
    first = of(service, memory).ensure(["a"], HarnessContext())
    service.made[first] = ("elsewhere", "a")
    second = of(service, memory).ensure(["a"], HarnessContext())
    assert second != first
    assert service.made[second] == ("root", "a")


def test_forgetting_asks_for_each_level_anew() -> None:
    service, memory = Service(), SimpleMemory()
    folders = of(service, memory)
    folders.ensure(["a", "b"], HarnessContext())
    service.made.clear()
    folders.forget(["a", "b"])
    again = folders.ensure(["a", "b"], HarnessContext())
    assert service.made[again] == (next(key for key, place in service.made.items() if place[1] == "a"), "b")


def test_locating_makes_nothing() -> None:
    service, memory = Service(), SimpleMemory()
    assert of(service, memory).locate(["a", "b"]) is None
    made = of(service, memory).ensure(["a", "b"], HarnessContext())
    assert of(service, memory).locate(["a", "b"]) == made
    assert len(service.made) == 2


def test_waiting_for_another_worker_stays_open_to_cancellation() -> None:
    service, memory = Service(), SimpleMemory()
    assert isinstance(of(service, memory)._claim("folder:root:a"), dict)
    context = HarnessContext()
    context.cancel()
    with pytest.raises(BaseException, match="cancel"):
        of(service, memory).ensure(["a"], context)


@pytest.mark.parametrize("makes", [True, False])
def test_a_remembered_folder_that_is_gone_is_looked_for_once_more(makes: bool) -> None:
    service, memory = Service(), SimpleMemory()
    folders = of(service, memory)
    folders.missing = lambda error: error.code == "gone"
    old = folders.ensure(["a"], HarnessContext())
    del service.made[old]
    seen: list[str] = []

    def act(folder: str) -> str:
        seen.append(folder)
        if folder == old:
            raise DeliveryError(ErrorKind.CONFIG, "no such folder", code="gone")
        return folder

    if makes:
        assert folders.within(["a"], HarnessContext(), act) == seen[1] != old
    else:
        assert folders.look(["a"], act) is None
        assert seen == [old]


@pytest.mark.parametrize("parents", [["a"], []])
def test_an_error_that_stays_is_raised_after_one_more_try(parents: list[str]) -> None:
    folders, seen = of(Service(), SimpleMemory()), list[str]()
    folders.missing = lambda error: True

    def act(folder: str) -> str:
        seen.append(folder)
        raise DeliveryError(ErrorKind.CONFIG, "no such folder", code="gone")

    with pytest.raises(DeliveryError, match="no such folder"):
        folders.within(parents, HarnessContext(), act)
    with pytest.raises(DeliveryError, match="no such folder"):
        folders.look(parents, act)
    assert len(seen) == (4 if parents else 2)  # the root is not remembered: no second try
