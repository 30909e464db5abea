"""Payloads encrypted at rest, with real processes: what lies on the disk, rotation, kills."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conveyor.keyring import Keyring
from conveyor.ledger.records import Filter, Status
from conveyor.receiver import Answer, Receiver
from e2e.kit import PATIENCE, Place, until

Places = Callable[..., Place]

SEALED = {"payload_encryption": True}
DELIVERED = Filter(statuses=frozenset({Status.DELIVERED}))
PHOTO = random.Random(1).randbytes(300_000)


def payloads(here: Place) -> list[Path]:
    """The files of the store, those on their way included."""
    return sorted(path for path in (here.folder / "payloads").rglob("*pay_*") if path.is_file())


def tells(stored: bytes) -> bool:
    """Whether any piece of the photo can be read in these bytes."""
    return any(PHOTO[at : at + 12] in stored for at in range(0, len(PHOTO) - 12, 500))


def test_the_disk_tells_nothing_and_the_destination_gets_the_file(
    place: Places, hook: dict[str, Any], receiver: Receiver
) -> None:
    here = place(hook=hook, settings=SEALED)
    photo = here.folder / "photo.jpg"
    photo.write_bytes(PHOTO)
    here.cli("send", str(photo), "--to", "hook")
    photo.unlink()
    (stored,) = payloads(here)
    assert len(stored.read_bytes()) > len(PHOTO)
    for path in here.folder.rglob("*"):
        assert not path.is_file() or not tells(path.read_bytes()), path
    findings = json.loads(here.cli("doctor", "--json", check=False).stdout)["findings"]
    messages = [found["message"] for found in findings if found["check"] == "payloads"]
    assert any("encrypted at rest" in text and "1 encrypted, 0 not" in text for text in messages), messages
    assert here.start("--until-idle").wait(60) == 0
    assert [got.path.read_bytes() for got in receiver.received] == [PHOTO]


def test_keys_rotate_while_a_worker_runs_and_switching_it_off_leaves_it_readable(
    place: Places, hook: dict[str, Any], receiver: Receiver
) -> None:
    receiver.answer_next(*[Answer(503)] * 3)
    retry = {"defaults": {"retry": {"schedule": ["1s", "1s", "1s", "1s"]}}}
    here = place(hook=hook, settings={**SEALED, **retry})
    with here.open() as installation:
        installation.submitter().submit(PHOTO, to=["hook"], filename="a.jpg")
    before = payloads(here)[0].read_bytes()
    here.start()
    until(lambda: len(receiver.requests) >= 1, "a first try")
    assert "1 payload keys" in here.cli("keys", "rotate", "--new-key").stdout
    key = here.folder / "conveyor.key"
    key.write_text(key.read_text().split()[0] + "\n")  # the older one is gone
    with here.open() as installation:
        until(lambda: installation.ledger.deliveries.find(DELIVERED, limit=1), "the delivery's record")
    assert [got.path.read_bytes() for got in receiver.received] == [PHOTO]
    assert payloads(here)[0].read_bytes() == before, "the file was not touched"
    here.stop()
    here.configure({"hook": hook})
    here.cli("replay", "--all", "--force")
    here.start("--until-idle")
    until(lambda: len(receiver.received) == 2, "the delivery of what was encrypted before")
    assert receiver.received[1].path.read_bytes() == PHOTO


def test_a_lost_key_file_is_named_with_its_cure_and_not_replaced(
    place: Places, hook: dict[str, Any], receiver: Receiver
) -> None:
    here = place(hook=hook, settings=SEALED)
    key = here.folder / "conveyor.key"
    with here.open():
        key.unlink()
    with here.open() as installation:  # nothing lies under the first one
        installation.submitter().submit(PHOTO, to=["hook"], filename="a.jpg")
    kept = key.rename(here.folder / "kept.key")
    left = sorted(here.folder.iterdir())
    for words in (("run", "--until-idle"), ("send", str(here.path), "--to", "hook"), ("status",)):
        refused = here.cli(*words, check=False)
        assert refused.returncode == 1
        assert f"key file {key} is missing\n  → put it back from a backup" in refused.stderr
    assert sorted(here.folder.iterdir()) == left
    kept.rename(key)
    assert here.start("--until-idle").wait(PATIENCE) == 0
    assert [got.path.read_bytes() for got in receiver.received] == [PHOTO]


def test_the_cure_of_a_lost_key_file_begins_with_a_new_one(place: Places, hook: dict[str, Any]) -> None:
    here = place(hook=hook, settings=SEALED)
    with here.open() as installation:
        installation.submitter().submit(PHOTO, to=["hook"], filename="a.jpg")
    key = here.folder / "conveyor.key"
    key.unlink()
    command = here.cli("status", check=False).stderr.partition("payloads): ")[2]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(command, shell=True, check=True, env=environment)
    assert key.stat().st_mode & 0o777 == 0o600
    assert "1 delivery waiting" in here.cli("status").stdout


def test_a_wrong_key_is_named_with_its_cure_and_nothing_is_lost(
    place: Places, hook: dict[str, Any], receiver: Receiver
) -> None:
    here = place(hook=hook, settings=SEALED)
    with here.open() as installation:
        submitted = installation.submitter().submit(PHOTO, to=["hook"], filename="a.jpg")
    key = here.folder / "conveyor.key"
    kept = key.rename(here.folder / "kept.key")
    Keyring.load(file=key, create=True)
    engine = here.start()
    until(lambda: "none of the keys" in here.log(), "a word on the key")
    assert "as a further line of the key file" in here.log()
    doctor = json.loads(here.cli("doctor", "--json", check=False).stdout)["findings"]
    assert any(found["level"] == "error" and "no key here" in found["message"] for found in doctor)
    with here.open() as installation:
        (delivery,) = installation.ledger.deliveries.of_job(submitted.job_id)
        assert (delivery.status, delivery.failures) == (Status.PENDING, 0)
    added = here.folder / "added.key"
    added.touch(mode=0o600)
    added.write_text(key.read_text() + kept.read_text())
    os.replace(added, key)
    until(lambda: receiver.received, "the delivery")
    assert engine.poll() is None, "it noticed by itself"
    assert receiver.received[0].path.read_bytes() == PHOTO


_SUBMITS = """
import io, sys, time
from conveyor.installation import Installation

class Slow(io.RawIOBase):
    def readable(self): return True
    def readinto(self, buffer):
        buffer[:] = bytes(len(buffer))
        print("given", flush=True)
        sys.stdin.readline()
        return len(buffer)

Installation.open(sys.argv[1]).submitter().submit(Slow(), to=["hook"], filename="a.jpg")
"""


def test_a_submitter_killed_mid_write_leaves_nothing_visible(place: Places, hook: dict[str, Any]) -> None:
    here = place(hook=hook, settings=SEALED)
    command = [sys.executable, "-c", _SUBMITS, str(here.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for _ in range(3):
            assert child.stdout.readline() == b"given\n"
            child.stdin.write(b"\n")
            child.stdin.flush()
        until(lambda: any(path.stat().st_size > 1 << 20 for path in payloads(here)), "bytes on the disk")
        child.kill()
        child.wait(PATIENCE)
    (left,) = payloads(here)
    assert left.name.startswith(".")
    os.utime(left, (1, 1))
    with here.open() as installation:
        assert installation.ledger.deliveries.find(Filter(), limit=1) == []
        assert installation.payloads.sweep(installation.ledger.payloads.known, 86_400) == 1
    assert payloads(here) == []
