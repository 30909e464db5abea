"""YAML text to a tree with the line and column of every value.

PyYAML's C parser composes the nodes (``docs/adr/0002-yaml-reader.md`` has the figures); what its scalars
mean is decided by :mod:`conveyor.config.scalars`.
"""

from __future__ import annotations

from typing import Any

import yaml

from conveyor.config.nodes import Fault, Mark, Node
from conveyor.config.scalars import resolve
from conveyor.errors import Problem

_PLAIN = "?"
"""Tag of a scalar that carries no tag in the text."""

_CORE = "tag:yaml.org,2002:"
_RESOLVED_TAGS = frozenset(_CORE + name for name in ("int", "float", "bool", "null"))
_MOST_NODES = 3_000_000
"""Guards against aliases of aliases of aliases; 2,000 destinations are some 40,000 nodes."""

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a build without libyaml is slow, not wrong


class _Loader(_BaseLoader):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 -- read by PyYAML as a class attribute
    DEFAULT_SCALAR_TAG = _PLAIN


class _TooManyNodesError(Exception):
    pass


def read_yaml(data: bytes, file: str) -> tuple[Node | None, list[Problem]]:
    """Parse one document.

    Args:
        data: The file's content, UTF-8.
        file: Its name, for the marks.

    Returns:
        The tree, or None with the one problem that makes the text unreadable.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return None, [Problem("not UTF-8 text", file, line, cure="save the file as UTF-8")]
    try:
        root = yaml.compose(text, Loader=_Loader)
        return _Converter(file).convert(root), []
    except yaml.MarkedYAMLError as error:
        return None, [_syntax_problem(error, file)]
    except yaml.YAMLError as error:
        return None, [Problem(f"not readable as YAML: {_first_line(error)}", file)]
    except (_TooManyNodesError, RecursionError):
        return None, [Problem("aliases make this file endless", file, cure="use presets and extends")]


def _syntax_problem(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = error.problem or error.context or "not readable as YAML"
    if error.context and error.problem:
        message = f"{error.context}: {error.problem.removeprefix('but ')}"
    if mark is None:
        return Problem(message, file)
    return Problem(message, file, mark.line + 1, mark.column + 1)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


class _Converter:
    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0

    def mark(self, node: Any) -> Mark:
        start = node.start_mark
        return Mark(self.file, start.line + 1, start.column + 1)

    def convert(self, node: Any) -> Node:
        """One PyYAML node and all below; an alias is converted again each time it is used."""
        self.count += 1
        if self.count > _MOST_NODES:
            raise _TooManyNodesError
        if node is None:
            return Node(None, Mark(self.file, 1, 1))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        mark = self.mark(node)
        faults = () if node.tag in (_CORE + "map", _CORE + "seq") else (_unknown_tag(node.tag, mark),)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.convert(item) for item in node.value], mark, None, faults)
        return self.mapping(node, mark, faults)

    def scalar(self, node: yaml.ScalarNode) -> Node:
        mark = self.mark(node)
        if node.tag == _PLAIN:
            # PyYAML's two parsers mark a plain scalar's style as '' and as None
            return Node(node.value if node.style else resolve(node.value), mark)
        if node.tag == "!file":
            return Node(node.value, mark, from_file=True)
        if node.tag in _RESOLVED_TAGS:
            return Node(resolve(node.value), mark)
        if node.tag in (_CORE + "str", "!"):
            return Node(node.value, mark)
        own = node.tag[1:] if node.tag.startswith("!") else None
        return Node(node.value, mark, faults=(_unknown_tag(node.tag, mark),), tag=own)

    def mapping(self, node: yaml.MappingNode, mark: Mark, faults: tuple[Fault, ...]) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        found = list(faults)
        for key_node, value_node in node.value:
            place = self.mark(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                found.append(Fault("a key must be text", place))
                continue
            key = key_node.value
            if key == "<<" and key_node.tag == _PLAIN and not key_node.style:
                found.append(Fault("merge keys (<<) are YAML 1.1", place, "use presets and extends"))
                continue
            if key in values:
                first = keys[key].line
                message = f"the key {key!r} is there already, in line {first}"
                found.append(Fault(message, place, "keep one of them", key))
                continue
            values[key] = self.convert(value_node)
            keys[key] = place
        return Node(values, mark, keys, found)


def _unknown_tag(tag: str, mark: Mark) -> Fault:
    return Fault(
        f"unknown tag {tag.replace(_CORE, '!!')}",
        mark,
        "the tags here are !file PATH and those of plugins",
    )
