"""What each method rewards, consolidates and explores, case by case."""

from __future__ import annotations

from typing import cast

import jax
import jax.numpy as jnp
import pytest

from envs import State
from lamour_jax.objective import METHODS, make_objective, original_task
from reward_codegen import RewardProgram

ACTION = jnp.array([0.5])


class TwoLines:
    """A reward program by hand: recovered above 0; reward -|state| - |action|."""

    @staticmethod
    def is_recovered(state: jax.Array) -> jax.Array:
        return (state[0] > 0.0).astype(jnp.int32)

    @staticmethod
    def calculate_reward(state: jax.Array, action: jax.Array) -> jax.Array:
        return -jnp.abs(state[0]) - jnp.abs(action[0])


PROGRAM = cast(RewardProgram, TwoLines)


def state(healthy: bool) -> State:
    """A state with the recovery state 3.0, whose transition was worth 7 to the original task."""
    return State(
        data=None,
        obs=jnp.array([-8.0]),  # reward programs are given the recovery state instead
        reward=jnp.float32(7.0 if healthy else 0.0),
        done=jnp.float32(0.0),
        metrics={},
        info={
            "healthy": jnp.bool_(healthy),
            "task_reward": jnp.float32(7.0),
            "recovery_state": jnp.array([3.0]),
        },
    )


@pytest.mark.parametrize(
    ("method", "healthy", "reward"),
    [
        ("lamour", True, 7.0),
        ("lamour", False, 0.2 * -3.5),
        ("lamour-no-lpc", True, 7.0),
        ("lamour-no-lpc", False, 0.2 * -3.5),
        ("env", True, 7.0),
        ("env", False, 7.0),
        ("zero", True, 7.0),
        ("zero", False, 0.0),
    ],
)
def test_reward(method: str, healthy: bool, reward: float) -> None:
    objective = make_objective(method, PROGRAM, aux_coef=0.2, consol_coef=0.1)
    assert float(objective.reward(state(healthy), ACTION)) == pytest.approx(reward)


@pytest.mark.parametrize("method", METHODS)
def test_only_lamour_consolidates_and_only_where_recovered(method: str) -> None:
    objective = make_objective(method, PROGRAM, aux_coef=0.2, consol_coef=0.1)
    recovered, not_recovered = jnp.array([1.0]), jnp.array([-1.0])
    weight = 0.1 if method == "lamour" else 0.0
    assert float(objective.consolidation(recovered)) == pytest.approx(weight)
    assert float(objective.consolidation(not_recovered)) == 0.0


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explores_where_not_recovered(method: str) -> None:
    objective = make_objective(method, PROGRAM, aux_coef=0.2, consol_coef=0.1)
    assert not objective.exploring(jnp.array([1.0]))
    assert objective.exploring(jnp.array([-1.0]))


def test_original_task_is_the_environments_reward_alone() -> None:
    objective = original_task()
    assert float(objective.reward(state(healthy=True), ACTION)) == 7.0
    assert float(objective.reward(state(healthy=False), ACTION)) == 0.0
    assert float(objective.consolidation(jnp.array([1.0]))) == 0.0
    assert not objective.exploring(jnp.array([-1.0]))


def test_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown method 'sac'; known: lamour, lamour-no-lpc"):
        make_objective("sac", PROGRAM, aux_coef=0.2, consol_coef=0.1)
