"""What stands between braces: alternatives, each a variable with filters and a format, or literal text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from conveyor.paths.errors import TemplateError
from conveyor.paths.values import Values
from conveyor.paths.vocabulary import DATE_CODES, DATE_DEFAULT, FAMILIES, FILTERS, FORMATS, VARIABLES

Render: TypeAlias = Callable[[Values], str]
"""Gives a value's text, empty when there is none."""

_PAD = re.compile(r"(?:0(\d{1,2}))?d")
_FIRST = re.compile(r"\.(\d{1,3})")
_NAME = re.compile(r"[^!:]*")


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled ``{…}``: one render for each level it makes (more than one only by a date format)."""

    levels: tuple[Render, ...]
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Alternative:
    text: str
    column: int
    quoted: bool = False


def parse_expression(text: str, start: int, prefixes: frozenset[str]) -> tuple[Expression, int]:
    """Compile the expression whose ``{`` stands at ``start``; returns it and the position after its ``}``.

    Raises:
        TemplateError: With the column in ``text`` and the nearest valid name.
    """
    alternatives, end = _split(text, start)
    renders: list[Render] = []
    names: set[str] = set()
    for number, alternative in enumerate(alternatives):
        name = _variable_name(alternative, prefixes, first=number == 0)
        if name is None:
            renders.append(_constant(alternative))
            continue
        names.add(name)
        levels = _compile(alternative, name)
        if len(levels) > 1 and number:
            raise TemplateError(
                "a date with '/' cannot be a default: the number of levels would depend on the job",
                column=alternative.column,
            )
        if name == "date":  # always there: nothing after it is ever used
            rest = tuple(levels[1:])
            return Expression((_first_of([*renders, levels[0]]), *rest), frozenset(names)), end
        renders.extend(levels)
    return Expression((_first_of(renders),), frozenset(names)), end


def _split(text: str, start: int) -> tuple[list[_Alternative], int]:
    """Cut ``{a|b|'c'}`` at its bars."""
    found: list[_Alternative] = []
    position = start + 1
    while True:
        quote = text[position : position + 1]
        if quote in {"'", '"'} and found:
            closing = text.find(quote, position + 1)
            if closing < 0:
                raise TemplateError(f"the quote {quote} is not closed", column=position + 1)
            found.append(_Alternative(text[position + 1 : closing], position + 1, quoted=True))
            after = closing + 1
        else:
            after = position
            while after < len(text) and text[after] not in "|}{":
                after += 1
            found.append(_Alternative(text[position:after], position + 1))
        ending = text[after : after + 1]
        if ending == "}":
            return found, after + 1
        if ending != "|":
            raise TemplateError("'{' is not closed", column=start + 1, cure="a literal brace is written '{{'")
        position = after + 1


def _variable_name(alternative: _Alternative, prefixes: frozenset[str], *, first: bool) -> str | None:
    """The variable that an alternative means; None when it is literal text, which only a default can be."""
    if alternative.quoted:
        return None
    match = _NAME.match(alternative.text)
    name = match.group() if match else ""
    if name in VARIABLES:
        return name
    for prefix in FAMILIES:
        if name.startswith(prefix) and prefix in prefixes:
            if name == prefix:
                raise TemplateError(
                    f"'{prefix}' needs a key", column=alternative.column, cure=f"{{{prefix}order}}"
                )
            return name
    nearest = _nearest(name, (*VARIABLES, *(f"{prefix}{_key(name)}" for prefix in sorted(prefixes))))
    if first:
        what = f"unknown variable '{name}'" if name else "a variable's name is missing"
        raise TemplateError(what, column=alternative.column, nearest=nearest)
    if nearest is not None and _looks_like(name, nearest):
        raise TemplateError(
            f"unknown variable '{name}'",
            column=alternative.column,
            nearest=nearest,
            cure=f"did you mean '{nearest}'? Literal text goes into quotes: '{name}'",
        )
    return None


def _constant(alternative: _Alternative) -> Render:
    text = alternative.text
    if "/" in text or "\\" in text:
        raise TemplateError(
            "a default cannot add levels", column=alternative.column, cure="put the '/' outside the braces"
        )
    if not text.isprintable():
        raise TemplateError("a default holds a character that cannot be in a path", column=alternative.column)
    return lambda values: text


def _compile(alternative: _Alternative, name: str) -> list[Render]:
    """The renders of ``name!filter:format``, one for each level."""
    rest = alternative.text[len(name) :]
    filters, _, form = rest.partition(":") if ":" in rest else (rest, "", None)
    column = alternative.column + len(name)
    changes: list[Callable[[str], str]] = []
    for word in filters.split("!")[1:]:
        column += 1
        if word not in FILTERS:
            raise TemplateError(
                f"unknown filter '{word}'",
                column=column,
                nearest=_nearest(word, FILTERS),
                cure=None if _nearest(word, FILTERS) else f"filters are {', '.join(FILTERS)}",
            )
        changes.append(FILTERS[word].apply)
        column += len(word)
    if name == "date":
        return [
            _dated(part, changes) for part in _date_parts(DATE_DEFAULT if form is None else form, column + 1)
        ]
    read = _reader(name)
    return [_chain(read, changes, None if form is None else _formatter(form, column + 1))]


def _reader(name: str) -> Callable[[Values], str | int | None]:
    if name in VARIABLES:
        return VARIABLES[name].read
    prefix = next(prefix for prefix in FAMILIES if name.startswith(prefix))
    read, key = FAMILIES[prefix].read, name[len(prefix) :]
    return lambda values: read(values, key)


def _chain(
    read: Callable[[Values], str | int | None],
    changes: list[Callable[[str], str]],
    form: Callable[[str], str] | None,
) -> Render:
    """Read, filter, format; the shortest closure that does it, since claims render every path."""
    steps = (*changes, form) if form else tuple(changes)

    def plain(values: Values) -> str:
        value = read(values)
        return "" if value is None else str(value)

    def stepped(values: Values) -> str:
        text = plain(values)
        for step in steps:
            text = step(text)
        return text

    return stepped if steps else plain


def _formatter(form: str, column: int) -> Callable[[str], str]:
    if match := _PAD.fullmatch(form):
        width = int(match.group(1) or 0)
        return lambda text: text.zfill(width) if text.isascii() and text.isdigit() else text
    if match := _FIRST.fullmatch(form):
        count = int(match.group(1))
        if count:
            return lambda text: text[:count]
    raise TemplateError(
        f"unknown format '{form}'", column=column, cure=f"formats are {' and '.join(FORMATS)}"
    )


def _date_parts(form: str, column: int) -> list[list[str | Callable[[datetime], str]]]:
    """A date format, cut into levels at ``/``, each as literal text and writers of its codes."""
    parts: list[list[str | Callable[[datetime], str]]] = [[]]
    position = 0
    while position < len(form):
        character = form[position]
        if character == "/":
            parts.append([])
        elif character == "%":
            position += 1
            code = form[position : position + 1]
            if code not in DATE_CODES:
                codes = " ".join(f"%{known}" for known in DATE_CODES)
                raise TemplateError(f"unknown date code '%{code}'", column=column + position - 1, cure=codes)
            parts[-1].append(DATE_CODES[code].write)
        elif character == "\\" or not character.isprintable():
            raise TemplateError("this character cannot be in a date format", column=column + position)
        else:
            parts[-1].append(character)
        position += 1
    for part in parts:
        if not any(callable(piece) for piece in part):
            raise TemplateError("each level of a date format needs a code such as %Y", column=column)
    return parts


def _dated(part: list[str | Callable[[datetime], str]], changes: list[Callable[[str], str]]) -> Render:
    def render(values: Values) -> str:
        moment = values.moment()
        text = "".join([piece if isinstance(piece, str) else piece(moment) for piece in part])
        for change in changes:
            text = change(text)
        return text

    return render


def _first_of(renders: list[Render]) -> Render:
    """The first alternative that is not blank."""
    if len(renders) == 1:
        return renders[0]

    def render(values: Values) -> str:
        for candidate in renders:
            text = candidate(values)
            if text and not text.isspace():
                return text
        return ""

    return render


def _key(name: str) -> str:
    return name.partition(".")[2] or "order"


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that comes closest; also finds ``sessionId`` and ``session-id``."""
    names = list(known)
    for candidate in names:
        if _plain(candidate) == _plain(name):
            return candidate
    matches = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return matches[0] if matches else None


def _looks_like(name: str, known: str) -> bool:
    """Whether a default was surely meant to be a variable: ``jobid``, but not ``text`` for ``ext``."""
    if _plain(name) == _plain(known):
        return True
    return len(name) >= 6 and difflib.SequenceMatcher(None, name.lower(), known).ratio() >= 0.85


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
