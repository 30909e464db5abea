"""Which names a destination accepts: declared by the connector, applied by :mod:`conveyor.paths`."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class LengthUnit(enum.StrEnum):
    """What a length limit counts."""

    BYTES = "bytes"
    """UTF-8 bytes."""
    CHARACTERS = "characters"
    """Code points."""
    UTF16 = "utf16"
    """UTF-16 code units, as Windows and Graph count."""


@dataclass(frozen=True, slots=True)
class NameRules:
    """The rules of one destination type (reference: each vendor's naming page).

    The rules every destination has anyway are not repeated here: no empty segment, no ``.`` or ``..``, no
    NUL, no control characters, no ``/`` inside a segment, valid Unicode in NFC.

    Attributes:
        forbidden: Characters that may not stand in a segment.
        forbidden_ends: Characters that a segment may not end with.
        forbidden_starts: Characters that a segment may not start with.
        reserved: Names refused in any letter case, with or without an extension (``CON``, ``NUL`` …).
        reserved_exact: Names refused in any letter case as a whole (``desktop.ini`` …).
        forbidden_parts: Strings that may not occur anywhere in a segment, in any letter case (``_vti_``).
        segment_max: Longest segment, in ``unit``.
        path_max: Longest whole path, in ``unit``.
        max_segments: Most levels, the file included.
        unit: What the two length limits count.
        case_insensitive: ``Photo.jpg`` and ``photo.jpg`` are one name.
    """

    forbidden: str = ""
    forbidden_ends: str = ""
    forbidden_starts: str = ""
    reserved: frozenset[str] = frozenset()
    reserved_exact: frozenset[str] = frozenset()
    forbidden_parts: tuple[str, ...] = ()
    segment_max: int = 255
    path_max: int = 1024
    max_segments: int = 250
    unit: LengthUnit = LengthUnit.BYTES
    case_insensitive: bool = False
