"""Samples that nothing can be learned from: numbers that are not finite, or beyond all measure.

A simulation can explode and a reward can divide by zero, in one environment of thousands. Such an
environment is given a fresh start, its sample takes no part in the update, and the state that it
came from is kept to be looked at. Samples that are good go through with every bit as it was.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from envs import State
from lamour_jax.ppo.config import GuardConfig

# States that are shown of an iteration; a fault that is there to be found shows in a few.
ROWS = 8
# What may be wrong with a sample, in the order in which it is looked at.
CAUSES = (
    "the method's reward",
    "the original task's reward",
    "the reward program's state",
    "a position",
    "a velocity",
    "an observation",
)


class BadStates(struct.PyTreeNode):
    """Environments in which samples of an iteration were bad, each with its last good state.

    At most `ROWS` of them are shown; leading axis their number, zeros where not used.

    Attributes:
        count: bad samples in all, `()` int32.
        at_start: those in the first step of an episode, `()` int32.
        healthy: those of a robot that was healthy before, `()` int32.
        recorded: rows in use, `()` int32.
        qpos, qvel: before the first bad sample, where the environment has them, else empty.
        obs: what the policy saw.
        action: what was applied next, clipped to -1..1.
        reward: what came of it.
        env: which environment of the batch it was, int32.
        step: control steps since its episode began, int32.
        cause: what was wrong, an index of `CAUSES`, int32.
    """

    count: jax.Array
    at_start: jax.Array
    healthy: jax.Array
    recorded: jax.Array
    qpos: jax.Array
    qvel: jax.Array
    obs: jax.Array
    action: jax.Array
    reward: jax.Array
    env: jax.Array
    step: jax.Array
    cause: jax.Array


class BadSamples(struct.PyTreeNode):
    """Of each environment how many samples were bad, and what came before the first.

    Leading axis environments. Of each by itself: where they are spread over devices, a step needs
    no exchange. Attributes as those of `BadStates`, the counts `(envs,)`.
    """

    count: jax.Array
    at_start: jax.Array
    healthy: jax.Array
    qpos: jax.Array
    qvel: jax.Array
    obs: jax.Array
    action: jax.Array
    reward: jax.Array
    step: jax.Array
    cause: jax.Array

    @classmethod
    def none(cls, state: State, action_size: int) -> BadSamples:
        """Returns an empty record for a batch of environments like `state`."""
        envs = len(state.done)
        none = jnp.zeros(envs, jnp.int32)
        return cls(
            count=none,
            at_start=none,
            healthy=none,
            qpos=jnp.zeros_like(_physics(state, "qpos")),
            qvel=jnp.zeros_like(_physics(state, "qvel")),
            obs=jnp.zeros_like(state.obs["policy"]),
            action=jnp.zeros((envs, action_size)),
            reward=jnp.zeros(envs),
            step=none,
            cause=none,
        )

    def add(
        self, wrong: jax.Array, state: State, action: jax.Array, reward: jax.Array
    ) -> BadSamples:
        """Counts a step's bad samples, and records each environment's first.

        Args:
            wrong: what is wrong with each sample, `(envs, len(CAUSES))` bool.
            state: what the step began from.
            action: the actions that were applied.
            reward: the rewards that came of it.
        """
        bad = wrong.any(-1)
        first = bad & (self.count == 0)

        def record(before: jax.Array, value: jax.Array) -> jax.Array:
            return jnp.where(first.reshape(-1, *[1] * (value.ndim - 1)), value, before)

        return BadSamples(
            count=self.count + bad,
            at_start=self.at_start + (bad & (state.episode.steps == 0)),
            healthy=self.healthy + (bad & state.episode.healthy),
            qpos=record(self.qpos, _physics(state, "qpos")),
            qvel=record(self.qvel, _physics(state, "qvel")),
            obs=record(self.obs, state.obs["policy"]),
            action=record(self.action, action),
            reward=record(self.reward, reward),
            step=record(self.step, state.episode.steps),
            cause=record(self.cause, jnp.argmax(wrong, axis=-1).astype(jnp.int32)),
        )

    def states(self) -> BadStates:
        """Returns the first environments in which any were bad."""
        env = jnp.argsort(self.count == 0, stable=True)[:ROWS].astype(jnp.int32)
        used = self.count[env] > 0
        return BadStates(
            count=self.count.sum(),
            at_start=self.at_start.sum(),
            healthy=self.healthy.sum(),
            recorded=used.sum(),
            qpos=self.qpos[env],
            qvel=self.qvel[env],
            obs=self.obs[env],
            action=self.action[env],
            reward=self.reward[env],
            env=jnp.where(used, env, 0),
            step=self.step[env],
            cause=self.cause[env],
        )


def what_is_wrong(state: State, reward: jax.Array, config: GuardConfig) -> jax.Array:
    """Returns why transitions cannot be learned from, `(envs, len(CAUSES))` bool.

    Args:
        state: what they led to, before any restart, leading axis environments.
        reward: the objective's, `(envs,)`.
        config: what is beyond all measure.
    """
    states = (state.recovery_state, _physics(state, "qpos"), _physics(state, "qvel"))
    observations = [_beyond(config.max_state, obs) for obs in state.obs.values()]
    return jnp.stack(
        [
            _beyond(config.max_reward, reward),
            _beyond(config.max_reward, state.reward),
            *(_beyond(config.max_state, values) for values in states),
            jnp.stack(observations).any(0),
        ],
        axis=-1,
    )


def discard(state: State, reward: jax.Array, bad: jax.Array) -> tuple[State, jax.Array]:
    """Returns the step's result with the bad samples' episodes cut off, and their rewards 0.

    `restart` then draws fresh starts; a time limit in the place of the bad sample is what makes
    advantage estimation look no further than the state before it, whose value is as it was.
    """
    episode = state.episode
    episode = episode.replace(
        healthy=episode.healthy & ~bad,
        termination=episode.termination & ~bad,
        truncation=episode.truncation | bad,
        task_reward=jnp.where(bad, 0.0, episode.task_reward),
    )
    state = state.replace(
        reward=jnp.where(bad, 0.0, state.reward),
        done=jnp.where(bad, 1.0, state.done),
        episode=episode,
    )
    return state, jnp.where(bad, 0.0, reward)


class Skipped(struct.PyTreeNode):
    """Updates whose gradients were not finite and which were therefore not made, `()` int32.

    Attributes:
        in_a_row: up to now.
        total: in all training.
    """

    in_a_row: jax.Array
    total: jax.Array

    @classmethod
    def none(cls) -> Skipped:
        return cls(jnp.int32(0), jnp.int32(0))

    def add(self, applied: jax.Array) -> Skipped:
        """Counts an iteration's updates `(updates,)` bool, in their order."""
        latest_first = ~applied[::-1]
        trailing = jnp.where(
            latest_first.all(), self.in_a_row + len(applied), jnp.argmin(latest_first)
        )
        return Skipped(trailing.astype(jnp.int32), self.total + jnp.sum(~applied))


def _physics(state: State, name: str) -> jax.Array:
    """Returns `qpos` or `qvel` of a batch of environments, `(envs, n)`; n is 0 without physics."""
    return jnp.asarray(getattr(state.data, name, jnp.zeros((len(state.done), 0))))


def _beyond(limit: float, values: jax.Array) -> jax.Array:
    """Whether any of each environment's values is NaN or larger than `limit`, `(envs,)`."""
    return ~(jnp.abs(values) <= limit).reshape(len(values), -1).all(-1)
