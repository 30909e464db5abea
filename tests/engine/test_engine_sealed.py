"""Payloads encrypted at rest, in the engine: transforms' results are too, and a missing key loses nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from cryptography.fernet import Fernet

from conveyor.contract import Parcel, Receipt
from conveyor.hooks import Made, Transform
from conveyor.hookspecs import hookimpl
from conveyor.keyring import Keyring
from conveyor.ledger.records import AttemptOutcome, Status
from conveyor.payloads import LocalStore, PayloadKeys
from conveyor.testing.scripted import Script
from conveyor.testing.simulation import Simulation, destination

PHOTO = b"a photo that nobody else is to see"


def seal(sim: Simulation, ring: Keyring) -> None:
    """The process's keys are those of ``ring``, from now on."""
    sim.payloads = LocalStore(sim.payloads.root, clock=sim.clock, keys=PayloadKeys(ring, encrypts=True))
    sim.parts = sim.process()


def on_disk(sim: Simulation) -> bytes:
    return b"".join(path.read_bytes() for path in Path(sim.payloads.root).rglob("*") if path.is_file())


@pytest.fixture
def sent(here: Script) -> list[bytes]:
    """What the destination has got."""
    got: list[bytes] = []

    def deliver(parcel: Parcel, target: Any, context: Any) -> Receipt:
        with parcel.open() as stream:
            got.append(stream.read())
        return Receipt(target.path, path=target.path)

    here.then(deliver)
    return got


def test_without_its_key_a_payload_waits_uncharged_until_the_key_is_back(
    sim: Simulation, sent: list[bytes]
) -> None:
    seal(sim, sim.keyring)
    ident = sim.submit(PHOTO)["here"]
    seal(sim, Keyring([Fernet.generate_key()]))
    for _ in range(30):
        sim.step()
        sim.clock.advance(1)
    delivery = sim.delivery(ident)
    assert (delivery.status, delivery.failures, sent) == (Status.PENDING, 0, [])
    attempts = sim.attempts(ident)
    assert attempts
    for attempt in attempts:
        assert (attempt.outcome, attempt.charged) == (AttemptOutcome.GIVEN_BACK, False)
        assert attempt.message == "given back: payload store"
    seal(sim, sim.keyring)
    sim.run(60)
    assert sim.delivery(ident).status is Status.DELIVERED
    assert sent == [PHOTO]


def test_what_transforms_make_is_encrypted_too(sim: Simulation, sent: list[bytes]) -> None:
    def upper(parcel: Parcel, out: BinaryIO) -> Made | None:
        with parcel.open() as source:
            out.write(source.read().upper())
        return Made("text/plain")

    seal(sim, sim.keyring)
    module = SimpleNamespace(conveyor_transforms=hookimpl(lambda: [Transform("upper", "capitals", upper)]))
    sim.registry.admit(sim.registry.plugins.register(module, "shouting"))
    sim.source.put(destination(transforms=("upper",)))
    ident = sim.submit(PHOTO)["here"]
    sim.step()
    assert sent == [PHOTO.upper()]
    made = sim.delivery(ident).transformed
    assert made is not None
    assert made.payload is not None
    assert made.payload.sealed_key is not None
    assert made.payload.size == len(PHOTO)
    stored = on_disk(sim)
    assert len(stored) == 2 * (len(PHOTO) + 16)
    assert PHOTO not in stored
    assert PHOTO.upper() not in stored
