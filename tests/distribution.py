"""Which tests run in one process, and which are begun first, when several processes run them.

What a module's or a class's fixtures make is made once when its tests stay together, and a server that many
modules use is started in fewer processes. Tests that are long themselves go one by one, so that no process is
left with many of them at the end.

The groups are told from the address of a test. ``xdist_group`` is of no use here: with pytest 9.2 xdist 3.8
writes the group where nobody reads it, and says nothing.
"""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

ONE_BY_ONE = (
    "tests/machines/",
    "tests/e2e/",
    "tests/docs/test_snippets",
    "tests/oauth/",
    "tests/simulation/",
)
"""Folders and modules of tests that take seconds each and share nothing costly."""

TOGETHER = {
    "packaging": re.compile(r"tests/packaging/"),
    "rabbitmq": re.compile(r"tests/(cli|machines|servers)/.*(rabbit|amqp)"),
    "buckets": re.compile(r"tests/machines/test_machines_payloads"),
}
"""Tests that share what takes longest to make: wheels and environments; a server in Erlang; object stores."""

ORDER = (*ONE_BY_ONE, "tests/docs/", "tests/cli/", "tests/conformance/", "tests/engine/")
"""The longest first; others after them."""


def group_of(address: str) -> str:
    """The name of the group in which a test runs."""
    for name, pattern in TOGETHER.items():
        if pattern.match(address):
            return name
    if address.startswith(ONE_BY_ONE):
        return address
    without_parameters = address.partition("[")[0]
    return without_parameters.rpartition("::")[0]


def rank(group: str) -> int:
    """Its place in the order in which groups are begun."""
    if group in TOGETHER:
        return -1
    return next((place for place, start in enumerate(ORDER) if group.startswith(start)), len(ORDER))


class Groups(LoadScopeScheduling):
    """Hands out groups of tests, the longest first."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=rank), last=False)
        super()._assign_work_unit(node)
