"""SeRO: back to where the original policy is certain (Kim et al., IJCAI 2023).

Uncertainty is the variance that dropout causes in the last hidden layer of the original policy,
each unit's divided by the largest that it reached while that policy was trained. It is taken of
the frozen original, not of the learning policy: the reward stays a function of the state alone,
instead of fading where the policy has been for long.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from envs import State
from lamour_jax.methods.method import Ingredients, Method
from lamour_jax.objective import Objective
from lamour_jax.ppo.networks import ActorCritic, Agent


def uncertainty(network: ActorCritic, agent: Agent, obs: jax.Array) -> jax.Array:
    """Returns how far an observation lies from what the policy was trained on, `()` in 0..1.

    Units are averaged with weights proportional to their own relative variance, as published.
    """
    assert agent.max_hidden_variance is not None, "the policy was trained without dropout"
    variance = network.hidden_variance(agent.params, network.normalize(agent, obs))
    relative = variance / jnp.maximum(agent.max_hidden_variance, 1e-8)
    weighted = jnp.sum(jnp.square(relative)) / jnp.maximum(jnp.sum(relative), 1e-8)
    return jnp.clip(weighted, 0.0, 1.0)


def _build(ingredients: Ingredients) -> Objective:
    network, original = ingredients.network, ingredients.original

    def certainty(state: State) -> jax.Array:
        return 1.0 - uncertainty(network, original, state.obs)

    return Objective(
        reward=ingredients.task_or(lambda state, action: certainty(state) - 1.0),
        consolidation=lambda state: ingredients.coefficients.consol_coef * certainty(state),
        exploring=ingredients.unrecovered,
    )


SERO = Method(
    "minus the original policy's uncertainty while unhealthy, consolidation where it is certain",
    _build,
    coefficients=("aux_coef", "consol_coef"),
    needs_dropout=True,
)
