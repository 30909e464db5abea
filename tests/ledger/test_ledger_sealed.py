"""Everything under a key: verified whole, then put under the newest key in batches."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from conveyor.errors import LedgerError
from conveyor.keyring import Keyring
from conveyor.ledger import open_ledger
from conveyor.ledger.connections import Tokens
from conveyor.ledger.records import Transformed
from conveyor.ledger.schema import deliveries
from conveyor.ledger.sealed import BATCH


def fill(kit: Any, ledger: Any, keyring: Keyring) -> None:
    """One value of each kind, and more than a batch of one."""
    ledger.connections.seed("c", "vendor", Tokens(refresh="r"), kit.now)
    ledger.destinations.put("d", {"type": "memory"}, kit.now)
    for number in range(BATCH + 5):
        ledger.memory.put_if_absent("d", f"key {number:04d}", number)
    kit.worker("sealer")
    payload = replace(kit.job().payload, sealed_key=keyring.encrypt(b"data key"))
    kit.submit("s", payload=payload)
    claim = kit.one("s", "sealer")
    assert ledger.states.save(claim.delivery_id, claim.fence, keyring.encrypt(b"state"))
    ledger.cleanups.add(
        claim.delivery_id, "s", keyring.encrypt(b"left"), claim.fence, kit.now, why="late", at=kit.now
    )


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    return Keyring.load(file=tmp_path / "conveyor.key", create=True)


@pytest.fixture
def ledger(kit: Any, keys: Keyring) -> Any:
    with open_ledger(kit.url, clock=kit.clock, keyring=keys) as opened:
        fill(kit, opened, keys)
        yield opened


EACH = {
    "connections": 1,
    "destinations": 1,
    "memory": BATCH + 5,
    "saved states": 1,
    "cleanups": 1,
    "payload keys": 1,
}


def test_all_is_put_under_the_newest_key(ledger: Any, keys: Keyring, kit: Any) -> None:
    old = keys.key_id
    keys.add_key()
    assert keys.key_id != old
    assert ledger.sealed.rotate() == EACH
    assert ledger.connections.get("c").key_id == keys.key_id
    assert ledger.sealed.rotate() == dict.fromkeys(EACH, 0)
    assert keys.file is not None
    alone = Keyring([keys.file.read_text().split()[0]])
    with open_ledger(kit.url, clock=kit.clock, keyring=alone) as reader:
        assert reader.sealed.verify() == EACH
        assert reader.memory.get("d", "key 0204") == 204
        assert reader.connections.open(reader.connections.get("c")).refresh == "r"


def test_with_a_wrong_key_nothing_is_touched(ledger: Any, kit: Any) -> None:
    before = ledger.connections.get("c").sealed
    wrong = Keyring([Fernet.generate_key()])
    with open_ledger(kit.url, clock=kit.clock, keyring=wrong) as other:
        with pytest.raises(LedgerError, match="connections: a stored secret cannot be decrypted"):
            other.sealed.rotate()
    assert ledger.connections.get("c").sealed == before
    assert ledger.sealed.verify() == EACH


def test_values_written_during_the_rotation_survive(ledger: Any, keys: Keyring) -> None:
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stop.is_set():
            number = len(written)
            ledger.memory.put_if_absent("busy", str(number), number)
            written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        keys.add_key()
        ledger.sealed.rotate()
    finally:
        stop.set()
        writer.join()
    assert written
    ledger.sealed.rotate()
    assert [ledger.memory.get("busy", str(number)) for number in written] == written


def test_data_keys_go_with_their_payloads_to_whoever_reads_them(ledger: Any, keys: Keyring, kit: Any) -> None:
    payload = replace(kit.job().payload, sealed_key=keys.encrypt(b"original's"))
    (ident,) = kit.submit("d", payload=payload)
    claim = kit.one("d", "sealer")
    assert claim.job.payload == payload
    made = replace(kit.job().payload, sealed_key=keys.encrypt(b"result's"))
    assert ledger.transformed.record(ident, claim.fence, Transformed(("smaller",), made, "image/webp"))
    keys.add_key()
    assert ledger.sealed.rotate()["payload keys"] == 3
    ledger.claims.give_back([(ident, claim.fence)], kit.now)
    again = kit.one("d", "sealer")
    found = ledger.deliveries.get(ident)
    for job, transformed in ((again.job, again.transformed), (found.job, found.transformed)):
        for record, plain in ((job.payload, b"original's"), (transformed.payload, b"result's")):
            assert keys.is_newest(record.sealed_key)
            assert keys.decrypt(record.sealed_key) == plain
    with ledger.database.read() as connection:
        text = connection.execute(
            sa.select(deliveries.c.transformed).where(deliveries.c.id == ident)
        ).scalar()
    assert "sealed_key" not in text, "a program of the version before reads it, too"


def test_a_data_key_goes_when_its_bytes_have_gone_or_are_forgotten(
    ledger: Any, keys: Keyring, kit: Any
) -> None:
    jobs = []
    for _ in range(2):
        job = kit.job(payload=replace(kit.job().payload, sealed_key=keys.encrypt(b"key")))
        kit.ledger.submissions.submit([kit.submission("d", job=job)])
        jobs.append(job)
    assert ledger.payloads.sealing().sealed == 3
    (left,) = ledger.forgetting.forget([jobs[0].id], kit.now)
    assert left.sealed_key is None, "at once, whatever becomes of the bytes"
    assert ledger.sealed.verify()["payload keys"] == 2
    kit.record(kit.report(next(c for c in kit.claim("d", "sealer") if c.job.id == jobs[1].id)))
    kit.clock.advance(10)
    begun = ledger.payloads.begin_removal(kit.now, kit.now, kit.now, 10)
    assert [record.id for record in begun] == [jobs[1].payload.id]
    ledger.payloads.finish_removal([record.id for record in begun])
    assert ledger.sealed.verify()["payload keys"] == 1
