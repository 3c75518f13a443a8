"""What is measured of a policy: whole episodes, run to the time limit, summed up per episode."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import RecoveryEnv, State
from lamour_jax.controller import Controller
from lamour_jax.ppo.networks import Agent


class Recording(struct.PyTreeNode):
    """Episodes as they can be shown again, the start first.

    Attributes:
        qpos: positions, `(episodes, time_limit + 1, nq)`.
        healthy: `(episodes, time_limit + 1)`.
        qvel: velocities at the start, `(episodes, nv)`.
    """

    qpos: jax.Array
    healthy: jax.Array
    qvel: jax.Array


class Episodes(struct.PyTreeNode):
    """Measures of finished episodes, each `(episodes,)`.

    Attributes:
        recovered: healthy in every one of the last steps, as many as the robot's
            `recovered_share` says.
        recovered_strictly: healthy at some step, and never unhealthy after the first such step
            (the official termination); from an ordinary start, survival to the time limit.
        steps_to_recovery: control steps until health came to stay; the time limit if it did not.
        episode_return: sum of the original task's reward while healthy, up to the step at which
            the official termination would have ended the episode.
        full_return: the same sum over the whole episode.
        succeeded: the task's goal was reached at any step; None for a task without a goal.
        recording: what was to be seen; None unless it was asked for.
    """

    recovered: jax.Array
    recovered_strictly: jax.Array
    steps_to_recovery: jax.Array
    episode_return: jax.Array
    full_return: jax.Array
    succeeded: jax.Array | None = None
    recording: Recording | None = None

    def summary(self) -> dict[str, float]:
        """Returns rates and means over the episodes; median steps over the recovered ones."""
        recovered = np.asarray(self.recovered)
        steps = np.asarray(self.steps_to_recovery)[recovered]
        goal = {} if self.succeeded is None else {"success_rate": float(self.succeeded.mean())}
        return goal | {
            "episodes": len(recovered),
            "recovery_rate": float(recovered.mean()),
            "recovery_rate_strict": float(self.recovered_strictly.mean()),
            "median_steps_to_recovery": float(np.median(steps)) if len(steps) else float("nan"),
            "return": float(self.episode_return.mean()),
            "return_std": float(self.episode_return.std()),
            "full_return": float(self.full_return.mean()),
        }


class Evaluator:
    """Measures agents on one environment; compiled once, used for every agent."""

    def __init__(
        self,
        env: RecoveryEnv,
        controller: Controller,
        episodes: int,
        sampled: bool = False,
        record: bool = False,
    ):
        """Prepares the compiled evaluation.

        Args:
            env: built with `terminate=False`: early termination is accounted for afterwards.
            controller: how agents act.
            episodes: how many run side by side, once each.
            sampled: with the policies' noise instead of mean actions.
            record: keep what the episodes look like.
        """

        def run(agent: Agent, key: jax.Array) -> Episodes:
            def policy(state: State, key: jax.Array) -> jax.Array:
                return controller(agent, state, key if sampled else None)

            return run_episodes(env, policy, key, episodes, record)

        self._run = jax.jit(run)

    def __call__(self, agent: Agent, seed: int) -> Episodes:
        """Runs the episodes; the same seed gives the same starts and noise."""
        return self._run(agent, jax.random.key(seed))


def run_episodes(
    env: RecoveryEnv,
    policy: Callable[[State, jax.Array], jax.Array],
    key: jax.Array,
    episodes: int,
    record: bool = False,
) -> Episodes:
    """Runs `episodes` side by side to the time limit; `policy` maps states and a key."""
    start_key, act_key = jax.random.split(key)
    start = state = jax.vmap(env.reset)(jax.random.split(start_key, episodes))
    zero = jnp.zeros(episodes)
    Carry = tuple[State, jax.Array, jax.Array, jax.Array]
    Seen = tuple[jax.Array, jax.Array]

    def seen(state: State) -> Seen:
        return state.data.qpos, state.info["healthy"]

    def step(carry: Carry, key: jax.Array) -> tuple[Carry, Seen | None]:
        state, episode_return, full_return, running = carry
        at_goal = state.info["success"]  # and not only by this step
        state = jax.vmap(env.step)(state, policy(state, key))
        running = running & ~state.info["termination"]  # only an exploded simulation ends here
        full_return = full_return + jnp.where(running, state.reward, 0.0)
        would_run = running & ~state.info["fell"] & ~at_goal
        episode_return = episode_return + jnp.where(would_run, state.reward, 0.0)
        return (state, episode_return, full_return, running), seen(state) if record else None

    (state, episode_return, full_return, running), later = jax.lax.scan(
        step,
        (state, zero, zero, zero == 0.0),
        jax.random.split(act_key, env.time_limit),
    )
    recording = None
    if later is not None:
        qpos, healthy = (
            jnp.concatenate([first[:, None], jnp.swapaxes(rest, 0, 1)], axis=1)
            for first, rest in zip(seen(start), later, strict=True)
        )
        recording = Recording(qpos, healthy, start.data.qvel)
    streak = state.info["healthy_streak"]
    recovered = running & (streak >= env.recovered_share * env.time_limit)
    return Episodes(
        recovered=recovered,
        recovered_strictly=running & state.info["was_healthy"] & ~state.info["fell"],
        steps_to_recovery=jnp.where(recovered, env.time_limit - streak, env.time_limit),
        episode_return=episode_return,
        full_return=full_return,
        succeeded=state.info["success"] if env.has_goal else None,
        recording=recording,
    )
