"""What a recovery method is, and what it may be made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from envs import State
from lamour_jax.config import ObjectiveConfig
from lamour_jax.objective import Objective
from lamour_jax.ppo.networks import ActorCritic, Agent

if TYPE_CHECKING:
    from reward_codegen import RewardProgram


@dataclass(frozen=True)
class Ingredients:
    """What a method builds its objective from.

    Attributes:
        program: the language model's reward code.
        coefficients: scale of the auxiliary reward, weight of consolidation, cost of a fall.
        network: the networks of the policies.
        original: the original policy, which stays as it is.
    """

    program: RewardProgram
    coefficients: ObjectiveConfig
    network: ActorCritic
    original: Agent

    def is_recovered(self, state: State) -> jax.Array:
        """Whether the program's `is_recovered` says 1 of a state, `()` bool."""
        return self.program.is_recovered(state.recovery_state) == 1

    def recovery_reward(self, state: State, action: jax.Array) -> jax.Array:
        """The model's reward of a transition, `()`, not scaled; where it is NaN, the learner
        leaves the sample out.
        """
        return self.program.calculate_reward(state.recovery_state, action)

    def task_or(
        self, auxiliary: Callable[[State, jax.Array], jax.Array]
    ) -> Callable[[State, jax.Array], jax.Array]:
        """Returns the original task's reward while healthy, `aux_coef` x `auxiliary` while not."""

        def reward(state: State, action: jax.Array) -> jax.Array:
            scaled = self.coefficients.aux_coef * auxiliary(state, action)
            return jnp.where(state.episode.healthy, state.episode.task_reward, scaled)

        return reward


@dataclass(frozen=True)
class Method:
    """A recovery method.

    Attributes:
        summary: what it optimises, in a few words.
        build: makes its objective.
        coefficients: those of `ObjectiveConfig` that it uses of its own.
        needs_dropout: whether its original policy must have been trained with dropout.
    """

    summary: str
    build: Callable[[Ingredients], Objective]
    coefficients: tuple[str, ...] = ()
    needs_dropout: bool = False
