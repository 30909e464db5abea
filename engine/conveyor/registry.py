"""The destination types that are installed, and how each is loaded when it is needed.

:mod:`conveyor.plugins` finds and loads the plugins that announce them. Listing types imports the plugins'
spec modules, no SDK. What is announced and cannot be used is reported in ``Registry.problems``.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from conveyor.announced import HOOKS, Announced
from conveyor.contract import (
    CONTRACT_VERSION,
    Capabilities,
    Connector,
    ConnectorEnv,
    ConnectorSpec,
    OAuthProvider,
)
from conveyor.errors import ConveyorError, Exit, Problem
from conveyor.nearest import did_you_mean
from conveyor.plugins import Plugin, Plugins, installed

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from conveyor.config.options import Options

Factory = Callable[[Any, ConnectorEnv], Connector]
"""``factory(options, env) -> Connector``; the options are an instance of the type's own model."""


class UnknownTypeError(ConveyorError):
    """No installed plugin brings this destination type."""

    exit_code = Exit.USAGE


class Registry:
    """Destination types by name.

    Args:
        specs: What to announce; of two specs of one type the first wins, the other becomes a problem.
        problems: What went wrong while plugins were loaded.
        providers: Where types with a sign-in have their accounts; the first one of a name wins.
    """

    def __init__(
        self,
        specs: Iterable[ConnectorSpec] = (),
        *,
        problems: Iterable[Problem] = (),
        providers: Iterable[OAuthProvider] = (),
    ) -> None:
        self._specs: dict[str, ConnectorSpec] = {}
        self._providers: dict[str, OAuthProvider] = {}
        self._models: dict[str, type[Options]] = {}
        self._factories: dict[str, Factory] = {}
        self._distributions: dict[str, str] = {}
        self._origins: dict[str, str] = {}
        self._lock = threading.Lock()
        self.plugins = Plugins()
        self.announced = Announced(self.plugins)
        self.problems: list[Problem] = list(problems)
        for spec in specs:
            self.add(spec)
        for provider in providers:
            self.add_provider(provider)

    def load_file(self, path: Path) -> Plugin:
        """Load a plugin that is one file, and take what it announces; once only."""
        known = self.plugins.at(path)
        if known is None:
            known = self.plugins.load_file(path)
            if known.problem is None:
                self.admit(known)
        return known

    def admit(self, plugin: Plugin) -> None:
        """Take what a plugin announces; what is wrong with it goes to ``problems``."""
        if plugin.problem is not None:
            self.problems.append(Problem(plugin.problem, cure=plugin.cure))
            return
        for hook in ("conveyor_connectors", "conveyor_oauth_providers", *HOOKS):
            for item in self._announced(plugin, hook):
                try:
                    self._take(plugin, hook, item)
                except (Exception, SystemExit) as error:  # a text for a number, a property that raises …
                    self._failed(plugin, hook, error)

    def _take(self, plugin: Plugin, hook: str, item: Any) -> None:
        if hook == "conveyor_connectors":
            self.add(item, plugin=plugin.name, distribution=plugin.distribution)
        elif hook == "conveyor_oauth_providers":
            self.add_provider(item, plugin=plugin.name)
        elif complaint := self.announced.take(hook, plugin.name, item):
            self._complain(plugin.name, complaint)

    def _announced(self, plugin: Plugin, hook: str) -> list[Any]:
        try:
            return self.plugins.announced(plugin, hook)
        except (Exception, SystemExit) as error:
            self._failed(plugin, hook, error)
            return []

    def _failed(self, plugin: Plugin, hook: str, error: BaseException) -> None:
        cure = "update or uninstall it; the other destination types work"
        self._complain(plugin.name, f"{hook}: {_named(error)}", cure)

    def _complain(self, plugin: str, complaint: str, cure: str | None = None) -> None:
        self.problems.append(Problem(f"plugin {plugin!r}: {complaint}", cure=cure))
        self.plugins.refuse(plugin, complaint, cure)

    def add_provider(self, provider: OAuthProvider, *, plugin: str = "given") -> None:
        """Announce a provider of accounts; what is wrong with it goes to ``problems``."""
        if not isinstance(provider, OAuthProvider):
            complaint = f"its hook returned {type(provider).__name__}, not OAuthProvider"
        elif provider.name in self._providers:
            complaint = f"OAuth provider {provider.name!r} is there already; the first one is kept"
        else:
            self._providers[provider.name] = provider
            return
        self._complain(plugin, complaint)

    def provider(self, name: str) -> OAuthProvider:
        """The provider of this name.

        Raises:
            ConveyorError: No installed plugin brings it.
        """
        try:
            return self._providers[name]
        except KeyError:
            cure = "install the plugin that brings it, or update the one that names it"
            raise ConveyorError(f"unknown OAuth provider {name!r}", cure=cure) from None

    def add(self, spec: ConnectorSpec, *, plugin: str = "given", distribution: str | None = None) -> None:
        """Announce one type; what is wrong with it goes to ``problems`` and the type is left out.

        Args:
            spec: The type.
            plugin: Who announces it, for problems.
            distribution: What to ``pip install`` for it, for the cure of a missing SDK.
        """
        complaint = _complaint(spec)
        if complaint is None and spec.type in self._specs:
            complaint = f"type {spec.type!r} is there already; the first one is kept"
        if complaint is None:
            self._specs[spec.type] = spec
            self._origins[spec.type] = plugin
            if distribution is not None:
                self._distributions[spec.type] = distribution
        else:
            self._complain(plugin, complaint)

    def types(self) -> list[str]:
        """All types, sorted."""
        return sorted(self._specs)

    def brought_by(self, plugin: str) -> list[str]:
        """The types that this plugin announced, sorted."""
        return sorted(name for name, origin in self._origins.items() if origin == plugin)

    def specs(self) -> list[ConnectorSpec]:
        """All specs, sorted by type."""
        return [self._specs[name] for name in self.types()]

    def __contains__(self, type: object) -> bool:  # noqa: A002 -- the word of the YAML
        return type in self._specs

    def spec(self, type: str) -> ConnectorSpec:  # noqa: A002
        """The spec of a type.

        Raises:
            UnknownTypeError: With the nearest type that exists.
        """
        try:
            return self._specs[type]
        except KeyError:
            cure = did_you_mean(type, self._specs, label="installed types")
            raise UnknownTypeError(f"unknown destination type {type!r}", cure=cure) from None

    def options_model(self, type: str) -> type[Options]:  # noqa: A002
        """The type's option model, imported on first use.

        Raises:
            ConveyorError: The plugin's module does not load, or is no option model.
        """
        model = self._models.get(type)
        if model is None:
            spec = self.spec(type)
            model = _checked_model(spec, _import(spec, spec.options, self._install(spec)))
            with self._lock:
                self._models[type] = model
        return model

    def factory(self, type: str) -> Factory:  # noqa: A002
        """The callable that opens a connector of this type; imports the type's SDK.

        Raises:
            ConveyorError: The SDK is not installed (the cure names the extra), or the plugin is broken.
        """
        factory = self._factories.get(type)
        if factory is None:
            spec = self.spec(type)
            factory = _import(spec, spec.factory, self._install(spec))
            if not callable(factory):
                raise ConveyorError(f"destination type {type!r}: {spec.factory} is not callable")
            with self._lock:
                self._factories[type] = factory
        return factory

    def _install(self, spec: ConnectorSpec) -> str:
        """How to get what a type's code imports."""
        distribution = self._distributions.get(spec.type)
        if distribution is None or spec.extra is None:
            return "reinstall the plugin that brings this type"
        return f"pip install '{distribution}[{spec.extra}]'"


def default_registry(entry_points: Sequence[EntryPoint] | None = None) -> Registry:
    """Load every plugin of the entry-point group ``conveyor``, the built-in one first.

    Args:
        entry_points: The plugins to load; by default those of all installed distributions.
    """
    registry = Registry()
    for entry in installed(entry_points):
        registry.admit(registry.plugins.load(entry))
    return registry


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _complaint(spec: object) -> str | None:
    if not isinstance(spec, ConnectorSpec):
        return f"its hook returned {type(spec).__name__}, not ConnectorSpec"
    if not isinstance(spec.type, str):
        return f"its type {spec.type!r} is no text"
    if not isinstance(spec.capabilities, Capabilities):
        return f"type {spec.type!r}: capabilities must be a Capabilities"
    if spec.contract != CONTRACT_VERSION:
        older = "older" if spec.contract < CONTRACT_VERSION else "newer"
        return (
            f"type {spec.type!r} was written for contract {spec.contract}, which is {older} than "
            f"this Conveyor's {CONTRACT_VERSION}; install a matching version of the plugin"
        )
    for label, reference in (("factory", spec.factory), ("options", spec.options)):
        module, colon, attribute = reference.partition(":")
        if not (module and colon and attribute):
            return f"type {spec.type!r}: {label} must read 'module:name', not {reference!r}"
    return None


def _import(spec: ConnectorSpec, reference: str, install: str) -> Any:
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        missing = error.name or str(error)
        raise ConveyorError(f"destination type {spec.type!r} needs {missing}", cure=install) from error
    except Exception as error:
        raise ConveyorError(
            f"destination type {spec.type!r}: {reference} cannot be loaded: {_named(error)}",
            cure="update or uninstall the plugin that brings this type",
        ) from error


def _check_sign_in(spec: ConnectorSpec, model: type[Options]) -> None:
    from conveyor.contract import OAuthOptions

    if spec.oauth is not None and not issubclass(model, OAuthOptions):
        raise ConveyorError(
            f"destination type {spec.type!r} has a sign-in: {spec.options} must be a subclass of "
            "conveyor.contract.OAuthOptions"
        )


def _checked_model(spec: ConnectorSpec, model: Any) -> type[Options]:
    from conveyor.config.model import COMMON_KEYS
    from conveyor.config.options import Options

    if not (isinstance(model, type) and issubclass(model, Options)):
        raise ConveyorError(
            f"destination type {spec.type!r}: {spec.options} must be a subclass of conveyor.contract.Options"
        )
    _check_sign_in(spec, model)
    taken = sorted(set(model.model_fields) & COMMON_KEYS)
    if taken:
        raise ConveyorError(
            f"destination type {spec.type!r}: the option {taken[0]!r} belongs to every destination; rename it"
        )
    return model
