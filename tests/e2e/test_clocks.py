"""An engine whose clock is days ahead of the machine that stamps its files: others' young files stay."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from e2e.crew import Post
from e2e.kit import Place, until

pytestmark = [pytest.mark.server]

DAY = 86_400.0


def test_an_engine_days_ahead_sweeps_what_is_old_and_nothing_else(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    with place.open() as installation:
        store = installation.payloads
        old, young = (store.put(io.BytesIO(b"not committed yet")) for _ in range(2))
        written = store.stage(io.BytesIO(b"still being written"))
        young_path, old_path = store.file(young), store.file(old)
        assert old_path is not None
        assert young_path is not None
        os.utime(old_path, (1, 1))
        Post(("run",), clock=3 * DAY).start(place, "engine.log")
        try:
            until(lambda: "orphaned payload files removed" in place.log(), "the engine has swept")
            assert not old_path.exists()
            assert young_path.exists()
            store.publish([written])  # its temporary file is there
        finally:
            place.stop()
