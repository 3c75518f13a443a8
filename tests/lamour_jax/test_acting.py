"""Who acts where: the agent, its noise, and the original policy of methods that let it act."""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import RecoveryEnv, State
from lamour_jax import export
from lamour_jax.config import RunConfig
from lamour_jax.objective import Objective
from lamour_jax.policies import fresh_header
from lamour_jax.ppo import acting
from lamour_jax.ppo.acting import Acted, Actor
from lamour_jax.ppo.networks import ActorCritic, Agent, PolicyNetwork
from tests.lamour_jax.probes import SMALL, Probe, begin, iterate, make_learner

REAL = acting.act
NETWORK = ActorCritic(PolicyNetwork(1, 2, (8, 8)))
# The agent explores below 0; from 0 on the original policy acts.
OBS = jnp.array([[-1.0], [1.0]])
STATES = State(None, {"policy": OBS}, *[jnp.zeros(2)] * 2, None, (), OBS, None)  # type: ignore[arg-type]
SWITCHING = Objective(
    reward=lambda state, action: state.reward,
    exploring=lambda state: state.obs["policy"][0] < 0.0,
    original_acts=lambda state: state.obs["policy"][0] >= 0.0,
)


def agent(seed: int, std: float, exploring_std: float) -> Agent:
    fresh = NETWORK.init(jax.random.key(seed), 1.0)
    log_std = jnp.log(jnp.array([[std] * 2, [exploring_std] * 2]))
    return fresh.replace(params=fresh.params.replace(log_std=log_std))


def mean(policy: Agent) -> np.ndarray:
    return np.asarray(NETWORK.mean(policy.params, NETWORK.normalize(policy, OBS)))


LEARNED, ORIGINAL = agent(1, 0.1, 0.5), agent(2, 1e-6, 1e-6)


def test_alone_an_agent_acts_everywhere() -> None:
    np.testing.assert_array_equal(Actor(NETWORK)(LEARNED, STATES).action, mean(LEARNED))


def test_the_original_policy_acts_where_the_method_says_so() -> None:
    action = np.asarray(Actor(NETWORK, SWITCHING, ORIGINAL)(LEARNED, STATES).action)
    np.testing.assert_array_equal(action[0], mean(LEARNED)[0])
    np.testing.assert_array_equal(action[1], mean(ORIGINAL)[1])


def test_samples_are_wider_where_the_agent_explores() -> None:
    actor = Actor(NETWORK, Objective(SWITCHING.reward, exploring=SWITCHING.exploring))
    keys = jax.random.split(jax.random.key(0), 2000)
    actions = jax.vmap(lambda key: actor(LEARNED, STATES, key).action)(keys)
    np.testing.assert_allclose(np.std(actions, axis=0)[:, 0], [0.5, 0.1], rtol=0.1)


def test_the_original_policy_acts_with_its_own_noise() -> None:
    actor = Actor(NETWORK, SWITCHING, ORIGINAL)
    action = actor(LEARNED, STATES, jax.random.key(3)).action
    assert np.asarray(action)[1] == pytest.approx(mean(ORIGINAL)[1], abs=1e-4)
    assert np.abs(np.asarray(action)[0] - mean(LEARNED)[0]).max() > 1e-2


def test_training_evaluation_and_export_act_by_the_same_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nine(*arguments: Any, **options: Any) -> Acted:
        return REAL(*arguments, **options).replace(action=jnp.full((len(arguments[2]), 1), 0.9))

    monkeypatch.setattr(acting, "act", nine)
    monkeypatch.setattr(export, "act", nine)
    probe = Probe(reward=lambda obs, action: action, length=2)
    learner = make_learner(probe)
    assert float(iterate(learner, learner.init(0))[1].metrics["reward/mean"]) == pytest.approx(
        0.9, rel=1e-4
    )
    actor, agent = Actor(learner.network), begin(learner)
    start = jax.vmap(probe.reset)(jax.random.split(jax.random.key(0), 3))
    keys = (None, jax.random.key(1))
    for action in (actor(agent, start, key).action for key in keys):  # evaluation, play
        np.testing.assert_allclose(action, 0.9)
    header = fresh_header(cast(RecoveryEnv, probe), RunConfig(ppo=SMALL))
    np.testing.assert_allclose(export.policy_function(header, agent)(jnp.zeros((3, 1))), 0.9)
