"""One attempt, from a claim to the report that the ledger gets."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from conveyor import tracing
from conveyor.clock import Clock
from conveyor.contract import (
    AttemptCancelled,
    Capabilities,
    Connector,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    Log,
    Parcel,
    Receipt,
    Scope,
    Target,
)
from conveyor.contract import ConflictPolicy as Conflict
from conveyor.delivery import effects
from conveyor.delivery.context import EngineContext, Stop, Stopped, TimeLimits, state_binding
from conveyor.delivery.decisions import Decided, consequence
from conveyor.delivery.returns import given_back
from conveyor.errors import ConveyorError, LedgerUnavailable, PayloadError, answered, undeclared
from conveyor.ledger.records import (
    AttemptOutcome,
    AttemptReport,
    Block,
    Claimed,
    JobRecord,
    Placement,
    Status,
)
from conveyor.redact import Redactor, bounded

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.delivery.context import Lease
    from conveyor.delivery.known import Known
    from conveyor.delivery.placing import Placer
    from conveyor.delivery.pool import Checkout, ConnectorPool
    from conveyor.delivery.transforming import Transformer
    from conveyor.hooks import Decision
    from conveyor.keyring import Keyring
    from conveyor.ledger.cleanups import Cleanups
    from conveyor.ledger.states import States
    from conveyor.payloads import PayloadStore

RECEIPT_TEXT = 4096
"""Characters kept of each text in a receipt."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What attempts work with; one per process."""

    pool: ConnectorPool
    payloads: PayloadStore
    states: States
    cleanups: Cleanups
    keyring: Keyring
    lease: Lease
    clock: Clock
    linked: Callable[[Destination], tuple[tuple[str, str], ...]] = lambda _: ()
    """The other destinations of the same account, with their revisions."""
    tokens: Callable[[Destination], tuple[str, ...]] = lambda _: ()
    """The account's tokens of late, which no text may hold."""
    decide: Callable[[Parcel, Destination, str, int], tuple[str, Decision] | None] = lambda *_: None
    """What plugins say before an attempt."""
    transformer: Transformer | None = None


class Attempt:
    """Runs one claim.

    Args:
        claim: The delivery that this process holds.
        destination: Its destination, as of the claim.
        known: What is known of this revision of the destination.
        placer: Renders the path again: to learn why the claim could not, and what was changed in it.
        bench: What attempts work with.
        log: A logger bound to the delivery.
        block: The destination's block that this attempt probes, if any.
    """

    def __init__(
        self,
        claim: Claimed,
        destination: Destination,
        *,
        known: Known,
        placer: Placer,
        bench: Bench,
        log: Log,
        block: Block | None = None,
    ) -> None:
        self.claim = claim
        self.destination = destination
        self._placer = placer
        self._bench = bench
        self._log = log
        self._block = block
        self._settled_before = False
        """Delivered, perhaps not by what the saved state names: that may be open, and is to be abandoned."""
        self._redact = known.redact
        self._endpoint = known.endpoint
        self._job = claim.job
        """The job as it is sent: once transforms have run, with their result."""
        self._wants_transforms = False
        self._traced = tracing.NOTHING
        self._look_at_result()
        self.context = EngineContext(
            claim,
            limits=self._limits(),
            binding=self._binding(),
            states=bench.states,
            cleanups=bench.cleanups,
            keyring=bench.keyring,
            lease=bench.lease,
            clock=bench.clock,
            log=log,
            places=destination.spec.capabilities.places,
        )

    def _limits(self) -> TimeLimits:
        limits = self.destination.limits
        return TimeLimits.for_size(
            self._job.payload.size,
            base=limits.base_timeout,
            min_rate=limits.min_rate,
            idle=limits.idle_timeout,
            answer=limits.answer_timeout,
        )

    def _parcel(self, job: JobRecord) -> Parcel:
        payload, payloads = job.payload, self._bench.payloads
        return job.parcel(self.claim.delivery_id, lambda: payloads.open(payload))

    def _binding(self) -> str:
        placement = self.claim.placement
        path = placement.path if placement else ""
        return state_binding(self._endpoint, path, self._job.payload.digests["sha256"])

    # --- transforms ----------------------------------------------------------------------------

    def _look_at_result(self) -> None:
        """Send what transforms have made before, where that is what the destination wants."""
        transformer, claim = self._bench.transformer, self.claim
        if transformer is None or not self.destination.transforms:
            return
        try:
            if claim.transformed is not None and transformer.usable(self.destination, claim.transformed):
                self._job = transformer.applied(self.destination, claim.job, claim.transformed)
            else:
                self._wants_transforms = True
        except DeliveryError:
            self._wants_transforms = True  # says the same again, where it can be reported

    def _transform(self, original: Parcel) -> None:
        transformer, claim, context = self._bench.transformer, self.claim, self.context
        assert transformer is not None
        with context.phase("transform"):
            made = transformer.make(self.destination, original, claim.fence, lambda: context.progress(0))
        if made is None:
            raise Stopped(Stop.FENCED)
        self._job = transformer.applied(self.destination, claim.job, made)
        context.begin(self._limits(), self._binding())

    # --- running -------------------------------------------------------------------------------

    def run(self) -> AttemptReport | None:
        """Do it. None means: report nothing, the delivery is somebody else's now."""
        with tracing.attempting(self.claim, self.destination.type) as self._traced:
            report = self._run()
            self._traced.reported(report)
        return report

    def _run(self) -> AttemptReport | None:
        try:
            receipt = self._deliver()
        except DeliveryError as error:
            return self._failed(error)
        except Decided as decided:
            return self._decided(decided)
        except Stopped as stopped:
            return self._stopped(stopped.reason)
        except AttemptCancelled:
            return self._stopped(self.context.stopped or Stop.SHUTDOWN)
        except LedgerUnavailable:
            return self.given_back(Stop.LEDGER)
        except PayloadError as error:
            self._log.warning("payload store unusable", error=error.message, cure=error.cure)
            return self.given_back(Stop.PAYLOADS)
        except ConveyorError as error:
            return self._failed(DeliveryError(ErrorKind.CONFIG, error.message, hint=error.cure))
        except BaseException as error:
            # A defect of the connector, not of the destination; still, the schedule bounds it. Not only
            # Exception: a library may call sys.exit(), and a panic in Rust code is a BaseException.
            self._log.warning("connector raised an undeclared error", error=type(error).__name__)
            text = f"the connector failed unexpectedly: {undeclared(error, self.destination.spec.factory)}"
            hint = "report this to the connector's author"
            return self._failed(DeliveryError(ErrorKind.TRANSIENT, text, hint=hint))
        return self._delivered(receipt)

    def _deliver(self) -> Receipt:
        claim = self.claim
        self._recall()
        placement = claim.placement or self._placer(
            self.destination, claim.job, claim.delivery_id, claim.cycle
        )
        self._bench.payloads.verify(claim.job.payload)
        original = self._parcel(claim.job)
        decided = self._bench.decide(original, self.destination, placement.path, claim.attempt)
        if decided is not None:
            raise Decided(*decided)
        if self._wants_transforms:
            self._transform(original)
        self._refuse_undeclared(placement)
        parcel = original if self._job is claim.job else self._parcel(self._job)
        target = Target(placement.path, placement.conflict)
        checkout = self._bench.pool.take(self.destination)
        sound = False
        try:
            receipt = self._with_connector(checkout, parcel, target)
            sound = True
        except DeliveryError as error:
            # Where the item is at fault the connection is as good as before.
            sound = error.kind in _ITEM_AT_FAULT
            raise
        finally:
            self._bench.pool.give_back(checkout, sound=sound)
        return receipt

    def _recall(self) -> None:
        """Read the saved state; one that belongs to another endpoint or path is handed to the cleanups."""
        claim, context = self.claim, self.context
        context.load()
        if context.foreign_state is not None:
            context.clean_up(context.foreign_state, why="moved")
            self._bench.states.save(claim.delivery_id, claim.fence, None)

    def _with_connector(self, checkout: Checkout, parcel: Parcel, target: Target) -> Receipt:
        # What is worth one more try within the attempt, and what must be done first.
        remedies: dict[ErrorKind, Callable[[], None]] = {
            ErrorKind.SESSION_LOST: self.context.restart,
            # The connector has dropped what had run out and takes a fresh one (``tokens.rejected``).
            ErrorKind.AUTH_EXPIRED: lambda: None,
        }
        while True:
            try:
                return self._find_or_deliver(checkout.connector, parcel, target)
            except DeliveryError as error:
                remedy = remedies.pop(error.kind, None)
                if remedy is None:
                    raise
                self._log.info("once more", kind=str(error.kind), error=self._redact.message(error.message))
                remedy()

    def _find_or_deliver(self, connector: Connector, parcel: Parcel, target: Target) -> Receipt:
        if self.claim.look_first and self._capabilities.find:
            found = answered("find", connector.find(parcel, target, self.context), Found)
            settled = self._settled(found, target)
            if settled is not None:
                return settled
        return answered("deliver", connector.deliver(parcel, target, self.context), Receipt)

    def _settled(self, found: Found, target: Target) -> Receipt | None:
        if found.receipt is None:
            return None
        contents_will_do = target.conflict in (Conflict.OVERWRITE, Conflict.SKIP)
        if found.kind is FoundKind.MINE or (found.kind is FoundKind.SAME_BYTES and contents_will_do):
            # Nobody knows whether a file of this delivery is of its last upload, or of one before a replay.
            self._settled_before = True
            return found.receipt
        return None

    @property
    def _capabilities(self) -> Capabilities:
        declared: Capabilities = self.destination.spec.capabilities
        return declared

    def _refuse_undeclared(self, placement: Placement) -> None:
        declared = self._capabilities
        size = self._job.payload.size
        for limit, whose in (
            (declared.max_size, self.destination.type),
            (self.destination.limits.max_size, self.destination.id),
        ):
            if limit is not None and size > limit:
                message = f"{size} bytes are over the limit of {whose}, {limit} bytes"
                raise DeliveryError(ErrorKind.TOO_LARGE, message)
        if placement.conflict not in declared.conflicts:
            can = ", ".join(sorted(declared.conflicts))
            message = f"{self.destination.type} cannot carry out conflict policy {placement.conflict}"
            raise DeliveryError(ErrorKind.CONFIG, message, hint=f"set conflict to one of: {can}")

    # --- reporting -----------------------------------------------------------------------------

    def _report(self, outcome: AttemptOutcome, effect: effects.Effect, **more: Any) -> AttemptReport:
        context = self.context
        return AttemptReport(
            delivery_id=self.claim.delivery_id,
            destination=self.claim.destination,
            fence=self.claim.fence,
            attempt=self.claim.attempt,
            outcome=outcome,
            status=effect.status,
            started_at=self.claim.started_at,
            finished_at=self._bench.clock.now(),
            next_attempt_at=effect.next_attempt_at,
            charged=effect.charged,
            failures=effect.failures,
            throttled_since=effect.throttled_since,
            look_first=effect.look_first,
            follows=effect.follows,
            bytes_sent=context.bytes_sent,
            timings={name: round(seconds, 6) for name, seconds in context.timings.items()},
            block=effect.block,
            clears_block=effect.clears_block,
            cleanup=self._leaves_something(effect.status),
            breaker=self.destination.breaker,
            **more,
        )

    def _leaves_something(self, status: Status) -> bool:
        """Whether the saved state names something at the destination that is no part of the delivery."""
        return bool(self.context.state) and (status is Status.FAILED or self._settled_before)

    def _delivered(self, receipt: Receipt) -> AttemptReport:
        self._settled_before |= receipt.skipped
        document = {**_document(receipt), **self._name_changes()}
        return self._report(AttemptOutcome.DELIVERED, effects.delivered(self.claim), receipt=document)

    def _name_changes(self) -> dict[str, Any]:
        """What had to change in the path for the destination's sake, for the receipt."""
        claim, placement = self.claim, self.claim.placement
        if placement is None:
            return {}
        changes = placement.changes
        if changes is None:
            changes = self._placer.changes(
                self.destination, claim.job, claim.delivery_id, claim.cycle, placement.path
            )
        return {"name_changed": list(changes)} if changes else {}

    def _failed(self, error: DeliveryError) -> AttemptReport:
        rules = effects.Rules(self.destination.retry, self.destination.max_retry_after)
        now = self._bench.clock.now()
        shown = self._shown(error)
        effect = effects.failed(self.claim, shown, rules, now=now, block=self._block)
        whole_account = effect.block is not None and error.scope is Scope.CONNECTION
        return self._report(
            AttemptOutcome.FAILED,
            effect,
            shared_with=self._bench.linked(self.destination) if whole_account else (),
            kind=shown.kind,
            message=shown.message,
            hint=shown.hint,
            code=shown.code,
            response=shown.response,
        )

    def _decided(self, decided: Decided) -> AttemptReport:
        reason, now = self._redact.message(decided.reason), self._bench.clock.now()
        outcome, effect, more = consequence(self.claim, decided.decision, reason, now)
        # The destination was not asked: its breaker learns nothing.
        return replace(self._report(outcome, effect, **more), breaker=None)

    def _shown(self, error: DeliveryError) -> DeliveryError:
        """The error as it may be logged and stored: redacted and bounded."""
        kind = ErrorKind.AUTH_REVOKED if error.kind is ErrorKind.AUTH_EXPIRED else error.kind
        redact, tokens = self._redact, Redactor(self._bench.tokens(self.destination))
        return DeliveryError(
            kind,
            redact.message(tokens(error.message)),
            retry_after=_finite(error.retry_after),
            scope=error.scope,
            hint=None if error.hint is None else redact.message(tokens(error.hint)),
            code=None if error.code is None else redact.message(tokens(error.code))[:64],
            response=None if error.response is None else redact.excerpt(tokens(error.response)),
        )

    def _stopped(self, reason: Stop) -> AttemptReport | None:
        if reason is Stop.FENCED:
            return None
        if reason is Stop.SUPERSEDED:
            place = self.claim.placement
            path = place.path if place else ""
            self._settled_before = True
            return self._delivered(Receipt(path, verified="superseded", path=path, superseded=True))
        if reason in (Stop.DEADLINE, Stop.IDLE):
            return self._failed(self.late(reason))
        return self.given_back(reason)

    def given_back(self, reason: Stop) -> AttemptReport:
        """Not the destination's fault: due again at once, uncharged."""
        now = self._bench.clock.now()
        return given_back(self.claim, reason, now, look_first=self.context.touched)

    def written_off(self) -> AttemptReport | None:
        """The report of an attempt that was told to stop and did not within the grace.

        It may still reach the destination, though it will not publish: the next one looks first.
        """
        report = self._stopped(self.context.stopped or Stop.DEADLINE)
        self._traced.reported(report)  # its thread may never come back
        return None if report is None else replace(report, look_first=True)

    def late(self, reason: Stop) -> DeliveryError:
        """The error for a limit that passed."""
        limits = self.destination.limits
        if reason is Stop.IDLE:
            return DeliveryError(
                ErrorKind.TRANSIENT,
                f"no byte was taken for {limits.idle_timeout:g} s",
                hint="raise limits.idle_timeout if the destination may pause for longer",
            )
        return DeliveryError(
            ErrorKind.UNKNOWN_OUTCOME,
            f"not finished after {self.context.elapsed():.0f} s",
            hint="raise limits.base_timeout, or lower limits.min_rate for slow destinations",
        )


_ITEM_AT_FAULT = frozenset(
    {ErrorKind.NAME, ErrorKind.TOO_LARGE, ErrorKind.CONFLICT, ErrorKind.SOURCE, ErrorKind.REJECTED}
)


def _document(receipt: Receipt) -> dict[str, Any]:
    """A receipt as the ledger stores it: bounded, and without what is empty."""
    document = {name: getattr(receipt, name) for name in _RECEIPT}
    return {k: _storable(v) for k, v in document.items() if v not in (None, False, {}) or k == "size"}


def _storable(value: Any) -> Any:
    """A value of a receipt as far as it can be stored: a connector's mistake must not cost the success."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return bounded(value, RECEIPT_TEXT)
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return json.loads(text) if len(text) <= RECEIPT_TEXT else None


def _finite(seconds: float | None) -> float | None:
    return seconds if seconds is not None and math.isfinite(seconds) else None


_RECEIPT = tuple(field.name for field in fields(Receipt))
