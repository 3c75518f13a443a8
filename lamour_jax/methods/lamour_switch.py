"""A recovery policy until `is_recovered` says 1, the frozen original policy while it does.

Nothing can be forgotten, so nothing needs consolidation: the policy learns only where it acts, and
its value of a state in which it hands over is what the original policy makes of it.
"""

from __future__ import annotations

from lamour_jax.methods.method import Ingredients, Method
from lamour_jax.objective import Objective


def _build(ingredients: Ingredients) -> Objective:
    return Objective(
        reward=ingredients.task_or(ingredients.recovery_reward),
        original_acts=ingredients.is_recovered,
    )


LAMOUR_SWITCH = Method(
    "the model's reward while unhealthy; the frozen original policy acts where recovered",
    _build,
    coefficients=("aux_coef",),
)
