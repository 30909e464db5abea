"""Making the folders above a file, in the dialects of MKCOL."""

from __future__ import annotations

import time
from collections import OrderedDict

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind
from conveyor_connectors.webdav.client import Answer
from conveyor_connectors.webdav.dav import Dav
from conveyor_connectors.webdav.errors import of_answer

_REMEMBERED = 512

_TRIES = 5
_PAUSE = 0.05

_TELLS_NOTHING = (401, 407, 413, 429, 502, 503, 504, 507, 509)
"""Answers to MKCOL that are about something else than the folder."""


class Folders:
    """The folders below the destination's own that are known to be there."""

    def __init__(self, dav: Dav) -> None:
        self._dav = dav
        self._known: OrderedDict[str, None] = OrderedDict()

    def ensure(self, parents: tuple[str, ...], context: AttemptContext) -> None:
        """Make the folders ``parents``, outermost first, where they are not known to be there.

        Tries the innermost first and goes up only as far as needed: mostly one request, and none for the
        next file in that folder. Another worker making them at the same time is no problem: what counts is
        that they are there afterwards.

        Raises:
            DeliveryError: CONFIG, the destination's own folder is missing, or nothing may be made in it;
                NAME, a file is in the way.
        """
        path = "/".join(parents)
        if not parents or path in self._known:
            return
        missing: list[str] = []
        for depth in range(len(parents), 0, -1):
            folder = "/".join(parents[:depth])
            if folder in self._known or self._make(folder, context):
                break
            missing.append(folder)
        else:
            self._dav.require_base(context)
        for folder in reversed(missing):
            if not self._make(folder, context):
                text = f"the folder {folder} vanished while it was being made"
                raise DeliveryError(ErrorKind.TRANSIENT, text)
        self._remember(path)

    def forget(self) -> None:
        """Know of no folder: something was not as remembered."""
        self._known.clear()

    def missing(self, parents: tuple[str, ...], context: AttemptContext) -> bool:
        """Whether the folder is not there; asked when a server refused a file in it.

        Servers say so by 404, 409, 403 or, as nginx does, by 500.

        Raises:
            DeliveryError: NAME, it is a file; CONFIG, it is the destination's own folder.
        """
        self.forget()
        if not parents:
            self._dav.require_base(context)
            return False
        path = "/".join(parents)
        there = self._dav.stat_folder(path, context) or self._dav.stat(path, context)
        if there is None:
            return True
        if not there.is_folder:
            raise DeliveryError(ErrorKind.NAME, f"a file stands where the folder {path} is needed")
        return False

    def _make(self, folder: str, context: AttemptContext) -> bool:
        """True when ``folder`` is there now, False when its parent is missing.

        201 means made, and with rclone also that it was there; 405 that it was there (RFC 4918 §9.3.1), but
        406 and 423 say the same on some servers, 409 that the parent is missing, but not on every server:
        for all but the first two, looking decides.
        """
        doing = f"make the folder {folder}"
        for turn in range(_TRIES):
            time.sleep(turn * _PAUSE)
            answer = self._dav.ask("mkdir", self._dav.folder_at(folder), doing, context)
            if answer.done or answer.status == 405:
                return True
            if 300 <= answer.status < 400 or answer.status in _TELLS_NOTHING:
                raise of_answer(answer, doing)
            decided = self._decide(folder, answer, doing, context)
            if decided is not None:
                return decided
        raise of_answer(answer, doing)

    def _decide(self, folder: str, answer: Answer, doing: str, context: AttemptContext) -> bool | None:
        """As :meth:`_make`; None when somebody else is at it, or made the parent in between."""
        there = self._dav.stat_folder(folder, context)
        if there is not None and there.is_folder:
            return True
        parent, slash, _ = folder.rpartition("/")
        above = self._dav.stat_folder(parent, context)
        if above is None and slash:
            return False
        if above is None:
            self._dav.require_base(context)
        if above is not None and not above.is_folder:
            raise DeliveryError(ErrorKind.NAME, f"a file stands where the folder {parent} is needed")
        if answer.status in (404, 409, 423):
            return None
        raise of_answer(answer, doing)

    def refusal(self, beside: str, context: AttemptContext) -> DeliveryError | None:
        """Why nothing may be written beside ``beside``, where a server only says 500 to a file.

        Apache does so in a folder that it may not write to. To a folder it says what is the matter.
        """
        probe = f"{beside}.folder"
        doing = f"write to the folder of {beside}"
        answer = self._dav.ask("mkdir", self._dav.folder_at(probe), doing, context)
        if answer.done:
            self._dav.remove(self._dav.folder_at(probe), context)
            return None
        return of_answer(answer, doing) if answer.status in (403, 507) else None

    def _remember(self, path: str) -> None:
        self._known[path] = None
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
