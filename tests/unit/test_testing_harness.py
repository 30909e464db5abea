"""The harness behaves as the engine's own context, clock and payloads do."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from conveyor.clock import SECOND
from conveyor.contract import AttemptCancelled
from conveyor.testing import FakeClock, HarnessContext, make_env, make_parcel
from conveyor.testing.content import Pattern, SourceStream, read_all


def test_pattern_is_the_same_however_it_is_read() -> None:
    pattern = Pattern(3_500_000, seed=7)
    whole = read_all(pattern)
    assert len(whole) == pattern.size
    stream = SourceStream(pattern)
    pieces = b"".join(iter(lambda: stream.read(99_991), b""))
    assert pieces == whole
    stream.seek(2_000_000)
    assert stream.read(10) == whole[2_000_000:2_000_010]
    assert whole[:1_000_000] != whole[1_000_000:2_000_000]
    assert read_all(Pattern(1_000, seed=8)) != whole[:1_000]


def test_parcel_knows_its_digests() -> None:
    parcel = make_parcel(70_001, digests=("sha1",))
    with parcel.open() as stream:
        data = stream.read()
    assert len(data) == parcel.size == 70_001
    for name in ("sha256", "md5", "sha1"):
        assert parcel.digests[name] == hashlib.new(name, data).hexdigest()


def test_source_ends_and_raises_where_told() -> None:
    with make_parcel(100, ends_at=60).open() as stream:
        assert len(stream.read()) == 60
    with make_parcel(100, raises_at=40).open() as stream:
        assert len(stream.read(100)) == 40
        with pytest.raises(OSError, match="cannot be read"):
            stream.read(1)


def test_context_saves_json_alone_and_forgets_none() -> None:
    context = HarnessContext({"a": 1})
    context.save(b=[1, 2])
    context.save(a=None)
    assert context.state == {"b": [1, 2]}
    with pytest.raises(TypeError):
        context.save(c=object())  # type: ignore[arg-type]


def test_fenced_out_context_neither_saves_nor_commits() -> None:
    context = HarnessContext(fenced_out=True)
    with pytest.raises(AttemptCancelled):
        context.save(a=1)
    with pytest.raises(AttemptCancelled):
        context.before_commit()
    assert context.state == {}
    assert context.commits == 0


def test_context_cancels_at_a_byte_and_at_the_deadline() -> None:
    context = HarnessContext(cancel_at=10)
    context.progress(9)
    with pytest.raises(AttemptCancelled):
        context.progress(1)
    late = HarnessContext(deadline=0)
    assert late.remaining() == 0
    with pytest.raises(AttemptCancelled):
        late.check()


def test_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(1_000)
    before = clock.monotonic()
    clock.advance(2.5)
    assert clock.now() == 1_002_500_000
    assert clock.monotonic() - before == 2.5
    clock.set_wall(10)
    assert clock.now() == 10 * SECOND
    assert clock.monotonic() - before == 2.5
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)


def test_memory_keeps_the_first_value() -> None:
    memory = make_env().memory
    assert memory.put_if_absent("key", {"a": 1}) == {"a": 1}
    assert memory.put_if_absent("key", {"a": 2}) == {"a": 1}
    memory.forget("key")
    assert memory.get("key") is None


def test_plugin_loads_nothing_but_pytest() -> None:
    """Every pytest run on the machine loads it, before coverage starts."""
    code = (
        "import sys, pytest; before = set(sys.modules); import conveyor.testing.plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(told.stdout.split())
    testing = {name for name in loaded if name.startswith("conveyor.testing")}
    assert testing == {"conveyor.testing", "conveyor.testing.plugin"}
    assert not loaded & {"sqlalchemy", "pydantic", "dramatiq", "boto3", "paramiko"}
