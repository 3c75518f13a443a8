"""Tiny environments whose values and best actions are known by pencil and paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from envs import RecoveryEnv, State
from envs.mirror import Mirror, Reflection
from lamour_jax.objective import Objective, original_task
from lamour_jax.ppo.config import PPOConfig
from lamour_jax.ppo.learner import Learner
from lamour_jax.ppo.networks import Agent

SMALL = PPOConfig(
    num_envs=32,
    unroll_length=8,
    epochs=4,
    minibatch_size=64,
    learning_rate=3e-3,
    horizon=9.4912,  # a discount of 0.9 for steps of one second
    hidden_sizes=(16,),
    std=0.5,
    min_std=0.05,
)


class Probe:
    """One number to see, one number to act with, and an end after `length` steps.

    It has of `RecoveryEnv` what the learner and the evaluation use, without physics. In the mirror
    both numbers change their sign.
    """

    name = "probe"
    observation_size = 1
    action_size = 1
    recovered_share = 0.2
    control_timestep = 1.0
    has_goal = False

    def __init__(
        self,
        reward: Callable[[jax.Array, jax.Array], jax.Array],
        start: Callable[[jax.Array], jax.Array] = lambda key: jnp.zeros(1),
        advance: Callable[[jax.Array], jax.Array] = lambda obs: obs,
        length: int = 1,
        truncates: bool = False,
    ):
        """Describes an episode.

        Args:
            reward: of the observation acted on, `(1,)`, and the action, `(1,)`.
            start: the first observation from a key.
            advance: the next observation from the current one.
            length: steps of an episode.
            truncates: whether the end is a time limit, not a termination.
        """
        self._reward, self._start, self._advance = reward, start, advance
        self.time_limit = length
        self._truncates = truncates

    @classmethod
    def mirror(cls) -> Mirror:
        turned = Reflection.by_name(["lateral"], ["lateral"])
        return Mirror(observation=turned, action=turned)

    def reset(self, key: jax.Array) -> State:
        key, start_key = jax.random.split(key)
        no, zero = jnp.bool_(False), jnp.float32(0.0)
        obs = self._start(start_key)
        info: dict[str, Any] = {
            "healthy": jnp.bool_(True),
            "was_healthy": jnp.bool_(True),
            "fell": no,
            "success": no,
            "termination": no,
            "truncation": no,
            "steps": jnp.int32(0),
            "healthy_streak": jnp.int32(0),
            "task_reward": zero,
            "recovery_state": obs,
            "key": key,
        }
        return State(data=(), obs=obs, reward=zero, done=zero, metrics={}, info=info)

    def step(self, state: State, action: jax.Array) -> State:
        reward = self._reward(state.obs, jnp.clip(action, -1.0, 1.0)).reshape(())
        steps = state.info["steps"] + 1
        ended = steps >= self.time_limit
        obs = self._advance(state.obs)
        return dataclasses.replace(
            state,
            obs=obs,
            reward=reward,
            done=ended.astype(jnp.float32),
            info=state.info
            | {
                "termination": ended & (not self._truncates),
                "truncation": ended & self._truncates,
                "steps": steps,
                "healthy_streak": steps,
                "task_reward": reward,
                "recovery_state": obs,
            },
        )

    def restart(self, state: State) -> State:
        fresh = self.reset(state.info["key"])
        return jax.tree.map(lambda new, old: jnp.where(state.done > 0, new, old), fresh, state)


def plus_or_minus_one(key: jax.Array) -> jax.Array:
    """A start that is 1 or -1."""
    return jax.random.rademacher(key, (1,), jnp.float32)


def make_learner(
    probe: Probe,
    config: PPOConfig = SMALL,
    objective: Objective | None = None,
    iterations: int = 100,
    **agents: Agent,
) -> Learner:
    """Returns a learner on a probe; `agents` are its `original` and `initial`."""
    env = cast(RecoveryEnv, probe)
    return Learner(env, objective or original_task(), config, iterations, **agents)


def train(learner: Learner, iterations: int = 100, seed: int = 0) -> Agent:
    """Returns the agent after `iterations`."""
    state = learner.init(seed)
    for _ in range(iterations):
        state, _ = learner.iterate(state)
    return state.agent


def values(learner: Learner, agent: Agent, *observations: float) -> list[float]:
    """Returns the critic's values of observations."""
    return [float(learner.network.value(agent, jnp.array([obs]))) for obs in observations]


def mean_actions(learner: Learner, agent: Agent, *observations: float) -> list[float]:
    """Returns the policy's mean actions in observations."""
    network = learner.network
    return [
        float(network.mean(agent.params, network.normalize(agent, jnp.array([obs])))[0])
        for obs in observations
    ]
