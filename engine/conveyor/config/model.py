"""A destination, as its YAML declares it and as the engine uses it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from conveyor.breaker import DEFAULT, BreakerPolicy
from conveyor.config.options import Duration, Options
from conveyor.config.policies import BreakerModel, Conflict, LimitsModel, RetryModel, TemplateText
from conveyor.config.settings import NetworkSettings
from conveyor.contract import ConflictPolicy, ConnectorSpec
from conveyor.errors import Problem
from conveyor.network import Network
from conveyor.paths import Template
from conveyor.retry import RetryPolicy

DESTINATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What a destination may be called: it stands in command lines, in lists with commas and in paths."""


class CommonModel(Options):
    """The keys that every destination takes, whatever its type."""

    type: str = Field(description="The destination type: see `conveyor connectors`.")
    name: str | None = Field(None, description="A name for people; the id where nothing is said.")
    extends: str | tuple[str, ...] = Field((), description="Presets to build on; the later one wins.")
    labels: dict[str, str] = Field(
        default_factory=dict, description="Free words to select destinations by: `--label customer=acme`."
    )
    is_active: bool = Field(
        True, description="false holds what is submitted, until it is true again; nothing is lost."
    )
    retry: RetryModel = Field(RetryModel(), description="When failed attempts are repeated.")
    breaker: BreakerModel = Field(
        BreakerModel(), description="When a destination that fails is held as a whole, and given up."
    )
    conflict: Conflict | None = Field(
        None, description="What happens when the name is taken. `rename` where nothing is said."
    )
    path_template: TemplateText | None = Field(
        None, description="Where files go below the destination's root."
    )
    transforms: tuple[str, ...] = Field(
        (), description="What plugins make of the file before it is sent, in this order."
    )
    limits: LimitsModel = Field(LimitsModel(), description="Concurrency, rates, size and time.")
    expire_after: Duration = Field(
        7 * 86400, gt=0, description="A delivery older than this, holds included, has failed."
    )
    network: NetworkSettings = Field(
        NetworkSettings(), description="Ranges to allow beside the global ones; own ca_bundle and proxy."
    )


COMMON_KEYS = frozenset(CommonModel.model_fields)
"""Names that no connector's option may have."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one destination bears.

    Attributes:
        concurrency: Deliveries at a time, over all workers.
        max_size: Largest file in bytes, None without a limit.
        min_rate: Bytes per second; an attempt's deadline is ``base_timeout`` + size / ``min_rate``.
        base_timeout: Seconds.
        idle_timeout: Seconds without progress.
        answer_timeout: Seconds from the last byte sent to the answer.
        rate: Attempts a second, over all workers; None without a limit.
        byte_rate: Bytes a second, likewise.
    """

    concurrency: int = 8
    max_size: int | None = None
    min_rate: int = 32 * 1024
    base_timeout: float = 60.0
    idle_timeout: float = 120.0
    answer_timeout: float = 30.0
    rate: float | None = None
    byte_rate: float | None = None


@dataclass(frozen=True, slots=True)
class SharedLimits:
    """What all destinations of one connection bear together; None is without a limit.

    Attributes:
        connection: Its id.
        concurrency: Deliveries at a time.
        rate: Attempts a second.
        byte_rate: Bytes a second.
    """

    connection: str
    concurrency: int | None = None
    rate: float | None = None
    byte_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """A configured place, ready to be delivered to.

    Attributes:
        id: What the ledger knows it by.
        name: For people.
        type: The word in the YAML.
        spec: The connector's; a bare one with the type alone when no plugin brings the type.
        options: An instance of the connector's option model; None exactly when ``problem`` is set.
        labels: Free words to select by.
        is_active: False holds its deliveries.
        retry: The schedule.
        conflict: What happens when a name is taken.
        template: Where files go.
        limits: Concurrency, size and time.
        expire_after: Seconds from submission or replay.
        max_retry_after: Longest pause in seconds that it can ask for.
        network: The policy under which it is dialled.
        revision: One-way digest of all of this, secrets included: changes when anything does.
        breaker: When it counts as broken, and as given up.
        problem: Why it cannot be used (``invalid_config``); its work is held.
        transforms: Names of what plugins make of each file before it is sent.
        shared: What the config says of its connection; None when that is nothing.
    """

    id: str
    name: str
    type: str
    spec: ConnectorSpec
    options: Any = field(repr=False)
    labels: Mapping[str, str]
    is_active: bool
    retry: RetryPolicy
    conflict: ConflictPolicy
    template: Template
    limits: Limits
    expire_after: float
    max_retry_after: float
    network: Network
    revision: str
    problem: Problem | None = None
    breaker: BreakerPolicy = DEFAULT
    shared: SharedLimits | None = None
    transforms: tuple[str, ...] = ()

    @property
    def connection(self) -> str | None:
        """The id of its connection: the one it names or its own; None for types without sign-in."""
        if self.spec.oauth is None or self.options is None:
            return None
        return getattr(self.options, "connection", None) or self.id
