"""How walks are explored: the same ones in each run, and the seeds printed when one goes wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from simulation.walk import walk
from simulation.world import Ground


def explore(ground: Ground, *, walks: int, rules: int, **more: Any) -> None:
    """Walk; what breaks is raised, with the rules and seeds that lead there.

    Args:
        ground: Counts walks and steps.
        walks: So many.
        rules: At most so many in each; a rule may stand for hundreds of steps.
        more: Settings of Hypothesis.
    """
    run_state_machine_as_test(
        walk(ground),
        settings=settings(
            **{
                "max_examples": walks,
                "stateful_step_count": rules,
                "deadline": None,
                "derandomize": True,
                "print_blob": True,
                "suppress_health_check": list(HealthCheck),
                **more,
            }
        ),
    )
    print(f"{ground.walks} walks, {ground.steps} steps, {ground.touches} of them at ledger or destination")
