"""All digests of a payload in the one pass that reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from conveyor.errors import ConveyorError, SubmissionError
from conveyor.hashing import OWN, Hasher, new_hasher

ALWAYS: Final = frozenset({"sha256", "md5"})
"""What each payload has; connectors may ask for more."""

CHUNK: Final = 1 << 20


class Readable(Protocol):
    """Anything that gives bytes; ``readinto`` is used where there is one."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Up to ``size`` bytes, none at the end."""


class Digests:
    """Hashers that are fed together.

    Args:
        names: Names of :func:`conveyor.hashing.new_hasher`, beside those in ALWAYS.

    Raises:
        SubmissionError: a name is not known, or its length is not fixed.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._hashers = {name: _hasher(name) for name in sorted(ALWAYS | set(names))}

    def update(self, data: bytes | memoryview) -> None:
        """Feed all."""
        for hasher in self._hashers.values():
            hasher.update(data)

    def hex(self) -> dict[str, str]:
        """The digests in hex, by name."""
        return {name: hasher.hexdigest() for name, hasher in self._hashers.items()}


def _hasher(name: str) -> Hasher:
    try:
        return new_hasher(name)
    except ConveyorError:
        raise SubmissionError(
            f"a destination's connector asks for the digest {name!r}, which this Python does not offer",
            cure="a connector may only declare digests of hashlib with a fixed length, or "
            + " or ".join(sorted(OWN)),
        ) from None


def pump(
    stream: Readable,
    sink: Callable[[memoryview], object],
    digests: Digests,
    *,
    size_hint: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Read ``stream`` to its end, feeding the digests and the sink; returns the number of bytes.

    Memory is one buffer of at most 1 MiB, whatever the size.

    Args:
        stream: Where the bytes come from.
        sink: Takes each chunk; the view is only valid during the call.
        digests: Fed with each chunk.
        size_hint: Expected size, to choose the buffer by.
        progress: Told the number of bytes of each chunk.

    Raises:
        SubmissionError: The source cannot be read, or gives something else than bytes.
    """
    buffer = _buffer(size_hint)
    fill = _filler(stream)
    total = 0
    while count := _filled(fill, buffer):
        chunk = buffer[:count]
        digests.update(chunk)
        sink(chunk)
        total += count
        if progress is not None:
            progress(count)
    return total


def pieces(
    stream: Readable,
    digests: Digests,
    *,
    size_hint: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Iterator[bytes]:
    """As :func:`pump`, for whoever pulls: the chunks of ``stream``, each fed to the digests."""
    buffer = _buffer(size_hint)
    fill = _filler(stream)
    while count := _filled(fill, buffer):
        chunk = bytes(buffer[:count])
        digests.update(chunk)
        if progress is not None:
            progress(count)
        yield chunk


def _buffer(size_hint: int | None) -> memoryview:
    return memoryview(bytearray(CHUNK if size_hint is None else min(CHUNK, max(size_hint + 1, 4096))))


def _filler(stream: Readable) -> Callable[[memoryview], int | None]:
    readinto: Callable[[memoryview], int | None] | None = getattr(stream, "readinto", None)
    return readinto if readinto is not None else lambda buffer: _read_into(stream, buffer)


def _read_into(stream: Readable, buffer: memoryview) -> int | None:
    data = stream.read(len(buffer))
    if data is None:
        return None
    if not isinstance(data, bytes | bytearray | memoryview):
        raise SubmissionError(
            f"the source gives {type(data).__name__}, not bytes", cure="open the file in binary mode: 'rb'"
        )
    if len(data) > len(buffer):
        raise SubmissionError("the source gives more bytes than it was asked for")
    buffer[: len(data)] = data
    return len(data)


def _filled(fill: Callable[[memoryview], int | None], buffer: memoryview) -> int:
    try:
        count = fill(buffer)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SubmissionError(f"the source cannot be read: {reason}") from error
    if count is None:
        raise SubmissionError(
            "the source is a non-blocking stream without data", cure="submit a blocking stream"
        )
    return count
