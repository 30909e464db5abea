"""Workers and dispatchers as real processes on PostgreSQL, woken by RabbitMQ, by Redis, or by nobody."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from e2e.kit import Place, until
from servers import rabbitmq, redis_server
from servers.rabbitmq import RabbitServer
from servers.redis_server import RedisServer

from conveyor.delivery.ringer import LEASE_NAME
from conveyor.installation import Installation
from conveyor.ledger.records import AttemptOutcome, Filter, Status
from conveyor.receiver import Receiver
from conveyor.testing.plugin import requires

pytestmark = pytest.mark.server

Places = Callable[..., Place]
QUICK = {"retry": {"schedule": ["200ms", "500ms", "1s"]}, "limits": {"concurrency": 8}}


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    """The URL of a broker that no other test disturbs."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("the_redis_server")
        server.client().flushall()
        return server.url
    url: str = request.getfixturevalue("rabbitmq_server").url
    return url


def submit(installation: Installation, count: int) -> set[str]:
    submitter = installation.submitter()
    answers = [
        submitter.submit(f"photo {n}".encode(), to=["hook"], filename=f"{n}.jpg") for n in range(count)
    ]
    return {answer.deliveries["hook"] for answer in answers}


def all_delivered(installation: Installation) -> None:
    until(lambda: not installation.ledger.deliveries.open_count(), "everything is final", patience=120)
    records = installation.ledger.deliveries.find(Filter(), limit=10**6)
    assert {record.status for record in records} == {Status.DELIVERED}
    for record in records:
        attempts = installation.ledger.deliveries.attempts(record.id)
        assert [a.attempt for a in attempts] == list(range(1, record.attempt + 1))
        assert AttemptOutcome.RUNNING not in {a.outcome for a in attempts}


def end(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        assert process.wait(60) == 0


def leads(installation: Installation) -> str | None:
    return installation.ledger.leases.holder(LEASE_NAME, installation.clock.now())


def test_workers_are_woken_by_a_dispatcher(
    place: Places, hook: dict[str, Any], ledger: dict[str, Any], broker: str, receiver: Receiver
) -> None:
    here = place(hook={**hook, **QUICK}, settings={**ledger, "broker": broker})
    with here.open() as installation:
        dispatchers = [here.launch("conveyor", "dispatcher") for _ in range(2)]
        until(lambda: leads(installation), "a dispatcher leads")
        workers = [here.launch("conveyor", "worker") for _ in range(2)]
        ids = submit(installation, 60)
        all_delivered(installation)
        assert "polling the ledger" not in here.log()
        assert here.log().count("this dispatcher leads") == 1
        assert Counter(r.delivery_id for r in receiver.received) == Counter(ids)
        end(*workers, *dispatchers)
        assert leads(installation) is None
        assert not installation.ledger.workers.all()


def test_without_a_dispatcher_workers_look_for_themselves(
    place: Places, hook: dict[str, Any], ledger: dict[str, Any], broker: str, receiver: Receiver
) -> None:
    here = place(hook={**hook, **QUICK}, settings={**ledger, "broker": broker})
    with here.open() as installation:
        worker = here.launch("conveyor", "worker")
        ids = submit(installation, 10)
        all_delivered(installation)
        assert "no dispatcher rings" in here.log()
        assert Counter(r.delivery_id for r in receiver.received) == Counter(ids)
        end(worker)


def test_a_dispatcher_that_is_killed_is_followed_by_the_other(
    place: Places, hook: dict[str, Any], ledger: dict[str, Any], the_redis_server: RedisServer
) -> None:
    here = place(hook={**hook, **QUICK}, settings={**ledger, "broker": the_redis_server.url})
    with here.open() as installation:
        first = here.launch("conveyor", "dispatcher")
        before = until(lambda: leads(installation), "a dispatcher leads")
        second = here.launch("conveyor", "dispatcher")
        worker = here.launch("conveyor", "worker")
        submit(installation, 5)
        all_delivered(installation)
        first.kill()
        first.wait()
        until(lambda: leads(installation) not in (None, before), "the other one leads")
        submit(installation, 5)
        all_delivered(installation)
        end(worker, second)


def test_run_does_all_in_one(
    place: Places, hook: dict[str, Any], ledger: dict[str, Any], broker: str, receiver: Receiver
) -> None:
    here = place(hook={**hook, **QUICK}, settings={**ledger, "broker": broker})
    with here.open() as installation:
        ids = submit(installation, 30)
        assert here.start("--processes", "2", "--until-idle").wait(120) == 0
        all_delivered(installation)
    assert Counter(r.delivery_id for r in receiver.received) == Counter(ids)


def test_dramatiqs_own_command_line_starts_workers_too(
    place: Places, hook: dict[str, Any], ledger: dict[str, Any], broker: str, receiver: Receiver
) -> None:
    here = place(hook={**hook, **QUICK}, settings={**ledger, "broker": broker})
    with here.open() as installation:
        dispatcher = here.launch("conveyor", "dispatcher")
        until(lambda: leads(installation), "a dispatcher leads")
        workers = here.launch("dramatiq", "conveyor.worker", "--processes", "2", "--threads", "3")
        until(lambda: len(installation.ledger.workers.all()) == 2, "two workers")
        assert {worker.threads for worker in installation.ledger.workers.all()} == {3}
        ids = submit(installation, 30)
        all_delivered(installation)
        assert Counter(r.delivery_id for r in receiver.received) == Counter(ids)
        end(workers, dispatcher)
        assert not installation.ledger.workers.all()


def test_a_worker_serves_only_what_it_is_told(
    place: Places, hook: dict[str, Any], ledger: dict[str, Any], the_redis_server: RedisServer
) -> None:
    here = place(
        hook={**hook, **QUICK}, other={**hook, **QUICK}, settings={**ledger, "broker": the_redis_server.url}
    )
    with here.open() as installation:
        worker = here.launch("conveyor", "worker", "--destinations", "other", "--processes", "2")
        dispatcher = here.launch("conveyor", "dispatcher")
        answer = installation.submitter().submit(b"photo", to=["hook", "other"], filename="a.jpg")

        def status(name: str) -> Status:
            record = installation.ledger.deliveries.get(answer.deliveries[name])
            assert record is not None
            return record.status

        until(lambda: status("other") is Status.DELIVERED, "what it serves")
        assert status("hook") is Status.PENDING
        general = here.launch("conveyor", "worker", "--types", "webhook,s3")
        all_delivered(installation)
        end(worker, general, dispatcher)
    said = here.cli("worker", "--destinations", "othr", check=False)
    assert (said.returncode, "did you mean 'other'?" in said.stderr) == (2, True)
    said = here.cli("worker", "--types", "webhok", check=False)
    assert (said.returncode, "did you mean 'webhook'?" in said.stderr) == (2, True)


def test_a_dispatcher_needs_a_broker(place: Places, hook: dict[str, Any]) -> None:
    said = place(hook=hook).cli("dispatcher", check=False)
    assert said.returncode == 2
    assert "nobody to ring for" in said.stderr


def test_on_postgres_alone(
    place: Places, hook: dict[str, Any], ledger: dict[str, Any], receiver: Receiver
) -> None:
    here = place(hook={**hook, **QUICK}, settings=ledger)
    with here.open() as installation:
        workers = [here.launch("conveyor", "worker") for _ in range(2)]
        until(lambda: len(installation.ledger.workers.all()) == 2, "two workers")
        ids = submit(installation, 40)
        all_delivered(installation)
        end(*workers)
    assert Counter(r.delivery_id for r in receiver.received) == Counter(ids)


# --- brokers that go away ----------------------------------------------------------------------------


@pytest.fixture
def own_redis() -> RedisServer:
    """A server that has gone again."""
    requires(redis_server.available(), redis_server.PACKAGE)
    with redis_server.start() as server:
        return server


def test_a_broker_that_is_not_there_is_no_reason_to_wait(
    place: Places, hook: dict[str, Any], ledger: dict[str, Any], own_redis: RedisServer, receiver: Receiver
) -> None:
    here = place(hook={**hook, **QUICK}, settings={**ledger, "broker": own_redis.url})
    with here.open() as installation:
        engine = here.start()
        ids = submit(installation, 10)
        all_delivered(installation)
        until(lambda: "broker cannot be reached" in here.log(), "the dispatcher says so")
        assert redis_server.PASSWORD not in here.log()
        with redis_server.start(own_redis.port):
            until(lambda: "waking up by the broker again" in here.log(), "it is back")
            ids |= submit(installation, 10)
            all_delivered(installation)
            end(engine)
    assert Counter(r.delivery_id for r in receiver.received) == Counter(ids)


def test_redis_behind_a_sentinel(
    place: Places, hook: dict[str, Any], ledger: dict[str, Any], the_redis_server: RedisServer
) -> None:
    with redis_server.start_sentinel(the_redis_server, "wakeups") as port:
        url = f"redis+sentinel://:{redis_server.PASSWORD}@127.0.0.1:1,127.0.0.1:{port}/wakeups/3"
        here = place(hook={**hook, **QUICK}, settings={**ledger, "broker": url})
        with here.open() as installation:
            dispatcher = here.launch("conveyor", "dispatcher")
            worker = here.launch("conveyor", "worker")
            until(lambda: leads(installation), "a dispatcher leads")
            submit(installation, 10)
            all_delivered(installation)
            end(worker, dispatcher)
            log = here.log()
            assert "broker cannot be reached" not in log
            assert redis_server.PASSWORD not in log


# --- everything dies ---------------------------------------------------------------------------------


def _disturb(request: pytest.FixtureRequest, broker: str) -> Callable[[], None]:
    """What befalls the broker in the middle of it all."""
    if broker.startswith("redis"):
        server: RedisServer = request.getfixturevalue("the_redis_server")
        return lambda: server.client().flushall()
    rabbit: RabbitServer = request.getfixturevalue("rabbitmq_server")
    assert rabbitmq.available()
    return rabbit.restart


def test_processes_die_and_the_broker_forgets(
    request: pytest.FixtureRequest,
    place: Places,
    hook: dict[str, Any],
    ledger: dict[str, Any],
    broker: str,
    receiver: Receiver,
) -> None:
    """Workers and dispatchers are killed while they deliver; nothing is lost, every attempt is on record.

    A webhook that was posted by a worker which died before it could say so is posted again, under the same
    delivery id: no more of those than attempts that were lost.
    """
    disturb = _disturb(request, broker)
    here = place(hook={**hook, **QUICK}, settings={**ledger, "broker": broker})
    with here.open() as installation:
        ids = submit(installation, 300)
        workers = [here.launch("conveyor", "worker") for _ in range(2)]
        dispatchers = [here.launch("conveyor", "dispatcher") for _ in range(2)]
        for number in range(4):
            goal = (number + 1) * 50
            until(lambda: len(receiver.received) >= goal, "some more", patience=120)  # noqa: B023
            if number == 1:
                disturb()
            victims, verb = (workers, "worker") if number % 2 == 0 else (dispatchers, "dispatcher")
            victim = number // 2
            os.killpg(victims[victim].pid, signal.SIGKILL)
            victims[victim].wait()
            victims[victim] = here.launch("conveyor", verb)
        all_delivered(installation)
        posts = Counter(r.delivery_id for r in receiver.received)
        assert set(posts) == ids
        lost = sum(
            attempt.outcome is AttemptOutcome.LOST
            for ident in ids
            for attempt in installation.ledger.deliveries.attempts(ident)
        )
        assert sum(posts.values()) - len(ids) <= lost
        until(lambda: len(installation.ledger.workers.all()) == 2, "the new workers")
        until(lambda: here.log().count("dispatching") == 4, "the new dispatchers")
        end(*workers, *dispatchers)
    assert "Traceback" not in here.log()
