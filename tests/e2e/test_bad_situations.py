"""What goes wrong around an engine: removed and changed destinations, a full disk, two engines, reloads."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conveyor.ledger.records import Status
from conveyor.receiver import Answer, Receiver
from e2e.kit import Place, until

Places = Callable[..., Place]


def test_a_removed_destination_holds_its_work_until_it_is_back(
    place: Places, hook: dict[str, Any], receiver: Receiver
) -> None:
    here = place(hook=hook, other=hook)
    with here.open() as installation:
        submitted = installation.submitter().submit(b"photo", to=["hook"], filename="a.jpg")
    here.configure({"other": hook})
    assert here.start("--until-idle").wait(60) == 1
    with here.open() as installation:
        (delivery,) = installation.ledger.deliveries.of_job(submitted.job_id)
        assert delivery.status is Status.PENDING
        assert installation.standing().of(delivery) == ("held", "removed")
        assert "configure hook again" in str(installation.standing().cure(delivery))
    here.configure({"hook": hook})
    assert here.start("--until-idle").wait(60) == 0
    assert [r.delivery_id for r in receiver.received] == [delivery.id]


def test_an_id_that_changes_its_type_under_waiting_work_is_held(
    place: Places, hook: dict[str, Any], receiver: Receiver
) -> None:
    here = place(hook=hook)
    with here.open() as installation:
        submitted = installation.submitter().submit(b"photo", to=["hook"], filename="a.jpg")
    other = {"type": "s3", "bucket": "b", "endpoint": receiver.url, "access_key": "k", "secret_key": "s"}
    here.configure({"hook": other})
    assert here.start("--until-idle").wait(60) == 1
    with here.open() as installation:
        (delivery,) = installation.ledger.deliveries.of_job(submitted.job_id)
        assert installation.standing().of(delivery) == ("held", "invalid_config")
        problem = installation.known("hook").problem
        assert "was of type webhook and is now s3" in str(problem)
        installation.ledger.orders.cancel(
            installation.filter(_by_id(delivery.id)), now=installation.clock.now()
        )
    with here.open() as installation:
        assert installation.known("hook").problem is None
    assert not receiver.requests


def _by_id(ident: str) -> Any:
    from conveyor.status.selection import Selection

    return Selection(ids=(ident,))


def test_a_reload_takes_over_a_new_destination_without_dropping_work(
    place: Places, hook: dict[str, Any], receiver: Receiver
) -> None:
    here = place(hook=hook)
    engine = here.start()
    until(lambda: "delivering" in here.log(), "the engine runs")
    here.configure({"hook": hook, "late": {**hook, "path_template": "late/{filename}"}})
    engine.send_signal(signal.SIGHUP)
    until(lambda: "config reloaded" in here.log(), "the reload")
    with here.open() as installation:
        installation.submitter().submit(b"photo", to=["hook", "late"], filename="a.jpg")
    until(lambda: len(receiver.received) == 2, "both deliveries")
    here.path.write_text("destinations: {hook: {type: webhok}}\nledgr: x\n")
    engine.send_signal(signal.SIGHUP)
    until(lambda: "the old one stays in force" in here.log(), "the refusal")
    assert "did you mean 'ledger'" in here.log()
    engine.send_signal(signal.SIGTERM)
    assert engine.wait(30) == 0


def test_sigterm_finishes_what_runs_and_gives_the_rest_back(
    place: Places, hook: dict[str, Any], receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answer_next(Answer(503))
    here = place(hook={**hook, "retry": {"schedule": ["1h"]}}, settings={"workers": {"threads": 2}})
    with here.open() as installation:
        for number in range(3):
            installation.submitter().submit(b"photo", to=["hook"], filename=f"{number}.jpg")
    engine = here.start()
    until(lambda: len(receiver.requests) >= 3, "three requests")
    engine.send_signal(signal.SIGTERM)
    assert engine.wait(30) == 0
    with here.open() as installation:
        found = installation.ledger.deliveries.counts(installation.filter(_all()))
        assert found == {Status.DELIVERED: 2, Status.PENDING: 1}
        assert installation.ledger.workers.all() == []


def _all() -> Any:
    from conveyor.status.selection import Selection

    return Selection()


def test_an_engine_killed_mid_upload_is_followed_within_seconds_on_this_host(
    place: Places, hook: dict[str, Any], receiver: Receiver
) -> None:
    """A dead process is noticed by its pid, long before its lease runs out."""
    here = place(hook={**hook}, settings={"workers": {"threads": 2, "lease": "10m"}})
    with here.open() as installation:
        submitted = installation.submitter().submit(b"x" * 50_000_000, to=["hook"], filename="big.bin")
        first = here.start()
        until(
            lambda: (
                installation.ledger.deliveries.of_job(submitted.job_id)[0].status is Status.DELIVERING
                or receiver.received
            ),
            "the first attempt",
        )
        first.kill()
        first.wait()
        assert here.start("--until-idle", "--idle-horizon", "10").wait(60) == 0
        (delivery,) = installation.ledger.deliveries.of_job(submitted.job_id)
        assert delivery.status is Status.DELIVERED
    assert {r.delivery_id for r in receiver.received} == {delivery.id}
