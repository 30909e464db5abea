"""Renewing logins ahead of need: before tokens run out, and before unused logins lapse."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from conveyor.clock import SECOND, Clock, micros
from conveyor.contract import Log, OAuthProvider, Trouble
from conveyor.errors import ConveyorError, LedgerError
from conveyor.ledger.connections import ConnectionRecord, ConnectionState
from conveyor.ledger.records import Block, BlockReason
from conveyor.oauth.connections import Connections
from conveyor.oauth.http import NoAnswer
from conveyor.oauth.refusals import Refused

if TYPE_CHECKING:
    from conveyor.config import Destination, DestinationSource
    from conveyor.ledger.facade import Ledger

EVERY = 30.0
"""Seconds between looks."""

IN_USE = 2 * 86400.0
"""Seconds since its last use for which a login counts as in use: its tokens are kept fresh."""

AGAIN = 300.0
"""Seconds after which a failed renewal is tried again; doubling."""

LONGEST = 6 * 3600.0

PROBE = 30.0
"""Seconds until a held destination is probed, as after the first refusal of an attempt."""


def is_due(record: ConnectionRecord, provider: OAuthProvider, now: int) -> bool:
    """Whether a login should be renewed now, though nobody has asked for a token.

    Args:
        record: The connection.
        provider: Whose it is.
        now: Microseconds.
    """
    if record.state is not ConnectionState.OK or record.last_refresh is None or record.expires_at is None:
        return False
    age = (now - record.last_refresh) / SECOND
    if age >= provider.renew_idle:
        return True
    life = (record.expires_at - record.last_refresh) / SECOND
    in_use = record.last_used is not None and now - record.last_used < micros(IN_USE)
    return in_use and age >= life * provider.renew_after


class Upkeep:
    """Looks after all connections that a configured destination is linked to.

    Args:
        ledger: Where they lie.
        source: The destinations.
        connections: The logins of this process.
        clock: Time.
        log: For what goes wrong.
        changed: Called when destinations were held.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: DestinationSource,
        connections: Connections,
        *,
        clock: Clock,
        log: Log,
        changed: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._connections = connections
        self._clock = clock
        self._log = log
        self._changed = changed
        self._not_before: dict[str, tuple[float, float]] = {}

    def round(self) -> float:
        """One look at all; the seconds until the next one."""
        try:
            self.look()
        except ConveyorError as error:
            self._log.warning("logins are not looked after", error=error.message)
        return EVERY

    def look(self) -> int:
        """Renew what is due; how many were tried."""
        mine = self._linked()
        if not mine:
            return 0
        tried = 0
        now = self._clock.now()
        for record in self._ledger.connections.all():
            destinations = mine.get(record.id)
            if destinations and self._may_try(record.id) and self._tried(record, destinations, now):
                tried += 1
        return tried

    def _tried(self, record: ConnectionRecord, destinations: list[Destination], now: int) -> bool:
        """Renew one; a mistake in its config must not keep the others from it."""
        try:
            return self._renew(record, destinations, now)
        except LedgerError:
            raise
        except ConveyorError as error:
            self._log.warning("login cannot be renewed", connection=record.id, error=error.message)
            self._put_off(record.id)
            return False

    def _linked(self) -> dict[str, list[Destination]]:
        found: dict[str, list[Destination]] = {}
        for destination in self._source.list():
            connection = destination.connection
            if connection is not None and destination.problem is None:
                found.setdefault(connection, []).append(destination)
        return found

    def _renew(self, record: ConnectionRecord, destinations: list[Destination], now: int) -> bool:
        application = self._connections.application(destinations[0])
        if application.provider.name != record.provider or not is_due(record, application.provider, now):
            return False
        if not application.attended and now - (record.last_used or 0) >= micros(IN_USE):
            return False  # nothing lapses: it is asked for again when it is needed
        try:
            self._connections.login(record.id).renew(application, record)
        except Refused as error:
            self._put_off(record.id)
            if error.trouble in (Trouble.REVOKED, Trouble.CONSENT):
                self._hold(destinations, error.message)
        except NoAnswer:
            self._put_off(record.id)
        else:
            self._not_before.pop(record.id, None)
        return True

    def _hold(self, destinations: list[Destination], message: str) -> None:
        """Hold what would only find out by failing."""
        block = Block(BlockReason.NEEDS_LOGIN, self._clock.now() + micros(PROBE), 0, message)
        self._ledger.health.hold({each.id: each.revision for each in destinations}, block, self._clock.now())
        self._changed()

    def _may_try(self, connection: str) -> bool:
        return self._clock.monotonic() >= self._not_before.get(connection, (0.0, 0.0))[0]

    def _put_off(self, connection: str) -> None:
        wait = min(2 * self._not_before.get(connection, (0.0, AGAIN / 2))[1], LONGEST)
        self._not_before[connection] = self._clock.monotonic() + wait, wait
