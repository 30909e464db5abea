"""The plugins of this process: found by entry point or by path, each loaded and asked for itself.

A plugin is a module that implements hooks of :mod:`conveyor.hookspecs`. It is named by an entry point of the
group ``conveyor`` in its distribution, or by its path under ``plugins:`` in the config. One that does not
load, raises or announces nonsense is noted with its cure and takes nothing else down (pluggy's own
``load_setuptools_entrypoints`` lets one failing import end the program, and a hook called on all ends at the
first that raises).
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from conveyor import hookspecs

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "conveyor"
"""The entry-point group."""

BUILTIN = "builtin"
"""The entry point of the connectors that come with Conveyor; loaded first, so that none can replace it."""


class Unusable(Exception):
    """Why a plugin is not taken, in words for a person."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """What is known of one plugin.

    Attributes:
        name: Of its entry point; of a file, its name without ``.py``.
        source: The distribution with its version, or the file's path.
        distribution: What ``pip`` calls it; None for a file.
        hooks: The hooks it implements.
        problem: Why it cannot be used, or not wholly.
        cure: What to do about that.
    """

    name: str
    source: str
    distribution: str | None = None
    hooks: tuple[str, ...] = ()
    problem: str | None = None
    cure: str | None = None


class Plugins:
    """All plugins of a process, in the order in which they were loaded."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._known: dict[str, Plugin] = {}
        self._lock = threading.Lock()
        self.failures: Counter[tuple[str, str]] = Counter()
        """How often a hook of a plugin has raised or answered nonsense, by plugin and hook."""
        self.last_errors: dict[tuple[str, str], str] = {}
        """The type of the last error of each."""

    def __iter__(self) -> Iterator[Plugin]:
        return iter(list(self._known.values()))

    def load(self, entry: EntryPoint) -> Plugin:
        """Load the plugin that an entry point names."""
        distribution = entry.dist
        plugin = Plugin(
            entry.name,
            f"{distribution.name} {distribution.version}" if distribution else entry.value,
            distribution.name if distribution else None,
        )
        return self._add(plugin, entry.load, f"plugin {entry.name!r} ({entry.value})")

    def load_file(self, path: Path) -> Plugin:
        """Load a plugin that is one file; its module has the file's name. Once only, whatever comes of it."""
        return self._add(Plugin(path.stem, str(path)), lambda: _import_file(path), f"plugin {path.name}")

    def register(self, module: Any, name: str) -> Plugin:
        """Take a module, or any object whose functions implement hooks, that is there already."""
        return self._add(Plugin(name, "given"), lambda: module, f"plugin {name!r}")

    def at(self, path: Path) -> Plugin | None:
        """The plugin that was loaded from this file."""
        return next((known for known in self if known.source == str(path)), None)

    def _add(self, plugin: Plugin, load: Callable[[], Any], label: str) -> Plugin:
        try:
            if plugin.name in self._known:
                raise Unusable(
                    f"there is a plugin {plugin.name!r} already, {self._known[plugin.name].source}"
                )
            hooks = self._register(load(), plugin.name)
        except (Exception, SystemExit) as error:  # a plugin may fail in any way; the rest must go on
            problem, cure = _explained(error, plugin)
            plugin = replace(plugin, problem=f"{label} cannot be loaded: {problem}", cure=cure)
        else:
            plugin = replace(plugin, hooks=hooks)
        name = plugin.name if plugin.name not in self._known else plugin.source
        self._known[name] = plugin
        return plugin

    def _register(self, module: Any, name: str) -> tuple[str, ...]:
        self._manager.register(module, name=name)
        try:
            self._manager.check_pending()
            callers = self._manager.get_hookcallers(module) or []
            wrapping = [
                c.name for c in callers for i in c.get_hookimpls() if i.plugin is module and _wraps(i)
            ]
            if wrapping:
                raise Unusable(f"{wrapping[0]} is a hook wrapper; each plugin is asked for itself")
        except BaseException:
            self._manager.unregister(module)
            raise
        return tuple(sorted(caller.name for caller in callers))

    def ask(self, hook: str, /, **arguments: Any) -> Iterator[tuple[Plugin, Any]]:
        """Call a hook on each plugin that implements it, in pluggy's order (``tryfirst``, ``trylast``).

        A plugin that raises is skipped: the exception is yielded in place of its answer.

        Args:
            hook: The hook's name.
            arguments: All arguments of its specification; a plugin may take fewer.
        """
        for implementation in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            plugin = self._known[implementation.plugin_name]
            try:
                answer = _call(implementation, arguments)
            except (Exception, SystemExit) as error:
                self.failed(plugin.name, hook, error)
                answer = error
            yield plugin, answer

    def has(self, hook: str) -> bool:
        """Whether any plugin implements a hook."""
        return bool(getattr(self._manager.hook, hook).get_hookimpls())

    def failed(self, plugin: str, hook: str, error: BaseException | None = None) -> None:
        """Count a failure; without an error, of an answer that means nothing."""
        with self._lock:
            self.failures[plugin, hook] += 1
            self.last_errors[plugin, hook] = "wrong answer" if error is None else type(error).__name__

    def announced(self, plugin: Plugin, hook: str) -> list[Any]:
        """What one plugin answers to a hook that returns a list; empty when it does not implement it.

        Raises:
            Exception: Whatever the plugin raises.
        """
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        return [each for i in implementations if i.plugin_name == plugin.name for each in _call(i, {})]

    def refuse(self, name: str, problem: str, cure: str | None = None) -> None:
        """Note what is wrong with what a loaded plugin announced."""
        known = self._known.get(name)
        if known is not None:
            joined = f"{known.problem}; {problem}" if known.problem else problem
            self._known[name] = replace(known, problem=joined, cure=known.cure or cure)


def installed(entries: Sequence[EntryPoint] | None = None) -> list[EntryPoint]:
    """The entry points of all installed plugins (or these), the built-in one first."""
    from importlib.metadata import entry_points

    found = list(entry_points(group=GROUP)) if entries is None else entries
    return sorted(found, key=lambda entry: (entry.name != BUILTIN, entry.name))


def _call(implementation: Any, arguments: Mapping[str, Any]) -> Any:
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _wraps(implementation: Any) -> bool:
    return bool(implementation.hookwrapper or implementation.wrapper)


def _import_file(path: Path) -> Any:
    name = path.stem
    if not path.is_file():
        raise Unusable(f"there is no file {path}")
    if not name.isidentifier():
        raise Unusable(f"{path.name} cannot be imported; name it like a Python module: my_connector.py")
    present = sys.modules.get(name)
    if present is not None and getattr(present, "__file__", None) == str(path):
        return present
    # The file itself is found where its folder is on the path, as the working folder of `python -m` is.
    other = importlib.util.find_spec(name) if present is None else None
    if present is not None or (other is not None and other.origin != str(path)):
        raise Unusable(f"there is another module {name!r}; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path  # noqa: PT018 -- both or neither
    module = importlib.util.module_from_spec(spec)
    # Under its own name: the plugin's specs name their factories by it.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _explained(error: BaseException, plugin: Plugin) -> tuple[str, str]:
    others = "the others work"
    if isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name.partition(".")[0]
        if missing == "conveyor":
            cure = f"it was written for another version of Conveyor; install a matching one; {others}"
        else:
            cure = f"install what brings the module {missing} (pip install {missing}?); {others}"
        return f"{type(error).__name__}: {error}", cure
    if isinstance(error, Unusable):
        return str(error), f"mend or remove it; {others}"
    repair = "mend or remove it" if plugin.distribution is None else "update or uninstall it"
    return f"{type(error).__name__}: {error}", f"{repair}; {others}"
