"""Makes what a destination's transforms want of a payload, once for each delivery.

What stands there if the process dies on a given line:

* before the result's row is committed: perhaps a file that no row names, which the sweep takes after a day;
  the next attempt makes the result anew, from the original;
* after it: the next attempt, in any process, finds the result named in the delivery's row and sends that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import IO, TYPE_CHECKING, BinaryIO, Self, cast

from conveyor.contract import DeliveryError, ErrorKind, Parcel
from conveyor.errors import PayloadError
from conveyor.hooks import Made
from conveyor.ledger.records import JobRecord, Transformed

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.hooks import Transform
    from conveyor.ledger.transformed import TransformResults
    from conveyor.payloads import PayloadStore
    from conveyor.plugins import Plugins

HOOK = "conveyor_transforms"


class _Watched:
    """A file that tells of each block read from it or written to it, and stops when told to."""

    def __init__(self, file: BinaryIO, moved: Callable[[], None]) -> None:
        self._file = file
        self._moved = moved

    def read(self, count: int = -1) -> bytes:
        self._moved()
        return self._file.read(count)

    def write(self, data: bytes) -> int:
        self._moved()
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        for line in self._file:
            self._moved()
            yield line

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Result(_Watched):
    """Where a transform writes to. It is ours to close, whatever the plugin wraps around it closes."""

    closed = False

    def write(self, data: bytes) -> int:
        with _room():
            return super().write(data)

    def close(self) -> None:
        self.closed = True


class Transformer:
    """Runs transforms.

    Args:
        known: By name, each with its plugin.
        plugins: Count their failures.
        payloads: Where results are stored.
        results: Where they are named.
    """

    def __init__(
        self,
        known: Mapping[str, tuple[str, Transform]],
        plugins: Plugins,
        payloads: PayloadStore,
        results: TransformResults,
    ) -> None:
        self._known = known
        self._plugins = plugins
        self._payloads = payloads
        self._results = results

    def renamed(self, destination: Destination, filename: str) -> str:
        """The file name after a destination's transforms.

        Raises:
            DeliveryError: CONFIG, when a transform is missing or its ``rename`` fails.
        """
        for name in destination.transforms:
            plugin, transform = self._get(name)
            if transform.rename is not None:
                try:
                    filename = _text(transform.rename(filename))
                except (Exception, SystemExit) as error:
                    self._plugins.failed(plugin, HOOK, error)
                    message = f"transform {name!r} failed to name its result: {type(error).__name__}"
                    raise DeliveryError(ErrorKind.CONFIG, message, hint="mend its plugin") from None
        return filename

    def applied(self, destination: Destination, job: JobRecord, made: Transformed) -> JobRecord:
        """The job as it is sent: with the result's bytes, type and name."""
        return replace(
            job,
            payload=made.payload or job.payload,
            media_type=made.media_type or job.media_type,
            filename=self.renamed(destination, job.filename),
        )

    def usable(self, destination: Destination, made: Transformed) -> bool:
        """Whether what was made before is what the destination wants, and still there."""
        if made.by != destination.transforms:
            return False
        try:
            if made.payload is not None:
                self._payloads.verify(made.payload)
        except (DeliveryError, PayloadError):
            return False
        return True

    def make(
        self, destination: Destination, parcel: Parcel, fence: int, moved: Callable[[], None]
    ) -> Transformed | None:
        """Run the transforms, store the result and name it in the delivery's row, before anything is sent.

        Args:
            destination: Whose transforms.
            parcel: The original.
            fence: The attempt's.
            moved: Called for each block; raises when the attempt must stop.

        Returns:
            What was made; None when the delivery is somebody else's by now.

        Raises:
            DeliveryError: What a transform raises, or TRANSIENT for anything else that it raises, and for
                a disk that is full.
            PayloadError: The store is away.
        """
        source, media_type, changed = parcel, parcel.media_type, False
        with _temporary() as first, _temporary() as second:
            spare, result = cast(BinaryIO, first), cast(BinaryIO, second)
            for name in destination.transforms:
                with _room():
                    spare.seek(0)
                    spare.truncate()
                kind = self._run(name, replace(source, open=_watching(source.open, moved)), spare, moved)
                if kind is None:
                    continue
                media_type, changed = kind, True
                spare, result = result, spare
                source = replace(source, media_type=kind, open=_again(result))
            payload = None
            if changed:
                with _room():
                    result.seek(0)
                wanted = frozenset(parcel.digests)
                payload = self._payloads.put(result, digests=wanted, progress=lambda _: moved())
        made = Transformed(destination.transforms, payload, media_type if changed else None)
        if self._results.record(parcel.delivery_id, fence, made):
            return made
        if payload is not None:
            self._payloads.remove(payload)
        return None

    def _run(self, name: str, parcel: Parcel, out: BinaryIO, moved: Callable[[], None]) -> str | None:
        """Run one; the media type of what it made, or None when it changed nothing."""
        plugin, transform = self._get(name)
        try:
            made = transform.apply(parcel, cast(BinaryIO, _Result(out, moved)))
            if made is not None and not _sound(made):
                raise TypeError("no sound Made")
            with _room():
                out.flush()
        except (DeliveryError, PayloadError):
            raise
        except (Exception, SystemExit) as error:
            self._plugins.failed(plugin, HOOK, error)
            message = f"transform {name!r} of plugin {plugin!r} failed: {type(error).__name__}"
            raise DeliveryError(ErrorKind.TRANSIENT, message, hint="report this to its author") from None
        return None if made is None else made.media_type or parcel.media_type

    def _get(self, name: str) -> tuple[str, Transform]:
        if name not in self._known:
            message = f"there is no transform {name!r}"
            raise DeliveryError(ErrorKind.CONFIG, message, hint="install the plugin that brings it")
        return self._known[name]


def _watching(opened: Callable[[], BinaryIO], moved: Callable[[], None]) -> Callable[[], BinaryIO]:
    return lambda: cast(BinaryIO, _Watched(opened(), moved))


def _sound(made: object) -> bool:
    return isinstance(made, Made) and (made.media_type is None or isinstance(made.media_type, str))


def _text(name: object) -> str:
    if isinstance(name, str) and name:
        return name
    raise TypeError("no file name")


@contextmanager
def _room() -> Iterator[None]:
    """A temporary file that cannot be written is neither the plugin's fault nor the connector's.

    Charged all the same: a transform whose result fits on no disk must come to an end.
    """
    try:
        yield
    except OSError as error:
        message = f"the result of a transform cannot be written: {error.strerror or type(error).__name__}"
        hint = "free some space where temporary files lie, or set TMPDIR to a folder on a larger disk"
        raise DeliveryError(ErrorKind.TRANSIENT, message, hint=hint) from None


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    with _room():
        file = tempfile.TemporaryFile()  # noqa: SIM115 -- closed below
    try:
        yield file
    finally:
        with suppress(OSError):  # what was not written yet, and now is of no use
            file.close()


def _again(file: BinaryIO) -> Callable[[], BinaryIO]:
    """A fresh view of a temporary file's content, by its own descriptor and position."""
    return lambda: open(f"/dev/fd/{file.fileno()}", "rb")
