"""The Python API: submit files, ask for their status, replay and cancel."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from conveyor.errors import UsageError

if TYPE_CHECKING:
    from conveyor.installation import Installation
    from conveyor.intake import Item
    from conveyor.ledger.records import OrderResult, Submitted
    from conveyor.status.bulk import BulkReplay
    from conveyor.status.selection import Selection
    from conveyor.status.views import DeliveryStatus, JobStatus

PAGE = 500
"""Rows read from the ledger at a time."""

WAIT_POLL = 0.05
"""Seconds between looks while waiting for a job."""


class Conveyor:
    """An application's handle on an installation. Safe from many threads; open it again after a fork.

    Args:
        installation: What a config opened; see :meth:`from_config`.

    Example:
        >>> with Conveyor.from_config("conveyor.yaml") as conveyor:  # doctest: +SKIP
        ...     job = conveyor.submit("photo.jpg", to=["backend"], session_id="s1")
        ...     conveyor.wait(job.job_id, timeout=60)
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._submitter = installation.submitter()

    @classmethod
    def from_config(cls, path: str | Path | None = None) -> Conveyor:
        """Open the installation that a config file describes.

        Args:
            path: The file; by default ``$CONVEYOR_CONFIG`` or ``conveyor.yaml`` in the working folder.

        Raises:
            ConfigError: The config has mistakes; all of them are named.
            LedgerError: The ledger cannot be opened.
        """
        from conveyor.installation import Installation

        return cls(Installation.open(path))

    # --- submitting ------------------------------------------------------------------------------

    def submit(
        self,
        source: str | Path | bytes | BinaryIO,
        *,
        to: str | Iterable[str] | None = None,
        filename: str | None = None,
        media_type: str | None = None,
        session_id: str | None = None,
        image_id: str | None = None,
        image_index: int | None = None,
        source_name: str | None = None,
        tags: Sequence[str] = (),
        meta: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        in_place: bool = False,
        priority: int = 0,
    ) -> Submitted:
        """Submit one file for delivery. When this returns, file and job survive a power failure.

        Args:
            source: A path, an http(s) URL, the bytes, or a binary stream.
            to: Destination ids; by default the config's ``default_destinations``.
            filename: What to call it; by default from the source.
            media_type: MIME type; by default guessed from the name.
            session_id, image_id, image_index, source_name: Metadata for templates, webhooks and status.
            tags: ``key:value`` or bare words.
            meta: Further metadata for path templates.
            idempotency_key: The same key with the same file and destinations returns the first job.
            in_place: Do not copy the file: its path stays readable by every worker until all is delivered.
            priority: From 0 to 9: the higher one goes first among what waits for a destination; each step
                counts like ten minutes of waiting, so that nothing waits for ever.

        Returns:
            The job's id and the delivery id of each destination; ``created`` is False for a repeated key.

        Raises:
            UsageError: An unknown destination, none named and no default, a folder.
            SubmissionError: The file cannot be read, changed meanwhile, or is too large for a destination.
            IdempotencyError: The key stands for another file.
            PayloadError, LedgerError: The store or the ledger refuses; nothing was accepted.
        """
        return self._submitter.submit(
            source,
            to=to,
            filename=filename,
            media_type=media_type,
            session_id=session_id,
            image_id=image_id,
            image_index=image_index,
            source_name=source_name,
            tags=tags,
            meta=meta,
            key=idempotency_key,
            in_place=in_place,
            priority=priority,
        )

    def submit_many(self, items: Iterable[Item]) -> list[Submitted]:
        """Submit many files, several in one commit: much faster than one by one.

        Args:
            items: :class:`conveyor.Item`, with the arguments of :meth:`submit` as fields.

        Raises:
            BatchError: An item was refused; all before it were submitted, none after it.
        """
        return self._submitter.submit_many(items)

    # --- asking ----------------------------------------------------------------------------------

    def job(self, job_id: str) -> JobStatus:
        """A job with its deliveries.

        Raises:
            UsageError: There is no such job.
        """
        ledger = self._installation.ledger
        job = ledger.deliveries.job(job_id)
        if job is None:
            raise UsageError(f"there is no job {job_id!r}", cure="conveyor deliveries lists what there is")
        return self._installation.viewer().job(job, ledger.deliveries.of_job(job_id))

    def wait(self, job_id: str, timeout: float | None = None) -> JobStatus:
        """Wait until a job is final: every delivery delivered, failed or cancelled.

        A held delivery is not final; set a timeout where a destination may be held.

        Args:
            job_id: The job.
            timeout: Seconds; None waits for ever.

        Returns:
            The job's status: final, or as it stood when the time was over.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            status = self.job(job_id)
            if status.final or (end is not None and time.monotonic() >= end):
                return status
            time.sleep(WAIT_POLL)

    def session_status(self, session_id: str) -> dict[str, Any]:
        """The status of a session's images in the published shape.

        Returns:
            ``{"session_id", "status", "images": […]}`` with ``status`` ``pending``, ``completed`` or
            ``failed``.
        """
        from conveyor.status.session import session_status

        deliveries = self._installation.ledger.deliveries.session(session_id)
        return session_status(session_id, deliveries, self._installation.source)

    def deliveries(
        self,
        *,
        ids: Sequence[str] = (),
        status: Sequence[str] = (),
        destination: Sequence[str] = (),
        label: Sequence[str] = (),
        session: Sequence[str] = (),
        error_kind: Sequence[str] = (),
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        limit: int | None = 100,
    ) -> list[DeliveryStatus]:
        """Deliveries that fit, newest first.

        Args:
            ids: Delivery or job ids.
            status: ``pending``, ``delivering``, ``delivered``, ``failed``, ``cancelled``, ``held``,
                ``retrying``; several are alternatives.
            destination, label, session, error_kind: Further restrictions.
            since, until: Bounds of the submission: a datetime, ISO 8601, or an age such as ``2h``.
            limit: At most so many; None for all.

        Raises:
            UsageError: An unknown status or kind, a malformed time.
        """
        chosen = _selection(ids, status, destination, label, session, error_kind, since, until)
        return list(self.iterate(chosen, limit))

    def iterate(self, selection: Selection, limit: int | None = None) -> Iterator[DeliveryStatus]:
        """Deliveries that fit a selection, newest first, page by page."""
        installation = self._installation
        wanted = installation.filter(selection)
        viewer = installation.viewer()
        last = None
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = installation.ledger.deliveries.find(wanted, limit=size, after=last)
            for record in page:
                yield viewer.delivery(record)
            if len(page) < size:
                return
            last = page[-1]
            left = None if left is None else left - len(page)

    # --- ordering --------------------------------------------------------------------------------

    def replay(
        self,
        ids: Sequence[str] = (),
        *,
        status: Sequence[str] = (),
        destination: Sequence[str] = (),
        label: Sequence[str] = (),
        session: Sequence[str] = (),
        error_kind: Sequence[str] = (),
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        everything: bool = False,
        force: bool = False,
        new_id: bool = False,
        to: str | None = None,
        dry_run: bool = False,
    ) -> OrderResult:
        """Deliver again: failed and cancelled ones with a fresh budget, waiting ones at once.

        Args:
            ids: Delivery or job ids.
            status, destination, label, session, error_kind, since, until: As in :meth:`deliveries`.
            everything: Required when nothing restricts the selection.
            force: Delivered ones too.
            new_id: Under a new delivery id, for receivers that drop ids they have seen.
            to: Deliver to this destination instead.
            dry_run: Change nothing, only tell.

        Returns:
            How many matched, the ids due now, and why others were skipped.
        """
        chosen = _selection(ids, status, destination, label, session, error_kind, since, until)
        return self._installation.replay(
            chosen, everything=everything, force=force, new_id=new_id, to=to, dry_run=dry_run
        )

    def bulk_replay(
        self,
        *,
        status: Sequence[str] = (),
        destination: Sequence[str] = (),
        label: Sequence[str] = (),
        session: Sequence[str] = (),
        error_kind: Sequence[str] = (),
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        everything: bool = False,
        force: bool = False,
        new_id: bool = False,
        to: str | None = None,
        rate: float | None = None,
    ) -> BulkReplay:
        """Begin to deliver many again, in the background: at once, however many they are.

        What it puts in line stands behind what is submitted meanwhile, a few hundred at a time, and tells
        nothing of the destinations' health.

        Args:
            status, destination, label, session, error_kind, since, until, everything, force, new_id, to: As
                of :meth:`replay`, of deliveries that exist now.
            rate: Deliveries a second at most.

        Returns:
            The replay as it stands; :meth:`bulk_replay_status` tells how it goes on.
        """
        chosen = _selection((), status, destination, label, session, error_kind, since, until)
        return self.bulk_replay_status(
            self._installation.replay_in_bulk(
                chosen, everything=everything, force=force, new_id=new_id, to=to, rate=rate
            )
        )

    def bulk_replays(self) -> list[BulkReplay]:
        """All replays in bulk, the newest first."""
        from conveyor.status.bulk import view

        return [view(record) for record in self._installation.ledger.bulk.all()]

    def bulk_replay_status(self, replay_id: str) -> BulkReplay:
        """How far a replay in bulk has come.

        Raises:
            UsageError: There is no such replay.
        """
        from conveyor.status.bulk import view

        found = self._installation.ledger.bulk.all(replay_id)
        if not found:
            raise UsageError(f"there is no replay {replay_id!r}", cure="conveyor replays lists them")
        return view(found[0])

    def steer_replay(self, replay_id: str, order: str) -> BulkReplay:
        """Pause, resume or cancel a replay in bulk; what is in line already stays there.

        Args:
            replay_id: Its id.
            order: ``pause``, ``resume`` or ``cancel``.

        Raises:
            UsageError: There is no such replay or order, or the replay has ended.
        """
        from conveyor.ledger.bulk import ReplayState

        states = {
            "pause": ReplayState.PAUSED,
            "resume": ReplayState.RUNNING,
            "cancel": ReplayState.CANCELLED,
        }
        if order not in states:
            raise UsageError(f"{order!r} is no order for a replay", cure=f"one of: {', '.join(states)}")
        state = self.bulk_replay_status(replay_id).state
        installation = self._installation
        if not installation.ledger.bulk.steer(replay_id, states[order], installation.clock.now()):
            raise UsageError(f"the replay {replay_id} has ended: {state}", cure="begin another one")
        return self.bulk_replay_status(replay_id)

    def cancel(self, ids: Sequence[str]) -> OrderResult:
        """Cancel deliveries, by delivery or job id; what runs is stopped and publishes nothing.

        Raises:
            UsageError: No id is given.
        """
        if not ids:
            raise UsageError("nothing to cancel: no id is given")
        return self._installation.cancel(_selection(ids=ids))

    # --- life ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the ledger. Idempotent."""
        self._installation.close()

    def __enter__(self) -> Conveyor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _selection(
    ids: Sequence[str] = (),
    status: Sequence[str] = (),
    destination: Sequence[str] = (),
    label: Sequence[str] = (),
    session: Sequence[str] = (),
    error_kind: Sequence[str] = (),
    since: str | datetime | None = None,
    until: str | datetime | None = None,
) -> Selection:
    from conveyor.status.selection import Selection

    return Selection(
        _words(ids),
        _words(status),
        _words(destination),
        _words(label),
        _words(session),
        _words(error_kind),
        since,
        until,
    )


def _words(given: Sequence[str]) -> tuple[str, ...]:
    """One word or several: a lone string is one word, not its letters."""
    return (given,) if isinstance(given, str) else tuple(given)
