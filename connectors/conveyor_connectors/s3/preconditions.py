"""Whether the endpoint honours ``If-None-Match: *``, on which ``rename``, ``skip`` and ``fail`` rest.

Amazon does on PutObject and CompleteMultipartUpload. Of the compatible stores some do, some answer 501,
and some take the header and overwrite all the same. So elsewhere nothing is believed until it is proved:
until then, and where the answer is no, Conveyor looks at the key first, which leaves a window in which two
writers of one name can overwrite each other; writers of the same process are kept apart by a lock.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from conveyor.contract import Memory
from conveyor_connectors.s3.options import S3Options


class Preconditions:
    """What is known about one bucket's endpoint; proof is remembered in the ledger.

    Attributes:
        honoured: True or False where it is proved, None while it is not.
    """

    def __init__(self, options: S3Options, memory: Memory) -> None:
        place = f"{options.endpoint}|{options.bucket}"
        self._memory = memory
        self._key = f"s3-if-none-match-{hashlib.sha256(place.encode()).hexdigest()[:16]}"
        self._place = place
        self._fixed = options.conditional_writes != "auto" or options.is_amazon
        self._asked = self._fixed
        self.honoured: bool | None = None
        if self._fixed:
            self.honoured = options.conditional_writes != "no"

    def known(self) -> bool | None:
        """True, False, or None when it was never tried."""
        if not self._asked:
            self._asked = True
            said = self._memory.get(self._key)
            self.honoured = said if isinstance(said, bool) else None
        return self.honoured

    def learn(self, honoured: bool) -> None:
        """Remember what was proved."""
        if self._fixed:
            return
        self._asked = True
        self.honoured = honoured
        if self._memory.put_if_absent(self._key, honoured) is not honoured:
            self._memory.forget(self._key)
            self._memory.put_if_absent(self._key, honoured)

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Keep other threads of this process from the key, where the service will not."""
        if self.known() is True:
            yield
            return
        with _LOCKS.get(f"{self._place}|{key}"):
            yield


class _Lock:
    """A lock that can be weakly referenced."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _Locks:
    """One lock for each name in use."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: weakref.WeakValueDictionary[str, _Lock] = weakref.WeakValueDictionary()

    def get(self, name: str) -> _Lock:
        with self._guard:
            lock = self._locks.get(name)
            if lock is None:
                lock = self._locks[name] = _Lock()
            return lock


_LOCKS = _Locks()
