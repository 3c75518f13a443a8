"""Who acts where: the agent, its noise, and the original policy of methods that let it act."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import State
from lamour_jax.objective import Objective
from lamour_jax.ppo.acting import Actor
from lamour_jax.ppo.networks import ActorCritic, Agent

NETWORK = ActorCritic(1, 2, (8, 8))
# The agent explores below 0; from 0 on the original policy acts.
OBS = jnp.array([[-1.0], [1.0]])
STATES = State(None, OBS, jnp.zeros(2), jnp.zeros(2), metrics={}, info={})
SWITCHING = Objective(
    reward=lambda state, action: state.reward,
    exploring=lambda state: state.obs[0] < 0.0,
    original_acts=lambda state: state.obs[0] >= 0.0,
)


def agent(seed: int, std: float, exploring_std: float) -> Agent:
    fresh = NETWORK.init(jax.random.key(seed), 1.0)
    log_std = jnp.log(jnp.array([[std] * 2, [exploring_std] * 2]))
    return fresh.replace(params=fresh.params.replace(log_std=log_std))


def mean(policy: Agent) -> np.ndarray:
    return np.asarray(NETWORK.mean(policy.params, NETWORK.normalize(policy, OBS)))


LEARNED, ORIGINAL = agent(1, 0.1, 0.5), agent(2, 1e-6, 1e-6)


def test_alone_an_agent_acts_everywhere() -> None:
    np.testing.assert_array_equal(Actor(NETWORK)(LEARNED, STATES), mean(LEARNED))


def test_the_original_policy_acts_where_the_method_says_so() -> None:
    action = np.asarray(Actor(NETWORK, SWITCHING, ORIGINAL)(LEARNED, STATES))
    np.testing.assert_array_equal(action[0], mean(LEARNED)[0])
    np.testing.assert_array_equal(action[1], mean(ORIGINAL)[1])


def test_samples_are_wider_where_the_agent_explores() -> None:
    controller = Actor(NETWORK, Objective(SWITCHING.reward, exploring=SWITCHING.exploring))
    keys = jax.random.split(jax.random.key(0), 2000)
    actions = jax.vmap(lambda key: controller(LEARNED, STATES, key))(keys)
    np.testing.assert_allclose(np.std(actions, axis=0)[:, 0], [0.5, 0.1], rtol=0.1)


def test_the_original_policy_acts_with_its_own_noise() -> None:
    controller = Actor(NETWORK, SWITCHING, ORIGINAL)
    action = controller(LEARNED, STATES, jax.random.key(3))
    assert np.asarray(action)[1] == pytest.approx(mean(ORIGINAL)[1], abs=1e-4)
    assert np.abs(np.asarray(action)[0] - mean(LEARNED)[0]).max() > 1e-2
