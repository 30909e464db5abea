"""Processes that fight for a login whose tokens live for a second, and are killed at random."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import oauth_server, postgres
from servers.oauth_rules import Rules
from servers.oauth_server import OAuthServer
from servers.standins.box import BoxStandIn
from servers.standins.box.sign_in import SCOPE, BoxRules
from servers.standins.kit import running

from conveyor.clock import SystemClock
from conveyor.contract import Rotation
from conveyor.keyring import Keyring
from conveyor.ledger import migrate, open_ledger
from conveyor.ledger.connections import Tokens
from conveyor.testing.plugin import requires
from conveyor.testing.ports import wait_until

RACER = Path(__file__).with_name("oauth_racer.py")
PROCESSES, THREADS = 2, 8


class Race:
    """Racers over one ledger.

    Args:
        folder: For what they say.
        server: Where the login is renewed.
        url: The ledger's; by default a file.
    """

    def __init__(
        self,
        folder: Path,
        server: OAuthServer | BoxStandIn,
        url: str | None = None,
    ) -> None:
        self.folder, self.server = folder, server
        self.url, self.key = url or f"sqlite:///{folder}/ledger.db", folder / "key"
        self.said: list[Path] = []
        self.racers: list[subprocess.Popen[bytes]] = []
        keyring, clock = Keyring.load(file=self.key, create=True), SystemClock()
        if isinstance(server, OAuthServer):
            provider, self.kind, (access, refresh) = "acme", server.rules.rotation.value, server.sign_in()
        else:
            provider, self.kind, (access, refresh) = "box", "box", server.sign_in(SCOPE)
        with open_ledger(self.url, clock=clock, keyring=keyring) as ledger:
            ledger.connections.put(
                "d",
                provider,
                Tokens(access, refresh),
                expires_at=clock.now() + 1_000_000,
                scopes=(),
                account=(None, None),
                now=clock.now(),
            )

    def start(self) -> subprocess.Popen[bytes]:
        said = self.folder / f"racer-{len(self.said)}.txt"
        self.said.append(said)
        words = (self.url, str(self.key), self.server.url, self.kind, str(THREADS))
        with said.open("wb") as out:
            racer = subprocess.Popen([sys.executable, str(RACER), *words], stdout=out, stderr=out)
        self.racers.append(racer)
        return racer

    def stored(self) -> int:
        """Renewals whose answer was stored."""
        with open_ledger(self.url, clock=SystemClock()) as ledger:
            record = ledger.connections.get("d")
        assert record is not None
        return record.generation - 1

    def words(self, word: str) -> list[str]:
        lines = [line for said in self.said for line in said.read_text().splitlines()]
        return [line for line in lines if line.startswith(word)]

    def stop(self) -> None:
        for racer in self.racers:
            with contextlib.suppress(ProcessLookupError):
                racer.kill()
            racer.wait(30)


@pytest.fixture
def server() -> Iterator[OAuthServer]:
    with oauth_server.start(Rules(life=1.0)) as started:
        yield started


def run(race: Race, exchanges: int, *, kills: int, seconds: float) -> int:
    """Race until the login was renewed so often and so many were killed; returns the kills."""
    rules = race.server.rules
    running = [race.start() for _ in range(PROCESSES)]
    chance, killed, end = random.Random(7), 0, time.monotonic() + seconds
    due = rules.exchanges + 2
    try:
        while rules.exchanges < exchanges or killed < kills:
            assert time.monotonic() < end, (rules.exchanges, killed, [said.read_text() for said in race.said])
            assert not race.words("lost"), race.words("lost")
            time.sleep(0.005)
            if killed < kills and rules.exchanges >= due:
                # Right after an exchange began to count, so that some fall between answer and storing.
                time.sleep(chance.random() * 0.03)
                victim = chance.randrange(PROCESSES)
                running[victim].kill()
                running[victim] = race.start()
                killed, due = killed + 1, rules.exchanges + 1
    finally:
        race.stop()
    return killed


def test_logins_survive_kills_where_the_old_token_is_honoured(tmp_path: Path, server: OAuthServer) -> None:
    server.rules.rotation = Rotation.UNTIL_USED
    race = Race(tmp_path, server)
    assert run(race, 8, kills=4, seconds=90) == 4
    assert server.rules.refusals == []
    assert len(race.words("used")) > 20


def box_race(folder: Path, exchanges: int, kills: int, seconds: float) -> None:
    with running(BoxStandIn(rules=BoxRules(life=1.0))) as box:
        race = Race(folder, box)
        assert run(race, exchanges, kills=kills, seconds=seconds) == kills
        assert box.rules.refusals == []
        assert len(race.words("used")) > 20


def test_logins_at_box_survive_kills(tmp_path: Path) -> None:
    box_race(tmp_path, 8, kills=4, seconds=90)


@pytest.mark.long
def test_a_long_race_at_box(tmp_path: Path) -> None:
    box_race(tmp_path, 120, kills=60, seconds=900)


@pytest.mark.server
def test_logins_survive_kills_on_postgresql(tmp_path: Path, server: OAuthServer) -> None:
    requires(postgres.binaries() is not None, postgres.PACKAGE)
    server.rules.rotation = Rotation.UNTIL_USED
    with postgres.start() as database:
        migrate(database.url())
        race = Race(tmp_path, server, database.url())
        assert run(race, 6, kills=3, seconds=90) == 3
    assert server.rules.refusals == []


def test_a_strict_provider_never_sees_a_token_twice(tmp_path: Path, server: OAuthServer) -> None:
    server.rules.rotation = Rotation.STRICT
    race = Race(tmp_path, server)
    run(race, 6, kills=0, seconds=60)
    assert server.rules.refusals == []


def test_a_strict_provider_costs_a_login_for_a_kill_within_the_exchange(
    tmp_path: Path, server: OAuthServer
) -> None:
    server.rules.rotation = Rotation.STRICT
    server.slow = 3.0
    race = Race(tmp_path, server)
    try:
        racer = race.start()
        wait_until(lambda: server.rules.exchanges, 60, "a renewal")
        racer.kill()  # carried out there, and not yet answered
        assert (server.rules.exchanges, race.stored()) == (1, 0)
        race.start()
        wait_until(lambda: race.words("lost"), 60, "the loss")
    finally:
        race.stop()


def test_a_strict_provider_costs_no_login_for_kills_at_other_times(
    tmp_path: Path, server: OAuthServer
) -> None:
    server.rules.rotation = Rotation.STRICT
    server.rules.life = 4.0
    race = Race(tmp_path, server)
    racers = [race.start() for _ in range(PROCESSES)]
    try:
        for number in range(3):
            wait_until(lambda seen=server.rules.exchanges: server.rules.exchanges > seen, 60, "a renewal")
            wait_until(lambda: race.stored() == server.rules.exchanges, 10, "it to be stored")
            racers[number % PROCESSES].kill()
            racers[number % PROCESSES] = race.start()
        wait_until(lambda seen=server.rules.exchanges: server.rules.exchanges > seen, 60, "a renewal")
    finally:
        race.stop()
    assert server.rules.refusals == []
    assert not race.words("lost")


@pytest.mark.long
def test_a_long_race_with_kills(tmp_path: Path, server: OAuthServer) -> None:
    server.rules.rotation = Rotation.UNTIL_USED
    race = Race(tmp_path, server)
    assert run(race, 120, kills=60, seconds=900) == 60
    assert server.rules.refusals == []
