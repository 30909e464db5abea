"""From a destination's tree to a :class:`Destination`, or to a quarantined one with all of its problems."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from conveyor.config.expand import Expander, Found
from conveyor.config.layers import layers_of
from conveyor.config.mistakes import report
from conveyor.config.model import (
    COMMON_KEYS,
    DESTINATION_ID,
    CommonModel,
    Destination,
    Limits,
    SharedLimits,
)
from conveyor.config.nodes import Fault, Mark, Node, merge, problem_at
from conveyor.config.nodes import Path as TreePath
from conveyor.config.options import Options
from conveyor.config.policies import ConnectionModel, template_of
from conveyor.config.settings import NetworkSettings
from conveyor.config.shape import canonical, shape_of, unknown_keys
from conveyor.contract import ConflictPolicy, ConnectorSpec
from conveyor.errors import ConveyorError, Problem
from conveyor.nearest import did_you_mean
from conveyor.network import Network
from conveyor.paths import DEFAULT_TEMPLATE, mistakes
from conveyor.registry import Registry

_NOWHERE = Mark("", 0, 0)
_HARMLESS_FIRST = (ConflictPolicy.RENAME, ConflictPolicy.FAIL, ConflictPolicy.SKIP)
"""What is chosen where nothing is said and a type has no ``rename``; never ``overwrite`` unasked."""


@dataclass(frozen=True, slots=True)
class Built:
    """A destination, and everything that is wrong with it."""

    destination: Destination
    problems: tuple[Problem, ...] = ()


class Builder:
    """Builds destinations under one set of defaults and presets.

    Args:
        registry: The destination types.
        base: The folder for relative paths.
        network: The global network policy.
        defaults: The tree of ``defaults``, valid.
        presets: The trees of ``presets``.
        connections: What is set of connections, by id.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        base: Path,
        network: NetworkSettings | None = None,
        defaults: Node | None = None,
        presets: Mapping[str, Node] | None = None,
        connections: Mapping[str, ConnectionModel] | None = None,
    ) -> None:
        self.registry = registry
        self.base = base
        self._settings = network or NetworkSettings()
        self._network = Network(self._settings.allow_private, self._settings.ca_bundle, self._settings.proxy)
        self._networks: dict[tuple[object, ...], Network] = {}
        self._defaults = canonical(defaults or Node({}), CommonModel)
        self._presets = presets or {}
        self._connections = connections or {}
        self._salt = repr(sorted(self._settings.model_dump().items()))

    def build(
        self,
        destination_id: str,
        node: Node,
        expander: Expander,
        known: Mapping[str, Destination] | None = None,
    ) -> Built:
        """Build one destination.

        Args:
            destination_id: Its id.
            node: What is written about it.
            expander: Replaces references to the environment and to files.
            known: Destinations built earlier; one whose effective config is unchanged is taken from here.

        Returns:
            The destination; with problems when it is quarantined.
        """
        draft = _Draft(destination_id, node, ("destinations", destination_id))
        draft.read(self, expander)
        revision = draft.digest(self._salt)
        earlier = (known or {}).get(destination_id)
        if not draft.found and earlier is not None and earlier.revision == revision and not earlier.problem:
            # What the account bears together is no part of the destination, and of its revision.
            return Built(self.with_shared_limits(earlier))
        draft.validate(self)
        return draft.finish(self, revision)

    def network_of(self, own: NetworkSettings) -> Network:
        """The global policy with a destination's own settings; equal settings share one object."""
        given = own.model_fields_set
        if not given:
            return self._network
        key = (own.allow_private, own.ca_bundle, own.proxy, frozenset(given))
        if key not in self._networks:
            self._networks[key] = self._own_network(own, given)
        return self._networks[key]

    def _own_network(self, own: NetworkSettings, given: set[str]) -> Network:
        if given == {"allow_private"}:
            return self._network.allowing(own.allow_private)
        ranges = dict.fromkeys((*self._settings.allow_private, *own.allow_private))
        return Network(
            ranges,
            own.ca_bundle if "ca_bundle" in given else self._settings.ca_bundle,
            own.proxy if "proxy" in given else self._settings.proxy,
        )

    def with_shared_limits(self, destination: Destination) -> Destination:
        """The destination, with what is set of its connection."""
        shared = self._shared_limits(destination.connection)
        return destination if shared == destination.shared else replace(destination, shared=shared)

    def _shared_limits(self, connection: str | None) -> SharedLimits | None:
        """What is set of a connection; None when that is nothing."""
        if connection is None or connection not in self._connections:
            return None
        limits = self._connections[connection].limits
        shared = SharedLimits(connection, limits.concurrency, limits.rate, limits.byte_rate)
        return None if shared == SharedLimits(connection) else shared

    def layers(self, node: Node, path: TreePath, found: Found) -> list[Node]:
        """The presets and the destination itself, the farthest first."""
        return layers_of(node, self._presets, path, found)

    def over_defaults(self, layers: Sequence[Node]) -> Node:
        """The layers, merged upon the defaults."""
        return reduce(merge, layers, self._defaults)


class _Draft:
    """One destination while it is being built."""

    def __init__(self, destination_id: str, node: Node, path: TreePath) -> None:
        self.id = destination_id
        self.path = path
        self.node = node
        self.found: Found = []
        self.type = ""
        self.spec: ConnectorSpec | None = None
        self.model: type[Options] | None = None
        self.tree = node
        self.data: dict[str, Any] = {}
        self.conflict_is_own = False
        self.common: CommonModel | None = None
        self.options: Options | None = None

    def read(self, builder: Builder, expander: Expander) -> None:
        """Merge the layers, find the type, replace references, refuse unknown keys."""
        mark = self.node.mark or _NOWHERE
        if not DESTINATION_ID.fullmatch(self.id):
            cure = "up to 128 letters, digits, '.', '_' and '-', beginning with a letter or digit"
            self.found.append((self.path, Fault("not a usable destination id", mark, cure)))
        if self.node.mapping is None:
            self.found.append((self.path, Fault("expected a mapping of options to values", mark)))
            return
        layers = builder.layers(self.node, self.path, self.found)
        self._find_type(layers, builder, expander)
        models = (CommonModel,) if self.model is None else (CommonModel, self.model)
        layers = [canonical(layer, *models) for layer in layers]
        self.conflict_is_own = any("conflict" in (layer.mapping or {}) for layer in layers)
        self.tree = builder.over_defaults(layers)
        if self.model is not None:
            names = COMMON_KEYS | shape_of(self.model).names
            self.tree = unknown_keys(self.tree, self.path, names, self.found)
        data = expander.plain(self.tree, self.path, self.found)
        self.data = data if isinstance(data, dict) else {}

    def _find_type(self, layers: Sequence[Node], builder: Builder, expander: Expander) -> None:
        written = [layer.mapping["type"] for layer in layers if layer.mapping and "type" in layer.mapping]
        if not written:
            mark = self.node.mark or _NOWHERE
            cure = "installed types: " + ", ".join(builder.registry.types())
            self.found.append(((*self.path, "type"), Fault("required, but missing", mark, cure)))
            return
        node = written[-1]
        value = expander.plain(node, (*self.path, "type"), [])
        self.type = str(value)
        try:
            self.spec = builder.registry.spec(self.type)
            self.model = builder.registry.options_model(self.type)
        except ConveyorError as error:
            reason = error.cure
            if self.spec is None and builder.registry.problems:
                reason = f"{reason}; a plugin could not be loaded: see `conveyor connectors`"
            fault = Fault(error.message, node.mark or _NOWHERE, reason)
            self.found.append(((*self.path, "type"), fault))

    def digest(self, salt: str) -> str:
        """One-way digest of the effective config."""
        presets = dict(self.spec.presets) if self.spec is not None else {}
        text = repr((salt, self.id, presets, _stable(self.data)))
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()

    def validate(self, builder: Builder) -> None:
        """Check the values against the models; what is wrong goes to ``found``."""
        context = {"base": builder.base}
        common_tree = self.tree.only(COMMON_KEYS)
        common = {key: value for key, value in self.data.items() if key in COMMON_KEYS}
        try:
            self.common = CommonModel.model_validate({**common, "type": self.type}, context=context)
        except ValidationError as error:
            report(error, CommonModel, common_tree, self.path, self.found)
        if self.spec is not None and self.model is not None:
            own = {key: value for key, value in self.data.items() if key not in COMMON_KEYS}
            own = self._with_presets(own, self.spec)
            try:
                self.options = self.model.model_validate(own, context=context)
            except ValidationError as error:
                report(error, self.model, self.tree.without(COMMON_KEYS), self.path, self.found)

        self._check_literals()

    def _check_literals(self) -> None:
        """Literal text of the path template that this type refuses: no job could make it right."""
        if self.common is None or self.spec is None or self.common.path_template is None:
            return
        template = template_of(self.common.path_template)
        for mistake in mistakes(template, self.spec.capabilities.names):
            mark = self.tree.place(("path_template",)) or _NOWHERE
            fault = Fault(f"type {self.spec.type} refuses {mistake}", mark, "change the literal text")
            self.found.append(((*self.path, "path_template"), fault))

    def _with_presets(self, own: dict[str, Any], spec: ConnectorSpec) -> dict[str, Any]:
        for key, value in spec.presets.items():
            if key in own and own[key] != value:
                mark = self.tree.place((key,)) or _NOWHERE
                message = f"type {spec.type} means {key}: {value}"
                self.found.append(
                    ((*self.path, key), Fault(message, mark, "remove it, or write another type"))
                )
        return {**own, **spec.presets}

    def finish(self, builder: Builder, revision: str) -> Built:
        """The destination, quarantined when anything was found."""
        spec = self.spec or ConnectorSpec(self.type or "unknown", "not installed", "", "")
        common = self.common or CommonModel(type=spec.type)
        conflict = self._conflict(common, spec)
        transforms = self._transforms(common, builder)
        problems = tuple(self._problems())
        usable = not problems
        destination = Destination(
            id=self.id,
            name=common.name or self.id,
            type=spec.type,
            spec=spec,
            options=self.options if usable else None,
            labels=common.labels,
            is_active=common.is_active,
            retry=common.retry.policy(),
            breaker=common.breaker.policy(),
            conflict=conflict,
            transforms=transforms,
            template=template_of(common.path_template or DEFAULT_TEMPLATE),
            limits=_limits(common, spec),
            expire_after=common.expire_after,
            max_retry_after=common.retry.max_retry_after,
            network=builder.network_of(common.network),
            revision=revision,
            problem=None if usable else _summary(problems),
        )
        return Built(builder.with_shared_limits(destination), problems)

    def _transforms(self, common: CommonModel, builder: Builder) -> tuple[str, ...]:
        known = builder.registry.announced.transforms
        for number, name in enumerate(common.transforms):
            if name not in known:
                mark = self.tree.place(("transforms", number)) or _NOWHERE
                cure = did_you_mean(name, known, label="transforms") if known else "install its plugin"
                fault = Fault(f"there is no transform {name!r}", mark, cure)
                self.found.append(((*self.path, "transforms", number), fault))
        return common.transforms

    def _conflict(self, common: CommonModel, spec: ConnectorSpec) -> ConflictPolicy:
        offered = spec.capabilities.conflicts
        wanted = common.conflict or ConflictPolicy.RENAME
        if wanted in offered or not offered:
            return wanted
        if not self.conflict_is_own:
            for policy in _HARMLESS_FIRST:
                if policy in offered:
                    return policy
        mark = self.tree.place(("conflict",)) or _NOWHERE
        words = ", ".join(sorted(offered))
        message = f"type {spec.type} does not offer {wanted}"
        self.found.append(((*self.path, "conflict"), Fault(message, mark, f"write one of: {words}")))
        return wanted

    def _problems(self) -> list[Problem]:
        problems = []
        for path, fault in self.found:
            mark = fault.mark if fault.mark.file else self.node.mark
            problems.append(problem_at(fault.message, mark, path, cure=fault.cure, destination=self.id))
        return sorted(dict.fromkeys(problems), key=lambda p: (p.file or "", p.line or 0, p.column or 0))


def _limits(common: CommonModel, spec: ConnectorSpec) -> Limits:
    limits, capabilities = common.limits, spec.capabilities
    sizes = [size for size in (limits.max_size, capabilities.max_size) if size is not None]
    return Limits(
        concurrency=limits.concurrency or capabilities.concurrency,
        max_size=min(sizes, default=None),
        min_rate=limits.min_rate,
        base_timeout=limits.base_timeout,
        idle_timeout=limits.idle_timeout,
        answer_timeout=limits.answer_timeout,
        rate=limits.rate,
        byte_rate=limits.byte_rate,
    )


def _summary(problems: Sequence[Problem]) -> Problem:
    first, more = problems[0], len(problems) - 1
    if not more:
        return first
    message = f"{first.message} (and {more} more mistake{'s' if more > 1 else ''}: conveyor validate)"
    return Problem(message, first.file, first.line, first.column, first.field, first.cure, first.destination)


def _stable(value: Any) -> Any:
    """The value with keys in a fixed order; numbers keep how they were written."""
    if isinstance(value, dict):
        return [(key, _stable(value[key])) for key in sorted(value)]
    if isinstance(value, list):
        return [_stable(item) for item in value]
    return value
