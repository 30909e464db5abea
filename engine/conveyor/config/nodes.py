"""The config as a tree that still knows where each value was written.

Layers (defaults, presets, a destination's own keys) are merged as trees, so that a mistake is reported at
the line that holds it, whichever layer that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from conveyor.errors import Problem

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the root of the config to a value."""


class Mark(NamedTuple):
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int


class Fault(NamedTuple):
    """Something wrong with the text itself; reported when the part of the tree that holds it is used."""

    message: str
    mark: Mark
    cure: str | None = None
    key: str | None = None
    """Set when the key is in the mapping twice."""


class Node:
    """One value of the tree.

    Attributes:
        value: ``dict[str, Node]``, ``list[Node]`` or a scalar.
        mark: Where the value starts; None for a value that stands in no file.
        keys: Of a mapping: where each key starts.
        from_file: The scalar is the name of a file whose content is meant (``!file``).
        tag: The scalar carries this tag, which a plugin may resolve; if none does, ``faults`` says so.
        faults: What is wrong with this very node.
    """

    __slots__ = ("faults", "from_file", "keys", "mark", "tag", "value")

    def __init__(
        self,
        value: Any,
        mark: Mark | None = None,
        keys: Mapping[str, Mark] | None = None,
        faults: Sequence[Fault] = (),
        *,
        from_file: bool = False,
        tag: str | None = None,
    ) -> None:
        self.value = value
        self.mark = mark
        self.keys: Mapping[str, Mark] = keys or {}
        self.faults = faults
        self.from_file = from_file
        self.tag = tag

    @property
    def mapping(self) -> dict[str, Node] | None:
        """The value when it is a mapping; an empty value counts as an empty mapping."""
        if self.value is None:
            return {}
        return self.value if isinstance(self.value, dict) else None

    def without(self, names: Iterable[str]) -> Node:
        """A mapping without some of its keys."""
        dropped = set(names)
        kept = {key: node for key, node in (self.mapping or {}).items() if key not in dropped}
        return Node(kept, self.mark, self.keys, self.faults)

    def only(self, names: Iterable[str]) -> Node:
        """A mapping reduced to some of its keys."""
        wanted = set(names)
        kept = {key: node for key, node in (self.mapping or {}).items() if key in wanted}
        return Node(kept, self.mark, self.keys)

    def place(self, path: Path, *, key: bool = False) -> Mark | None:
        """Where the value at ``path`` stands, or else the nearest thing above it that stands somewhere.

        Args:
            path: From this node down.
            key: The place of the last key is meant, not of its value.
        """
        node, mark = self, self.mark
        for depth, part in enumerate(path):
            child = node.child(part)
            if child is None:
                break
            own = node.keys.get(str(part)) if key and depth == len(path) - 1 else None
            mark = own or child.mark or mark
            node = child
        return mark

    def child(self, part: str | int) -> Node | None:
        """The value under a key or at a position, if there is one."""
        value = self.value
        if isinstance(value, dict):
            found: Node | None = value.get(part)
            return found
        if isinstance(value, list) and isinstance(part, int) and part < len(value):
            return value[part]  # type: ignore[no-any-return]
        return None

    def at(self, path: Path) -> Node | None:
        """The node at ``path``, if there is one."""
        node: Node | None = self
        for part in path:
            node = node.child(part) if node is not None else None
        return node


def from_data(value: Any) -> Node:
    """A tree of plain data (a JSON document), whose values stand in no file."""
    if isinstance(value, Mapping):
        return Node({str(key): from_data(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return Node([from_data(item) for item in value])
    return Node(value)


def merge(under: Node, over: Node) -> Node:
    """Lay ``over`` upon ``under``: mappings are merged key by key, everything else is replaced."""
    low, high = under.value, over.value
    if not isinstance(low, dict) or not isinstance(high, dict):
        return over
    merged = dict(low)
    for key, node in high.items():
        merged[key] = merge(low[key], node) if key in low else node
    return Node(merged, over.mark, {**under.keys, **over.keys}, (*under.faults, *over.faults))


def dotted(path: Path) -> str:
    """A path as people read it: ``destinations.backend.retry.schedule[2]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def problem_at(
    message: str,
    mark: Mark | None,
    path: Path = (),
    *,
    cure: str | None = None,
    destination: str | None = None,
) -> Problem:
    """A problem with its place."""
    return Problem(
        message,
        file=mark.file if mark else None,
        line=mark.line if mark else None,
        column=mark.column if mark else None,
        field=dotted(path) or None,
        cure=cure,
        destination=destination,
    )
