"""What a payload store is, and which one a config means."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from conveyor.clock import Clock
from conveyor.ledger.records import PayloadRecord
from conveyor.payloads.digests import Readable
from conveyor.payloads.sealing import PayloadKeys


class Held(Protocol):
    """A payload on its way into the store."""

    record: PayloadRecord

    def discard(self) -> None:
        """Leave nothing, whatever became of it. A second call does nothing."""


class PayloadStore(Protocol):
    """Where the bytes of jobs lie; see :class:`conveyor.payloads.LocalStore` for what each call promises."""

    def put(
        self,
        stream: Readable,
        *,
        digests: Collection[str] = (),
        size_hint: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> PayloadRecord: ...

    def stage(
        self,
        stream: Readable,
        *,
        digests: Collection[str] = (),
        size_hint: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Held: ...

    def publish(self, staged: Sequence[Any]) -> None: ...

    def adopt(
        self,
        path: Path,
        digests: Collection[str] = (),
        progress: Callable[[int], object] | None = None,
    ) -> PayloadRecord: ...

    def open(self, record: PayloadRecord) -> BinaryIO: ...

    def verify(self, record: PayloadRecord) -> None: ...

    def remove(self, record: PayloadRecord) -> None: ...

    def sweep(self, known: Callable[[list[str]], set[str]], older_than: float) -> int: ...

    def check(self) -> None: ...

    def stored(self, record: PayloadRecord) -> io.RawIOBase: ...

    def file(self, record: PayloadRecord) -> Path | None: ...

    def locations(self) -> Iterator[list[str]]: ...

    def restore(
        self, record: PayloadRecord, source: Path, progress: Callable[[int], object]
    ) -> PayloadRecord: ...


def open_store(
    where: Path | str,
    options: Mapping[str, str],
    *,
    clock: Clock,
    ca_bundle: Path | None = None,
    proxy: str | None = None,
    keys: PayloadKeys | None = None,
) -> PayloadStore:
    """The store of a config.

    Args:
        where: A folder, or the URL of a bucket: ``s3://``, ``az://``, ``gs://``.
        options: Of a bucket: login, endpoint …
        clock: Stamps the payloads' ids.
        ca_bundle: Certificate authorities to trust, for a bucket.
        proxy: HTTP proxy, for a bucket.
        keys: Encrypt and decrypt; None: nothing is encrypted, and what is cannot be read.

    Raises:
        PayloadError: The library for buckets is missing, or an option means nothing.
    """
    if isinstance(where, Path):
        from conveyor.payloads.local import LocalStore

        return LocalStore(where, clock=clock, keys=keys)
    from conveyor.payloads.bucket import open_bucket
    from conveyor.payloads.remote import RemoteStore

    bucket, name = open_bucket(where, options, ca_bundle=ca_bundle, proxy=proxy)
    return RemoteStore(bucket, name, clock=clock, keys=keys)
