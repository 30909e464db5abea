"""What follows when a plugin lets no attempt be made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conveyor.clock import micros
from conveyor.contract import ErrorKind
from conveyor.delivery.effects import Effect, held_delay
from conveyor.hooks import Decision, Delay, Fail, Hold
from conveyor.ledger.records import AttemptOutcome, Claimed, Status


class Decided(Exception):
    """Ends an attempt before it touches the destination.

    Args:
        plugin: Who decided.
        decision: What.
    """

    def __init__(self, plugin: str, decision: Decision) -> None:
        super().__init__(plugin)
        self.decision = decision
        words = {Fail: "refused", Hold: "held", Delay: "delayed"}
        done = next(word for kind, word in words.items() if isinstance(decision, kind))
        self.reason = f"{done} by plugin {plugin!r}: {decision.reason}"


def consequence(
    claim: Claimed, decision: Decision, reason: str, now: int
) -> tuple[AttemptOutcome, Effect, dict[str, Any]]:
    """Outcome, effect and further fields of the report; nothing is charged.

    Args:
        claim: The delivery as it was claimed.
        decision: The plugin's.
        reason: In words, redacted.
        now: Microseconds.
    """
    kept = Effect(
        Status.PENDING, "delay", failures=claim.failures, throttled_since=claim.throttled_since,
        look_first=claim.look_first,
    )  # fmt: skip
    if isinstance(decision, Fail):
        failed = replace(kept, status=Status.FAILED, follows="final")
        more: dict[str, Any] = {"kind": ErrorKind.REJECTED, "message": reason, "code": "hook"}
        return AttemptOutcome.FAILED, failed, more
    if isinstance(decision, Delay):
        later = replace(kept, next_attempt_at=now + micros(decision.seconds))
        return AttemptOutcome.PUT_OFF, later, {"message": reason}
    held = replace(kept, follows="hold", next_attempt_at=now + held_delay(claim.held_since, now))
    since = now if claim.held_since is None else claim.held_since
    return AttemptOutcome.PUT_OFF, held, {"message": reason, "hold_reason": reason, "held_since": since}
