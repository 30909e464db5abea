"""Makes one level of a path legal for a destination: visibly, deterministically, and without collisions.

What is legal already stays as it is, but for the spelling of accents: all names leave in Unicode's NFC, so
that ``é`` is one name however the sender's system wrote it. Whatever else had to change gets ``_`` in place
of each offending character and 8 hex digits of the SHA-256 of what stood there, before the extension:
``a:b.jpg`` → ``a_b-3ba95a53.jpg``. Sources: each vendor's naming page, as declared in its
:class:`~conveyor.paths.names.NameRules`; Unicode Standard Annex 15 for NFC.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

from conveyor.paths.errors import PathError
from conveyor.paths.names import LengthUnit, NameRules

HASH_LENGTH: Final = 8
_EXTENSION_MAX: Final = 16
_NONCHARACTERS: Final = "".join(
    [chr(point) for point in range(0xFDD0, 0xFDF0)]
    + [chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF)]
)
_ALWAYS_BAD: Final = (
    "/\\\\"  # no rendered value brings a separator, on any server
    "\x00-\x1f\x7f-\x9f\u2028\u2029"  # controls and line separators
    "\ud800-\udfff"  # half a character: not valid Unicode
) + _NONCHARACTERS

_MEASURES: Final[dict[LengthUnit, Callable[[str], int]]] = {
    LengthUnit.BYTES: lambda text: len(text.encode()),
    LengthUnit.CHARACTERS: len,
    LengthUnit.UTF16: lambda text: len(text.encode("utf-16-le")) // 2,
}
_CUTS: Final[dict[LengthUnit, Callable[[str, int], str]]] = {
    LengthUnit.BYTES: lambda text, limit: text.encode()[:limit].decode(errors="ignore"),
    LengthUnit.CHARACTERS: lambda text, limit: text[:limit],
    LengthUnit.UTF16: lambda text, limit: text.encode("utf-16-le")[: 2 * limit].decode("utf-16-le", "ignore"),
}


class Legaliser:
    """The rules of one destination type, compiled."""

    def __init__(self, rules: NameRules) -> None:
        self.rules = rules
        self._bad = re.compile(f"[{_ALWAYS_BAD}{re.escape(rules.forbidden)}]")
        self._parts = re.compile("|".join(map(re.escape, rules.forbidden_parts)) or "(?!)", re.IGNORECASE)
        self._reserved = frozenset(name.casefold() for name in rules.reserved)
        self._exact = frozenset(name.casefold() for name in rules.reserved_exact)
        self._measure = _MEASURES[rules.unit]
        self._cut = _CUTS[rules.unit]
        self._fill = self._allowed("_-~x0")
        self._joint = self._allowed("-_.x0")

    def _allowed(self, candidates: str) -> str:
        rules = self.rules
        refused = set(rules.forbidden + rules.forbidden_starts + rules.forbidden_ends + "".join(
            part for part in rules.forbidden_parts if len(part) == 1
        ))  # fmt: skip
        for character in candidates:
            if character not in refused:
                return character
        raise ValueError(f"name rules that forbid all of {candidates!r} leave no name legal")

    def length(self, text: str) -> int:
        """Length in the unit that the destination counts."""
        return len(text) if text.isascii() else self._measure(text)

    def reason(self, text: str, limit: int) -> str | None:
        """Why ``text`` cannot be a level of a path there; None when it can."""
        rules = self.rules
        if not text or text.isspace():
            return "empty"
        if bad := self._bad.search(text):
            return f"{_shown(bad.group())} is not allowed"
        if not text.isascii() and not unicodedata.is_normalized("NFC", text):
            return "accents not in NFC"
        if not text.strip("."):
            return "only dots"
        if text[-1] in rules.forbidden_ends:
            return f"cannot end with {_shown(text[-1])}"
        if text[0] in rules.forbidden_starts:
            return f"cannot begin with {_shown(text[0])}"
        if self._is_reserved(text):
            return "a reserved name"
        if self._parts.search(text):
            return "holds a reserved word"
        if self.length(text) > limit:
            return f"longer than {limit} {rules.unit}"
        return None

    def _is_reserved(self, text: str) -> bool:
        if not self._reserved and not self._exact:
            return False
        folded = text.casefold()
        return folded in self._exact or folded.partition(".")[0].rstrip(" ") in self._reserved

    def spelled(self, text: str) -> str:
        """The text in NFC."""
        if text.isascii() or unicodedata.is_normalized("NFC", text):
            return text
        return unicodedata.normalize("NFC", text)

    def changed(self, text: str, values: Sequence[str], limit: int, *, is_file: bool) -> str:
        """A legal name in place of ``text``, which is not.

        Args:
            text: The whole level as rendered.
            values: What it was rendered from; the hash tells any two of them apart.
            limit: Longest result, in the rules' unit.
            is_file: Keep the extension.

        Raises:
            PathError: Not even the bare hash is legal within ``limit``.
        """
        repaired = self._repaired(self.spelled(text))
        mark = digest(values)
        stem, extension = split_extension(repaired) if is_file else (repaired, "")
        ending = f"{self._joint}{mark}{extension}"
        room = limit - self.length(ending)
        candidates = [f"{mark}{extension}", mark, f"{self._fill}{mark}"]
        if room > 0:
            candidates.insert(0, f"{self._cut(stem, room)}{ending}")
        for candidate in candidates:
            if self.reason(candidate, limit) is None:
                return candidate
        raise PathError(f"no legal name fits into {limit} {self.rules.unit} in place of {_shown(text)}")

    def _repaired(self, text: str) -> str:
        """The offending characters replaced, nothing cut yet. Surrogates are gone after the first line."""
        rules, fill = self.rules, self._fill
        text = self._bad.sub(fill, text)
        while self._parts.search(text) and fill not in rules.forbidden_parts:
            shorter = self._parts.sub(fill, text)
            if len(shorter) >= len(text):
                break
            text = shorter
        if not text or text.isspace() or not text.strip("."):
            return fill * max(1, len(text))
        if text[0] in rules.forbidden_starts:
            text = fill + text[1:]
        if text[-1] in rules.forbidden_ends:
            text = text[:-1] + fill
        return fill + text if self._is_reserved(text) else text


def digest(values: Sequence[str]) -> str:
    """8 hex digits of a SHA-256 over the values, each with its length, so that none can pose as another."""
    hasher = hashlib.sha256()
    for value in values:
        data = value.encode(errors="surrogatepass")
        hasher.update(b"%d:" % len(data))
        hasher.update(data)
    return hasher.hexdigest()[:HASH_LENGTH]


def split_extension(name: str) -> tuple[str, str]:
    """``photo`` and ``.jpg``; a long or odd ending is no extension worth keeping."""
    stem, dot, tail = name.rpartition(".")
    if dot and stem.strip(".") and len(tail) <= _EXTENSION_MAX and tail.isalnum():
        return stem, f".{tail}"
    return name, ""


def _shown(text: str) -> str:
    """For messages: quoted, bounded, controls visible."""
    return ascii(text[:60]) if not text.isprintable() else repr(text[:60])


@functools.lru_cache(maxsize=512)
def legaliser(rules: NameRules) -> Legaliser:
    """The compiled rules, made once."""
    return Legaliser(rules)
