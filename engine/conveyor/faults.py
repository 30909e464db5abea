"""What can go wrong in a delivery, in the words that connectors use.

Plugins import them from :mod:`conveyor.contract`.
"""

from __future__ import annotations

import enum


class ErrorKind(enum.StrEnum):
    """What went wrong, as far as the engine's next step depends on it. A closed set."""

    TRANSIENT = "TRANSIENT"
    """Likely to pass: 5xx, reset, timeout before the answer, DNS hiccup. Next step of the schedule."""
    UNKNOWN_OUTCOME = "UNKNOWN_OUTCOME"
    """The bytes were sent and no answer was read: the destination may hold them. Looked for, then retried."""
    INTEGRITY = "INTEGRITY"
    """Size or digest at the destination differs from the payload's. Nothing wrong stays visible. Retried."""
    SESSION_LOST = "SESSION_LOST"
    """The saved upload session is gone. The engine calls ``deliver`` once more within the attempt, with an
    empty ``context.state``; after a second one the schedule follows. A connector that begins anew by
    itself need not raise it."""
    THROTTLED = "THROTTLED"
    """The destination asks to slow down. It pauses for ``retry_after``; not charged."""
    AUTH_EXPIRED = "AUTH_EXPIRED"
    """An access token ran out. Tried once more within the attempt, after the connector has taken a fresh one
    (``tokens.rejected``)."""
    AUTH_REVOKED = "AUTH_REVOKED"
    """Login refused, key revoked, scope missing. The destination is held until a person acts; not charged."""
    QUOTA = "QUOTA"
    """Account, folder or disk full. The destination is held and probed; not charged."""
    CONFIG = "CONFIG"
    """Bucket missing, forbidden, host key changed, TLS refused: held until edited or probed; not charged."""
    NAME = "NAME"
    """The path is illegal or too long there. Final."""
    TOO_LARGE = "TOO_LARGE"
    """Above the destination's size limit. Final."""
    CONFLICT = "CONFLICT"
    """The name is taken and the policy is ``fail``. Final."""
    REJECTED = "REJECTED"
    """The destination refuses this item for good (a webhook's ``permanent_statuses``). Final."""
    GONE = "GONE"
    """The destination says it no longer exists (webhook 410). It is deactivated until ``resume``."""
    SOURCE = "SOURCE"
    """The payload vanished or changed. Final."""
    WORKER_LOST = "WORKER_LOST"
    """The engine's: the worker died or froze during the attempt. Connectors never raise it."""
    EXPIRED = "EXPIRED"
    """The engine's: older than ``expire_after``. Connectors never raise it."""


class Scope(enum.StrEnum):
    """How far a throttle or a refusal reaches."""

    DELIVERY = "delivery"
    DESTINATION = "destination"
    CONNECTION = "connection"


class DeliveryError(Exception):
    """The only error that leaves a connector.

    Args:
        kind: What went wrong; the engine decides from it alone.
        message: One sentence for the operator. Never holds a secret: no URL with credentials, no header, no
            SDK exception object.
        retry_after: Seconds that the destination asked to wait (already parsed from either header form).
        scope: How far a THROTTLED, AUTH_*, QUOTA or CONFIG reaches.
        hint: What the operator can do about it.
        code: The HTTP status or protocol code, as text (``"503"``, ``"SlowDown"``, ``"550"``).
        response: The beginning of the answer, for the record; the engine bounds and redacts it.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        retry_after: float | None = None,
        scope: Scope = Scope.DESTINATION,
        hint: str | None = None,
        code: str | int | None = None,
        response: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after = retry_after
        self.scope = scope
        self.hint = hint
        self.code = None if code is None else str(code)
        self.response = response

    def __repr__(self) -> str:
        return f"DeliveryError({self.kind}, {self.message!r})"


class AttemptCancelled(BaseException):
    """Raised by the context when the attempt must stop: fenced out, cancelled, past its deadline, shutdown.

    Connectors let it pass and leave nothing visible. It derives from ``BaseException`` so that a connector's
    ``except Exception`` around an SDK call does not turn it into a failure of the destination.
    """
