"""Whether the endpoint honours ``If-None-Match: *``, on which ``rename``, ``skip`` and ``fail`` rest.

Amazon does on PutObject and CompleteMultipartUpload. Of the compatible stores some do, some answer 501,
and some take the header and overwrite all the same. So elsewhere nothing is believed until it is proved:
until then, and where the answer is no, Conveyor looks at the key first, which leaves a window in which two
writers of one name can overwrite each other; writers of the same process are kept apart by a lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from conveyor.contract import Memory
from conveyor.kit.turns import Turns
from conveyor_connectors.s3.options import S3Options

_creating = Turns()


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
    def alone(self, key: str, check: Callable[[], None]) -> Iterator[None]:
        """Keep other threads of this process from the key, where the service will not.

        Another's upload may take hours: ``check`` is called while waiting, and may raise.
        """
        if self.known() is True:
            yield
            return
        with _creating.take(f"{self._place}|{key}", check):
            yield
