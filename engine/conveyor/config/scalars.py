"""What a plain YAML scalar means: the core schema of YAML 1.2.2 (section 10.3.2), nothing older.

``no``, ``on`` and ``y`` are text, ``1:30`` is text and not ninety, ``0o17`` is octal and ``017`` seventeen.
Numbers remember how they were written, so that ``password: 007`` still means ``007`` to a text option.
"""

from __future__ import annotations

import re
from typing import Any

_CONSTANTS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_NUMBER_STARTS = frozenset("+-.0123456789")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BASES = {"0o": (8, re.compile(r"0o[0-7]+")), "0x": (16, re.compile(r"0x[0-9a-fA-F]+"))}
_LONGEST_NUMBER = 300
"""Digits beyond this are text: Python refuses to convert thousands of them."""


class WrittenInt(int):
    """A whole number that prints as it was written."""

    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class WrittenFloat(float):
    """A number that prints as it was written."""

    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


def resolve(text: str) -> Any:
    """The value of a plain scalar: None, a bool, an int, a float or the text itself."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMBER_STARTS or len(text) > _LONGEST_NUMBER:
        return text
    if _INT.fullmatch(text):
        return _written_int(int(text), text)
    if text[:2] in _BASES:
        base, pattern = _BASES[text[:2]]
        if pattern.fullmatch(text):
            return _written_int(int(text[2:], base), text)
    if _FLOAT.fullmatch(text):
        return _written_float(float(text), text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def _written_int(value: int, text: str) -> int:
    if str(value) == text:
        return value
    written = WrittenInt(value)
    written.text = text
    return written


def _written_float(value: float, text: str) -> float:
    if str(value) == text:
        return value
    written = WrittenFloat(value)
    written.text = text
    return written
