"""The search language of files.list (https://developers.google.com/workspace/drive/api/guides/ref-search-terms)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from servers.standins.google_drive.description import error
from servers.standins.messages import Refused

Test = Callable[[Mapping[str, Any]], bool]
_TOKEN = re.compile(r"\s*('(?:\\['\\]|[^'\\])*'|!=|<=|>=|[=<>(){}]|[A-Za-z]+)")
_OPERATORS: dict[str, dict[str, Callable[[Any, Any], bool]]] = {
    "name": {"=": lambda a, b: a == b, "!=": lambda a, b: a != b, "contains": lambda a, b: a.startswith(b)},
    "mimeType": {"=": lambda a, b: a == b, "!=": lambda a, b: a != b, "contains": lambda a, b: b in a},
    "trashed": {"=": lambda a, b: a == b, "!=": lambda a, b: a != b},
    "modifiedTime": {
        "=": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
    },
}


def invalid() -> Refused:
    """What a query gets that does not parse."""
    return error(400, "invalid", "Invalid Value", location="q", locationType="parameter")


def parse(text: str) -> Test:
    """The query as a test of a file's metadata.

    Raises:
        Refused: 400 ``invalid``.
    """
    tokens, at, text = [], 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise invalid()
        tokens.append(match[1])
        at = match.end()
    parser = _Parser(tokens)
    test = parser.either()
    if parser.tokens:
        raise invalid()
    return test


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def next(self) -> str:
        if not self.tokens:
            raise invalid()
        return self.tokens.pop(0)

    def string(self) -> str:
        token = self.next()
        if not token.startswith("'"):
            raise invalid()
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
            if self.next() != ")":
                raise invalid()
            return test
        if self.tokens and self.tokens[0].startswith("'"):
            parent = self.string()
            if [self.next(), self.next()] != ["in", "parents"]:
                raise invalid()
            return lambda file: parent in file["parents"]
        return self.comparison()

    def comparison(self) -> Test:
        field = self.next()
        if field == "appProperties":
            return self.properties()
        operator = _OPERATORS.get(field, {}).get(self.next())
        if operator is None:
            raise invalid()
        value: Any
        if field == "trashed":
            word = self.next()
            if word not in ("true", "false"):
                raise invalid()
            value = word == "true"
        else:
            value = self.string()
        return lambda file: operator(file[field], value)

    def properties(self) -> Test:
        words = [self.next() for _ in range(4)]
        if words != ["has", "{", "key", "="]:
            raise invalid()
        key = self.string()
        if [self.next(), self.next(), self.next()] != ["and", "value", "="]:
            raise invalid()
        value = self.string()
        if self.next() != "}":
            raise invalid()
        return lambda file: file.get("appProperties", {}).get(key) == value
