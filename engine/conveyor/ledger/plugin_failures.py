"""How often hooks of plugins have failed, over all processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from conveyor.ledger.database import Database, insert_missing
from conveyor.ledger.schema import plugin_failures

_F = plugin_failures.c
_ALL = sa.select(_F.plugin, _F.hook, _F.count, _F.last_at, _F.error).order_by(_F.plugin, _F.hook)
_ADD = (
    sa.update(plugin_failures)
    .where(_F.plugin == sa.bindparam("b_plugin"), _F.hook == sa.bindparam("b_hook"))
    .values(
        count=_F.count + sa.bindparam("b_count"), last_at=sa.bindparam("b_at"), error=sa.bindparam("b_error")
    )
)


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """One hook of one plugin.

    Attributes:
        plugin: Its name.
        hook: The hook's.
        count: How often it has failed.
        last_at: When it last did, microseconds.
        error: The last error's type: its text may quote a secret.
    """

    plugin: str
    hook: str
    count: int
    last_at: int
    error: str


class PluginFailures:
    """The counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, failures: Sequence[PluginFailure]) -> None:
        """Add to the counts; ``count`` is how many to add."""
        ordered = sorted(failures, key=lambda failure: (failure.plugin, failure.hook))
        if not ordered:
            return
        with self._database.write(quiet=True) as connection:
            for each in ordered:
                values = {
                    "b_plugin": each.plugin,
                    "b_hook": each.hook,
                    "b_count": each.count,
                    "b_at": each.last_at,
                    "b_error": each.error,
                }
                row = {"plugin": each.plugin, "hook": each.hook, "last_at": each.last_at, "error": each.error}
                if connection.execute(_ADD, values).rowcount == 0:
                    insert_missing(connection, plugin_failures, [row])
                    connection.execute(_ADD, values)

    def all(self) -> list[PluginFailure]:
        """All of them, by plugin and hook."""
        with self._database.read() as connection:
            return [PluginFailure(*row) for row in connection.execute(_ALL)]
