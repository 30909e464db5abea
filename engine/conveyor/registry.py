"""The destination types that are installed, and how each is loaded when it is needed.

A plugin is a module that implements the hook of :mod:`conveyor.hookspecs` and is named by an entry point of
the group ``conveyor``. Listing types imports the plugins' spec modules, no SDK. A plugin that does not load,
raises or announces nonsense is reported in ``Registry.problems`` and takes nothing else down
(pluggy's own ``load_setuptools_entrypoints`` lets one failing import end the program).
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from conveyor.config.options import Options

Factory = Callable[[Any, ConnectorEnv], Connector]
"""``factory(options, env) -> Connector``; the options are an instance of the type's own model."""

GROUP = "conveyor"
"""The entry-point group."""

BUILTIN = "builtin"
"""The entry point of the connectors that come with Conveyor; loaded first, so that none can replace it."""


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
        self._lock = threading.Lock()
        self.problems: list[Problem] = list(problems)
        for spec in specs:
            self.add(spec)
        for provider in providers:
            self.add_provider(provider)

    def add_provider(self, provider: OAuthProvider, *, plugin: str = "given") -> None:
        """Announce a provider of accounts; what is wrong with it goes to ``problems``."""
        if not isinstance(provider, OAuthProvider):
            complaint = f"its hook returned {type(provider).__name__}, not OAuthProvider"
        elif provider.name in self._providers:
            complaint = f"OAuth provider {provider.name!r} is there already; the first one is kept"
        else:
            self._providers[provider.name] = provider
            return
        self.problems.append(Problem(f"plugin {plugin!r}: {complaint}"))

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
            if distribution is not None:
                self._distributions[spec.type] = distribution
        else:
            self.problems.append(Problem(f"plugin {plugin!r}: {complaint}"))

    def types(self) -> list[str]:
        """All types, sorted."""
        return sorted(self._specs)

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
    from importlib.metadata import entry_points as installed

    import pluggy

    from conveyor import hookspecs

    if entry_points is None:
        entry_points = list(installed(group=GROUP))
    registry = Registry()
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for entry in sorted(entry_points, key=lambda e: (e.name != BUILTIN, e.name)):
        try:
            specs, providers = _asked(manager, entry)
        except (Exception, SystemExit) as error:  # a plugin may fail in any way; the rest must go on
            registry.problems.append(
                Problem(
                    f"plugin {entry.name!r} ({entry.value}) cannot be loaded: {_named(error)}",
                    cure="update or uninstall it; the other destination types work",
                )
            )
            continue
        for spec in specs:
            registry.add(spec, plugin=entry.name, distribution=entry.dist.name if entry.dist else None)
        for provider in providers:
            registry.add_provider(provider, plugin=entry.name)
    return registry


def _asked(manager: Any, entry: EntryPoint) -> tuple[list[ConnectorSpec], list[OAuthProvider]]:
    """Import one plugin and ask it alone: a hook called on all would end at the first that raises."""
    plugin = entry.load()
    others = [known for known in manager.get_plugins() if known is not plugin]
    manager.register(plugin, name=entry.name)
    try:
        manager.check_pending()
        specs = manager.subset_hook_caller("conveyor_connectors", remove_plugins=others)()
        providers = manager.subset_hook_caller("conveyor_oauth_providers", remove_plugins=others)()
        return [each for some in specs for each in some], [each for some in providers for each in some]
    except BaseException:
        manager.unregister(plugin)
        raise


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _complaint(spec: object) -> str | None:
    if not isinstance(spec, ConnectorSpec):
        return f"its hook returned {type(spec).__name__}, not ConnectorSpec"
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
