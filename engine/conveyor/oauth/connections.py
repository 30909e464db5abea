"""Which destination is linked to which account, and the tokens for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from conveyor.clock import Clock
from conveyor.contract import DeliveryError, ErrorKind, Log, Scope, Token, TokenSource
from conveyor.oauth.application import Application
from conveyor.oauth.http import NoAnswer
from conveyor.oauth.login import LEASE, Login
from conveyor.oauth.refusals import Refused, delivery_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conveyor.config import Destination
    from conveyor.ledger.facade import Ledger
    from conveyor.registry import Registry


def linked(destinations: Iterable[Destination], connection: str) -> list[Destination]:
    """Those of ``destinations`` that are linked to a connection."""
    return [each for each in destinations if each.connection == connection]


class Connections:
    """The logins of one process.

    Args:
        ledger: Where they lie.
        registry: Knows the providers.
        clock: Time.
        log: Never told a token.
        lease: Seconds that the lock of a renewal lasts.
    """

    def __init__(
        self, ledger: Ledger, registry: Registry, clock: Clock, log: Log, *, lease: float = LEASE
    ) -> None:
        self._store = ledger.connections
        self._registry = registry
        self._clock = clock
        self._log = log
        self._lease = lease
        self._lock = threading.Lock()
        self._logins: dict[str, Login] = {}

    def application(self, destination: Destination) -> Application:
        """The application that a destination signs in with.

        Raises:
            ConveyorError: Its provider is not installed.
        """
        return Application.of(destination, self._registry.provider(destination.spec.oauth or ""), self._clock)

    def login(self, connection: str) -> Login:
        """The login behind a connection: one object for the whole process."""
        with self._lock:
            found = self._logins.get(connection)
            if found is None:
                found = self._logins[connection] = Login(
                    connection, self._store, clock=self._clock, log=self._log, lease=self._lease
                )
            return found

    def secrets(self, destination: Destination) -> tuple[str, ...]:
        """The tokens that this process has handed out for a destination lately: to be hidden."""
        connection = destination.connection
        login = None if connection is None else self._logins.get(connection)
        return () if login is None else login.recent

    def tokens(self, destination: Destination) -> TokenSource | None:
        """What a connector of this destination takes its tokens from; None for types without sign-in.

        Raises:
            ConveyorError: The provider is not installed.
        """
        connection = destination.connection
        if connection is None:
            return None
        return DestinationTokens(destination.id, self.application(destination), self.login(connection))


class DestinationTokens:
    """:class:`conveyor.contract.TokenSource` of one destination."""

    def __init__(self, destination: str, application: Application, login: Login) -> None:
        self._destination = destination
        self._application = application
        self._login = login

    def token(self, min_life: float = 300.0) -> Token:
        """See :class:`conveyor.contract.TokenSource`."""
        try:
            return self._login.token(self._application, min_life)
        except (Refused, NoAnswer) as error:
            raise self._told(error) from None

    def rejected(self, token: Token) -> Token:
        """See :class:`conveyor.contract.TokenSource`."""
        try:
            return self._login.rejected(self._application, token)
        except (Refused, NoAnswer) as error:
            raise self._told(error) from None

    def _told(self, error: Refused | NoAnswer) -> DeliveryError:
        if isinstance(error, Refused):
            return delivery_error(error, self._destination, attended=self._application.attended)
        title = self._application.provider.title
        return DeliveryError(
            ErrorKind.TRANSIENT, f"sign-in at {title}: {error.message}", scope=Scope.CONNECTION
        )
