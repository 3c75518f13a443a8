"""What a method optimises and who acts: pure functions of one environment's values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from envs import State


def nowhere(state: State) -> jax.Array:
    """False in every state."""
    return jnp.bool_(False)


def zero(state: State) -> jax.Array:
    """0 in every state."""
    return jnp.float32(0.0)


@dataclass(frozen=True)
class Objective:
    """One method, as the learner sees it. Every function takes one environment's values.

    Attributes:
        reward: reward `()` of a transition, from the next `State` (before any restart) and the
            action as it was applied, `(action_size,)`.
        consolidation: weight `()` of staying close to the original policy in a state.
        exploring: whether a state calls for exploration noise, `()` bool. In recovery training:
            wherever the reward program's `is_recovered` does not say 1.
        original_acts: whether the frozen original policy acts in a state instead of the one that
            learns, `()` bool.
    """

    reward: Callable[[State, jax.Array], jax.Array]
    consolidation: Callable[[State], jax.Array] = zero
    exploring: Callable[[State], jax.Array] = nowhere
    original_acts: Callable[[State], jax.Array] = nowhere

    def with_fall_cost(self, cost: float) -> Objective:
        """Returns the objective in which a healthy robot's becoming unhealthy costs `cost`."""

        def reward(state: State, action: jax.Array) -> jax.Array:
            return self.reward(state, action) - cost * state.episode.falling

        return dataclasses.replace(self, reward=reward)


def original_task() -> Objective:
    """The original task alone: what original policies are trained with."""
    return Objective(lambda state, action: state.reward)
