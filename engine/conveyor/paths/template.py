"""A path template, checked and compiled: text in, a list of levels out.

The grammar is ``{name!filter:format|default}``, written out in docs/path-templates.md. The levels are fixed
here, before any value is known: only ``/`` in literal text and in a literal date format makes one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from conveyor.paths.errors import TemplateError
from conveyor.paths.expression import Render, parse_expression
from conveyor.paths.values import Values
from conveyor.paths.vocabulary import FAMILIES

DEFAULT_TEMPLATE: Final = "{session_id|job_id}/{filename}"
"""Phones all send ``image.jpg``: the session, or else the job, keeps them apart."""

Piece: TypeAlias = str | Render
"""Literal text, or what renders a value."""

Level: TypeAlias = tuple[Piece, ...]
"""One folder or, at the end, the file name."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. Equal texts are equal templates.

    Attributes:
        text: As written.
        levels: The folders and the file name, each as its pieces.
        names: The variables it uses, for instance ``tags.order``.
    """

    text: str
    levels: tuple[Level, ...] = field(compare=False, repr=False)
    names: frozenset[str] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str, *, known_prefixes: Collection[str] = tuple(FAMILIES)) -> Template:
        """Check and compile a template.

        Args:
            text: The template, for instance ``{tags.order|none}/{date:%Y/%m}/{filename}``. A ``/`` at its
                beginning means nothing.
            known_prefixes: The families of names that may be used: ``tags.``, ``meta.``, ``labels.``.

        Raises:
            TemplateError: With the column and, for a wrong name, the nearest valid one.
        """
        return _Parser(text, frozenset(known_prefixes)).template()

    def render(self, values: Values) -> tuple[str, ...]:
        """The raw text of each level. Not legal and not safe anywhere: see :func:`conveyor.paths.place`."""
        return tuple(
            "".join([piece if isinstance(piece, str) else piece(values) for piece in level])
            for level in self.levels
        )

    def __str__(self) -> str:
        return self.text


class _Parser:
    """One pass over the text, collecting levels."""

    def __init__(self, text: str, prefixes: frozenset[str]) -> None:
        self._text = text
        self._prefixes = prefixes
        self._levels: list[list[Piece]] = [[]]
        self._columns = [1]
        self._names: set[str] = set()

    def template(self) -> Template:
        """Parse everything."""
        text = self._text
        position = len(text) - len(text.lstrip("/"))
        self._columns = [position + 1]
        if position == len(text):
            raise TemplateError("the template is empty", column=1, cure=f"for instance {DEFAULT_TEMPLATE}")
        while position < len(text):
            character = text[position]
            if character in "{}" and text[position : position + 2] == character * 2:
                self._literal(character)
                position += 2
            elif character == "{":
                position = self._expression(position)
            elif character == "}":
                raise TemplateError(
                    "'}' without '{'", column=position + 1, cure="a literal brace is written '}}'"
                )
            else:
                self._character(character, position)
                position += 1
        self._check_levels()
        levels = tuple(tuple(level) for level in self._levels)
        return Template(text, levels, frozenset(self._names))

    def _character(self, character: str, position: int) -> None:
        if character == "/":
            self._level(position + 1)
        elif character == "\\":
            raise TemplateError("'\\' is no separator here", column=position + 1, cure="write '/'")
        elif not character.isprintable():
            raise TemplateError(
                f"the character U+{ord(character):04X} cannot be in a path", column=position + 1
            )
        else:
            self._literal(character)

    def _expression(self, position: int) -> int:
        expression, end = parse_expression(self._text, position, self._prefixes)
        self._names |= expression.names
        for index, render in enumerate(expression.levels):
            if index:
                self._level(position + 1)
            self._levels[-1].append(render)
        return end

    def _literal(self, text: str) -> None:
        level = self._levels[-1]
        if level and isinstance(level[-1], str):
            level[-1] += text
        else:
            level.append(text)

    def _level(self, position: int) -> None:
        self._levels.append([])
        self._columns.append(position + 1)

    def _check_levels(self) -> None:
        for number, (level, column) in enumerate(zip(self._levels, self._columns, strict=True)):
            last = number == len(self._levels) - 1
            if not level and last:
                raise TemplateError(
                    "the path ends without a file name", column=column, cure="end it with {filename}"
                )
            if not level:
                raise TemplateError("an empty level: '//'", column=column - 1, cure="write a single '/'")
            literal = "".join(piece for piece in level if isinstance(piece, str))
            if all(isinstance(piece, str) for piece in level) and not literal.strip(". "):
                raise TemplateError(f"a level cannot be {literal!r}", column=column, cure="name the folder")
