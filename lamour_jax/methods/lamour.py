"""LaMOuR (arXiv 2503.17125): the language model's reward while unhealthy, consolidation after."""

from __future__ import annotations

import jax

from envs import State
from lamour_jax.methods.method import Ingredients, Method
from lamour_jax.objective import Objective, zero


def _build(ingredients: Ingredients, consol_coef: float) -> Objective:
    def consolidation(state: State) -> jax.Array:
        return consol_coef * ingredients.is_recovered(state)

    return Objective(
        reward=ingredients.task_or(ingredients.recovery_reward),
        consolidation=consolidation if consol_coef else zero,
    )


LAMOUR = Method(
    "the model's reward while unhealthy, consolidation where recovered",
    lambda ingredients: _build(ingredients, ingredients.coefficients.consol_coef),
    coefficients=("aux_coef", "consol_coef"),
)
LAMOUR_NO_LPC = Method(
    "the same without consolidation (ablation)",
    lambda ingredients: _build(ingredients, 0.0),
    coefficients=("aux_coef",),
)
