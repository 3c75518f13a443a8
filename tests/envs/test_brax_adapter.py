"""The environments behind Brax's interface, under Brax's own wrappers and learner."""

from __future__ import annotations

import functools

import brax.envs.base
import brax.envs.wrappers.training
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brax.training.agents.ppo import networks as ppo_networks
from brax.training.agents.ppo import train as ppo

from envs import registry
from envs.adapters.brax_adapter import BraxEnv

COUNT, EPISODE_LENGTH = 3, 4


def hopper(**options: object) -> BraxEnv:
    return BraxEnv(registry.load("hopper", engine="mujoco", **options))


def test_is_a_brax_environment() -> None:
    env = hopper()
    assert isinstance(env, brax.envs.base.Env)
    assert (env.observation_size, env.action_size, env.backend) == (11, 3, "mujoco")
    assert env.unwrapped is env


def test_steps_as_the_recovery_env_does() -> None:
    env = hopper()
    key, action = jax.random.PRNGKey(0), jnp.array([0.3, -0.2, 0.1])
    state = jax.jit(env.step)(env.reset(key), action)
    expected = jax.jit(env.env.step)(env.env.reset(key), action)
    np.testing.assert_array_equal(state.obs, expected.obs["policy"])
    assert state.reward == expected.reward
    assert state.metrics["healthy"] == 1.0
    assert state.done == 0.0


def test_under_braxs_training_wrappers() -> None:
    """Hoppers that topple: Brax ends their episodes and starts them anew."""
    env = brax.envs.wrappers.training.wrap(
        hopper(start="ood"), episode_length=EPISODE_LENGTH, action_repeat=1
    )
    first = jax.jit(env.reset)(jax.random.split(jax.random.PRNGKey(0), COUNT))
    # The first was healthy before this step and therefore terminates at once.
    recovery_state = first.pipeline_state
    was_healthy = recovery_state.episode.was_healthy.at[0].set(True)
    state = first.replace(
        pipeline_state=recovery_state.replace(
            episode=recovery_state.episode.replace(was_healthy=was_healthy)
        )
    )
    step = jax.jit(env.step)
    done, truncation = [], []
    for _ in range(EPISODE_LENGTH + 1):
        state = step(state, jnp.zeros((COUNT, env.action_size)))
        done.append(state.done)
        truncation.append(state.info["truncation"])
        if done[-1][0]:
            np.testing.assert_array_equal(state.obs[0], first.obs[0])
            assert not state.pipeline_state.episode.was_healthy[0]
    ends = np.zeros((EPISODE_LENGTH + 1, COUNT))
    ends[0, 0] = 1.0  # a termination, counted from the second step on again
    ends[EPISODE_LENGTH - 1, 1:] = 1.0
    ends[EPISODE_LENGTH, 0] = 1.0
    np.testing.assert_array_equal(done, ends)
    ends[0, 0] = 0.0
    np.testing.assert_array_equal(truncation, ends)


@pytest.mark.skipif(
    not hasattr(jax, "device_put_replicated"),
    reason="Brax's PPO calls jax.device_put_replicated, which this JAX no longer has",
)
def test_braxs_ppo_trains_it() -> None:
    steps = 256
    _, params, _ = ppo.train(
        hopper(),
        num_timesteps=steps,
        episode_length=20,
        num_envs=8,
        batch_size=8,
        num_minibatches=2,
        unroll_length=8,
        num_updates_per_batch=1,
        num_evals=1,
        run_evals=False,
        normalize_observations=True,
        max_devices_per_host=1,
        network_factory=functools.partial(
            ppo_networks.make_ppo_networks,
            policy_hidden_layer_sizes=(8,),
            value_hidden_layer_sizes=(8,),
        ),
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
