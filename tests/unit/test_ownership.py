"""What root makes in a user's folder is the user's."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from conveyor.clock import SystemClock
from conveyor.keyring import Keyring
from conveyor.ledger import open_ledger
from conveyor.ownership import make_folder
from conveyor.payloads.local import LocalStore

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation's folder, of a user without rights."""
    made = tmp_path / "home"
    made.mkdir()
    os.chown(made, NOBODY, NOBODY)
    return made


def everything(home: Path) -> list[Path]:
    return [home, *home.rglob("*")]


def test_what_root_submits_can_be_read_by_the_user_of_the_workers(home: Path) -> None:
    Keyring.load(file=home / "conveyor.key", create=True)
    store = LocalStore(home / "payloads")
    record = store.put(io.BytesIO(b"photo"))
    with open_ledger(f"sqlite:///{home}/conveyor.db", clock=SystemClock()) as ledger:
        ledger.deliveries.open_count()
        owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in everything(home)}
    assert owners.keys() >= {"conveyor.key", "payloads", record.id, "conveyor.db", "conveyor.db-wal"}
    assert set(owners.values()) == {(NOBODY, NOBODY)}


def test_a_root_that_may_give_nothing_away_stores_all_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(descriptor: int, user: int, group: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    store = LocalStore(home / "payloads")
    with store.open(store.put(io.BytesIO(b"photo"))) as stream:
        assert stream.read() == b"photo"


def test_each_new_folder_is_its_upper_ones_owners(home: Path) -> None:
    make_folder(home / "a" / "b")
    make_folder(home / "a" / "b")
    assert {path.stat().st_uid for path in everything(home)} == {NOBODY}
    assert (home / "a" / "b").stat().st_mode & 0o777 == 0o700
