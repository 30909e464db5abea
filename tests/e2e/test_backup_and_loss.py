"""A backup is taken while an engine delivers; then everything burns down, and is there again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from conveyor.receiver import Receiver
from e2e.conftest import SECRET
from e2e.kit import Place, until

Places = Callable[..., Place]
FILES = 60


def test_what_was_not_delivered_by_then_arrives_from_the_backup(
    place: Places, hook: dict[str, Any], receiver: Receiver, tmp_path: Path
) -> None:
    here = place(hook={**hook, "limits": {"rate": "3/s"}})
    with here.open() as installation:
        for number in range(FILES):
            installation.submitter().submit(b"photo %d" % number, to=["hook"], filename=f"{number}.jpg")
    engine = here.start()
    until(lambda: len(receiver.received) >= 5, "the engine delivers")
    folder = tmp_path / "backup"
    said = json.loads(here.cli("backup", str(folder), "--json").stdout)
    with closing(sqlite3.connect(folder / "ledger.db")) as copy:
        arrived = {row[0] for row in copy.execute("SELECT id FROM deliveries WHERE status = 'delivered'")}
        everything = {row[0] for row in copy.execute("SELECT id FROM deliveries")}
    assert 5 <= len(arrived) < FILES, "it was taken in the middle"
    assert said["ledger"]["deliveries"]["delivered"] == len(arrived)
    assert len(everything) == FILES
    until(lambda: len(receiver.received) > len(arrived) + 2, "the engine goes on")
    os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()
    seen = {request.delivery_id for request in receiver.received}
    assert arrived <= seen
    shutil.rmtree(here.folder)
    shutil.rmtree(receiver.folder)

    with Receiver(tmp_path / "other", secrets=[SECRET]) as other:
        there = place(hook={**hook, "url": other.url})
        there.cli("restore", str(folder))
        assert there.start("--until-idle").wait(60) == 0
        came = [request.delivery_id for request in other.received]
    assert sorted(came) == sorted(everything - arrived), "each of them, once"
    names = {path.name for path in (tmp_path / "other").rglob("*.jpg")}
    assert len(names) == len(came)
    with there.open() as installation:
        assert installation.ledger.deliveries.open_count() == 0
    assert json.loads(there.cli("doctor", "--json", check=False).stdout)
