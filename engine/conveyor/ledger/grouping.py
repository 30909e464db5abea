"""Group commit: what many threads want to write durably shares one transaction, hence one fsync."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Call(Generic[Item, Answer]):
    __slots__ = ("answer", "ended", "error", "item")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.ended = False
        self.answer: Answer
        self.error: BaseException | None = None


class Grouped(Generic[Item, Answer]):
    """Collects the calls that come while a group is being written; the next caller writes them all.

    A caller alone writes at once: nothing ever waits for company.

    Args:
        write: Writes a group, all or none; returns one answer for each item, in order.
    """

    def __init__(self, write: Callable[[Sequence[Item]], Sequence[Answer]]) -> None:
        self._write = write
        self._turn = threading.Lock()
        self._gate = threading.Lock()
        self._waiting: list[_Call[Item, Answer]] = []

    def __call__(self, item: Item) -> Answer:
        """Write ``item``, with whatever else waits; raises what ``write`` raised for its group."""
        call: _Call[Item, Answer] = _Call(item)
        with self._gate:
            self._waiting.append(call)
        with self._turn:
            if not call.ended:
                self._lead()
        if call.error is not None:
            raise call.error
        return call.answer

    def _lead(self) -> None:
        with self._gate:
            group, self._waiting = self._waiting, []
        try:
            answers = self._write([call.item for call in group])
            for call, answer in zip(group, answers, strict=True):
                call.answer = answer
        except BaseException as error:
            for call in group:
                call.error = error
        for call in group:
            call.ended = True
