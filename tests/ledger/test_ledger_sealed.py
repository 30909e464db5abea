"""Everything under a key: verified whole, then put under the newest key in batches."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from conveyor.errors import LedgerError
from conveyor.keyring import Keyring
from conveyor.ledger import open_ledger
from conveyor.ledger.connections import Tokens
from conveyor.ledger.sealed import BATCH


def fill(kit: Any, ledger: Any, keyring: Keyring) -> None:
    """One value of each kind, and more than a batch of one."""
    ledger.connections.seed("c", "vendor", Tokens(refresh="r"), kit.now)
    ledger.destinations.put("d", {"type": "memory"}, kit.now)
    for number in range(BATCH + 5):
        ledger.memory.put_if_absent("d", f"key {number:04d}", number)
    kit.worker("sealer")
    kit.submit("s")
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


EACH = {"connections": 1, "destinations": 1, "memory": BATCH + 5, "saved states": 1, "cleanups": 1}


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
