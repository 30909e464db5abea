"""Errors that a user sees. Each says what is wrong, where, and what to do; none holds a secret."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Exit(enum.IntEnum):
    """Exit codes of the command line."""

    OK = 0
    FAILED = 1
    USAGE = 2
    WAITING = 75
    CONFIG = 78


class ConveyorError(Exception):
    """Something the user can act on.

    Args:
        message: What is wrong and where.
        cure: What to do about it, as one sentence or command.
    """

    exit_code: Exit = Exit.FAILED

    def __init__(self, message: str, *, cure: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.cure}" if self.cure else self.message


class UsageError(ConveyorError):
    """The call itself is wrong: an unknown destination, no destination at all, a filter that matches all."""

    exit_code = Exit.USAGE


class SubmissionError(ConveyorError):
    """A file was not accepted; nothing of it was stored."""


class IdempotencyError(SubmissionError):
    """The key was used before for other bytes or other destinations."""


class LedgerError(ConveyorError):
    """The ledger cannot be used: newer version, locked, read-only, disk full, unreachable."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be reached just now; trying again later may work."""


class PayloadError(ConveyorError):
    """The payload store cannot be used, or a payload is gone or changed."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the configuration, with its place (1-based) and the cure."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    field: str | None = None
    cure: str | None = None
    destination: str | None = None
    """Set when the mistake concerns one destination alone, which is then quarantined."""

    def __str__(self) -> str:
        place = ":".join(str(p) for p in (self.file, self.line, self.column) if p is not None)
        text = f"{place}: " if place else ""
        text += f"{self.field}: {self.message}" if self.field else self.message
        return f"{text}\n  → {self.cure}" if self.cure else text


class ConfigError(ConveyorError):
    """The configuration has mistakes; all of them at once."""

    exit_code = Exit.CONFIG

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
