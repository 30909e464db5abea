"""``/metrics``: what is told, what is not, and where it is served."""

from __future__ import annotations

import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Place, until

from conveyor.config.settings import listening_at
from conveyor.errors import ConveyorError, LedgerUnavailable
from conveyor.installation import Installation
from conveyor.status.figures import Gauge
from conveyor.status.metrics import MetricsServer
from conveyor.testing.ports import free_port, listens

PASSWORD = "never-to-be-told"


def scrape(port: int) -> dict[str, float]:
    """Samples by name and labels, as Prometheus reads them."""
    from prometheus_client.parser import text_string_to_metric_families

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    assert PASSWORD not in text
    assert "dlv_" not in text
    assert "job_" not in text
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_engine_serves_what_the_ledger_knows(
    place: Callable[..., Place], hook: dict[str, Any], processes: str
) -> None:
    port = free_port()
    partner = {
        "type": "sftp", "host": "127.0.0.1", "username": "me", "password": PASSWORD, "host_key": "accept-new"
    }  # fmt: skip
    here = place(hook=hook, partner=partner, settings={"metrics": port})
    here.cli("pause", "partner")
    photo = here.folder / "a.jpg"
    photo.write_bytes(b"12345")
    here.cli("send", str(photo), "--to", "hook,partner")
    engine = here.start("--processes", processes)
    ended = "conveyor_attempts_total,destination=hook,kind=,outcome=delivered"
    until(lambda: listens(port), "metrics")
    told = until(lambda: (now := scrape(port)).get(ended) and now, "the delivery's count")
    assert told[ended] == 1
    assert told["conveyor_sent_bytes_total,destination=hook"] >= 5
    assert told["conveyor_due,destination=partner"] == 1
    assert told["conveyor_due,destination=hook"] == 0
    assert told["conveyor_oldest_due_age_seconds,destination=partner"] > 0
    assert told["conveyor_destination_held,destination=partner,reason=paused"] == 1
    assert told["conveyor_workers"] == int(processes)
    assert told["conveyor_lateness_seconds,quantile=1.0"] > 0
    assert told["conveyor_stuck,kind=claim"] == 0
    second = here.start("--processes", "1", log="second.log")
    text = here.folder / "second.log"
    until(lambda: "metrics are not served here" in text.read_text(), "a taken port is no reason to stop")
    for each in (engine, second):
        each.send_signal(signal.SIGTERM)
        assert each.wait(60) == 0
    assert here.cli("run", "--metrics", "nowhere", check=False).returncode == 1


def test_a_ledger_that_is_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "conveyor.yaml"
    config.write_text("destinations:\n  backend: {type: webhook, url: 'https://example.com/'}\n")
    installation = Installation.open(config)

    def away(*_: object) -> None:
        raise LedgerUnavailable("gone")

    try:
        with MetricsServer("0", Gauge(installation, fresh=0.0)) as server:
            assert scrape(server.port)["conveyor_ledger_up"] == 1
            monkeypatch.setattr(installation.ledger.figures, "stuck", away)
            told = scrape(server.port)
            assert told["conveyor_ledger_up"] == 0
            assert not [name for name in told if name.startswith("conveyor_due")]
            with pytest.raises(ConveyorError, match="cannot be served"):
                MetricsServer(str(server.port), Gauge(installation))
    finally:
        installation.close()


def test_a_port_alone_is_the_loopback_interfaces() -> None:
    assert listening_at("9464") == ("127.0.0.1", 9464)
    assert listening_at("[::1]:9464") == ("::1", 9464)
    for wrong in ("", "host", "host:", "host:70000", "9464 "):
        with pytest.raises(ValueError, match="host:port"):
            listening_at(wrong)
