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

    def clock(self) -> ServerClock:
        return ServerClock(self.ask, elapsed=lambda: self.uptime)


def test_it_tells_the_servers_time_and_goes_on_by_itself() -> None:
    server = Server()
    clock = server.clock()
    assert clock.now() == 5_000 * SECOND
    server.uptime += 7
    assert clock.now() == 5_007 * SECOND
    assert server.asked == 1


def test_the_way_there_and_back_is_halved() -> None:
    server = Server()
    server.takes = 0.5
    assert server.clock().now() == 5_000.25 * SECOND


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
