"""The Python API beside submitting: waiting, listing page by page, ordering."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from conveyor import api
from conveyor.api import Conveyor
from conveyor.errors import UsageError
from conveyor.ledger import postgres
from conveyor.ledger.postgres import PostgresDatabase

CONFIG = """\
default_destinations: [backend]
destinations:
  backend:
    type: webhook
    url: https://hooks.example.com/photos
    labels: {customer: acme}
"""


@pytest.fixture
def conveyor(tmp_path: Path) -> Iterator[Conveyor]:
    path = tmp_path / "conveyor.yaml"
    path.write_text(CONFIG)
    with Conveyor.from_config(path) as opened:
        yield opened


def test_wait_returns_when_a_job_is_final_and_else_when_the_time_is_over(conveyor: Conveyor) -> None:
    job = conveyor.submit(b"photo", filename="a.jpg").job_id
    status = conveyor.wait(job, timeout=0)
    assert not status.final
    assert [d.status for d in status.deliveries] == ["pending"]
    ended: list[Any] = []
    waiter = threading.Thread(target=lambda: ended.append(conveyor.wait(job, timeout=30)))
    waiter.start()
    conveyor.cancel([job])
    waiter.join(30)
    assert ended[0].final
    assert not ended[0].delivered


def test_deliveries_come_newest_first_over_many_pages(
    conveyor: Conveyor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PAGE", 2)
    idents = [conveyor.submit(b"photo", filename=f"{n}.jpg").deliveries["backend"] for n in range(5)]
    newest = [d.id for d in conveyor.deliveries(limit=None)]
    assert newest == idents[::-1]
    assert [d.id for d in conveyor.deliveries(limit=3)] == idents[::-1][:3]
    assert [d.id for d in conveyor.deliveries(label="customer=acme", limit=4)] == idents[::-1][:4]
    assert conveyor.deliveries(status="held") == []


def test_orders_without_a_choice_are_refused(conveyor: Conveyor) -> None:
    ident = conveyor.submit(b"photo", filename="a.jpg").deliveries["backend"]
    with pytest.raises(UsageError):
        conveyor.replay()
    with pytest.raises(UsageError):
        conveyor.cancel([])
    with pytest.raises(UsageError):
        conveyor.replay([ident], to="bakend")
    assert conveyor.replay(everything=True, dry_run=True).matched == 1
    assert conveyor.cancel([ident]).done == (ident,)
    assert conveyor.replay([ident]).done == (ident,)


def test_what_does_not_exist_is_named(conveyor: Conveyor) -> None:
    with pytest.raises(UsageError, match="job_unheard_of"):
        conveyor.job("job_unheard_of")


def test_a_database_that_tells_nobody_is_not_asked_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    database = PostgresDatabase(sa.make_url("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    monkeypatch.setattr(postgres, "LOOK", 3600.0)
    assert [database.changed() for _ in range(3)] == [True, False, False]
    monkeypatch.setattr(postgres, "LOOK", 0.0)
    assert database.changed()
    database.close()
