"""One suite for each planted fault. Run by test_suite_catches_faults, in a pytest of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from planted_table import FAULTS, Fault

from conveyor.testing import MEMORY_SPEC, Bench, ConnectorSuite, MemoryServer
from conveyor.testing.memory_bench import memory_bench

SMALL = {"big": 24 << 20, "memory_limit": 16 << 20}
"""Enough to see memory grow with the file, and quick."""


def suite_of(fault: Fault) -> type[ConnectorSuite]:
    """A suite like any connector author's."""

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls: Any) -> Iterator[Bench]:
        spec = dataclasses.replace(
            MEMORY_SPEC, factory=f"{fault.connector.__module__}:{fault.connector.__name__}"
        )
        with MemoryServer() as server:
            yield memory_bench(server, **{"spec": spec, **SMALL, **fault.bench})

    return type(f"Test{fault.name}", (ConnectorSuite,), {"bench": bench, "__module__": __name__})


for number, planted in enumerate(FAULTS):
    globals()[f"Test{number}{planted.name}"] = suite_of(planted)
