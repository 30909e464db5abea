"""Reads the config file and what it includes; finds all mistakes in one go."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from conveyor.config.build import Builder
from conveyor.config.expand import Expander, Found
from conveyor.config.files import Files
from conveyor.config.mistakes import report
from conveyor.config.model import Destination
from conveyor.config.nodes import Fault, Mark, Node, problem_at
from conveyor.config.nodes import Path as TreePath
from conveyor.config.options import expanded
from conveyor.config.settings import Settings
from conveyor.config.shape import canonical, shape_of, unknown_keys
from conveyor.config.sources import Snapshot, YamlSource
from conveyor.config.yaml_reader import read_yaml
from conveyor.errors import ConfigError, Problem
from conveyor.nearest import did_you_mean
from conveyor.registry import Registry, default_registry

SECTIONS = ("destinations", "presets")
"""What an included file may hold; the main file holds the settings beside them."""

_NOWHERE = Mark("", 0, 0)


@dataclass(frozen=True, slots=True)
class Config:
    """One reading of the config.

    Attributes:
        path: The main file, absolute.
        settings: Everything beside the destinations.
        source: The destinations; the same object stays in use over reloads.
        problems: Mistakes that did not stop the load: those of quarantined destinations, default
            destinations that are not in the YAML (an application may manage them in the ledger), and
            connections that no destination has.
        registry: The destination types it was read with.
        files: What was read, for noticing changes.
    """

    path: Path
    settings: Settings
    source: YamlSource
    problems: tuple[Problem, ...]
    registry: Registry
    files: Files

    @property
    def base(self) -> Path:
        """The folder that relative paths are relative to."""
        return self.path.parent


def load(
    path: Path | str,
    *,
    env: Mapping[str, str] | None = None,
    registry: Registry | None = None,
    strict: bool = False,
    known: Mapping[str, Destination] | None = None,
    files: Files | None = None,
) -> Config:
    """Read a config file.

    Args:
        path: The main file.
        env: For ``${VARIABLE}``; the process's environment by default.
        registry: The destination types; those of all installed plugins by default.
        strict: Any mistake stops the load, also one that would quarantine a destination.
        known: Destinations of an earlier reading; unchanged ones are taken from there.
        files: Learns what was read, also when the load fails.

    Raises:
        ConfigError: With every mistake, when one of them concerns more than a single destination.
    """
    reading = _Reading(
        Path(path),
        os.environ if env is None else env,
        default_registry() if registry is None else registry,
        files if files is not None else Files(),
    )
    with _collector_paused():
        return reading.config(strict=strict, known=known or {})


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A tree of 2,000 destinations has no cycles, and looking for them takes half of the loading time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Reading:
    """One pass over the files, collecting mistakes."""

    def __init__(self, path: Path, env: Mapping[str, str], registry: Registry, files: Files) -> None:
        self.shown = path
        self.path = path.expanduser().absolute()
        self.registry = registry
        self.files = files
        self.expander = Expander(env, self.path.parent, self.files, registry.announced.secrets)
        self.problems: list[Problem] = []
        """Of more than one destination: they stop the load."""
        self.presets: dict[str, Node] = {}
        self.destinations: dict[str, Node] = {}
        self.twice: dict[str, Fault] = {}

    def config(self, *, strict: bool, known: Mapping[str, Destination]) -> Config:
        """Do it all."""
        root = self._read(self.path, self.shown)
        settings, tree = self._settings(root)
        broken = self._plugins(settings, tree)
        self._sections(root)
        self._included(settings, tree)
        builder = Builder(
            self.registry,
            base=self.path.parent,
            network=settings.network,
            defaults=tree.child("defaults"),
            presets=self.presets,
            connections=settings.connections,
        )
        built, quarantined = self._build(builder, known)
        unknown = [
            *self._unknown_defaults(settings, tree, built),
            *self._unused_connections(settings, tree, built),
        ]
        milder = (*broken, *quarantined, *unknown)
        if self.problems or (strict and milder):
            raise ConfigError(_in_order((*self.problems, *milder)))
        source = YamlSource(Snapshot.of(built, builder))
        return Config(self.path, settings, source, _in_order(milder), self.registry, self.files)

    def _read(self, path: Path, shown: Path) -> Node:
        try:
            data = self.files.read(path)
        except OSError as error:
            cure = "conveyor init writes one" if path == self.path else None
            reason = error.strerror or type(error).__name__
            self.problems.append(Problem(f"cannot be read: {reason}", str(shown), cure=cure))
            return Node({})
        root, problems = read_yaml(data, str(shown))
        self.problems.extend(problems)
        if root is None:
            return Node({})
        if root.mapping is None:
            self._fault((), Fault("expected a mapping of options to values", root.mark or _NOWHERE))
            return Node({})
        return root

    def _settings(self, root: Node) -> tuple[Settings, Node]:
        """The settings and their tree, keys in snake_case; the built-in ones where they are wrong."""
        found: Found = []
        tree = canonical(root, Settings)
        tree = unknown_keys(tree, (), shape_of(Settings).names | set(SECTIONS), found).without(SECTIONS)
        context = {"base": self.path.parent}
        self._early(tree, context)
        data = self.expander.plain(tree, (), found)
        try:
            settings = Settings.model_validate(data, context=context)
        except ValidationError as error:
            report(error, Settings, tree, (), found)
        self._faults(found)
        wrong = {str(path[0]) for path, _ in found if path}
        if wrong:  # go on with the right ones, to find what else is wrong
            tree = tree.without(wrong)
            usable = {key: value for key, value in data.items() if key not in wrong}
            settings = Settings.model_validate(usable, context=context)
        return settings, tree

    def _early(self, tree: Node, context: dict[str, Path]) -> None:
        """Load the plugins that are files first: other settings may use what they bring."""
        named = tree.child("plugins")
        if named is not None:
            with suppress(ValidationError):  # told when all settings are read
                data = {"plugins": self.expander.plain(named, (), [])}
                for path in Settings.model_validate(data, context=context).plugins:
                    self.registry.load_file(path)

    def _plugins(self, settings: Settings, tree: Node) -> list[Problem]:
        """Load the plugins that are files; the destinations of one that cannot be loaded are quarantined."""
        problems = []
        for index, path in enumerate(settings.plugins):
            plugin = self.registry.load_file(path)
            if plugin.problem is not None:
                place: TreePath = ("plugins", index)
                problems.append(problem_at(plugin.problem, tree.place(place), place, cure=plugin.cure))
        return problems

    def _included(self, settings: Settings, tree: Node) -> None:
        include = tree.child("include")
        for index, pattern in enumerate(settings.include):
            place = include.child(index) if include is not None else None
            try:
                found = self.files.matching(self.path.parent / expanded(pattern))
            except ValueError as error:
                mark = place.mark if place is not None else None
                self._fault(("include", index), Fault(str(error), mark or _NOWHERE))
                continue
            if not found and not any(sign in pattern for sign in "*?["):
                mark = place.mark if place is not None else None
                self._fault(("include", index), Fault(f"there is no file {pattern!r}", mark or _NOWHERE))
            for path in found:
                if path not in self.files.stamps:
                    self._include(path)

    def _include(self, path: Path) -> None:
        root = self._read(path, self.shown.parent / os.path.relpath(path, self.path.parent))
        found: Found = []
        unknown_keys(root, (), frozenset(SECTIONS), found)
        self._faults((p, f._replace(cure="settings belong into the main file")) for p, f in found)
        for fault in root.faults:
            self._fault((), fault)
        self._sections(root)

    def _sections(self, root: Node) -> None:
        for section, into in (("destinations", self.destinations), ("presets", self.presets)):
            node = root.child(section)
            if node is None:
                continue
            if node.mapping is None:
                fault = Fault("expected a mapping of names to options", node.mark or _NOWHERE)
                self._fault((section,), fault)
                continue
            self._collect(section, node, into)

    def _collect(self, section: str, node: Node, into: dict[str, Node]) -> None:
        for fault in node.faults:
            if section == "destinations" and fault.key is not None:
                self.twice[fault.key] = fault
            else:
                self._fault((section,), fault)
        for name, child in (node.mapping or {}).items():
            place = Node(child.value, node.keys.get(name), child.keys, child.faults)
            if name not in into:
                into[name] = place
                continue
            first = into[name].mark
            where = f"{first.file}:{first.line}" if first else "another file"
            fault = Fault(f"{name!r} is defined already, in {where}", place.mark or _NOWHERE, "keep one")
            if section == "destinations":
                self.twice[name] = fault
            else:
                self._fault((section, name), fault)

    def _build(
        self, builder: Builder, known: Mapping[str, Destination]
    ) -> tuple[dict[str, Destination], list[Problem]]:
        built: dict[str, Destination] = {}
        problems: list[Problem] = []
        for name, node in self.destinations.items():
            fault = self.twice.get(name)
            if fault is not None:
                node.faults = (*node.faults, fault)
            result = builder.build(name, node, self.expander, known)
            built[name] = result.destination
            problems.extend(result.problems)
        return built, problems

    def _unknown_defaults(
        self, settings: Settings, tree: Node, built: Mapping[str, Destination]
    ) -> list[Problem]:
        problems = []
        for index, name in enumerate(settings.default_destinations):
            if name not in built:
                path: TreePath = ("default_destinations", index)
                cure = did_you_mean(name, built, label="destinations")
                problems.append(
                    problem_at(f"no destination {name!r} here", tree.place(path), path, cure=cure)
                )
        return problems

    def _unused_connections(
        self, settings: Settings, tree: Node, built: Mapping[str, Destination]
    ) -> list[Problem]:
        """What is set of a connection that no destination has limits nothing: a slip of the pen."""
        if any(each.problem is not None for each in built.values()):
            return []  # one of those may have it
        known = {each.connection for each in built.values()} - {None}
        problems = []
        for name in settings.connections:
            if name not in known:
                path: TreePath = ("connections", name)
                cure = did_you_mean(name, filter(None, known), label="connections")
                message = f"no destination here has the connection {name!r}"
                problems.append(problem_at(message, tree.place(path), path, cure=cure))
        return problems

    def _faults(self, found: Iterable[tuple[TreePath, Fault]]) -> None:
        for path, fault in found:
            self._fault(path, fault)

    def _fault(self, path: TreePath, fault: Fault) -> None:
        mark = fault.mark if fault.mark.file else Mark(str(self.shown), 1, 1)
        self.problems.append(problem_at(fault.message, mark, path, cure=fault.cure))


def _in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Without repetitions, file by file and line by line."""
    unique = dict.fromkeys(problems)
    return tuple(sorted(unique, key=lambda p: (p.file or "", p.line or 0, p.column or 0)))
