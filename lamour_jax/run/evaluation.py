"""What is measured of a policy: whole episodes, run to the time limit, summed up per episode."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import RecoveryEnv, State
from lamour_jax.ppo.acting import Actor
from lamour_jax.ppo.networks import Agent
from lamour_jax.ppo.rollout import is_held


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
    """Measures agents from any start of a robot.

    Physics takes long to compile: starts of the same time limit share one program.
    """

    def __init__(self, actor: Actor, episodes: int):
        """Prepares the evaluation.

        Args:
            actor: how agents act.
            episodes: how many run side by side, once each.
        """
        self._actor = actor
        self._episodes = episodes
        self._resets: dict[RecoveryEnv, Callable[[jax.Array], State]] = {}
        self._programs: dict[int, Callable[..., Episodes]] = {}

    def __call__(
        self,
        env: RecoveryEnv,
        agent: Agent,
        seed: int,
        sampled: bool = False,
        record: bool = False,
    ) -> Episodes:
        """Runs the episodes; the same seed gives the same starts and noise.

        Args:
            env: built with `terminate=False`: early termination is accounted for afterwards. From
                call to call it differs in nothing but the start.
            agent: who acts.
            seed: of starts and noise.
            sampled: with the policies' noise instead of mean actions.
            record: keep what the episodes look like.
        """
        start_key, act_key = jax.random.split(jax.random.key(seed))
        if env not in self._resets:
            self._resets[env] = jax.jit(jax.vmap(env.reset))
        start = self._resets[env](jax.random.split(start_key, self._episodes))
        if env.time_limit not in self._programs:
            self._programs[env.time_limit] = jax.jit(partial(self._run, env))
        # Unlike a trained policy, a loaded one is bound to no device: alike, they compile once.
        agent = jax.device_put(agent, jax.local_devices()[0])
        measured = self._programs[env.time_limit](agent, start, act_key, sampled)
        return measured if record else measured.replace(recording=None)

    def _run(
        self, env: RecoveryEnv, agent: Agent, start: State, key: jax.Array, sampled: jax.Array
    ) -> Episodes:
        def policy(state: State, key: jax.Array) -> jax.Array:
            return jax.lax.cond(
                sampled,
                lambda: self._actor(agent, state, key).action,
                lambda: self._actor(agent, state).action,
            )

        return run_episodes(env, policy, start, key)


def run_episodes(
    env: RecoveryEnv,
    policy: Callable[[State, jax.Array], jax.Array],
    start: State,
    key: jax.Array,
) -> Episodes:
    """Runs a batch of episodes from `start` to the time limit, with a recording.

    `policy` maps a batch of states and a key to actions.
    """
    state = start
    zero = jnp.zeros(len(start.done))
    Carry = tuple[State, jax.Array, jax.Array, jax.Array]
    Seen = tuple[jax.Array, jax.Array]

    def seen(state: State) -> Seen:
        return state.data.qpos, state.episode.healthy

    def step(carry: Carry, key: jax.Array) -> tuple[Carry, Seen]:
        state, episode_return, full_return, running = carry
        at_goal = state.episode.success  # and not only by this step
        state = jax.vmap(env.step)(state, policy(state, key))
        running = running & ~state.episode.termination  # only an exploded simulation ends here
        full_return = full_return + jnp.where(running, state.reward, 0.0)
        would_run = running & ~state.episode.fell & ~at_goal
        episode_return = episode_return + jnp.where(would_run, state.reward, 0.0)
        return (state, episode_return, full_return, running), seen(state)

    (state, episode_return, full_return, running), later = jax.lax.scan(
        step,
        (state, zero, zero, zero == 0.0),
        jax.random.split(key, env.time_limit),
    )
    qpos, healthy = (
        jnp.concatenate([first[:, None], jnp.swapaxes(rest, 0, 1)], axis=1)
        for first, rest in zip(seen(start), later, strict=True)
    )
    recovered = running & is_held(state.episode, env.recovered_share)
    streak = state.episode.healthy_streak
    return Episodes(
        recovered=recovered,
        recovered_strictly=running & state.episode.was_healthy & ~state.episode.fell,
        steps_to_recovery=jnp.where(recovered, env.time_limit - streak, env.time_limit),
        episode_return=episode_return,
        full_return=full_return,
        succeeded=state.episode.success if env.has_goal else None,
        recording=Recording(qpos, healthy, start.data.qvel),
    )
