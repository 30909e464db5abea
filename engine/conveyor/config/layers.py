"""From what is written at a destination, in its presets and in the defaults to one tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conveyor.config.expand import Found
from conveyor.config.nodes import Fault, Mark, Node, Path
from conveyor.nearest import did_you_mean

_NOWHERE = Mark("", 0, 0)


def layers_of(node: Node, presets: Mapping[str, Node], path: Path, found: Found) -> list[Node]:
    """The presets that a destination extends, the farthest first, and then the destination itself.

    Args:
        node: The destination's own mapping.
        presets: All presets by name.
        path: Of the destination, for faults.
        found: Where unknown and circular presets are reported.
    """
    layers: list[Node] = []
    _collect(node, presets, (), path, found, layers)
    return layers


def _collect(
    node: Node,
    presets: Mapping[str, Node],
    above: tuple[str, ...],
    path: Path,
    found: Found,
    layers: list[Node],
) -> None:
    for name_node in _extended(node, path, found):
        name = name_node.value
        mark = name_node.mark or node.mark or _NOWHERE
        if name in above:
            chain = " → ".join((*above, name))
            found.append(((*path, "extends"), Fault(f"presets extend each other: {chain}", mark)))
        elif name not in presets:
            cure = did_you_mean(str(name), presets, label="presets")
            found.append(((*path, "extends"), Fault(f"unknown preset {name!r}", mark, cure)))
        else:
            _collect(presets[name], presets, (*above, name), path, found, layers)
    layers.append(node.without(("extends",)))


def _extended(node: Node, path: Path, found: Found) -> Sequence[Node]:
    mapping = node.mapping
    if mapping is None or "extends" not in mapping:
        return ()
    extends = mapping["extends"]
    names = extends.value if isinstance(extends.value, list) else [extends]
    if all(isinstance(name.value, str) for name in names):
        return names
    mark = extends.mark or _NOWHERE
    found.append(((*path, "extends"), Fault("expected the name of a preset, or a list of names", mark)))
    return ()
