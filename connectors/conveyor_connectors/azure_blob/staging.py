"""Sends the blocks of one upload: helper threads send, the attempt's thread reports and cancels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from conveyor.contract import AttemptContext, Parcel
from conveyor.kit.bodies import Body, Pooled, digest_of
from conveyor_connectors.azure_blob.container import Container, Limits

REPORT_EVERY = 0.2
"""Seconds between two reports of the helpers' progress; also how fast a cancelled upload stops."""


class Staging:
    """The blocks of one upload.

    Each block is hashed in one pass over its range and streamed in a second, so that memory does not grow
    with the size of a block.

    Args:
        container: Where to.
        parcel: What to send.
        path: The blob's name.
        name: The id of the block with a number.
        size: Bytes of a block; the last one may be shorter.
        context: The attempt.
    """

    def __init__(
        self,
        container: Container,
        parcel: Parcel,
        path: str,
        name: Callable[[int], str],
        size: int,
        context: AttemptContext,
    ) -> None:
        self._container = container
        self._parcel = parcel
        self._path = path
        self._name = name
        self._size = size
        self._context = context
        self._meter = Pooled()

    def run(self, have: Mapping[int, int], parallel: int) -> None:
        """Send every block but those whose size stands in ``have`` and is right.

        Raises:
            DeliveryError: the first that a block met.
        """
        count = -(-self._parcel.size // self._size)
        missing = [number for number in range(count) if have.get(number) != self._bytes_of(number)]
        workers = min(parallel, len(missing))
        if not workers:
            return
        with ThreadPoolExecutor(workers, thread_name_prefix="azure-block") as pool:
            try:
                self._keep_busy(pool, missing, workers)
            except BaseException:
                self._meter.stop()
                raise

    def _keep_busy(self, pool: ThreadPoolExecutor, missing: list[int], workers: int) -> None:
        """Keep the helpers busy, never far ahead, and report what they sent."""
        running: set[Future[None]] = set()
        waiting = iter(missing)
        more = True
        while more or running:
            while more and len(running) < workers:
                number = next(waiting, None)
                if number is None:
                    more = False
                else:
                    running.add(pool.submit(self._send, number))
            finished, running = wait(running, REPORT_EVERY, FIRST_COMPLETED)
            self._context.progress(self._meter.drain())
            for future in finished:
                future.result()

    def _bytes_of(self, number: int) -> int:
        return min(self._size, self._parcel.size - number * self._size)

    def _send(self, number: int) -> None:
        offset, size = number * self._size, self._bytes_of(number)
        with self._parcel.open() as stream:
            md5 = digest_of(stream, offset, size, "md5")
            body = Body(stream, offset, size, self._meter)
            self._container.stage(self._path, self._name(number), body, md5, _Unbounded(self._context))


class _Unbounded:
    """The attempt's limits without its cancellation: the attempt's own thread decides."""

    def __init__(self, context: Limits) -> None:
        self._context = context

    def check(self) -> None:
        """Nothing."""

    def remaining(self) -> float:
        """Seconds until the attempt's deadline."""
        return self._context.remaining()
