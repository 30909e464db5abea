"""The search language of files.list.

Source: https://developers.google.com/workspace/drive/api/guides/ref-search-terms (terms, operators, escapes;
``name contains`` finds beginnings of words only; times are RFC 3339, by default of UTC) and, for ``\\\\`` and
for the alias root, what rclone sends (backend/drive/drive.go). A parent that cannot be seen is 404 "File not
found: .", as users report. Terms that Google has and this module has not are the stand-in's own defect, never
"Invalid Value".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from servers.standins.google_drive.description import Broken
from servers.standins.google_drive.errors import documented, invalid

_TOKEN = re.compile(r"\s*('(?:\\['\\]|[^'\\])*'|!=|<=|>=|[=<>(){}]|[A-Za-z]+)")
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ELSEWHERE = {"fullText", "viewedByMeTime", "sharedWithMe", "visibility", "shortcutDetails", "memberCount"}
_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


def moment(text: str) -> datetime:
    """A time, as a time.

    Raises:
        Refused: 400 ``invalid``.
    """
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        found = datetime.fromisoformat(text)
    except ValueError:
        raise invalid("q") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class Asked:
    """A file as the terms ask of it: its metadata, and whether it is in the trash, worked out when asked."""

    __slots__ = ("_meta", "_trashed")

    def __init__(self, meta: Mapping[str, Any], trashed: Callable[[], bool]) -> None:
        self._meta = meta
        self._trashed = trashed

    def __getitem__(self, field: str) -> Any:
        return self._trashed() if field == "trashed" else self._meta[field]

    def get(self, field: str, default: Any = None) -> Any:
        return self._trashed() if field == "trashed" else self._meta.get(field, default)


Test = Callable[[Asked], bool]


@dataclass(frozen=True)
class Rules:
    """What the language needs to know of the drive.

    Attributes:
        folder: The id of a parent as named (``root`` is an alias), or None where there is none to be seen.
        folds: Names are compared without their case, as users report of the real service.
    """

    folder: Callable[[str], str | None]
    folds: bool = False


@dataclass(frozen=True)
class Query:
    """What is asked for.

    Attributes:
        test: Whether a file is meant.
        name: What no file without this very name can be; None where that is not so easy to say.
    """

    test: Test
    name: str | None


def parse(text: str, rules: Rules) -> Query:
    """The query, as a test of a file's metadata.

    Raises:
        Refused: 400 ``invalid``; 404 for an unknown parent.
    """
    tokens, at, text = [], 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise invalid("q")
        tokens.append(match[1])
        at = match.end()
    parser = _Parser([*tokens], rules)
    test = parser.either()
    if parser.tokens:
        raise invalid("q")
    plain = not rules.folds and not {"or", "not", "("} & set(tokens)
    at = next((i for i in range(len(tokens) - 2) if tokens[i : i + 2] == ["name", "="]), None)
    return Query(test, _Parser(tokens[at + 2 :], rules).string() if plain and at is not None else None)


class _Parser:
    def __init__(self, tokens: list[str], rules: Rules) -> None:
        self.tokens = tokens
        self.rules = rules

    def next(self) -> str:
        if not self.tokens:
            raise invalid("q")
        return self.tokens.pop(0)

    def expect(self, *words: str) -> None:
        for word in words:
            if self.next() != word:
                raise invalid("q")

    def string(self) -> str:
        token = self.next()
        if not token.startswith("'"):
            raise invalid("q")
        return re.sub(r"\\(.)", r"\1", token[1:-1])

    def either(self) -> Test:
        tests = [self.both()]
        while self.tokens[:1] == ["or"]:
            self.next()
            tests.append(self.both())
        return lambda file: any(test(file) for test in tests)

    def both(self) -> Test:
        tests = [self.term()]
        while self.tokens[:1] == ["and"]:
            self.next()
            tests.append(self.term())
        return lambda file: all(test(file) for test in tests)

    def term(self) -> Test:
        if self.tokens[:1] == ["not"]:
            self.next()
            test = self.term()
            return lambda file: not test(file)
        if self.tokens[:1] == ["("]:
            self.next()
            test = self.either()
            self.expect(")")
            return test
        if self.tokens and self.tokens[0].startswith("'"):
            return self.parent()
        return self.comparison()

    def parent(self) -> Test:
        named = self.string()
        self.expect("in")
        if self.next() != "parents":
            raise Broken("the stand-in knows no other collection than parents")
        folder = self.rules.folder(named)
        if folder is None:
            raise documented("notFound")
        return lambda file: folder in file["parents"]

    def comparison(self) -> Test:
        field = self.next()
        if field in ("appProperties", "properties"):
            return self.property(field)
        if field in ("name", "mimeType"):
            return self.text(field)
        if field in ("trashed", "starred"):
            return self.flag(field)
        if field in ("modifiedTime", "createdTime"):
            compare = _ORDER.get(self.next())
            if compare is None:
                raise invalid("q")
            wanted = moment(self.string())
            return lambda file: compare(moment(file[field]), wanted)
        if field in _ELSEWHERE:
            raise Broken(f"the stand-in does not know the query term {field}")
        raise invalid("q")

    def text(self, field: str) -> Test:
        sign, wanted = self.next(), self.string()
        fold = str.casefold if field == "name" and self.rules.folds else str
        if sign == "=":
            return lambda file: fold(file[field]) == fold(wanted)
        if sign == "!=":
            return lambda file: fold(file[field]) != fold(wanted)
        if sign != "contains":
            raise invalid("q")
        begins = re.compile(rf"(?:^|\W){re.escape(wanted)}" if field == "name" else re.escape(wanted), re.I)
        return lambda file: begins.search(file[field]) is not None

    def flag(self, field: str) -> Test:
        sign, word = self.next(), self.next()
        if sign not in ("=", "!=") or word not in ("true", "false"):
            raise invalid("q")
        wanted = (word == "true") == (sign == "=")
        return lambda file: bool(file.get(field)) == wanted

    def property(self, field: str) -> Test:
        self.expect("has", "{", "key", "=")
        key = self.string()
        self.expect("and", "value", "=")
        value = self.string()
        self.expect("}")
        return lambda file: file.get(field, {}).get(key) == value
