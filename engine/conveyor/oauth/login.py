"""One connection's login in this process: hands out access tokens and renews them, one renewal at a time.

The order of steps is what keeps a login with single-use refresh tokens alive through crashes and races:

1. one thread of the process at a time (single flight);
2. the row's lock, a lease that outlives no dead process: one process at a time;
3. the row is read again under the lock: whoever was faster has done the work;
4. the provider is asked, with no transaction open;
5. the answer is stored durably, under the lock's fence;
6. only then is the new access token used.

A process that dies between 4 and 5 leaves the old refresh token in the row; providers that rotate honour it
until the new access token is used, which step 6 has prevented.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conveyor import processes
from conveyor.clock import SECOND, Clock, micros
from conveyor.contract import Log, Rotation, Token, Trouble
from conveyor.errors import LedgerUnavailable
from conveyor.ledger.connections import ConnectionRecord, ConnectionState, Tokens
from conveyor.oauth.http import TOTAL_TIMEOUT, NoAnswer
from conveyor.oauth.refusals import NotConnected, Refused

if TYPE_CHECKING:
    from conveyor.ledger.connections import Connections
    from conveyor.oauth.application import Application, Granted

REREAD = 5.0
"""Seconds for which a token is handed out without a look at the ledger."""

LEASE = 2 * TOTAL_TIMEOUT + 20.0
"""Seconds that the lock lasts: for a request, its repetition, and storing the answer."""

PATIENCE = 30.0
"""Seconds to wait while another process renews."""

LOOK = 0.05
"""Seconds between looks at the row meanwhile."""

RECENT = 4
"""Access tokens remembered to be hidden."""

SETTLE = 1.0
"""Seconds for the request of a process that died to be over: carried out after ours, with the same single-use
token, it would spoil what ours was given."""

USED_EVERY = 3600.0
"""Seconds between notes in the ledger that the login is in use."""

_SINGLE_USE = (Rotation.UNTIL_USED, Rotation.STRICT)
_STATES = {Trouble.REVOKED: ConnectionState.REVOKED, Trouble.CONSENT: ConnectionState.CONSENT}
_TROUBLES = {state: trouble for trouble, state in _STATES.items()}
_PASSING = (Trouble.THROTTLED, Trouble.TRANSIENT)


@dataclass(frozen=True, slots=True)
class _Known:
    record: ConnectionRecord
    token: Token
    read_at: float


class Login:
    """The login behind one connection; shared by all destinations and threads of this process.

    Args:
        connection: Its id.
        store: The ledger's table.
        clock: Time.
        log: Never told a token.
        lease: Seconds that the lock lasts.
        pause: Waits while another process renews.
    """

    def __init__(
        self,
        connection: str,
        store: Connections,
        *,
        clock: Clock,
        log: Log,
        lease: float = LEASE,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.connection = connection
        self._store = store
        self._clock = clock
        self._log = log
        self._lease = lease
        self._pause = pause
        self._owner = processes.signature(uuid.uuid4().hex)
        self._flight = threading.Lock()
        self._known: _Known | None = None
        self._failures = 0
        self._failure: Refused | NoAnswer | None = None
        """The last one that says nothing but how the provider is."""
        self._recent: deque[str] = deque(maxlen=RECENT)

    @property
    def recent(self) -> tuple[str, ...]:
        """The access tokens handed out last: what no message may hold."""
        return tuple(self._recent)

    # --- for those who need a token --------------------------------------------------------------

    def token(self, application: Application, min_life: float) -> Token:
        """A token that lives for ``min_life`` seconds more, or for half of what the provider grants.

        Raises:
            Refused: There is no login, or the provider refused to renew it.
            NoAnswer: The provider does not answer, and the token at hand has run out.
        """
        known, asked = self._known, self._failures
        if known is not None and self._lasts(known.record, min_life):
            fresh = self._clock.monotonic() - known.read_at < REREAD
            if fresh or not self._flight.acquire(blocking=False):
                return known.token
        else:
            self._flight.acquire()
        try:
            record = self._read(application)
            if self._lasts(record, min_life):
                return self._keep(record)
            return self._renew(application, record, asked)
        finally:
            self._flight.release()

    def rejected(self, application: Application, token: Token) -> Token:
        """Another token than ``token``: the one in the ledger if it is newer, else a renewed one.

        Raises:
            Refused, NoAnswer: As for :meth:`token`.
        """
        asked = self._failures
        with self._flight:
            record = self._read(application)
            if record.generation != token.generation and self._lasts(record, 0):
                return self._keep(record)
            return self._renew(application, record, asked, forced=True)

    def renew(self, application: Application, seen: ConnectionRecord) -> None:
        """Renew ahead of need, unless the row has changed since it was ``seen``.

        Raises:
            Refused, NoAnswer: As for :meth:`token`.
        """
        asked = self._failures
        with self._flight:
            record = self._read(application)
            if record.generation == seen.generation:
                self._renew(application, record, asked)

    # --- inside, under the flight lock -----------------------------------------------------------

    def _read(self, application: Application) -> ConnectionRecord:
        """The row; made from the config for logins that need no person."""
        record = self._store.get(self.connection)
        while record is None or not self._descends(record, application):
            if application.seed is None and application.attended:
                raise NotConnected(application.provider)
            tokens = Tokens(refresh=application.refresh_token, seed=application.seed)
            name, now = application.provider.name, self._clock.now()
            self._store.seed(self.connection, name, tokens, now, instead_of=record)
            record = self._store.get(self.connection)
        if record.state is not ConnectionState.OK:
            raise Refused(_TROUBLES[record.state], record.error or "the login was refused")
        return record

    def _descends(self, record: ConnectionRecord, application: Application) -> bool:
        """Whether it is a login at this provider and, where the config has a refresh token, from that one."""
        if record.provider != application.provider.name:
            return False
        return application.seed is None or self._store.open(record).seed == application.seed

    def _lasts(self, record: ConnectionRecord, min_life: float) -> bool:
        if record.expires_at is None or record.state is not ConnectionState.OK:
            return False
        left = (record.expires_at - self._clock.now()) / SECOND
        life = (record.expires_at - (record.last_refresh or 0)) / SECOND
        return left > 0 and left >= min(min_life, life / 2)

    def _keep(self, record: ConnectionRecord) -> Token:
        """Remember a row that was read from the ledger; its token may be used."""
        now = self._clock.now()
        if record.last_used is None or now - record.last_used > micros(USED_EVERY):
            self._store.used(self.connection, now)
        expires = (record.expires_at or now) / SECOND
        token = Token(self._store.open(record).access, record.generation, expires)
        self._known = _Known(record, token, self._clock.monotonic())
        if token.value not in self._recent:
            self._recent.append(token.value)
        return token

    def _renew(
        self, application: Application, seen: ConnectionRecord, asked: int, *, forced: bool = False
    ) -> Token:
        if self._failure is not None and self._failures != asked:
            # Who waited while the provider did not answer does not ask it in turn: the last of many would
            # wait for as many time limits, past that of its attempt.
            return self._make_do(seen, forced, self._failure)
        locked = self._lock(application, seen, forced)
        if isinstance(locked, Token):
            return locked
        try:
            if locked.generation != seen.generation and self._lasts(locked, 0):
                self._store.unlock(locked)
                return self._keep(locked)
            return self._exchange(application, locked, forced)
        except (Refused, NoAnswer):
            raise
        except BaseException:
            self._store.unlock(locked)
            raise

    def _lock(
        self, application: Application, seen: ConnectionRecord, forced: bool
    ) -> ConnectionRecord | Token:
        """The row under its lock, or the token that another process has stored meanwhile."""
        end = self._clock.monotonic() + PATIENCE
        died: list[str] = []

        def left(owner: str) -> bool:
            if not processes.has_left(owner):
                return False
            died.append(owner)
            return True

        while True:
            now = self._clock.now()
            try:
                locked = self._store.lock(
                    self.connection,
                    self._owner,
                    until=now + micros(self._lease),
                    now=now,
                    left=left,
                )
            except KeyError:
                raise NotConnected(application.provider) from None
            if locked is not None:
                if died and application.provider.rotation in _SINGLE_USE:
                    self._pause(SETTLE)
                return locked
            record = self._read(application)
            if self._lasts(record, 0) and (record.generation != seen.generation or not forced):
                return self._keep(record)
            if self._clock.monotonic() >= end:
                error = NoAnswer("another process is renewing the login and does not end", sent=False)
                self._note(error)
                raise error
            self._pause(LOOK)

    def _exchange(self, application: Application, locked: ConnectionRecord, forced: bool) -> Token:
        begun = self._clock.now()
        tokens = self._store.open(locked)
        try:
            granted = self._asked(application, locked, tokens)
        except NoAnswer as error:
            self._note(error)
            self._store.refused(locked, error.message)
            return self._make_do(locked, forced, error)
        except Refused as error:
            return self._refused(application, locked, forced, error)
        new = Tokens(granted.access, granted.refresh or tokens.refresh, tokens.seed)
        stored = self._stored(locked, new, begun + micros(granted.expires_in), granted.scopes)
        record = self._store.get(self.connection)
        if record is None:
            raise NotConnected(application.provider)
        if not stored and (record.generation == locked.generation or not self._lasts(record, 0)):
            # Somebody else took the lock over and is not done. What we were given is never used.
            raise NoAnswer("the login's lock was lost while the provider answered", sent=True)
        self._log.debug("login renewed", connection=self.connection, generation=record.generation)
        return self._keep(record)

    def _asked(self, application: Application, locked: ConnectionRecord, tokens: Tokens) -> Granted:
        """Ask for new tokens; once more where that cannot do harm."""
        for again in (True, False):
            form = application.renewal(tokens.refresh)
            try:
                return application.request_token(form, identify=tokens.refresh is not None)
            except NoAnswer as error:
                harmless = application.provider.rotation.forgiving or not error.sent
                if not again or not harmless:
                    raise
                if not self._store.extend(locked, self._clock.now() + micros(self._lease)):
                    raise
        raise AssertionError("the last round returns or raises")

    def _stored(
        self, locked: ConnectionRecord, tokens: Tokens, expires_at: int, scopes: tuple[str, ...] | None
    ) -> bool:
        """Store what was granted. It may be the only copy: a ledger that is away is waited for."""
        end = self._clock.monotonic() + self._lease
        while True:
            try:
                return self._store.renewed(
                    locked, tokens, expires_at=expires_at, scopes=scopes, now=self._clock.now()
                )
            except LedgerUnavailable:
                if self._clock.monotonic() >= end:
                    raise
                self._pause(LOOK)

    def _refused(
        self, application: Application, locked: ConnectionRecord, forced: bool, error: Refused
    ) -> Token:
        """Note a refusal; it ends the login only if nobody was faster, and a person can sign in again."""
        if error.trouble in _PASSING:
            self._note(error)
        state = _STATES.get(error.trouble)
        record = self._store.get(self.connection)
        if record is not None and record.generation != locked.generation and self._lasts(record, 0):
            return self._keep(record)
        if state is not None and application.attended:
            self._known = None
            self._store.refused(locked, error.message, state)
            self._log.warning("login lost", connection=self.connection, error=error.message)
            raise error
        self._store.refused(locked, error.message)
        return self._make_do(locked, forced, error)

    def _note(self, error: Refused | NoAnswer) -> None:
        """Let those who wait meanwhile know."""
        self._failures, self._failure = self._failures + 1, error

    def _make_do(self, locked: ConnectionRecord, forced: bool, error: Refused | NoAnswer) -> Token:
        """The token at hand, if it still lives and nobody has rejected it."""
        if forced or not self._lasts(locked, 0):
            raise error
        self._log.info("login not renewed yet", connection=self.connection, error=error.message)
        return self._keep(locked)
