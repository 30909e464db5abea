"""Conveyor: durable, verified delivery of files to every place that an application's customers chose.

>>> from conveyor import Conveyor
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from conveyor.api import Conveyor
from conveyor.errors import (
    ConfigError,
    ConveyorError,
    IdempotencyError,
    LedgerError,
    LedgerUnavailable,
    PayloadError,
    SubmissionError,
    UsageError,
)
from conveyor.version import __version__

if TYPE_CHECKING:
    from conveyor.intake import Item
    from conveyor.ledger.records import OrderResult, Submitted
    from conveyor.status.views import DeliveryStatus, JobStatus
    from conveyor.submission import BatchError

__all__ = [
    "BatchError",
    "ConfigError",
    "Conveyor",
    "ConveyorError",
    "DeliveryStatus",
    "IdempotencyError",
    "Item",
    "JobStatus",
    "LedgerError",
    "LedgerUnavailable",
    "OrderResult",
    "PayloadError",
    "SubmissionError",
    "Submitted",
    "UsageError",
    "__version__",
]

_LATER = {
    "BatchError": "conveyor.submission",
    "DeliveryStatus": "conveyor.status.views",
    "Item": "conveyor.intake",
    "JobStatus": "conveyor.status.views",
    "OrderResult": "conveyor.ledger.records",
    "Submitted": "conveyor.ledger.records",
}
"""Loaded on first use: importing the package is for submitting applications and must be quick."""


def __getattr__(name: str) -> Any:
    home = _LATER.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
