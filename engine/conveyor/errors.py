"""Errors that a user sees. Each says what is wrong, where, and what to do; none holds a secret."""

from __future__ import annotations

import enum
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


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


class BackupError(ConveyorError):
    """A backup cannot be made; or it is none, is damaged, or cannot be restored there."""


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


def undeclared(error: BaseException, factory: str) -> str:
    """What an exception that a connector should not have raised says, and where in its code that was.

    Args:
        error: As it was caught.
        factory: The connector's, ``"module:callable"``; its package's innermost line is the one told.

    Returns:
        ``TypeError: … (connector.py:42)``; the text is the exception's own and must be redacted.
    """
    module = factory.partition(":")[0]
    package = module.rpartition(".")[0] or module
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if f"{frame.f_globals.get('__name__')}.".startswith(f"{package}."):
            place = f" ({Path(frame.f_code.co_filename).name}:{line})"
    return f"{type(error).__name__}: {error}{place}"


def answered(method: str, answer: object, kind: type[T]) -> T:
    """What a connector's method returned.

    Raises:
        TypeError: It is of another type, which is the connector's mistake.
    """
    if isinstance(answer, kind):
        return answer
    raise TypeError(f"{method}() returned {type(answer).__name__}, not {kind.__name__}")
