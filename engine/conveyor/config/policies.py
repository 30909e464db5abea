"""What every destination takes beside its type's own options: the policies and the common keys."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field

from conveyor.breaker import BreakerPolicy
from conveyor.config.options import Duration, Options, Rate, Size
from conveyor.contract import ConflictPolicy
from conveyor.paths import Template, TemplateError
from conveyor.retry import RetryPolicy

Conflict = ConflictPolicy
"""``rename``, ``overwrite``, ``skip`` or ``fail``."""

MAX_STEPS = 100
"""Longest retry schedule."""


template_of = lru_cache(maxsize=8192)(Template.parse)
"""A template, parsed once for all destinations that share its text."""


def _template_text(text: str) -> str:
    try:
        template_of(text)
    except TemplateError as error:
        cure = f"; {error.cure}" if error.cure else ""
        raise ValueError(f"{error.reason}, at character {error.column}{cure}") from None
    return text


TemplateText = Annotated[str, AfterValidator(_template_text)]
"""The text of a path template that parses."""


def _not_endless(schedule: tuple[float, ...]) -> tuple[float, ...]:
    if len(schedule) > MAX_STEPS:
        raise ValueError(f"at most {MAX_STEPS} retries")
    return schedule


class RetryModel(Options):
    """When failed attempts are repeated."""

    schedule: Annotated[tuple[Duration, ...], AfterValidator(_not_endless)] = Field(
        RetryPolicy().schedule,
        description="Delays before the first, second … retry; its length is the number of retries.",
    )
    jitter: float = Field(
        RetryPolicy().jitter, ge=0, le=1, description="Share of the delay added at random, at most 10 s."
    )
    max_retry_after: Duration = Field(
        3600, gt=0, description="Longest pause that a destination can ask for by Retry-After."
    )

    def policy(self) -> RetryPolicy:
        """The schedule as the engine evaluates it."""
        return RetryPolicy(schedule=self.schedule, jitter=self.jitter)


class BreakerModel(Options):
    """When a destination that fails is held as a whole, and when it is given up."""

    share: float | None = Field(
        0.7,
        gt=0,
        le=1,
        description="Failures among the attempts of the window, as a share of them, at which it is held; "
        "null turns this off.",
    )
    window: Duration = Field(120, gt=0, description="Of which attempts.")
    volume: int = Field(20, ge=1, description="Attempts in the window without which it is not held.")
    deactivate_after: Duration | None = Field(
        5 * 86400, gt=0, description="Without a success for so long it is deactivated; null never does."
    )
    deactivate_volume: int = Field(
        100, ge=1, description="Failed attempts since the last success without which it is not."
    )

    def policy(self) -> BreakerPolicy:
        """The rules for the engine."""
        return BreakerPolicy(**self.model_dump())


class FlowModel(Options):
    """How much at a time and how fast, over all workers and machines."""

    concurrency: int | None = Field(
        None, ge=1, le=1024, description="Deliveries at a time, over all workers. Default by type."
    )
    rate: Rate | None = Field(
        None, description="Attempts per second, minute, hour or day, over all workers: 10/s, 600/m."
    )
    byte_rate: Size | None = Field(
        None, gt=0, description="Bytes per second on average, over all workers: 5MB."
    )


class ConnectionModel(Options):
    """What is set of a connection: the account that several destinations may share."""

    limits: FlowModel = Field(
        FlowModel(), description="For all destinations of the account together, beside their own limits."
    )


class LimitsModel(FlowModel):
    """Concurrency, rates, size and time."""

    max_size: Size | None = Field(
        None, gt=0, description="Largest file accepted for this destination. Default by type."
    )
    min_rate: Size = Field(
        32 * 1024, gt=0, description="Bytes per second below which an attempt runs into its deadline."
    )
    base_timeout: Duration = Field(60, gt=0, description="An attempt's deadline is this + size / min_rate.")
    idle_timeout: Duration = Field(120, gt=0, description="Longest time without any progress.")
    answer_timeout: Duration = Field(
        30, gt=0, description="Longest wait for the answer after the last byte was sent (webhook)."
    )
