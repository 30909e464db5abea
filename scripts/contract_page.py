"""Writes docs/contract.md from the contract's own text: ``contract_page.py docs/contract.md``."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conveyor import contract

INTRODUCTION = """\
# The contract

<!-- Made from conveyor.contract by `python scripts/contract_page.py docs/contract.md`: do not edit. -->

Everything that a connector may import from Conveyor, with its own words. What it means for your code is in
[Writing a connector](writing-a-connector.md); what is promised for a contract's number in
[its section there](writing-a-connector.md#contract-version); how each promise is tested in
[The promises of a connector](testing-a-connector.md). This is number %d.
"""

CHAPTERS: dict[str, tuple[str, ...]] = {
    "The connector": ("Connector", "ConnectorSpec", "Capabilities", "NameRules", "LengthUnit", "Options"),
    "One delivery": ("Parcel", "Target", "ConflictPolicy", "AttemptContext", "State", "Json", "Receipt"),
    "What went wrong": ("DeliveryError", "ErrorKind", "Scope", "AttemptCancelled"),
    "Looking": ("Found", "FoundKind", "CheckReport", "CheckStep"),
    "What the engine lends": ("ConnectorEnv", "Buffers", "Memory", "Log"),
    "For some types only": ("TrustsServer", "ServerKey", "PreparesPlace"),
    "Accounts": (
        "OAuthOptions", "OAuthProvider", "AccountQuestion", "Rotation", "Trouble", "TokenSource", "Token",
    ),
}  # fmt: skip

_FIELD = re.compile(r"^    ((?:\w+)(?:, \w+)*): (.*)$")


def page() -> str:
    """The whole page, Markdown.

    Raises:
        ValueError: A name of the contract stands in no chapter, or in two.
    """
    told = [name for names in CHAPTERS.values() for name in names]
    missing = {*contract.__all__} - {"CONTRACT_VERSION"} ^ {*told}
    if missing or len(told) != len({*told}):
        raise ValueError(f"names in no chapter, or in two: {sorted(missing) or told}")
    lines = [INTRODUCTION % contract.CONTRACT_VERSION]
    for title, names in CHAPTERS.items():
        lines.append(f"## {title}\n")
        for name in names:
            lines += _entry(name, getattr(contract, name))
    return "\n".join(lines).rstrip("\n") + "\n"


def _entry(name: str, what: Any) -> Iterator[str]:
    if not inspect.isclass(what):
        yield f"### `{name}`\n\n`{_alias(name)}`\n\n{_words(_after(ast.parse(_source(contract)), name))}\n"
        return
    tree = ast.parse(_source(what)).body[0]
    assert isinstance(tree, ast.ClassDef)
    text, fields = _split(inspect.getdoc(what) or "")
    yield f"### `{name}`\n\n{_words(text)}\n"
    declared = dict(_declared(tree))
    rows = fields or [(member, words) for member, words in _members(tree) if words]
    rows = rows or [(name, "") for name in declared]
    if rows:
        yield "| | |\n|---|---|"
        for names, words in rows:
            yield f"| `{_escaped(names + declared.get(names.split(', ')[0], ''))}` | {_words(words)} |"
        yield ""
    elif values := [member for member, _ in _members(tree)]:
        yield "One of " + ", ".join(f"`{value}`" for value in values) + ".\n"
    yield from _methods(tree, fields)


def _source(what: Any) -> str:
    return inspect.cleandoc("\n" + inspect.getsource(what))


def _methods(tree: ast.ClassDef, fields: list[tuple[str, str]]) -> Iterator[str]:
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        words = ast.get_docstring(node) or ""
        is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)
        arguments = ast.unparse(node.args).removeprefix("self").removeprefix(", ")
        returns = (
            f" → {ast.unparse(node.returns)}" if node.returns and ast.unparse(node.returns) != "None" else ""
        )
        shown = node.name + ("" if is_property else f"({arguments})") + returns
        text, parts = _split(words)
        yield f"**`{shown}`**" + (f": {_words(text)}" if text else "") + "\n"
        for names, told in parts:
            yield f"* `{names}`: {_words(told)}"
        if parts:
            yield ""


def _members(tree: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Members of an enumeration, with the text below each."""
    if not any("Enum" in ast.unparse(base) for base in tree.bases):
        return
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, _after(tree, node.targets[0].id)


def _declared(tree: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Type and default of each field, or of each argument of the constructor: ``: int = 8``."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            default = f" = {ast.unparse(node.value)}" if node.value is not None else ""
            default = re.sub(r"field\(default_factory=(\w+)\)", r"\1()", default)
            yield node.target.id, f": {ast.unparse(node.annotation)}{default}"
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            arguments = node.args.args + node.args.kwonlyargs
            defaults = [None] * len(node.args.args) + node.args.kw_defaults
            for argument, value in zip(arguments, defaults, strict=True):
                if argument.annotation is not None:
                    default = f" = {ast.unparse(value)}" if value is not None else ""
                    yield argument.arg, f": {ast.unparse(argument.annotation)}{default}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _after(tree: ast.Module | ast.ClassDef, name: str) -> str:
    """The text below an assignment."""
    for node, below in zip(tree.body, [*tree.body[1:], ast.Pass()], strict=True):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            told = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            return str(below.value.value) if told else ""  # type: ignore[attr-defined]
    return ""


def _alias(name: str) -> str:
    for node in ast.parse(_source(contract)).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name and node.value is not None:
            return ast.unparse(node.value).strip("'\"")
    raise LookupError(name)


def _split(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The prose of a docstring, and what its sections list."""
    prose: list[str] = []
    fields: list[tuple[str, str]] = []
    section = ""
    for line in text.splitlines():
        if line in ("Args:", "Attributes:", "Raises:", "Returns:"):
            section = line[:-1]
        elif not section:
            prose.append(line)
        elif line and not line.startswith(" "):
            section = ""
            prose.append(line)
        elif (found := _FIELD.match(line)) and section != "Returns":
            fields.append((found[1], found[2]))
        elif section == "Returns" and line.strip() and (not fields or fields[-1][0] != "returns"):
            fields.append(("returns", line.strip()))
        elif line.strip():
            names, told = fields[-1]
            fields[-1] = (names, f"{told} {line.strip()}")
    return "\n".join(prose).strip(), fields


def _words(text: str) -> str:
    """Docstring marks as Markdown's, paragraphs kept."""
    text = re.sub(r":(?:class|meth|func|mod):`([^`]+)`", r"`\1`", text).replace("``", "`").replace("|", "\\|")
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def main(arguments: list[str]) -> int:
    """Write the page into the file named."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python scripts/contract_page.py FILE\n")
        return 2
    Path(arguments[0]).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
