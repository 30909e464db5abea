"""``conveyor doctor``: each trouble is found, and told with its cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli.operator_line import OperatorLine

from conveyor.clock import SECOND
from conveyor.config.broker import parse
from conveyor.status import doctor
from conveyor.status.doctor import Level, disk, examine
from conveyor.status.doctor_broker import broker, settings

CONFIG = "destinations:\n  backend: {type: webhook, url: 'https://example.com/'}\n"


def found(operator: OperatorLine) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    ended = operator("doctor", "--json")
    by_check: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(ended.out)["findings"]:
        by_check.setdefault(each["check"], []).append(each)
    return ended.code, by_check


def test_a_sound_installation_is_well(operator: OperatorLine) -> None:
    operator("status")  # whoever comes first makes the key
    operator.simulation.parts.heartbeat.beat()
    code, checks = found(operator)
    wrong = {name: each for name, some in checks.items() for each in some if each["level"] == "error"}
    assert not wrong
    assert {"versions", "config", "migrations", "workers", "payloads", "disk", "stuck rows"} <= set(checks)
    assert not list((operator.folder / "payloads").rglob("pay_*")), "the probe is gone"
    assert code == (0 if all(e["level"] == "ok" for some in checks.values() for e in some) else 1)
    assert "not-to-be-shown" not in operator("doctor").out


def test_what_is_stuck_and_late_is_told_with_its_cure(operator: OperatorLine) -> None:
    operator("status")
    sim = operator.simulation
    sim.submit(to=["backend"])
    sim.clock.advance(1200)
    code, checks = found(operator)
    assert code == 1
    (late,) = checks["stuck rows"]
    assert "backend: something has been due for 20 min" in late["message"]
    assert late["cure"]
    sim.clock.advance(8 * 24 * 3600)
    code, checks = found(operator)
    assert any("past their expire_after" in each["message"] for each in checks["stuck rows"])
    assert "not-to-be-shown" not in str(checks)
    assert checks["workers"][0]["cure"] == "conveyor run, or conveyor worker"
    said = operator("doctor").out
    assert "warning  workers: no worker is running\n         → conveyor run" in said


def test_mistakes_in_the_config_end_the_look(operator: OperatorLine) -> None:
    (operator.folder / "conveyor.yaml").write_text("ledger: nowhere\n")
    code, checks = found(operator)
    assert code == 1
    assert checks["config"][0]["level"] == "error"
    assert "migrations" not in checks


def test_a_missing_key_is_no_reason_to_make_another(operator: OperatorLine) -> None:
    (operator.folder / "conveyor.key").unlink()
    _, checks = found(operator)
    assert "is missing" in checks["key"][0]["message"]
    assert not (operator.folder / "conveyor.key").exists()


def test_a_missing_ledger_is_not_made(tmp_path: Path) -> None:
    config = tmp_path / "conveyor.yaml"
    config.write_text(CONFIG)
    (missing,) = (each for each in examine(config) if each.check == "migrations")
    assert (missing.level, missing.cure) == (Level.ERROR, "conveyor migrate, or a first `send`")
    assert not (tmp_path / "conveyor.db").exists()


def test_an_older_ledger_is_told_and_not_migrated(
    operator: OperatorLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conveyor.ledger.schema.HEAD", "9999")
    _, checks = found(operator)
    assert "this program needs 9999" in checks["migrations"][0]["message"]
    assert "payloads" not in checks


def test_a_full_disk_is_an_error_before_it_is_full() -> None:
    here = Path("/data")
    assert disk("payloads", here, 100 << 30, 0).level is Level.OK
    assert disk("payloads", here, 1 << 30, 10**6).level is Level.WARNING
    assert disk("payloads", here, 1 << 20, 10**6).level is Level.ERROR
    assert "9 more files" in disk("payloads", here, 100 << 30, 9).message


def test_a_store_that_gives_back_less_is_told_and_the_other_looks_are_made(
    operator: OperatorLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conveyor.payloads.local import LocalStore

    operator("status")
    put = LocalStore.put

    def cut(self: Any, *args: Any, **kwargs: Any) -> Any:
        record = put(self, *args, **kwargs)
        (self.root / record.path).chmod(0o600)
        (self.root / record.path).write_bytes(b"conv")
        return record

    monkeypatch.setattr(LocalStore, "put", cut)
    code, checks = found(operator)
    assert code == 1
    assert checks["payloads"][0]["level"] == "error"
    assert {"disk", "stuck rows"} <= set(checks)


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (PermissionError(13, "Permission denied", "/data"), "Permission denied: /data"),
        (RuntimeError("password=hunter2"), "this look ended with RuntimeError"),
    ],
)
def test_whatever_a_look_runs_into_the_others_are_made(
    operator: OperatorLine, monkeypatch: pytest.MonkeyPatch, trouble: Exception, says: str
) -> None:
    def broken(installation: Any) -> Any:
        raise trouble

    operator("status")
    monkeypatch.setitem(doctor._LOOKS, "disk", broken)
    _, checks = found(operator)
    (told,) = checks["disk"]
    assert (told["level"], told["message"]) == ("error", says)
    assert told["cure"]
    assert {"payloads", "stuck rows"} <= set(checks)


@pytest.mark.server
def test_the_ledgers_clock_is_compared_with_ours(
    tmp_path: Path, postgres_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conveyor.ledger import migrate
    from conveyor.ledger.postgres import PostgresDatabase

    with postgres_server.ledger() as url:
        migrate(url)
        config = tmp_path / "conveyor.yaml"
        key = "bGVkZ2VyLXRlc3Qta2V5LWxlZGdlci10ZXN0LWtleSE="
        config.write_text(f"ledger: {json.dumps(url)}\nkey: {{value: '{key}'}}\n{CONFIG}")

        def clock() -> doctor.Finding:
            (only,) = (each for each in examine(config) if each.check == "clock")
            return only

        assert clock().level is Level.OK
        asked = PostgresDatabase.server_time
        for ahead, level in ((60, Level.WARNING), (-600, Level.ERROR)):
            monkeypatch.setattr(
                PostgresDatabase, "server_time", lambda self, by=ahead: asked(self) + by * SECOND
            )
            assert clock().level is level
            assert "NTP" in (clock().cure or "")


@pytest.mark.parametrize(
    "url",
    [
        "amqp://me:never-to-be-told@127.0.0.1:1/?heartbeat=often",
        "redis://:never-to-be-told@127.0.0.1:1/0?socket_timeout=long",
        "redis://:never-to-be-told@127.0.0.1:1/0?no_such=1",
        "redis+sentinel://:never-to-be-told@127.0.0.1:1/service/0?sentinel_no_such=1",
    ],
)
def test_a_brokers_option_that_its_client_refuses_is_named(operator: OperatorLine, url: str) -> None:
    operator("status")
    config = operator.folder / "conveyor.yaml"
    config.write_text(f"broker: '{url}'\n{config.read_text()}")
    _, checks = found(operator)
    (told,) = checks["broker"]
    assert told["level"] == "error"
    assert url.partition("?")[2].partition("=")[0] in told["message"]
    assert "never-to-be-told" not in str(told)
    assert "stuck rows" in checks
    ended = operator("worker")
    assert ended.code == 1
    assert "its client refuses the URL" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.server
def test_redis_is_asked_for_what_matters(the_redis_server: Any) -> None:
    redis_server = the_redis_server
    told = list(broker(parse(redis_server.url)))
    assert [each.level for each in told] == [Level.OK] * 3
    assert "persistence" in told[2].message
    (wrong,) = broker(parse(redis_server.url.replace(str(redis_server.port), "1")))
    assert (wrong.level, "ConnectionError" in wrong.message) == (Level.ERROR, True)
    full = {"maxmemory_policy": "noeviction", "maxmemory": 100, "used_memory": 95}
    assert next(settings(full)).level is Level.WARNING
    assert next(settings({**full, "maxmemory_policy": "allkeys-lru"})).level is Level.OK
    assert list(settings({"rdb_last_bgsave_status": "err"}))[1].level is Level.WARNING


@pytest.mark.server
def test_rabbitmq_is_asked_whether_it_is_there(rabbitmq_server: Any) -> None:
    told = list(broker(parse(rabbitmq_server.url)))
    assert [each.level for each in told] == [Level.OK] * 2
    assert told[0].message.startswith("RabbitMQ 3") or told[0].message.startswith("RabbitMQ 4")
    (wrong,) = broker(parse("amqp://me:never-to-be-told@127.0.0.1:1/"))
    assert wrong.level is Level.ERROR
    assert "never-to-be-told" not in wrong.message
