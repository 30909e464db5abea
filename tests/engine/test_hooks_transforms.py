"""Transforms: stored before the first byte is sent, named in the delivery, made once, whoever dies."""

from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest

from conveyor.contract import DeliveryError, ErrorKind, Parcel, Receipt
from conveyor.errors import PayloadError
from conveyor.hooks import Made, Transform
from conveyor.hookspecs import hookimpl
from conveyor.ledger.records import AttemptOutcome, DeliveryRecord, Status
from conveyor.testing.scripted import Script
from conveyor.testing.simulation import Simulation, destination

ORIGINAL = b"photo"


class Upper:
    """Makes capital letters, and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.errors: list[BaseException] = []

    def __call__(self, parcel: Parcel, out: BinaryIO) -> Made | None:
        self.calls += 1
        with parcel.open() as source:
            while block := source.read(2):
                out.write(block.upper())
                if self.errors:
                    raise self.errors.pop(0)
        return Made("text/plain")


def bring(sim: Simulation, *transforms: Transform) -> None:
    def conveyor_transforms():
        return list(transforms)

    module = SimpleNamespace(conveyor_transforms=hookimpl(conveyor_transforms))
    sim.registry.admit(sim.registry.plugins.register(module, "shouting"))
    assert not sim.registry.problems
    sim.source.put(destination(transforms=tuple(t.name for t in transforms)))


@pytest.fixture
def upper(sim: Simulation) -> Upper:
    made = Upper()
    bring(sim, Transform("upper", "capitals", made, rename=lambda name: name.replace(".jpg", ".txt")))
    return made


def keeping(sent: list[tuple[bytes, str, str]]) -> Callable[..., Receipt]:
    def deliver(parcel: Parcel, target: Any, context: Any) -> Receipt:
        with parcel.open() as source:
            data = source.read()
        assert parcel.digests["sha256"] == hashlib.sha256(data).hexdigest()
        assert parcel.size == len(data)
        sent.append((data, parcel.media_type, target.name))
        context.before_commit()
        return Receipt(target.path, path=target.path)

    return deliver


def result(delivery: DeliveryRecord) -> Any:
    assert delivery.transformed is not None
    assert delivery.transformed.payload is not None
    return delivery.transformed.payload


def test_the_result_is_sent_and_named_and_the_job_keeps_the_original(
    sim: Simulation, here: Script, upper: Upper
) -> None:
    sent: list[Any] = []
    here.then(keeping(sent))
    ident = sim.submit(ORIGINAL)["here"]
    sim.step()
    assert sent == [(b"PHOTO", "text/plain", "photo.txt")]
    delivery = sim.delivery(ident)
    assert delivery.status is Status.DELIVERED
    assert delivery.job.payload.digests["sha256"] == hashlib.sha256(ORIGINAL).hexdigest()
    assert result(delivery).digests["sha256"] == hashlib.sha256(b"PHOTO").hexdigest()
    assert result(delivery).size == 5
    assert delivery.attempt == 1


def test_it_stands_in_the_ledger_before_the_first_byte(sim: Simulation, here: Script, upper: Upper) -> None:
    stored: list[bytes] = []

    def deliver(parcel: Parcel, target: Any, context: Any) -> Receipt:
        with sim.payloads.open(result(sim.delivery(parcel.delivery_id))) as file:
            stored.append(file.read())
        return Receipt(target.path)

    here.then(deliver)
    sim.submit(ORIGINAL)
    sim.step()
    assert stored == [b"PHOTO"]


def test_retries_and_replays_send_what_was_stored(sim: Simulation, here: Script, upper: Upper) -> None:
    from conveyor.ledger.records import Filter

    sent: list[Any] = []
    here.then(DeliveryError(ErrorKind.TRANSIENT, "busy"), keeping(sent), keeping(sent))
    ident = sim.submit(ORIGINAL)["here"]
    sim.run(10)
    first = result(sim.delivery(ident))
    sim.ledger.orders.replay(Filter(ids=(ident,)), now=sim.clock.now(), expires=lambda _: 10**18, force=True)
    sim.parts.dispatcher.ring()
    sim.run(10)
    assert [data for data, *_ in sent] == [b"PHOTO"] * 2
    assert upper.calls == 1
    assert result(sim.delivery(ident)) == first


def test_a_failure_is_charged_and_the_next_attempt_begins_with_the_original(
    sim: Simulation, here: Script, upper: Upper
) -> None:
    upper.errors = [RuntimeError("a secret")]
    sent: list[Any] = []
    here.then(keeping(sent))
    ident = sim.submit(ORIGINAL)["here"]
    assert sim.run(10) == [0, 5]
    assert sent[0][0] == b"PHOTO"
    first = sim.attempts(ident)[0]
    assert first.charged
    assert first.message == "transform 'upper' of plugin 'shouting' failed: RuntimeError"
    assert sim.registry.plugins.failures == {("shouting", "conveyor_transforms"): 1}


def test_a_file_that_can_never_be_taken_fails_at_once(sim: Simulation, here: Script, upper: Upper) -> None:
    upper.errors = [DeliveryError(ErrorKind.REJECTED, "no picture")]
    ident = sim.submit(ORIGINAL)["here"]
    sim.step()
    assert (sim.delivery(ident).status, sim.delivery(ident).last_error) == (Status.FAILED, "no picture")
    assert here.calls == []


def test_a_worker_that_lost_the_delivery_meanwhile_writes_and_sends_nothing(
    sim: Simulation, here: Script, upper: Upper
) -> None:
    """As one that died in mid-transform and came back: another has settled it by then."""
    from conveyor.ledger.records import Filter

    ident = sim.submit(ORIGINAL)["here"]
    plain = upper.__call__

    def cancelled(parcel: Parcel, out: BinaryIO) -> Made | None:
        sim.ledger.orders.cancel(Filter(ids=(ident,)), now=sim.clock.now())
        return plain(parcel, out)

    bring_again = Transform("upper", "capitals", cancelled)
    sim.registry.announced.transforms["upper"] = ("shouting", bring_again)
    sim.step()
    delivery = sim.delivery(ident)
    assert delivery.status is Status.CANCELLED
    assert delivery.transformed is None
    assert here.calls == []
    assert len([p for p in sim.payloads.root.rglob("pay_*") if p.is_file()]) == 1, "only the original is left"


def test_a_worker_killed_between_storing_and_naming_leaves_an_orphan_and_the_next_settles(
    sim: Simulation, here: Script, upper: Upper, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> bool:
        raise Killed

    ident = sim.submit(ORIGINAL)["here"]
    claims = sim.parts.dispatcher.claim(1)
    with monkeypatch.context() as patch:
        patch.setattr(sim.ledger.transformed, "record", die)
        attempt = sim.parts._attempt(claims[0])
        assert attempt is not None
        attempt.run()  # its report dies with the process
    assert sim.delivery(ident).transformed is None
    sim.ledger.workers.retire(sim.parts.me.id)
    other = sim.process()
    other.keeper.step()
    sim.clock.advance(10)
    sent: list[Any] = []
    here.then(keeping(sent))
    sim.step(other)
    assert sent[0][0] == b"PHOTO"
    assert upper.calls == 2
    files = [p for p in sim.payloads.root.rglob("pay_*") if p.is_file()]
    assert len(files) == 3
    known = sim.ledger.payloads.known([str(p.relative_to(sim.payloads.root)) for p in files])
    assert len(known) == 2, "the sweep takes the third"


def test_several_follow_each_other_and_none_of_them_changing_anything_sends_the_original(
    sim: Simulation, here: Script
) -> None:
    def twice(parcel: Parcel, out: BinaryIO) -> Made:
        with parcel.open() as source:
            out.write(source.read() * 2)
        return Made()

    def nothing(parcel: Parcel, out: BinaryIO) -> None:
        out.write(b"thrown away")

    sent: list[Any] = []
    here.then(keeping(sent), keeping(sent))
    bring(
        sim,
        Transform("upper", "?", Upper()),
        Transform("nothing", "?", nothing),
        Transform("twice", "?", twice),
    )
    sim.submit(ORIGINAL)
    sim.step()
    sim.source.put(destination(transforms=("nothing",), revision="2"))
    sim.submit(ORIGINAL)
    sim.step()
    assert [(data, kind) for data, kind, _ in sent] == [
        (b"PHOTOPHOTO", "text/plain"),
        (ORIGINAL, "image/jpeg"),
    ]


def test_the_result_goes_with_the_original_when_retention_ends(
    sim: Simulation, here: Script, upper: Upper
) -> None:
    sim.submit(ORIGINAL)
    sim.step()
    assert sim.parts.keeper.remove_payloads() == 0
    sim.clock.advance(8 * 86400)
    assert sim.parts.keeper.remove_payloads() == 2
    assert not [p for p in sim.payloads.root.rglob("pay_*") if p.is_file()]


def test_forgetting_a_job_erases_the_result_too(sim: Simulation, here: Script, upper: Upper) -> None:
    ident = sim.submit(ORIGINAL)["here"]
    sim.step()
    job = sim.delivery(ident).job_id
    left = sim.ledger.forgetting.forget([job], sim.clock.now())
    assert {record.id for record in left} == {row[0] for row in payload_rows(sim)}
    assert len(left) == 2
    assert sim.delivery(ident).transformed is None
    assert all(row[1] == "{}" for row in payload_rows(sim))


def test_a_job_that_is_kept_no_longer_goes_with_the_rows_of_its_results(
    sim: Simulation, here: Script, upper: Upper
) -> None:
    sim.submit(ORIGINAL)
    sim.step()
    sim.clock.advance(8 * 86400)
    later = sim.clock.now()
    assert sim.ledger.retention.jobs(later, later, 10)[0] == 0, "its payloads are still there"
    sim.parts.keeper.remove_payloads()
    assert sim.ledger.retention.jobs(later, later, 10)[0] == 1
    assert payload_rows(sim) == []


def payload_rows(sim: Simulation) -> list[Any]:
    with sim.ledger.database.read() as connection:
        return list(connection.exec_driver_sql("SELECT id, digests FROM payloads"))


# --- what a transform may do wrong, and what it may rely on -------------------------------------------------


def test_a_store_that_goes_away_under_a_transform_charges_nothing(
    sim: Simulation, here: Script, upper: Upper
) -> None:
    upper.errors = [PayloadError("the payload store is away")]
    ident = sim.submit(ORIGINAL)["here"]
    sim.step()
    (first,) = sim.attempts(ident)
    assert (first.outcome, first.charged) == (AttemptOutcome.GIVEN_BACK, False)
    assert not sim.registry.plugins.failures


@pytest.mark.parametrize("answer", [True, "text/plain", Made(b"text/plain")])  # type: ignore[arg-type]
def test_an_answer_that_means_nothing_is_the_plugins_failure(
    sim: Simulation, here: Script, answer: Any
) -> None:
    bring(sim, Transform("odd", "?", lambda parcel, out: answer))
    ident = sim.submit(ORIGINAL)["here"]
    sim.step()
    assert sim.attempts(ident)[0].message == "transform 'odd' of plugin 'shouting' failed: TypeError"
    assert sim.registry.plugins.failures == {("shouting", "conveyor_transforms"): 1}


@pytest.mark.parametrize("name", [None, "", 5])
def test_a_name_that_is_none_holds_the_destination(sim: Simulation, here: Script, name: Any) -> None:
    bring(sim, Transform("odd", "?", lambda parcel, out: None, rename=lambda _: name))
    ident = sim.submit(ORIGINAL)["here"]
    sim.step()
    block = sim.ledger.health.get(["here"])["here"].block
    assert block is not None
    assert (block.reason, block.message) == (
        "config_error", "transform 'odd' failed to name its result: TypeError",
    )  # fmt: skip
    assert (sim.delivery(ident).failures, here.calls) == (0, [])


def closing(parcel: Parcel, out: BinaryIO) -> Made:
    with parcel.open() as source, out:
        out.write(source.read())
    return Made()


def wrapping(parcel: Parcel, out: BinaryIO) -> Made:
    with io.TextIOWrapper(out, encoding="ascii") as text:  # closes what is below it
        text.write("photo")
    return Made()


def by_lines(parcel: Parcel, out: BinaryIO) -> Made:
    with parcel.open() as source:
        out.writelines(source)
    return Made()


@pytest.mark.parametrize("apply", [closing, wrapping, by_lines])
def test_files_are_read_and_written_as_any_other(
    sim: Simulation, here: Script, apply: Callable[[Parcel, BinaryIO], Made]
) -> None:
    sent: list[Any] = []
    here.then(keeping(sent))
    bring(sim, Transform("same", "?", apply), Transform("upper", "?", Upper()))
    sim.submit(ORIGINAL)
    sim.step()
    assert sent[0][0] == b"PHOTO"


class FullDisk(io.RawIOBase):
    """A file on a disk that takes no byte more."""

    def readable(self) -> bool:
        return True

    writable = seekable = readable

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return 0

    def truncate(self, size: int | None = None, /) -> int:
        return 0

    def write(self, data: Any, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("size", [5, 1 << 20])
def test_a_full_disk_is_said_to_be_one(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Whether the system says so when the transform writes, or when what it wrote leaves the buffer."""
    from conveyor.delivery import transforming

    monkeypatch.setattr(transforming.tempfile, "TemporaryFile", lambda: io.BufferedRandom(FullDisk()))
    bring(sim, Transform("large", "?", lambda parcel, out: Made() if out.write(b"x" * size) else None))
    ident = sim.submit(ORIGINAL)["here"]
    sim.step()
    (first,) = sim.attempts(ident)
    assert first.message == "the result of a transform cannot be written: No space left on device"
    assert "TMPDIR" in str(first.hint)
    assert not sim.registry.plugins.failures
