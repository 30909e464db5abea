"""The state machine against a model of a dozen lines, by random walks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from conveyor.ledger.records import Claimed, Filter, Status
from conveyor.ledger.transitions import Move

_walks = itertools.count()


@dataclass
class Model:
    """What a delivery should be."""

    status: Status = Status.PENDING
    fence: int = 0
    attempt: int = 0
    cycle: int = 1
    failures: int = 0


def _machine(kit: Any) -> type[RuleBasedStateMachine]:
    class Walk(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.destination = f"d{next(_walks)}"
            self.models: dict[str, Model] = {}
            self.claims: list[Claimed] = []
            """Every claim ever made: most are stale."""
            kit.worker()

        def pick(self, data: st.DataObject) -> str:
            return str(data.draw(st.sampled_from(sorted(self.models))))

        @rule()
        def submit(self) -> None:
            (ident,) = kit.submit(self.destination)
            self.models[ident] = Model()

        @rule(limit=st.integers(1, 3))
        def claim(self, limit: int) -> None:
            pending = sum(model.status is Status.PENDING for model in self.models.values())
            held = kit.claim(self.destination, limit=limit, cap=99)
            assert len(held) == min(limit, pending)
            for claimed in held:
                model = self.models[claimed.delivery_id]
                assert model.status is Status.PENDING
                model.status, model.fence, model.attempt = (
                    Status.DELIVERING,
                    model.fence + 1,
                    model.attempt + 1,
                )
                assert (claimed.fence, claimed.attempt) == (model.fence, model.attempt)
                assert (claimed.cycle, claimed.failures) == (model.cycle, model.failures)
            self.claims += held

        @precondition(lambda self: self.claims)
        @rule(data=st.data(), status=st.sampled_from([Status.DELIVERED, Status.FAILED, Status.PENDING]))
        def record(self, data: st.DataObject, status: Status) -> None:
            claimed = data.draw(st.sampled_from(self.claims))
            model = self.models[claimed.delivery_id]
            extra: dict[str, Any] = {"failures": model.failures + 1}
            if status is Status.PENDING:
                extra["next_attempt_at"] = kit.now
            fenced_out = kit.record(kit.report(claimed, status, **extra))
            mine = self.held(claimed)
            assert fenced_out == (set() if mine else {claimed.delivery_id})
            if mine:
                model.status, model.failures = status, model.failures + 1

        @precondition(lambda self: self.claims)
        @rule(data=st.data())
        def give_back(self, data: st.DataObject) -> None:
            claimed = data.draw(st.sampled_from(self.claims))
            kit.ledger.claims.give_back([(claimed.delivery_id, claimed.fence)], kit.now)
            if self.held(claimed):
                self.models[claimed.delivery_id].status = Status.PENDING

        @precondition(lambda self: self.claims)
        @rule(data=st.data())
        def save(self, data: st.DataObject) -> None:
            claimed = data.draw(st.sampled_from(self.claims))
            mine = self.held(claimed)
            assert kit.ledger.states.owns(claimed.delivery_id, claimed.fence) is mine
            assert kit.ledger.states.save(claimed.delivery_id, claimed.fence, b"state") is mine

        @precondition(lambda self: self.models)
        @rule(data=st.data())
        def cancel(self, data: st.DataObject) -> None:
            ident = self.pick(data)
            model = self.models[ident]
            done = kit.ledger.orders.cancel(Filter(ids=(ident,)), now=kit.now).done
            assert bool(done) is (model.status in Move.CANCEL.value.leaves)
            if done:
                model.status, model.fence = Status.CANCELLED, model.fence + 1

        @precondition(lambda self: self.models)
        @rule(data=st.data(), force=st.booleans())
        def replay(self, data: st.DataObject, force: bool) -> None:
            ident = self.pick(data)
            model = self.models[ident]
            refused = {Status.DELIVERING} | (set() if force else {Status.DELIVERED})
            done = kit.replay(ident, force=force).done
            assert bool(done) is (model.status not in refused)
            if done:
                self.models[ident] = replace(
                    model, status=Status.PENDING, fence=model.fence + 1, cycle=model.cycle + 1, failures=0
                )

        @rule(final=st.booleans())
        def reap(self, final: bool) -> None:
            kit.ledger.workers.reap(
                kit.now, dead=lambda worker: True, delay=lambda lost: None if final else 0
            )
            for model in self.models.values():
                if model.status is Status.DELIVERING:
                    model.status = Status.FAILED if final else Status.PENDING
                    model.fence += 1
            kit.worker()

        @rule()
        def expire(self) -> None:
            kit.ledger.deliveries.expire(2**60, 1000)
            for model in self.models.values():
                if model.status is Status.PENDING:
                    model.status, model.fence = Status.FAILED, model.fence + 1

        def held(self, claimed: Claimed) -> bool:
            model = self.models[claimed.delivery_id]
            return model.status is Status.DELIVERING and model.fence == claimed.fence

        @invariant()
        def agree(self) -> None:
            found = kit.ledger.deliveries.find(
                Filter(destinations=frozenset({self.destination})), limit=10_000
            )
            real = {r.id: Model(r.status, r.fence, r.attempt, r.cycle, r.failures) for r in found}
            assert real == self.models

    return Walk


def test_random_walks_agree_with_the_model(kit: Any) -> None:
    run_state_machine_as_test(
        lambda: _machine(kit)(),
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
