"""What plugins announce beside destination types: path variables and filters, secrets, sources.

Each announcement is checked when the plugin is loaded; a wrong one is the plugin's problem and is left out.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from conveyor.hooks import (
    DestinationProvider,
    PathFilter,
    PathVariable,
    PayloadSource,
    SecretResolver,
    Transform,
)
from conveyor.paths.vocabulary import add_filter, add_variable

if TYPE_CHECKING:
    from conveyor.plugins import Plugins

HOOKS = (
    "conveyor_path_variables",
    "conveyor_path_filters",
    "conveyor_secret_resolvers",
    "conveyor_destination_sources",
    "conveyor_payload_sources",
    "conveyor_transforms",
)
_WORD = re.compile(r"[a-z][a-z0-9_]*")

Kind = TypeVar("Kind")


class Announced:
    """What is announced, by its name.

    Args:
        plugins: Count the failures of what they have announced.
    """

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        self.secrets: dict[str, Callable[[str], str]] = {}
        """By tag."""
        self.destinations: dict[str, tuple[str, DestinationProvider]] = {}
        """Providers of destinations, each with its plugin."""
        self.payloads: dict[str, tuple[str, PayloadSource]] = {}
        """Payload sources, each with its plugin."""
        self.transforms: dict[str, tuple[str, Transform]] = {}
        """Transforms, each with its plugin."""

    def take(self, hook: str, plugin: str, item: Any) -> str | None:
        """Take one announcement; what is wrong with it, or None."""
        takers: Mapping[str, Callable[[str, Any], str | None]] = {
            "conveyor_path_variables": self._variable,
            "conveyor_path_filters": self._filter,
            "conveyor_secret_resolvers": self._secret,
            "conveyor_destination_sources": self._destinations,
            "conveyor_payload_sources": self._payloads,
            "conveyor_transforms": self._transform,
        }
        return takers[hook](plugin, item)

    def _counted(self, plugin: str, hook: str, call: Callable[..., Kind]) -> Callable[..., Kind]:
        """The same, its failures counted."""

        def counted(*arguments: Any) -> Kind:
            try:
                return call(*arguments)
            except (Exception, SystemExit) as error:
                self._plugins.failed(plugin, hook, error)
                raise

        return counted

    def _variable(self, plugin: str, item: Any) -> str | None:
        if not isinstance(item, PathVariable):
            return _not(item, "PathVariable")
        if not _WORD.fullmatch(item.name):
            return f"path variable {item.name!r}: small letters, digits and '_' only"
        read = self._counted(plugin, "conveyor_path_variables", item.read)
        return add_variable(plugin, item.name, item.meaning, read)

    def _filter(self, plugin: str, item: Any) -> str | None:
        if not isinstance(item, PathFilter):
            return _not(item, "PathFilter")
        if not _WORD.fullmatch(item.name):
            return f"path filter {item.name!r}: small letters, digits and '_' only"
        apply = self._counted(plugin, "conveyor_path_filters", item.apply)
        return add_filter(plugin, item.name, item.meaning, apply)

    def _secret(self, plugin: str, item: Any) -> str | None:
        if not isinstance(item, SecretResolver):
            return _not(item, "SecretResolver")
        if not _WORD.fullmatch(item.tag):
            return f"tag {item.tag!r}: small letters, digits and '_' only"
        if item.tag == "file" or item.tag in self.secrets:
            return f"tag !{item.tag} is there already; the first one is kept"
        self.secrets[item.tag] = self._counted(plugin, "conveyor_secret_resolvers", item.resolve)
        return None

    def _destinations(self, plugin: str, item: Any) -> str | None:
        if not all(hasattr(item, name) for name in ("name", "revision", "list")):
            return _not(item, "DestinationProvider")
        return _named(self.destinations, "destination source", plugin, item)

    def _payloads(self, plugin: str, item: Any) -> str | None:
        if not isinstance(item, PayloadSource):
            return _not(item, "PayloadSource")
        return _named(self.payloads, "payload source", plugin, item)

    def _transform(self, plugin: str, item: Any) -> str | None:
        if not isinstance(item, Transform):
            return _not(item, "Transform")
        return _named(self.transforms, "transform", plugin, item)

    def documents(self) -> Iterable[GuardedDocuments]:
        """The providers of destinations, such that no failure of theirs gets out."""
        return [GuardedDocuments(self._plugins, *known) for known in self.destinations.values()]


class GuardedDocuments:
    """A provider whose failures leave its destinations as they were; before the first answer there are none.

    Args:
        plugins: Count its failures.
        plugin: Whose it is.
        provider: The provider.
    """

    def __init__(self, plugins: Plugins, plugin: str, provider: DestinationProvider) -> None:
        self._plugins = plugins
        self._plugin = plugin
        self._provider = provider
        self._lock = threading.Lock()
        self._seen: object = None
        self._revision = 0
        self._documents: Mapping[str, Mapping[str, Any]] = {}

    def revision(self) -> int:
        """Grows with every change that could be read."""
        try:
            seen = self._provider.revision()
            with self._lock:
                if self._revision == 0 or seen != self._seen:
                    documents = {str(name): _document(doc) for name, doc in self._provider.list().items()}
                    self._documents, self._seen = documents, seen
                    self._revision += 1
        except (Exception, SystemExit) as error:
            self._plugins.failed(self._plugin, "conveyor_destination_sources", error)
        return self._revision

    def list(self) -> Mapping[str, Mapping[str, Any]]:
        """The documents as last read."""
        return self._documents


def _document(given: object) -> Mapping[str, Any]:
    """One that is none is quarantined, as one with nothing in it; the others are taken."""
    return dict(given) if isinstance(given, Mapping) else {}


def _named(known: dict[str, tuple[str, Any]], what: str, plugin: str, item: Any) -> str | None:
    """Keep it under its name, unless another has it."""
    if not isinstance(item.name, str):
        return f"{what}: its name {item.name!r} is no text"
    if item.name in known:
        return f"{what} {item.name!r} is there already; the first one is kept"
    known[item.name] = plugin, item
    return None


def _not(item: object, wanted: str) -> str:
    return f"its hook returned {type(item).__name__}, not {wanted}"
