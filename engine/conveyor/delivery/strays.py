"""Claims that the ledger counts as ours and that nobody here knows of.

A claim commits at the database server; should the connection break before the answer arrives, the deliveries
are leased to a process that never heard of them, and its heartbeat would keep them for ever.
"""

from __future__ import annotations

from collections.abc import Callable

Claim = tuple[str, int]
"""Delivery id and fence."""


class Strays:
    """Finds them, beat by beat.

    Args:
        known: The claims that this process has somewhere: waiting for a thread, running, being reported.
    """

    def __init__(self, known: Callable[[], frozenset[Claim]]) -> None:
        self._known = known
        self._suspects: frozenset[Claim] = frozenset()

    def among(self, held: frozenset[Claim]) -> frozenset[Claim]:
        """Those of ``held`` that were unknown at the last beat too: what was only on its way has arrived.

        Args:
            held: What the beat found, asked before ``known`` is.
        """
        unknown = held - self._known()
        strays = unknown & self._suspects
        self._suspects = unknown - strays
        return strays
