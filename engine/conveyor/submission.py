"""Submission: the bytes into the payload store, then job and deliveries into the ledger, in this order.

If the process dies before the ledger's commit, there is a file that no row names, and the sweep takes it;
after the commit, everything is there. Nothing in between is visible to anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from conveyor import ids, intake, tracing
from conveyor.clock import Clock, micros
from conveyor.errors import ConveyorError, IdempotencyError, LedgerError, SubmissionError, UsageError
from conveyor.intake import Item, Metadata
from conveyor.ledger.records import JobRecord, NewDelivery, PayloadRecord, Submission, Submitted
from conveyor.nearest import did_you_mean
from conveyor.payloads.sources import is_url, open_source
from conveyor.payloads.sources.media import DEFAULT_NAME, DEFAULT_TYPE, guess
from conveyor.payloads.store import Held, PayloadStore

if TYPE_CHECKING:
    from conveyor.config import Destination, DestinationSource
    from conveyor.ledger.facade import Ledger
    from conveyor.network import Network

__all__ = ["BatchError", "Item", "Submitter"]

Progress = Callable[[int], object]

_BATCH: Final = 64
"""Files made durable and committed together; each holds a file descriptor until then."""
_BATCH_BYTES: Final = 64 << 20


class BatchError(SubmissionError):
    """One item of many was refused; those before it were submitted.

    Args:
        index: The refused item's place, from 0.
        submitted: The answers of all items before it.
        error: Why it was refused.
    """

    def __init__(self, index: int, submitted: Sequence[Submitted], error: ConveyorError) -> None:
        super().__init__(
            f"item {index + 1}: {error.message} ({len(submitted)} before it were submitted)", cure=error.cure
        )
        self.exit_code = error.exit_code
        self.index = index
        self.submitted = tuple(submitted)
        self.error = error


class _Ready:
    """An item whose bytes are written, before the ledger knows of it."""

    __slots__ = ("number", "staged", "submission", "traced")

    def __init__(
        self, number: int, submission: Submission, staged: Held | None, traced: tracing.Traced
    ) -> None:
        self.number = number
        self.submission = submission
        self.traced = traced
        self.staged = staged

    @property
    def payload(self) -> PayloadRecord:
        """Where its bytes are."""
        return self.submission.job.payload


class Submitter:
    """Accepts files. Safe from many threads.

    Args:
        ledger: Where jobs and deliveries go.
        store: Where bytes go.
        destinations: Who may be named; asked anew for each item, so a reload takes effect at once.
        clock: Stamps jobs.
        network: The policy for URLs as sources; without one they are refused.
        default_destinations: Who gets what names nobody. Assigned anew on reload.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: PayloadStore,
        destinations: DestinationSource,
        clock: Clock,
        network: Network | None = None,
        *,
        default_destinations: Sequence[str] = (),
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._destinations = destinations
        self._clock = clock
        self._network = network
        self.default_destinations = tuple(default_destinations)

    def submit(self, source: Any, *, progress: Progress | None = None, **fields: Any) -> Submitted:
        """Submit one file; when this returns, it survives a power failure.

        Args:
            source: A path, an http(s) URL, bytes, or a binary stream.
            progress: Told the number of bytes of each chunk that was read.
            **fields: As in :class:`Item`: ``to``, ``filename``, ``session_id``, ``tags``, ``key`` …

        Raises:
            UsageError: An unknown destination, none named and no default, a folder.
            SubmissionError: The file cannot be read, changed while it was, or is too large for a destination.
            IdempotencyError: The key stands for another job.
            PayloadError, LedgerError: The store or the ledger refuses; nothing of the file was accepted.
        """
        batch = [self._ready(0, Item(source, **fields), progress)]
        with _ended(batch):
            self._publish(batch)
            return self._record(batch)[0]

    def submit_many(
        self,
        items: Iterable[Item],
        *,
        progress: Progress | None = None,
        done: list[Submitted] | None = None,
    ) -> list[Submitted]:
        """Submit many, up to 64 files in one commit; much faster than one by one.

        Args:
            items: In this order.
            progress: Told the number of bytes of each chunk that was read.
            done: Filled with the answers, commit by commit; right also when this raises.

        Raises:
            BatchError: An item was refused. All before it were submitted, none after it.
            PayloadError, LedgerError: As in :meth:`submit`; earlier commits stand.
        """
        done = [] if done is None else done
        batch: list[_Ready] = []
        try:
            for number, item in enumerate(items):
                try:
                    batch.append(self._ready(number, item, progress))
                except ConveyorError as error:
                    self._flush(batch, done)
                    raise BatchError(number, done, error) from error
                if len(batch) >= _BATCH or sum(ready.payload.size for ready in batch) >= _BATCH_BYTES:
                    self._flush(batch, done)
            self._flush(batch, done)
        except BaseException:
            with _ended(batch):  # empty unless the items or their bytes failed before a flush
                for ready in batch:
                    if ready.staged is not None:
                        ready.staged.discard()
                raise
        return done

    def _flush(self, batch: list[_Ready], done: list[Submitted]) -> None:
        taken = list(batch)
        batch.clear()
        if taken:
            with _ended(taken):
                self._accept(taken, done)

    def _accept(self, taken: list[_Ready], done: list[Submitted]) -> None:
        self._publish(taken)
        try:
            done.extend(self._record(taken))
            return
        except IdempotencyError:
            pass  # one key refuses the whole transaction: find out whose it is
        for place, ready in enumerate(taken):
            try:
                done.extend(self._record([ready]))
            except IdempotencyError as error:
                self._remove(taken[place:])
                raise BatchError(ready.number, done, error) from error

    def _ready(self, number: int, item: Item, progress: Progress | None) -> _Ready:
        """Check the item and write its bytes; nothing is left when it is refused."""
        traced = tracing.submitting()
        try:
            submission, staged = self._written(item, progress, traced)
        except BaseException as error:
            traced.end(type(error).__name__)
            raise
        return _Ready(number, submission, staged, traced)

    def _written(
        self, item: Item, progress: Progress | None, traced: tracing.Traced
    ) -> tuple[Submission, Held | None]:
        destinations = self._named(item.to)
        digests = frozenset(name for found in destinations for name in found.spec.capabilities.digests)
        watch = _Limit(destinations, progress)
        fields = intake.metadata(item)
        if item.in_place:
            path = Path(intake.local_path(item.source))
            if is_url(item.source):
                raise SubmissionError("a URL cannot stay in place", cure="leave in_place out")
            payload = self._store.adopt(path, digests, watch)
            return self._submission(fields, path.name, None, payload, destinations, traced), None
        with open_source(item.source, self._network) as source:
            watch.check(source.size)
            staged = self._store.stage(source.stream, digests=digests, size_hint=source.size, progress=watch)
            try:
                source.recheck()
                submission = self._submission(
                    fields, source.name, source.media_type, staged.record, destinations, traced
                )
            except BaseException:
                staged.discard()
                raise
        return submission, staged

    def _named(self, to: str | Iterable[str] | None) -> tuple[Destination, ...]:
        """The destinations an item names, each once, in order."""
        wanted = self.default_destinations if to is None else (to,) if isinstance(to, str) else tuple(to)
        if not wanted:
            raise UsageError(
                "no destination is named, and there are no default_destinations",
                cure="name one (to=, --to), or list default_destinations in the configuration",
            )
        found = []
        for name in dict.fromkeys(wanted):
            destination = self._destinations.get(name)
            if destination is None:
                known = [each.id for each in self._destinations.list()]
                raise UsageError(
                    f"there is no destination {name!r}", cure=did_you_mean(name, known, label="destinations")
                )
            found.append(destination)
        return tuple(found)

    def _submission(
        self,
        fields: Metadata,
        name: str | None,
        media_type: str | None,
        payload: PayloadRecord,
        destinations: Sequence[Destination],
        traced: tracing.Traced,
    ) -> Submission:
        now = self._clock.now()
        filename = fields.filename or intake.text(name, "the file name") or DEFAULT_NAME
        guessed = guess(filename) if fields.filename or media_type is None else DEFAULT_TYPE
        if guessed == DEFAULT_TYPE:
            guessed = media_type or DEFAULT_TYPE
        job = JobRecord(
            ids.new("job", self._clock),
            now,
            filename,
            fields.media_type or guessed,
            payload,
            trace=traced.headers,
            **fields.rest,
        )
        deliveries = tuple(
            NewDelivery(
                ids.new("dlv", self._clock),
                destination.id,
                destination.type,
                expires_at=now + micros(destination.expire_after),
                next_attempt_at=now,
                priority=fields.priority,
            )
            for destination in destinations
        )
        return Submission(job, deliveries)

    def _publish(self, batch: Sequence[_Ready]) -> None:
        staged = [ready.staged for ready in batch if ready.staged is not None]
        if staged:
            self._store.publish(staged)

    def _record(self, batch: Sequence[_Ready]) -> list[Submitted]:
        """One transaction; files that no row came to name are removed as far as that is certain."""
        try:
            answers = self._ledger.submissions.submit([ready.submission for ready in batch])
        except IdempotencyError:
            if len(batch) == 1:
                self._remove(batch)
            raise
        except LedgerError:
            self._remove_unknown(batch)
            raise
        answered = list(zip(batch, answers, strict=True))
        self._remove([ready for ready, answer in answered if not answer.created])
        for ready, answer in answered:
            ready.traced.submitted(ready.submission, answer)
        return answers

    def _remove(self, batch: Iterable[_Ready]) -> None:
        for ready in batch:
            self._store.remove(ready.payload)

    def _remove_unknown(self, batch: Sequence[_Ready]) -> None:
        """After a failed commit: a server may have committed all the same, so only a file's word counts."""
        if not self._ledger.embedded:
            return  # the sweep takes them
        locations = [ready.payload.location for ready in batch]
        try:
            known = self._ledger.payloads.known(locations)
        except LedgerError:
            return
        self._remove([ready for ready in batch if ready.payload.location not in known])


@contextmanager
def _ended(batch: Sequence[_Ready]) -> Iterator[None]:
    """End the spans of what is not accepted within the block."""
    try:
        yield
    except BaseException as error:
        for ready in batch:
            ready.traced.end(type(error).__name__)
        raise


class _Limit:
    """Stops a payload that grows over what one of its destinations takes; passes progress on."""

    def __init__(self, destinations: Sequence[Destination], progress: Progress | None) -> None:
        limits = [(limit, each.id) for each in destinations if (limit := _max_size(each)) is not None]
        self._limit = min(limits, default=None)
        self._progress = progress
        self._count = 0

    def __call__(self, count: int) -> None:
        self._count += count
        self.check(self._count)
        if self._progress is not None:
            self._progress(count)

    def check(self, size: int | None) -> None:
        """Raise when ``size`` is too much."""
        if size is not None and self._limit is not None and size > self._limit[0]:
            limit, name = self._limit
            raise SubmissionError(
                f"the file is larger than the {limit} bytes that destination {name!r} takes",
                cure=f"send it to others than {name!r}, or raise its limits.max_size",
            )


def _max_size(destination: Destination) -> int | None:
    """The smaller of the connector's limit and the operator's."""
    limits = (destination.spec.capabilities.max_size, destination.limits.max_size)
    return min((limit for limit in limits if limit is not None), default=None)
