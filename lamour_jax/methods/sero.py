"""SeRO: back to where the original policy is certain (Kim et al., IJCAI 2023).

Uncertainty is the variance that dropout causes in the last hidden layer of the original policy,
each unit's divided by the largest that it reached while that policy was trained. It is taken of
the frozen original, not of the learning policy: the reward stays a function of the state alone,
instead of fading where the policy has been for long.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from envs import State
from lamour_jax.methods.method import Ingredients, Method
from lamour_jax.objective import Objective
from lamour_jax.ppo.networks import ACTIVATIONS, OUTPUTS, ActorCritic, Agent, PolicyNetwork

# Passes through the network that estimate the variance of its hidden units (official code).
PASSES = 30
# The key of an agent's auxiliary statistics.
LARGEST = "max_hidden_variance"


class DropoutPolicy(PolicyNetwork):
    """A policy whose hidden units are dropped at random while it trains.

    The same draw drops the same units when acting and in the loss: that keeps PPO's ratio exact
    (consistent dropout, Hausknecht and Wagener, arXiv 2202.11818). Its statistics are the largest
    variance under dropout that each unit of the last hidden layer reached, `(units,)`.
    """

    def __init__(self, *arguments: Any, dropout: float):
        """Takes the arguments of `PolicyNetwork` and the share of hidden units that is dropped."""
        super().__init__(*arguments)
        self.dropout = dropout

    def mean(self, params: Any, normalized_obs: jax.Array, drawn: Any = None) -> jax.Array:
        if drawn is None:
            return super().mean(params, normalized_obs)
        hidden = self._hidden(params, normalized_obs, jax.vmap(self._masks)(drawn))
        last = params["params"][f"Dense_{len(self.hidden_sizes)}"]
        return OUTPUTS[self.output](hidden @ last["kernel"] + last["bias"])

    def draw(self, key: jax.Array, count: int) -> jax.Array:
        return jax.random.split(key, count)

    def statistics(self) -> dict[str, jax.Array]:
        return {LARGEST: jnp.zeros(self.hidden_sizes[-1])}

    def observed(self, statistics: Any, params: Any, normalized_obs: jax.Array) -> Any:
        # Every eighth step shows as much: neighbouring states are alike, and it takes 30 passes.
        variance = self.hidden_variance(params, normalized_obs[::8]).max(axis=(0, 1))
        return {LARGEST: jnp.maximum(statistics[LARGEST], variance)}

    def hidden_variance(self, params: Any, normalized_obs: jax.Array) -> jax.Array:
        """Returns the variance under dropout of the last hidden layer, `(..., units)`.

        Always the same `PASSES` draws, so that it is a function of the observation.
        """
        keys = jax.random.split(jax.random.key(0), PASSES)
        hidden = jax.vmap(lambda key: self._hidden(params, normalized_obs, self._masks(key)))(keys)
        return hidden.var(axis=0)

    def _hidden(self, params: Any, x: jax.Array, masks: tuple[jax.Array, ...]) -> jax.Array:
        for index, mask in enumerate(masks):
            layer = params["params"][f"Dense_{index}"]
            x = ACTIVATIONS[self.activation](x @ layer["kernel"] + layer["bias"]) * mask
        return x

    def _masks(self, key: jax.Array) -> tuple[jax.Array, ...]:
        """Returns the factors of each hidden layer's units, 0 where a unit is dropped."""
        kept = 1.0 - self.dropout
        keys = jax.random.split(key, len(self.hidden_sizes))
        return tuple(
            jax.random.bernoulli(key, kept, (size,)) / kept
            for key, size in zip(keys, self.hidden_sizes, strict=True)
        )


def uncertainty(network: ActorCritic, agent: Agent, obs: jax.Array) -> jax.Array:
    """Returns how far an observation lies from what the policy was trained on, `()` in 0..1.

    Units are averaged with weights proportional to their own relative variance, as published.
    """
    policy = network.policy
    assert isinstance(policy, DropoutPolicy), "the policy was trained without dropout"
    variance = policy.hidden_variance(agent.params.policy, network.normalize(agent, obs))
    relative = variance / jnp.maximum(agent.auxiliary[LARGEST], 1e-8)
    weighted = jnp.sum(jnp.square(relative)) / jnp.maximum(jnp.sum(relative), 1e-8)
    return jnp.clip(weighted, 0.0, 1.0)


def _build(ingredients: Ingredients) -> Objective:
    network, original = ingredients.network, ingredients.original

    def certainty(state: State) -> jax.Array:
        return 1.0 - uncertainty(network, original, state.obs["policy"])

    return Objective(
        reward=ingredients.task_or(lambda state, action: certainty(state) - 1.0),
        consolidation=lambda state: ingredients.coefficients.consol_coef * certainty(state),
    )


SERO = Method(
    "minus the original policy's uncertainty while unhealthy, consolidation where it is certain",
    _build,
    coefficients=("aux_coef", "consol_coef"),
    needs_dropout=True,
)
