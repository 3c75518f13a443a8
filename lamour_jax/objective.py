"""What is optimised: a reward mix and a consolidation weight, as pure functions of a transition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from envs import State

if TYPE_CHECKING:
    from reward_codegen import RewardProgram

METHODS = {
    "lamour": "the model's reward while unhealthy, consolidation where recovered",
    "lamour-no-lpc": "the same without consolidation (ablation)",
    "env": "the original task's reward everywhere",
    "zero": "the original task's reward while healthy, 0 while not",
}


@dataclass(frozen=True)
class Objective:
    """One method, as the learner sees it. Every function takes one environment's values.

    Attributes:
        reward: reward `()` of a transition, from the next `State` (before any restart) and the
            action as it was applied, `(action_size,)`.
        consolidation: weight `()` of staying close to the original policy in a recovery state
            (what reward programs are given: the observation, unless an environment says more).
        exploring: whether a recovery state calls for exploration noise, `()` bool.
    """

    reward: Callable[[State, jax.Array], jax.Array]
    consolidation: Callable[[jax.Array], jax.Array]
    exploring: Callable[[jax.Array], jax.Array]


def original_task() -> Objective:
    """The original task alone: what original policies are trained with."""
    return Objective(lambda state, action: state.reward, consolidation=_zero, exploring=_nowhere)


def make_objective(
    method: str, program: RewardProgram, aux_coef: float, consol_coef: float
) -> Objective:
    """Returns the objective of a recovery method.

    Every method explores, that is acts with the wider noise, where `is_recovered` says 0: the
    comparison is of rewards and of consolidation, not of noise.

    Args:
        method: a name of `METHODS`.
        program: the language model's reward code.
        aux_coef: scale of its reward.
        consol_coef: weight of policy consolidation in recovered states.

    Raises:
        ValueError: the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")

    def task_or_auxiliary(state: State, action: jax.Array) -> jax.Array:
        auxiliary = aux_coef * program.calculate_reward(state.info["recovery_state"], action)
        return jnp.where(state.info["healthy"], state.info["task_reward"], auxiliary)

    rewards = {
        "lamour": task_or_auxiliary,
        "lamour-no-lpc": task_or_auxiliary,
        "env": lambda state, action: state.info["task_reward"],
        "zero": lambda state, action: state.reward,
    }
    return Objective(
        reward=rewards[method],
        consolidation=(
            (lambda state: consol_coef * program.is_recovered(state))
            if method == "lamour"
            else _zero
        ),
        exploring=lambda state: program.is_recovered(state) == 0,
    )


def _nowhere(recovery_state: jax.Array) -> jax.Array:
    return jnp.bool_(False)


def _zero(recovery_state: jax.Array) -> jax.Array:
    return jnp.float32(0.0)
