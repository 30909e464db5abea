"""What every part of the suite stands on: the bench, the choice of tests, a clean destination."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar

import pytest

from conveyor.contract import Capabilities, ConflictPolicy, Parcel
from conveyor.testing.attempts import Attempt, attempt
from conveyor.testing.bench import Bench
from conveyor.testing.content import SourceStream, read_all
from conveyor.testing.parcels import declaring, make_parcel
from conveyor.testing.plugin import PROPERTY
from conveyor.testing.suite.promises import keeps

_FLAGS = ("atomic", "create_only", "resumable", "find", "digest", "max_size", "deletes", "observable")
_ABILITIES = (
    "through",
    "wrong_credentials",
    "missing_place",
    "full",
    "forbidden",
    "throttle",
    "sdk_exceptions",
    "classify",
)


def about(bench: Bench) -> str:
    """What the report says of the connector; text, since it travels between test processes."""
    from conveyor.cli.verbs.connectors import in_words

    spec = bench.spec
    return json.dumps(
        {
            "type": spec.type,
            "summary": spec.summary,
            "contract": spec.contract,
            "capabilities": list(in_words(spec.capabilities)),
        }
    )


class SuitePart:
    """Base of the suite's parts. A subclass of the whole suite provides the fixture ``bench``."""

    NEEDS: ClassVar[tuple[str, ...]] = ()
    """What every test of this part needs; pytest would give a class's marker to the whole suite."""

    pytestmark: ClassVar = [pytest.mark.connector_suite]

    @pytest.fixture(autouse=True)
    def _chosen_and_clean(self, request: pytest.FixtureRequest, bench: Bench) -> Iterator[None]:
        """Skip what does not apply, with the reason; start from an empty destination."""
        request.node.user_properties.append((PROPERTY, about(bench)))
        exempt = bench.exempt.get(request.node.originalname)
        if exempt is not None:
            pytest.skip(f"{request.node.originalname}: {exempt}")
        for what in self._needed(request):
            reason = missing(bench, what)
            if reason is not None:
                pytest.skip(reason)
        if bench.observer is not None:
            bench.observer.wipe()
        with declaring(bench.spec.capabilities.digests):
            yield
        if bench.observer is not None:
            bench.observer.wipe()

    def _needed(self, request: pytest.FixtureRequest) -> list[str]:
        """What this test needs: its own markers, and ``NEEDS`` of the part that defines it."""
        name = request.node.originalname
        home = next(part for part in type(self).__mro__ if name in vars(part))
        marks = [what for mark in request.node.iter_markers("needs") for what in mark.args]
        return [*vars(home).get("NEEDS", ()), *marks]


def missing(bench: Bench, what: str) -> str | None:
    """Why the bench cannot run a test that needs ``what``; None when it can."""
    declared = bench.spec.capabilities
    if what.startswith("conflict:"):
        policy = ConflictPolicy(what.partition(":")[2])
        return None if policy in declared.conflicts else f"conflict policy {policy} is not declared"
    if what in _FLAGS:
        return None if _has(declared, what) else f"capability {what} is not declared"
    if what not in _ABILITIES:
        raise ValueError(f"unknown need: {what}")
    if getattr(bench, what) is not None:
        return None
    return f"no {what}: {bench.unavailable.get(what, 'the bench has none')}"


def _has(declared: Capabilities, flag: str) -> bool:
    return getattr(declared, flag) not in (False, None)


def expect_copy(bench: Bench, path: str, parcel: Parcel, promise: str = "bytes") -> None:
    """The observer reads exactly the parcel's bytes under ``path``."""
    seen = bench.eyes.sha256(path)
    names = sorted(bench.eyes.names())
    keeps(promise, seen is not None, f"nothing is readable at {path!r}; the destination holds {names}")
    if seen != parcel.digests["sha256"]:  # the difference is read only when there is one: that takes long
        keeps(promise, False, f"{path!r} holds {_difference(bench, path, parcel)}")


def expect_only(bench: Bench, promise: str, *paths: str, why: str = "") -> None:
    """The observer sees exactly these names, and nothing is kept unseen."""
    names = bench.eyes.names()
    keeps(
        promise,
        names == set(paths),
        f"the destination holds {sorted(names)}, not {sorted(paths)}{_because(why)}",
    )


def expect_no_leftovers(bench: Bench, promise: str, *, why: str = "") -> None:
    """Nothing is kept unseen: no parts, no open uploads."""
    left = bench.eyes.leftovers()
    keeps(promise, not left, f"left behind unseen: {sorted(left)}{_because(why)}")


def _because(why: str) -> str:
    return f"\n    {why}" if why else ""


def delivered(result: Attempt, promise: str = "bytes") -> str:
    """The attempt succeeded; returns the path it took."""
    keeps(promise, result.receipt is not None, f"the delivery should have succeeded, {result.describe()}")
    assert result.receipt is not None
    return result.receipt.path or ""


def refused(result: Attempt, promise: str) -> None:
    """The attempt did not succeed."""
    keeps(promise, result.receipt is None, f"the delivery should have failed, {result.describe()}")


def place_stranger(bench: Bench, path: str, data: bytes) -> None:
    """Put somebody else's file there, by the observer where it can."""
    try:
        bench.eyes.put(path, data)
    except LookupError:
        delivered(attempt(bench, make_parcel(data), bench.target(path)))


def _difference(bench: Bench, path: str, parcel: Parcel) -> str:
    seen = bench.eyes.read(path) or b""
    sent = SourceStream.readall(parcel.open()) if parcel.size < (32 << 20) else b""  # type: ignore[arg-type]
    same = next(
        (i for i, (a, b) in enumerate(zip(seen, sent, strict=False)) if a != b), min(len(seen), len(sent))
    )
    return f"{len(seen)} bytes instead of {parcel.size}, first difference at byte {same}"


__all__ = [
    "SuitePart",
    "delivered",
    "expect_copy",
    "expect_no_leftovers",
    "expect_only",
    "missing",
    "place_stranger",
    "read_all",
    "refused",
]
