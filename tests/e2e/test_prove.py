"""The proof in small, and that its checker reports what is wrong at the destinations or in the ledger."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from servers import seaweed, sshd, wsgi_dav

from conveyor.testing.plugin import requires
from e2e import checker
from e2e.proving import TYPES, prove, stage

pytestmark = [pytest.mark.server]


def test_a_small_proof_and_its_checker(tmp_path: Path) -> None:
    for module in (seaweed, sshd, wsgi_dav):
        requires(module.available(), module.PACKAGE)
    with stage("sqlite", tmp_path) as on:
        found = prove(on, files=20, seed=5, seconds=4.0)
        assert not found.wrong, found
        assert found.deliveries == 20 * len(TYPES)

        digests = dict.fromkeys((name for name in _jobs(on.place.folder)), "other bytes")
        posts: Counter[str] = Counter()
        spoilt = checker.check(on.place, digests, {**on.held, "sftp": dict}, {"webhook": posts})
        assert spoilt.lost
        assert spoilt.corrupt
        on.held["extra"] = lambda: {"a second copy": ""}
        with sqlite3.connect(on.place.folder / "conveyor.db") as ledger:
            ledger.execute("DELETE FROM attempts WHERE attempt = 1")
        spoilt = checker.check(on.place, digests, on.held, {"webhook": posts})
        assert spoilt.strangers
        assert spoilt.gaps


def _jobs(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "conveyor.db") as ledger:
        return [row[0] for row in ledger.execute("SELECT id FROM jobs")]
