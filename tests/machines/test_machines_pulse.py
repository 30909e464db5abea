"""What systemd and probes are told."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Place, until

from conveyor.delivery.pulse import STALE, HealthServer, Notifier, Pulse
from conveyor.errors import ConveyorError
from conveyor.testing.ports import free_port, listens


class Systemd:
    """The other end of ``NOTIFY_SOCKET``."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)
        self.told: list[str] = []

    def heard(self) -> list[str]:
        """All that was told so far."""
        while True:
            try:
                self.told += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    listener = Systemd(tmp_path / "notify")
    yield listener
    listener.close()


def notifier(systemd: Systemd, now: list[float], **more: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": systemd.path, **more}, monotonic=lambda: now[0])


def test_ready_is_told_once_and_not_before_it_is_true(systemd: Systemd) -> None:
    now, fit = [100.0], [False]
    pulse = Pulse(ready=lambda: fit[0], notifier=notifier(systemd, now), monotonic=lambda: now[0])
    pulse.turn()
    assert not systemd.heard()
    assert not pulse.ready()
    fit[0], now[0] = True, 102.0
    pulse.turn()
    now[0] = 104.0
    pulse.turn()
    assert systemd.heard().count("READY=1") == 1
    assert pulse.ready()
    pulse.stopping()
    assert "STOPPING=1" in systemd.heard()
    assert not pulse.ready()
    assert pulse.live()


def test_a_process_that_is_replaced_does_not_say_that_the_service_stops(systemd: Systemd) -> None:
    now = [100.0]
    pulse = Pulse(notifier=notifier(systemd, now), monotonic=lambda: now[0])
    pulse.turn()
    pulse.renewing()
    now[0] += STALE
    assert not [told for told in systemd.heard() if told.startswith("STOPPING")]
    assert "WATCHDOG=1" in systemd.told, "the last one for a while"
    assert pulse.live()
    assert not pulse.ready()


def test_the_watchdog_hears_twice_as_often_as_it_asks_and_only_of_the_living(systemd: Systemd) -> None:
    now, alive = [100.0], [True]
    pulse = Pulse(
        live=lambda: alive[0],
        notifier=notifier(systemd, now, WATCHDOG_USEC="10000000"),
        monotonic=lambda: now[0],
    )
    for _ in range(20):
        pulse.turn()
        now[0] += 1
    assert systemd.heard().count("WATCHDOG=1") == 4
    alive[0] = False
    now[0] += 60
    pulse.turn()
    assert systemd.heard().count("WATCHDOG=1") == 4
    assert not pulse.live()


def test_a_reload_is_framed(systemd: Systemd) -> None:
    pulse = Pulse(notifier=notifier(systemd, [0.0]))
    pulse.reloading()
    pulse.reloaded()
    first, second, third = systemd.heard()
    assert (first, third) == ("RELOADING=1", "READY=1")
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0


def test_without_systemd_nothing_is_sent(tmp_path: Path) -> None:
    Notifier({}).tell("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).tell("READY=1")


def test_a_main_loop_that_stands_still_is_neither_live_nor_ready() -> None:
    now = [0.0]
    pulse = Pulse(monotonic=lambda: now[0])
    pulse.turn()
    assert pulse.live()
    assert pulse.ready()
    now[0] += STALE
    assert not pulse.live()
    assert not pulse.ready()


def get(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def test_probes_are_answered() -> None:
    fit = [False]
    pulse = Pulse(ready=lambda: fit[0])
    pulse.READY_EVERY = 0.0
    with HealthServer("127.0.0.1:0", pulse) as server:
        pulse.turn()
        assert get(server.port, "live") == (200, {"live": True, "ready": False})
        assert get(server.port, "ready") == (503, None)
        fit[0] = True
        pulse.turn()
        assert get(server.port, "ready") == (200, {"live": True, "ready": True})
        assert get(server.port, "metrics") == (404, None)
        with pytest.raises(ConveyorError, match="cannot listen"):
            HealthServer(f"127.0.0.1:{server.port}", pulse)
    for wrong in ("127.0.0.1:http", "127.0.0.1:99999", "9180 "):
        with pytest.raises(ConveyorError, match="--health HOST:PORT"):
            HealthServer(f"{wrong}x", pulse)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_real_engine_tells(
    place: Callable[..., Place],
    hook: dict[str, Any],
    systemd: Systemd,
    monkeypatch: pytest.MonkeyPatch,
    processes: str,
) -> None:
    here = place(hook=hook)
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.path)
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    port = free_port()
    monkeypatch.setenv("CONVEYOR_HEALTH", f"127.0.0.1:{port}")
    engine = here.start("--processes", processes)
    until(lambda: "READY=1" in systemd.heard(), "READY")
    until(lambda: listens(port) and get(port, "ready")[0] == 200, "ready over HTTP")
    assert get(port, "live")[0] == 200
    until(lambda: "WATCHDOG=1" in systemd.heard(), "WATCHDOG")
    os.kill(engine.pid, signal.SIGHUP)
    until(lambda: "RELOADING=1" in systemd.heard(), "RELOADING")
    engine.send_signal(signal.SIGTERM)
    assert engine.wait(60) == 0
    assert systemd.heard().count("STOPPING=1") == 1
    assert systemd.heard().count("READY=1") == 2  # children keep quiet; the second one ends the reload
