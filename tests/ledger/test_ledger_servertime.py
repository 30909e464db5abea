"""The server's clock between two questions."""

from __future__ import annotations

import pytest

from conveyor.clock import SECOND
from conveyor.errors import LedgerUnavailable
from conveyor.ledger.servertime import EVERY, ServerClock
from conveyor.testing.ports import wait_until


class Server:
    """A machine's uptime and a server's time, both moved by the test."""

    def __init__(self) -> None:
        self.uptime, self.time, self.takes, self.asked = 100.0, 5_000.0, 0.0, 0
        self.away = False

    def ask(self) -> int:
        self.asked += 1
        if self.away:
            raise LedgerUnavailable("away")
        self.uptime += self.takes
        return round(self.time * SECOND)

    def pass_by(self, seconds: float) -> None:
        self.uptime += seconds
        self.time += seconds

    def clock(self) -> ServerClock:
        return ServerClock(self.ask, elapsed=lambda: self.uptime)


def test_it_tells_the_servers_time_and_goes_on_by_itself() -> None:
    server = Server()
    clock = server.clock()
    assert clock.now() == 5_000 * SECOND
    server.uptime += 7
    assert clock.now() == 5_007 * SECOND
    assert server.asked == 1


@pytest.mark.parametrize(("there", "back"), [(0.5, 0.0), (0.0, 0.5), (0.25, 0.25), (8.0, 0.0), (0.0, 8.0)])
def test_it_is_never_ahead_however_long_the_question_or_the_answer_takes(there: float, back: float) -> None:
    server = Server()

    def ask() -> int:
        server.pass_by(there)
        told = server.ask()
        server.pass_by(back)
        return told

    clock = ServerClock(ask, elapsed=lambda: server.uptime)
    late = server.time - clock.now() / SECOND
    assert late == pytest.approx(back)


def test_slow_answers_at_the_beginning_are_asked_for_again_and_the_nearest_counts() -> None:
    server = Server()
    ways = iter([5.0, 3.0, 4.0])

    def ask() -> int:
        told = server.ask()
        server.pass_by(next(ways))
        return told

    clock = ServerClock(ask, elapsed=lambda: server.uptime)
    assert server.asked == 3
    assert clock.now() == (server.time - 3.0) * SECOND


def test_it_asks_again_in_the_background() -> None:
    server = Server()
    clock = server.clock()
    server.uptime, server.time = server.uptime + EVERY, 9_000.0
    clock.now()
    wait_until(lambda: clock.now() == 9_000 * SECOND, 10, "the new time")
    assert server.asked == 2


def test_a_slow_answer_and_an_absent_server_change_nothing() -> None:
    server = Server()
    clock = server.clock()
    server.takes, server.time = 3.0, 9_000.0
    clock.sync()
    assert clock.now() == 5_003 * SECOND
    server.away = True
    server.uptime += EVERY
    clock.now()
    wait_until(lambda: server.asked == 3, 10, "the question")
    assert clock.now() == (5_003 + EVERY) * SECOND
    with pytest.raises(LedgerUnavailable):
        clock.sync()
