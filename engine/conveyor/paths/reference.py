"""The tables of docs/path-templates.md, made from the vocabulary.

``python -m conveyor.paths.reference FILE`` brings a document up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from conveyor.paths.vocabulary import (
    BUILTIN,
    DATE_CODES,
    FAMILIES,
    FILTERS,
    FORMATS,
    VARIABLES,
    Filter,
    Variable,
)


def own(word: Variable | Filter) -> bool:
    """Whether a word is built in: a plugin's documents itself."""
    return word.name in BUILTIN


def tables() -> dict[str, str]:
    """Each table in Markdown, by the name that its marker in the document carries."""
    variables = [(f"`{{{v.name}}}`", v.meaning, f"`{v.example}`") for v in VARIABLES.values() if own(v)]
    families = [(f"`{{{f.prefix}KEY}}`", f.meaning, f.example) for f in FAMILIES.values()]
    return {
        "variables": _table(("variable", "value", "example"), variables + families),
        "filters": _table(
            ("filter", "makes", "example"),
            [(f"`!{f.name}`", f.meaning, f.example) for f in FILTERS.values() if own(f)],
        ),
        "formats": _table(
            ("format", "makes"), [(f"`:{name}`", meaning) for name, meaning in FORMATS.items()]
        ),
        "dates": _table(("code", "makes"), [(f"`%{c.code}`", c.meaning) for c in DATE_CODES.values()]),
    }


def filled(document: str) -> str:
    """The document with every table between its markers made anew.

    Raises:
        ValueError: A table has no place in the document.
    """
    for name, table in tables().items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not marked.search(document):
            raise ValueError(f"the document has no marker <!-- {name} -->")
        document = marked.sub(lambda match, table=table: f"{match[1]}{table}{match[2]}", document)  # type: ignore[misc]
    return document


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def main(paths: Sequence[str]) -> None:
    """Bring the tables of the named documents up to date."""
    for path in map(Path, paths):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
