"""Logging: for people on a terminal, JSON lines otherwise; always on standard error, never a secret."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Protocol, cast

from conveyor.contract import Log
from conveyor.errors import UsageError
from conveyor.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import FilteringBoundLogger

_redact = Redactor()


class EngineLog(Log, Protocol):
    """A logger that writes tracebacks too: for defects of the engine itself."""

    def exception(self, event: str, **fields: object) -> None: ...


_NOISY = (
    "dramatiq",
    "pika",
    "redis",
    "paramiko",
    "botocore",
    "boto3",
    "urllib3",
    "s3transfer",
    "alembic",
    "sqlalchemy",
)


def _hide(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _redact(value)
        elif isinstance(value, (list, tuple)):
            event[key] = [_redact(item) if isinstance(item, str) else item for item in value]
    return event


_wanted: tuple[bool, int] | None = None
"""What :func:`configure` was told last and no logger was asked for since: structlog loads slowly, and most
commands have nothing to log."""


def configure(*, json: bool | None = None, level: str = "info") -> None:
    """Set logging up for a command.

    Args:
        json: JSON lines or human text; None decides by whether standard error is a terminal.
        level: ``debug``, ``info``, ``warning`` or ``error``.

    Raises:
        UsageError: The level is another word.
    """
    global _wanted
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise UsageError(f"there is no log level {level!r}", cure="debug, info, warning or error")
    _wanted = (not sys.stderr.isatty() if json is None else json), number
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s", force=True)
    for name in _NOISY:
        # The engine reports what these libraries would; dramatiq logs whole tracebacks of its own.
        logging.getLogger(name).setLevel(logging.CRITICAL if number > logging.DEBUG else logging.INFO)


def _set_up(json: bool, level: int) -> None:
    import structlog

    renderer: Any = structlog.processors.JSONRenderer()
    if not json:
        # Plain: the pretty tracebacks show local variables, and with them secrets.
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*processors, _hide, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def get(**bound: object) -> FilteringBoundLogger:
    """A logger with ``bound`` on each line, as configured now: binding more to it is cheap."""
    global _wanted
    import structlog

    if (wanted := _wanted) is not None:
        _set_up(*wanted)
        _wanted = None
    return cast("FilteringBoundLogger", structlog.get_logger().bind(**bound))
