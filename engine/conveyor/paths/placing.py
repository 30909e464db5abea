"""From a template and a job to the path at the destination: legal there, short enough, and confined.

The number of levels is the template's, always. Levels of literal text alone are the operator's and stay as
written; a value can fill its own level and nothing else, whatever it holds.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from conveyor.paths.errors import PathError
from conveyor.paths.legal import HASH_LENGTH, Legaliser, legaliser
from conveyor.paths.names import NameRules
from conveyor.paths.template import Template
from conveyor.paths.values import Values

_COMFORTABLE = 32
"""A level is first shortened to no less than this; only if that is not enough, further."""


@dataclass(frozen=True, slots=True)
class Change:
    """One level that could not stay as it was rendered; ``level`` counts from 1."""

    level: int
    before: str
    after: str
    reason: str

    def __str__(self) -> str:
        return f"{self.before!a} became {self.after!r}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Placed:
    """A path that is legal at the destination, and what had to change for it."""

    path: str
    changes: tuple[Change, ...] = ()


@dataclass(slots=True)
class _Name:
    """One level on its way."""

    raw: str
    text: str
    reason: str | None
    values: list[str]
    fixed: bool


def place(
    template: Template,
    rules: NameRules,
    values: Values,
    *,
    headroom: int = 0,
    taken: int = 0,
) -> Placed:
    """Render a template for one delivery and make the result legal for its destination.

    Args:
        template: The destination's template.
        rules: The connector's declared name rules.
        values: The delivery's values; see :meth:`Values.of`.
        headroom: Units to leave free in the file name, for ``rename``'s `` (12)``.
        taken: Units of the whole path's limit that the destination's own folder uses.

    Raises:
        PathError: It renders to no file name, has too many levels, or its literal text is too long.
    """
    legal, literal = _prepared(template, rules)
    limit = rules.segment_max
    last = len(template.levels) - 1
    names: list[_Name] | None = None
    texts: list[str] = []
    for index, level in enumerate(template.levels):
        text = literal[index]
        if text is None:
            text = "".join([piece if isinstance(piece, str) else piece(values) for piece in level])
        texts.append(text)
        if names is None and legal.reason(text, limit - headroom if index == last else limit) is not None:
            names = []
    path = "/".join(texts)
    if names is None and legal.length(path) + taken + headroom <= rules.path_max:
        return Placed(path)
    return _changed(template, legal, values, headroom, taken)


@functools.lru_cache(maxsize=4096)
def _prepared(template: Template, rules: NameRules) -> tuple[Legaliser, tuple[str | None, ...]]:
    """The compiled rules, and the text of each level that is literal alone."""
    if len(template.levels) > rules.max_segments:
        raise PathError(f"{len(template.levels)} levels; this destination takes at most {rules.max_segments}")
    legal = legaliser(rules)
    literal = tuple(
        legal.spelled("".join([piece for piece in level if isinstance(piece, str)]))
        if all(isinstance(piece, str) for piece in level)
        else None
        for level in template.levels
    )
    return legal, literal


def _changed(template: Template, legal: Legaliser, values: Values, headroom: int, taken: int) -> Placed:
    """The slow way, taken when a level is illegal or the path too long."""
    names = _names(template, legal, values)
    last = len(names) - 1
    limits = [legal.rules.segment_max - (headroom if index == last else 0) for index in range(len(names))]
    for index, name in enumerate(names):
        _fit(legal, name, limits[index], is_file=index == last)
    room = legal.rules.path_max - taken - headroom
    excess = sum(legal.length(name.text) for name in names) + last - room
    if excess > 0:
        _shorten(legal, names, excess)
    changes = tuple(
        Change(index + 1, name.raw, name.text, name.reason)
        for index, name in enumerate(names)
        if name.reason is not None
    )
    return Placed("/".join([name.text for name in names]), changes)


def _names(template: Template, legal: Legaliser, values: Values) -> list[_Name]:
    names: list[_Name] = []
    for level in template.levels:
        fixed = all(isinstance(piece, str) for piece in level)
        pieces = [piece if isinstance(piece, str) else piece(values) for piece in level]
        text = "".join(pieces)
        names.append(_Name(text, legal.spelled(text), None, pieces, fixed))
    if not names[-1].raw.strip():
        raise PathError(
            f"the template {template.text!r} renders to no file name for this job",
            cure="give the last level a default, for instance {tags.name|filename}",
        )
    return names


def _fit(legal: Legaliser, name: _Name, limit: int, *, is_file: bool) -> None:
    """Make one level legal within ``limit``."""
    reason = legal.reason(name.text, limit)
    if reason is not None:
        name.text = legal.changed(name.raw, name.values, limit, is_file=is_file)
        name.reason = reason
    elif name.text != name.raw:
        name.reason = "accents written in NFC"


def _shorten(legal: Legaliser, names: list[_Name], excess: int) -> None:
    """Take ``excess`` units from the levels that hold values, the longest first; literal levels stay."""
    last = len(names) - 1
    for floor in (_COMFORTABLE, HASH_LENGTH + 1):
        lengths = {index: legal.length(name.text) for index, name in enumerate(names) if not name.fixed}
        for index in sorted(lengths, key=lambda index: (-lengths[index], index)):
            if excess <= 0:
                return
            limit = max(floor, lengths[index] - excess)
            if limit >= lengths[index]:
                continue
            name = names[index]
            name.text = legal.changed(name.raw, name.values, limit, is_file=index == last)
            name.reason = f"the whole path is longer than {legal.rules.path_max} {legal.rules.unit}"
            excess -= lengths[index] - legal.length(name.text)
    if excess > 0:
        raise PathError(
            f"the path is {excess} {legal.rules.unit} longer than the {legal.rules.path_max} allowed there",
            cure="shorten the literal text of the path template",
        )


def mistakes(template: Template, rules: NameRules) -> tuple[str, ...]:
    """Literal text that the destination refuses, which no job can make right. For the config's check."""
    if len(template.levels) > rules.max_segments:
        return (f"{len(template.levels)} levels; this destination takes at most {rules.max_segments}",)
    legal, literal = _prepared(template, rules)
    return tuple(
        f"the level {text!r}: {reason}"
        for text in literal
        if text is not None and (reason := legal.reason(legal.spelled(text), rules.segment_max)) is not None
    )
