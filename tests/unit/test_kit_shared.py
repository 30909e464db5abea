"""Clients shared by the connectors of a process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from conveyor.kit.shared import Clients


class Client:
    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def clients() -> Clients[Client]:
    return Clients(Client.close)


def test_the_last_user_closes(clients: Clients[Client]) -> None:
    first, second = clients.acquire("a", Client), clients.acquire("a", Client)
    other = clients.acquire("b", Client)
    assert first.client is second.client is not other.client
    assert len(clients) == 2
    clients.release(first)
    assert first.client.closed == 0
    clients.release(second)
    assert (first.client.closed, other.client.closed, len(clients)) == (1, 0, 1)


def test_a_discarded_one_serves_its_users_and_nobody_else(clients: Clients[Client]) -> None:
    old = clients.acquire("a", Client)
    clients.discard(old)
    new = clients.acquire("a", Client)
    assert new.client is not old.client
    clients.release(old)
    assert (old.client.closed, new.client.closed, len(clients)) == (1, 0, 1)


def test_what_cannot_be_made_is_not_kept(clients: Clients[Client]) -> None:
    def fails() -> Client:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        clients.acquire("a", fails)
    assert len(clients) == 0
    assert clients.acquire("a", Client).users == 1


def test_many_threads_make_one(clients: Clients[Client]) -> None:
    made: list[Client] = []

    def make() -> Client:
        made.append(Client())
        return made[-1]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: clients.acquire("a", make), range(100)))
    assert len(made) == 1


def test_another_process_has_its_own(clients: Clients[Client], monkeypatch: pytest.MonkeyPatch) -> None:
    here = clients.acquire("a", Client)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert clients.acquire("a", Client).client is not here.client


def test_a_key_stays_out_of_the_text(clients: Clients[Client]) -> None:
    assert "s3cret" not in repr(clients.acquire("s3cret", Client))
