"""Ways to recover, by name. Each is one small file that builds an `Objective`."""

from __future__ import annotations

import dataclasses

from lamour_jax.methods import baselines, lamour, lamour_switch, sero
from lamour_jax.methods.method import Ingredients, Method
from lamour_jax.objective import Objective

METHODS: dict[str, Method] = {
    "lamour": lamour.LAMOUR,
    "lamour-no-lpc": lamour.LAMOUR_NO_LPC,
    "lamour-switch": lamour_switch.LAMOUR_SWITCH,
    "sero": sero.SERO,
    "env": baselines.ENV_REWARD,
    "zero": baselines.ZERO_REWARD,
}


def make_objective(name: str, ingredients: Ingredients) -> Objective:
    """Returns the objective of a recovery method.

    Every method explores, that is acts with the wider noise, where `is_recovered` says 0, and pays
    for falls: the comparison is of rewards and of consolidation, not of noise or termination.

    Raises:
        ValueError: the method is unknown.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    objective = METHODS[name].build(ingredients)
    return dataclasses.replace(
        objective.with_fall_cost(ingredients.coefficients.fall_cost),
        exploring=lambda state: ~ingredients.is_recovered(state),
    )


__all__ = ["METHODS", "Ingredients", "Method", "make_objective"]
