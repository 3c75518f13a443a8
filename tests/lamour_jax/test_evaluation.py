"""Measures of episodes whose health was written down beforehand."""

from __future__ import annotations

from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import RecoveryEnv, State
from envs.physics.interface import MujocoData
from lamour_jax.run.evaluation import Episodes, run_episodes
from tests.lamour_jax.probes import Probe

TIME_LIMIT = 10  # so that the last fifth is 2 steps


class Scripted:
    """Health as written, one character a step: `1` healthy, `0` not, `x` an exploded simulation,
    `g` healthy and at the task's goal.

    The task's reward is the number of the step, 1 to 10, and counts only while healthy.
    """

    time_limit = TIME_LIMIT
    recovered_share = 0.2
    observation_size = 1
    action_size = 1

    def __init__(self, health: str, healthy_at_start: bool):
        assert len(health) == TIME_LIMIT
        self._healthy = jnp.array([character in "1g" for character in health])
        self._exploded = jnp.array([character == "x" for character in health])
        self._at_goal = jnp.array([character == "g" for character in health])
        self.has_goal = "g" in health
        self._healthy_at_start = healthy_at_start

    def reset(self, key: jax.Array) -> State:
        healthy = jnp.bool_(self._healthy_at_start)
        plain = Probe(reward=lambda obs, action: obs).reset(key)
        return plain.replace(
            data=MujocoData(*5 * [jnp.zeros(1)]),
            episode=plain.episode.replace(healthy=healthy, was_healthy=healthy),
        )

    def step(self, state: State, action: jax.Array) -> State:
        before = state.episode
        healthy = self._healthy[before.steps]
        was_healthy = before.was_healthy | healthy
        return state.replace(
            reward=jnp.where(healthy, before.steps + 1.0, 0.0),
            episode=before.replace(
                healthy=healthy,
                was_healthy=was_healthy,
                fell=before.fell | (was_healthy & ~healthy),
                success=before.success | self._at_goal[before.steps],
                termination=self._exploded[before.steps],
                steps=before.steps + 1,
                healthy_streak=jnp.where(healthy, before.healthy_streak + 1, 0),
            ),
        )


def still(state: State, key: jax.Array) -> jax.Array:
    return jnp.zeros((len(state.done), 1))


def measure(health: str, healthy_at_start: bool = False, episodes: int = 1) -> Episodes:
    env = cast(RecoveryEnv, Scripted(health, healthy_at_start))
    start = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), episodes))
    return run_episodes(
        env, lambda state, key: jnp.zeros((len(state.done), 1)), start, jax.random.key(1)
    )


@pytest.mark.parametrize(
    ("health", "recovered", "strictly", "steps", "episode_return", "full_return"),
    [
        pytest.param("0000000000", False, False, 10, 0, 0, id="stays down"),
        pytest.param("0001111111", True, True, 3, 49, 49, id="up for good"),
        pytest.param("0110011111", True, False, 5, 5, 45, id="dips, then up for good"),
        pytest.param("0000000011", True, True, 8, 19, 19, id="just in time"),
        pytest.param("0000000001", False, True, 10, 10, 10, id="too late to be sure"),
        pytest.param("0111111110", False, False, 10, 44, 44, id="falls on the last step"),
        pytest.param("0101010101", False, False, 10, 2, 30, id="flickers"),
        pytest.param("1111111111", True, True, 0, 55, 55, id="up at once"),
        pytest.param("011111x111", False, False, 10, 20, 20, id="explodes"),
    ],
)
def test_measures(
    health: str,
    recovered: bool,
    strictly: bool,
    steps: int,
    episode_return: float,
    full_return: float,
) -> None:
    measured = measure(health)
    assert bool(measured.recovered[0]) is recovered
    assert bool(measured.recovered_strictly[0]) is strictly
    assert int(measured.steps_to_recovery[0]) == steps
    assert float(measured.episode_return[0]) == episode_return
    assert float(measured.full_return[0]) == full_return


def test_from_an_ordinary_start_a_fall_ends_the_return() -> None:
    measured = measure("1110111111", healthy_at_start=True)
    assert not measured.recovered_strictly[0]
    assert float(measured.episode_return[0]) == 1 + 2 + 3
    assert float(measured.full_return[0]) == 55 - 4


def test_reaching_the_goal_ends_the_return() -> None:
    measured = measure("11g1111011", healthy_at_start=True)
    assert bool(measured.succeeded[0])
    assert float(measured.episode_return[0]) == 1 + 2 + 3
    assert float(measured.full_return[0]) == 55 - 8
    assert measured.summary()["success_rate"] == 1.0
    assert "success_rate" not in measure("1111111111").summary(), "a task without a goal"


def test_episodes_run_side_by_side() -> None:
    assert measure("0001111111", episodes=3).recovered.shape == (3,)


def test_summary() -> None:
    episodes = Episodes(
        recovered=jnp.array([True, True, True, False]),
        recovered_strictly=jnp.array([True, False, False, False]),
        steps_to_recovery=jnp.array([10, 30, 80, 1000]),
        episode_return=jnp.array([1.0, 2.0, 3.0, 6.0]),
        full_return=jnp.array([2.0, 2.0, 4.0, 8.0]),
    )
    summary = episodes.summary()
    assert summary == {
        "episodes": 4,
        "recovery_rate": 0.75,
        "recovery_rate_strict": 0.25,
        "median_steps_to_recovery": 30.0,  # of those that recovered
        "return": 3.0,
        "return_std": pytest.approx(np.std([1.0, 2.0, 3.0, 6.0])),
        "full_return": 4.0,
    }


def test_nobody_recovered_has_no_median() -> None:
    nobody = measure("0000000000", episodes=2).summary()
    assert nobody["recovery_rate"] == 0.0
    assert np.isnan(nobody["median_steps_to_recovery"])
