"""Value targets and advantages as the learner computes them, against a plain loop."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from brax.training.acme import running_statistics

from lamour_jax.ppo.acting import Acted
from lamour_jax.ppo.rollout import Rollout
from tests.lamour_jax.probes import SMALL, Probe, begin, make_learner

TIME, ENVS = 13, 6


def plain_loop(
    reward: np.ndarray, value: np.ndarray, termination: np.ndarray, truncation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Targets and advantages `(TIME, ENVS)` one number at a time; `value` has a row more.

    A terminated step is worth its reward. A step cut off by the time limit was not seen to its
    end, so it teaches nothing: its target is the value it has, its advantage 0. Any other step
    looks lambda-weighted ahead; its advantage compares its value with one step to the next target.
    """
    discount, mixing = SMALL.per_step(1.0).discount, SMALL.gae_lambda
    targets, advantages = np.zeros_like(reward), np.zeros_like(reward)
    for env in range(ENVS):
        ahead = 0.0  # lambda-weighted surprise after this step
        next_target = value[TIME, env]
        for t in reversed(range(TIME)):
            now, then = value[t, env], value[t + 1, env]
            if truncation[t, env]:
                ahead = 0.0
                targets[t, env], advantages[t, env] = now, 0.0
            elif termination[t, env]:
                ahead = reward[t, env] - now
                targets[t, env] = reward[t, env]
                advantages[t, env] = reward[t, env] - now
            else:
                ahead = reward[t, env] + discount * then - now + discount * mixing * ahead
                targets[t, env] = now + ahead
                advantages[t, env] = reward[t, env] + discount * next_target - now
            next_target = targets[t, env]
    return targets, advantages


def test_targets_and_advantages_equal_a_plain_loop() -> None:
    random = np.random.default_rng(0)
    termination = random.random((TIME, ENVS)) < 0.15
    truncation = ~termination & (random.random((TIME, ENVS)) < 0.15)
    # Both kinds of end also where an iteration ends, and an environment without any.
    termination[-1, 0], truncation[-1, 0] = True, False
    termination[-1, 1], truncation[-1, 1] = False, True
    termination[:, 2] = truncation[:, 2] = False
    rollout = Rollout(
        obs={"policy": jnp.asarray(random.normal(size=(TIME, ENVS, 1)), jnp.float32)},
        acted=Acted(
            action=jnp.zeros((TIME, ENVS, 1)),
            noise_offset=jnp.zeros((TIME, ENVS, 1)),
            log_prob=jnp.zeros((TIME, ENVS)),
            exploring=jnp.zeros((TIME, ENVS), bool),
            original_acted=jnp.zeros((TIME, ENVS), bool),
            noise=jnp.zeros((TIME, ENVS, 1)),
        ),
        consolidation=jnp.zeros((TIME, ENVS)),
        reward=jnp.asarray(random.normal(size=(TIME, ENVS)), jnp.float32),
        termination=jnp.asarray(termination),
        truncation=jnp.asarray(truncation),
        healthy=jnp.ones((TIME, ENVS), bool),
        valid=jnp.ones((TIME, ENVS), bool),
    )
    last = jnp.asarray(random.normal(size=(ENVS, 1)), jnp.float32)
    learner = make_learner(Probe(reward=lambda obs, action: obs))
    agent = begin(learner)
    value = learner.network.value(
        agent, {"policy": jnp.concatenate([rollout.obs["policy"], last[None]])}
    )
    targets, advantages = plain_loop(
        np.asarray(rollout.reward), np.asarray(value), termination, truncation
    )

    agent, batch = jax.jit(learner._prepare)(agent, rollout, {"policy": last})

    learned = running_statistics.denormalize(batch.value_target, agent.value_statistics)
    np.testing.assert_allclose(learned.reshape(TIME, ENVS), targets, rtol=1e-4, atol=1e-5)
    standardised = (advantages - advantages.mean()) / advantages.std()
    np.testing.assert_allclose(
        batch.advantage.reshape(TIME, ENVS), standardised, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(agent.value_statistics.mean, targets.mean(), rtol=1e-4, atol=1e-5)
