"""Backups of a simulated installation, made while it works, and installations made of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from conveyor.backup import Made, Restored, make, making, restore, restoring
from conveyor.backup.manifest import Manifest
from conveyor.config import load
from conveyor.contract import DeliveryError, ErrorKind, Found, FoundKind, Receipt
from conveyor.errors import BackupError, LedgerError, PayloadError
from conveyor.ledger import current_version, snapshot
from conveyor.ledger.connect import connect
from conveyor.ledger.records import Filter, PayloadState, Status
from conveyor.ledger.reviving import LEAP
from conveyor.ledger.schema import HEAD, attempts, leases, payloads
from conveyor.ledger.versions import run_migrations
from conveyor.payloads import LocalStore, PayloadKeys, copying
from conveyor.testing.scripted import Script
from conveyor.testing.simulation import Simulation

CONFIG = "ledger: sqlite:///ledger.db\npayloads: payloads\nkey: {file: key}\ndestinations: {}\n"


class Site:
    """A folder with a config, which is backed up or restored into.

    Attributes:
        at: Called when the step of this name begins.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.at: dict[str, Callable[[], object]] = {}
        folder.mkdir(exist_ok=True)
        self.configure(CONFIG)

    def configure(self, text: str) -> None:
        (self.folder / "conveyor.yaml").write_text(text)
        self.settings = load(self.folder / "conveyor.yaml").settings

    def backup(self, to: Path, **options: Any) -> Made:
        return make(self.settings, to, steps=self._steps, **options)

    def restore(self, source: Path, **options: Any) -> Restored:
        return restore(self.settings, source, alive=lambda _: True, steps=self._steps, **options)

    @contextmanager
    def _steps(
        self, label: str, total: int | None, *, size: bool = False
    ) -> Iterator[Callable[[int], object]]:
        self.at.get(label, lambda: None)()
        yield lambda count: None

    def left(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulation]:
    (tmp_path / "old").mkdir()
    simulation = Simulation(tmp_path / "old")
    yield simulation
    simulation.close()


@pytest.fixture
def old(sim: Simulation, tmp_path: Path) -> Site:
    return Site(tmp_path / "old")


@pytest.fixture
def new(sim: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(restoring, "SystemClock", lambda: sim.clock)
    return Site(tmp_path / "new")


@contextmanager
def living(site: Site, sim: Simulation) -> Iterator[Simulation]:
    """The installation that was made of a backup, at work."""
    restored = Simulation(site.folder)
    restored.clock.advance(sim.clock.monotonic() - restored.clock.monotonic())
    try:
        yield restored
    finally:
        restored.close()


def in_copy(folder: Path, question: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        return connection.execute(question).fetchall()


# --- all of it ---------------------------------------------------------------------------------------------


def test_all_of_it_is_there_again(
    sim: Simulation, old: Site, new: Site, here: Script, tmp_path: Path
) -> None:
    here.then(None, DeliveryError(ErrorKind.TOO_LARGE, "too large"), DeliveryError(ErrorKind.TRANSIENT, "no"))
    for number in range(3):
        sim.submit(b"photo %d" % number, filename=f"ä-{number} 📷.jpg", meta={"a": "tab\t"})
    sim.step()
    cancelled = sim.submit()["here"]
    sim.ledger.orders.cancel(Filter(ids=(cancelled,)), now=sim.clock.now())
    sim.ledger.memory.put_if_absent("here", "host key", "ssh-ed25519 AAAA")
    sim.ledger.leases.take("leader", "somebody", sim.clock.now() + 60_000_000, sim.clock.now())
    running = sim.submit()["here"]
    assert [claim.delivery_id for claim in sim.parts.dispatcher.claim(1)] == [running]
    before = {record.id: record for record in sim.ledger.deliveries.find(Filter(), limit=100)}

    made = old.backup(tmp_path / "backup")
    assert made.manifest.ledger.deliveries == {
        "cancelled": 1, "delivered": 1, "delivering": 1, "failed": 1, "pending": 1
    }  # fmt: skip
    assert (made.manifest.payloads.count, made.linked, made.problem) == (5, 5, None)
    assert new.restore(tmp_path / "backup").deliveries[Status.PENDING] == 2
    with living(new, sim) as restored:
        for ident, record in before.items():
            after = restored.delivery(ident)
            assert after.job == record.job
            assert after.fence >= record.fence + LEAP
            with restored.payloads.open(after.job.payload) as stream:
                assert stream.read() == sim.payloads.open(record.job.payload).read()
            if ident != running:
                assert (after.status, after.attempt, after.failures, after.receipt) == (
                    record.status, record.attempt, record.failures, record.receipt
                )  # fmt: skip
                assert restored.attempts(ident) == sim.attempts(ident)
        assert restored.attempts(running)[-1].outcome == "lost"
        assert restored.delivery(running).next_attempt_at == sim.clock.now()
        assert restored.ledger.memory.get("here", "host key") == "ssh-ed25519 AAAA"
        with restored.ledger.database.read() as connection:
            assert not connection.execute(sa.select(leases)).all()
        assert len(restored.ledger.workers.all()) == 1, "those that lived before do not any more"
        restored.run(3600)
        assert restored.ledger.deliveries.counts(Filter())[Status.DELIVERED] == 3
    assert new.left() == {"conveyor.yaml", "ledger.db", "key", "payloads"}


def test_what_arrived_after_the_backup_is_found_rather_than_sent_again(
    sim: Simulation, old: Site, new: Site, here: Script, tmp_path: Path
) -> None:
    ident = sim.submit()["here"]
    old.backup(tmp_path / "backup")
    sim.step()
    assert sim.delivery(ident).status is Status.DELIVERED
    new.restore(tmp_path / "backup")
    here.finds.append(Found(FoundKind.MINE, Receipt(reference="there", size=5)))
    with living(new, sim) as restored:
        restored.step()
        assert restored.delivery(ident).status is Status.DELIVERED
    assert [call[0] for call in here.calls] == ["deliver", "find"]


def test_the_copy_is_of_one_moment_whatever_is_written_meanwhile(
    sim: Simulation, old: Site, new: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(20):
        sim.submit()
    monkeypatch.setattr(snapshot, "PAGES", 2)
    real, written = snapshot.snapshot, 0

    def meanwhile(url: str, to: Path, progress: object) -> str:
        def step(count: int) -> None:
            nonlocal written
            written += 1
            if written < 100:  # or a copy that begins anew with each write would never end
                sim.submit(b"too late")
            sim.ledger.deliveries.expire(2**62, 1)

        return real(url, to, step)

    monkeypatch.setattr(making, "snapshot", meanwhile)
    made = old.backup(tmp_path / "backup")
    assert written > 10
    assert made.manifest.ledger.deliveries == {"pending": 20}
    assert made.manifest.payloads.count == 20
    assert new.restore(tmp_path / "backup").deliveries == {Status.PENDING: 20}


# --- payloads that come and go -----------------------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
def test_a_payload_that_is_removed_meanwhile_is_struck_from_the_copy(
    sim: Simulation, old: Site, new: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    kept, gone = sim.submit(b"kept"), sim.submit(b"gone", session_id="ask")
    forgotten = sim.ledger.forgetting.find(sessions=["ask"])

    def forget() -> None:
        for payload in sim.ledger.forgetting.forget(forgotten, sim.clock.now()):
            sim.payloads.remove(payload)

    old.at["copying payloads"] = forget
    with monkeypatch.context() as patched:
        if not links:
            patched.setattr(copying.os, "link", _other_disk)
        made = old.backup(tmp_path / "backup")
    parts = made.manifest.payloads
    assert (parts.count, parts.removed, parts.damaged, made.linked) == (1, 1, {}, int(links))
    new.restore(tmp_path / "backup")
    with living(new, sim) as restored:
        assert restored.delivery(kept["here"]).job.payload.state is PayloadState.PRESENT
        assert restored.delivery(gone["here"]).job.payload.state is PayloadState.REMOVED


def _other_disk(*_: object, **__: object) -> None:
    raise OSError(18, "Invalid cross-device link")


def stored(sim: Simulation, submitted: Any) -> Path:
    return sim.payloads.root / sim.delivery(submitted["here"]).job.payload.location


def test_a_payload_that_is_lost_is_told_and_does_not_stop_the_rest(
    sim: Simulation, old: Site, new: Site, tmp_path: Path
) -> None:
    lost, cut, whole = sim.submit(b"lost"), sim.submit(b"cut off"), sim.submit(b"whole")
    stored(sim, lost).unlink()
    stored(sim, cut).write_bytes(b"cut")
    made = old.backup(tmp_path / "backup")
    said = list(made.manifest.payloads.damaged.values())
    assert made.manifest.payloads.count == 1
    assert [("gone" in each, "3 bytes" in each) for each in said] == [(True, False), (False, True)]
    new.restore(tmp_path / "backup")
    with living(new, sim) as restored:
        restored.step()
        assert restored.delivery(whole["here"]).status is Status.DELIVERED
        assert restored.delivery(lost["here"]).last_error_kind == ErrorKind.SOURCE


def test_bytes_that_changed_are_noticed_when_they_are_read(
    sim: Simulation, old: Site, new: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = sim.submit(b"good bytes")
    sim.submit(b"others")
    stored(sim, bad).write_bytes(b"baad bytes")
    assert not old.backup(tmp_path / "linked").manifest.payloads.damaged
    with pytest.raises(BackupError, match=r"the backup is damaged: .*pay_\w+ has other bytes") as refused:
        new.restore(tmp_path / "linked")
    assert "--skip-damaged" in (refused.value.cure or "")
    assert len(new.restore(tmp_path / "linked", skip_damaged=True).skipped) == 1
    assert len(list((tmp_path / "new" / "payloads").rglob("pay_*"))) == 1
    made = [old.backup(tmp_path / "verified", verify=True)]
    monkeypatch.setattr(copying.os, "link", _other_disk)
    made.append(old.backup(tmp_path / "copied"))
    for each in made:
        assert ["has other bytes" in why for why in each.manifest.payloads.damaged.values()] == [True]
        assert len(list((each.folder / "payloads").rglob("pay_*"))) == 1
    assert made[0].linked == 1
    assert made[1].linked == 0


def test_a_store_that_is_away_is_no_backup(sim: Simulation, old: Site, tmp_path: Path) -> None:
    sim.submit()
    (tmp_path / "old" / "payloads").rename(tmp_path / "away")
    with pytest.raises(PayloadError, match="could not be read"):
        old.backup(tmp_path / "backup")
    assert {path.name for path in tmp_path.iterdir()} == {"old", "away"}


def test_files_in_place_are_named_and_not_taken(sim: Simulation, old: Site, tmp_path: Path) -> None:
    sim.submit()
    with sim.ledger.database.write() as connection:
        connection.execute(sa.update(payloads).values(in_place=True, location="/somewhere/photo.jpg"))
    parts = old.backup(tmp_path / "backup").manifest.payloads
    assert (parts.count, parts.in_place, parts.in_place_paths) == (0, 1, ["/somewhere/photo.jpg"])


@pytest.mark.parametrize("links", [True, False])
def test_payloads_that_are_encrypted_at_rest_stay_that_and_are_checked(
    sim: Simulation, old: Site, new: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(copying, "link", lambda *_: False)
    sim.payloads = LocalStore(
        tmp_path / "old" / "payloads", clock=sim.clock, keys=PayloadKeys(sim.keyring, encrypts=True)
    )
    ids = [sim.submit(b"a face", filename=f"{number}.jpg")["here"] for number in range(2)]
    made = old.backup(tmp_path / "backup", verify=True)
    assert (made.manifest.payloads.count, made.linked) == (2, 2 * links)
    files = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    assert not any(b"a face" in path.read_bytes() for path in files)
    new.restore(tmp_path / "backup")
    with living(new, sim) as restored:
        store = LocalStore(tmp_path / "new" / "payloads", keys=PayloadKeys(restored.keyring))
        for ident in ids:
            with store.open(restored.delivery(ident).job.payload) as stream:
                assert stream.read() == b"a face"
    bad = stored(sim, {"here": ids[0]})
    bad.write_bytes(bytes(bad.stat().st_size))
    damaged = old.backup(tmp_path / "other", verify=True).manifest.payloads.damaged
    assert [sim.delivery(ids[0]).job.payload.id] == list(damaged)
    (tmp_path / "old" / "key").rename(tmp_path / "key")
    assert old.backup(tmp_path / "unseen", key=False).manifest.payloads.count == 2


# --- keys --------------------------------------------------------------------------------------------------


def test_a_key_that_is_made_meanwhile_is_in_it(sim: Simulation, old: Site, new: Site, tmp_path: Path) -> None:
    sim.submit()
    sim.ledger.memory.put_if_absent("here", "host key", "before")

    def rotate() -> None:
        sim.keyring.add_key()
        sim.ledger.sealed.rotate()

    old.at["copying payloads"] = rotate
    assert old.backup(tmp_path / "backup").problem is None
    kept = tmp_path / "backup" / "conveyor.key"
    assert len(kept.read_text().split()) == 2
    assert kept.stat().st_mode & 0o777 == 0o600
    new.restore(tmp_path / "backup")
    with living(new, sim) as restored:
        assert restored.ledger.memory.get("here", "host key") == "before"


def test_a_key_that_is_kept_elsewhere(sim: Simulation, old: Site, new: Site, tmp_path: Path) -> None:
    sim.submit()
    sim.ledger.memory.put_if_absent("here", "host key", "secret")
    made = old.backup(tmp_path / "backup", key=False)
    assert made.manifest.key == "left out"
    assert not (tmp_path / "backup" / "conveyor.key").exists()
    with pytest.raises(BackupError, match="the backup has no key"):
        new.restore(tmp_path / "backup")
    new.configure(CONFIG.replace("file: key", "file: key, value: " + "QUFB" * 10 + "QUE="))
    with pytest.raises(BackupError, match=r"`key\.value` does not open"):
        new.restore(tmp_path / "backup")
    new.configure(CONFIG)
    shutil.copy(tmp_path / "old" / "key", tmp_path / "new" / "key")
    new.restore(tmp_path / "backup")


def test_a_ledger_without_its_key_is_restored_when_asked_for(
    sim: Simulation, old: Site, new: Site, tmp_path: Path
) -> None:
    sim.submit()
    sim.ledger.memory.put_if_absent("here", "host key", "secret")
    old.backup(tmp_path / "backup", key=False)
    assert new.restore(tmp_path / "backup", key=False).deliveries == {Status.PENDING: 1}


def test_a_key_in_a_setting_is_not_copied(sim: Simulation, old: Site, tmp_path: Path) -> None:
    sim.submit()
    sim.ledger.memory.put_if_absent("here", "host key", "secret")
    key = (tmp_path / "old" / "key").read_text().strip()
    old.configure(CONFIG.replace("file: key", f"value: {key}"))
    made = old.backup(tmp_path / "backup")
    assert (made.manifest.key, made.problem) == ("in a setting", None)
    assert key not in (tmp_path / "backup" / "manifest.json").read_text()
    (tmp_path / "old" / "key").unlink()
    old.configure(CONFIG)
    with pytest.raises(BackupError, match=r"key file .* No such file") as refused:
        old.backup(tmp_path / "other")
    assert "--no-key" in (refused.value.cure or "")


def test_a_key_that_does_not_open_the_ledger_is_told(sim: Simulation, old: Site, tmp_path: Path) -> None:
    sim.submit()
    sim.ledger.memory.put_if_absent("here", "host key", "secret")
    (tmp_path / "old" / "key").write_text("QUFB" * 10 + "QUE=\n")
    assert "cannot be decrypted" in (old.backup(tmp_path / "backup").problem or "")


# --- refusals ----------------------------------------------------------------------------------------------


def test_a_folder_that_is_taken_is_left_alone(sim: Simulation, old: Site, tmp_path: Path) -> None:
    sim.submit()
    taken, empty = tmp_path / "taken", tmp_path / "empty"
    empty.mkdir()
    old.backup(empty)
    taken.mkdir()
    (taken / "mine").write_text("mine")
    with pytest.raises(BackupError, match="is not an empty folder"):
        old.backup(taken)
    old.at["reading the copy"] = lambda: (tmp_path / "late").mkdir() or (tmp_path / "late" / "x").touch()
    with pytest.raises(BackupError, match="is not an empty folder"):
        old.backup(tmp_path / "late")
    assert {path.name for path in tmp_path.iterdir()} == {"old", "taken", "empty", "late"}


def test_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with pytest.raises(BackupError, match="there is no ledger"):
        site.backup(tmp_path / "backup")
    assert site.left() == {"conveyor.yaml"}


def test_one_at_a_time_makes_a_backup(sim: Simulation, old: Site, tmp_path: Path) -> None:
    sim.submit()
    other = Site(tmp_path / "old")

    def at_once() -> None:
        with pytest.raises(BackupError, match="another process is at work"):
            other.backup(tmp_path / "backup")

    old.at["copying payloads"] = at_once
    assert old.backup(tmp_path / "backup").manifest.payloads.count == 1


def test_only_a_fresh_installation_is_restored_into(
    sim: Simulation, old: Site, new: Site, tmp_path: Path
) -> None:
    sim.submit()
    old.backup(tmp_path / "backup")
    with pytest.raises(BackupError, match="there is a ledger already") as refused:
        old.restore(tmp_path / "backup")
    assert "`ledger:`" in (refused.value.cure or "")
    LocalStore(tmp_path / "new" / "payloads").put(io.BytesIO(b"strange"))
    with pytest.raises(BackupError, match="holds payloads that the backup does not know"):
        new.restore(tmp_path / "backup")
    shutil.rmtree(tmp_path / "new" / "payloads")

    def engine() -> None:
        (tmp_path / "new" / "ledger.db").write_text("somebody else's")

    new.at["restoring payloads"] = engine
    with pytest.raises(BackupError, match="a ledger was made meanwhile"):
        new.restore(tmp_path / "backup")
    assert (tmp_path / "new" / "ledger.db").read_text() == "somebody else's"
    assert ".ledger.db.restoring" not in new.left()


def test_a_store_that_outlived_its_ledger_is_kept_and_mended(
    sim: Simulation, old: Site, new: Site, tmp_path: Path
) -> None:
    first, second = sim.submit(b"first"), sim.submit(b"second")
    old.backup(tmp_path / "backup")
    shutil.copytree(tmp_path / "old" / "payloads", tmp_path / "new" / "payloads")
    whole, damaged = (
        tmp_path / "new" / "payloads" / stored(sim, each).relative_to(sim.payloads.root)
        for each in (first, second)
    )
    inode = whole.stat().st_ino
    damaged.write_bytes(b"seconc")
    new.restore(tmp_path / "backup")
    assert (whole.stat().st_ino, damaged.read_bytes()) == (inode, b"second")


HARMS: dict[str, Callable[[Path], object]] = {
    "is no backup": lambda folder: (folder / "manifest.json").unlink(),
    "cannot be read": lambda folder: (folder / "manifest.json").write_text("{"),
    "was made by Conveyor": lambda folder: _change(folder, ("format",), 2),
    "this program knows": lambda folder: _change(folder, ("ledger", "version"), "9999"),
    "is damaged: its bytes": lambda folder: os.truncate(folder / "ledger.db", 100_000),
    "ledger.db: No such file": lambda folder: (folder / "ledger.db").unlink(),
    "is gone": lambda folder: next((folder / "payloads").rglob("pay_*")).unlink(),
}
"""By what is said of a backup that it is done to."""


def test_what_is_no_whole_backup_changes_nothing(
    sim: Simulation, old: Site, new: Site, tmp_path: Path
) -> None:
    sim.submit()
    old.backup(tmp_path / "backup")
    for said, harm in HARMS.items():
        shutil.copytree(tmp_path / "backup", tmp_path / "harmed")
        harm(tmp_path / "harmed")
        with pytest.raises(BackupError) as refused:
            new.restore(tmp_path / "harmed")
        assert said in str(refused.value)
        assert refused.value.cure
        shutil.rmtree(tmp_path / "harmed")
    assert new.left() == {"conveyor.yaml"}


@pytest.mark.parametrize("step", ["copying the ledger", "copying payloads", "reading the copy"])
def test_an_interrupted_backup_leaves_nothing(sim: Simulation, old: Site, tmp_path: Path, step: str) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    sim.submit()
    old.at[step] = interrupt
    with pytest.raises(KeyboardInterrupt):
        old.backup(tmp_path / "backup")
    assert {path.name for path in tmp_path.iterdir()} == {"old"}


def _change(folder: Path, path: tuple[str, ...], value: object) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    part = document
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    (folder / "manifest.json").write_text(json.dumps(document))


def test_a_dry_run_changes_nothing(sim: Simulation, old: Site, new: Site, tmp_path: Path) -> None:
    sim.submit()
    old.backup(tmp_path / "backup")
    assert new.restore(tmp_path / "backup", dry_run=True).deliveries == {Status.PENDING: 1}
    assert new.left() == {"conveyor.yaml"}


# --- versions ----------------------------------------------------------------------------------------------


def test_a_backup_of_an_older_version_stays_that_and_is_brought_up_to_date_when_restored(
    tmp_path: Path,
) -> None:
    old, new = Site(tmp_path / "old"), Site(tmp_path / "new")
    location = LocalStore(tmp_path / "old" / "payloads").put(io.BytesIO(b"photo")).location
    with closing(connect(old.settings.ledger)) as database, database.write() as connection:
        run_migrations(connection, "0008")
        digests = json.dumps({"sha256": hashlib.sha256(b"photo").hexdigest()})
        connection.execute(
            sa.text(
                "INSERT INTO payloads (id, location, size, digests) VALUES ('pay_1', :place, 5, :digests)"
            ),
            {"place": location, "digests": digests},
        )
    (tmp_path / "old" / "key").write_text("QUFB" * 10 + "QUE=\n")
    manifest = old.backup(tmp_path / "backup").manifest
    assert (manifest.ledger.version, manifest.payloads.count) == ("0008", 1)
    assert current_version(old.settings.ledger) == "0008"
    assert in_copy(tmp_path / "backup", "SELECT version_num FROM alembic_version") == [("0008",)]
    assert new.restore(tmp_path / "backup").version == HEAD
    assert current_version(new.settings.ledger) == HEAD
    assert (tmp_path / "new" / "payloads" / location).read_bytes() == b"photo"


def test_a_ledger_that_was_moved_is_backed_up_where_it_is(sim: Simulation, old: Site, tmp_path: Path) -> None:
    with sim.ledger.database.write() as connection:
        connection.exec_driver_sql("INSERT INTO meta VALUES ('moved_to', 'postgresql://there')")
    with pytest.raises(LedgerError, match="was moved to postgresql://there"):
        old.backup(tmp_path / "backup")


def test_a_manifest_says_what_is_where(sim: Simulation, old: Site, tmp_path: Path) -> None:
    sim.submit()
    sim.step()
    made = old.backup(tmp_path / "backup")
    folder = tmp_path / "backup"
    assert Manifest.model_validate_json((folder / "manifest.json").read_bytes()) == made.manifest
    assert copying.digest(folder / "ledger.db") == made.manifest.ledger.sha256
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json", "ledger.db", "payloads", "conveyor.key"
    }  # fmt: skip
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "payloads" / ".conveyor-payloads").is_file()
    assert in_copy(folder, f"SELECT count(*) FROM {attempts.name}") == [(1,)]
    assert in_copy(folder, "PRAGMA journal_mode") == [("delete",)]
