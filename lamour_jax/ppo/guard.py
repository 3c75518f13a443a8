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

# States that an iteration records; a fault that is there to be found shows in a few.
ROWS = 8


class BadStates(struct.PyTreeNode):
    """The last good states before an iteration's bad samples, in the order in which they occurred.

    At most one of a step and `ROWS` in all are recorded; leading axis `ROWS`, zeros where not used.

    Attributes:
        count: bad samples, recorded or not, `()` int32.
        recorded: rows in use, `()` int32.
        qpos, qvel: of the simulation, where the environment has them, else empty.
        obs: what the policy saw.
        action: what was applied next, clipped to -1..1.
        reward: what came of it.
        env: which environment of the batch it was, int32.
        step: control steps since its episode began, int32.
    """

    count: jax.Array
    recorded: jax.Array
    qpos: jax.Array
    qvel: jax.Array
    obs: jax.Array
    action: jax.Array
    reward: jax.Array
    env: jax.Array
    step: jax.Array

    @classmethod
    def none(cls, state: State, action_size: int) -> BadStates:
        """Returns an empty record for a batch of environments like `state`."""

        def rows(like: jax.Array) -> jax.Array:
            return jnp.zeros((ROWS, *like.shape[1:]), like.dtype)

        return cls(
            count=jnp.int32(0),
            recorded=jnp.int32(0),
            qpos=rows(_physics(state, "qpos")),
            qvel=rows(_physics(state, "qvel")),
            obs=rows(state.obs),
            action=jnp.zeros((ROWS, action_size)),
            reward=jnp.zeros(ROWS),
            env=jnp.zeros(ROWS, jnp.int32),
            step=jnp.zeros(ROWS, jnp.int32),
        )

    def add(self, bad: jax.Array, state: State, action: jax.Array, reward: jax.Array) -> BadStates:
        """Counts a step's bad samples `(envs,)` bool, and records the first of them.

        Args:
            bad: which samples are bad.
            state: what the step began from.
            action: the actions that were applied.
            reward: the rewards that came of it.
        """
        env = jnp.argmax(bad)
        row = jnp.minimum(self.recorded, ROWS - 1)
        recording = bad.any() & (self.recorded < ROWS)

        def record(rows: jax.Array, value: jax.Array) -> jax.Array:
            return rows.at[row].set(jnp.where(recording, value, rows[row]))

        return BadStates(
            count=self.count + bad.sum(),
            recorded=self.recorded + recording,
            qpos=record(self.qpos, _physics(state, "qpos")[env]),
            qvel=record(self.qvel, _physics(state, "qvel")[env]),
            obs=record(self.obs, state.obs[env]),
            action=record(self.action, action[env]),
            reward=record(self.reward, reward[env]),
            env=record(self.env, env.astype(jnp.int32)),
            step=record(self.step, state.info["steps"][env]),
        )


def is_bad(state: State, reward: jax.Array, config: GuardConfig) -> jax.Array:
    """Returns whether a transition cannot be learned from, `(envs,)` bool.

    Args:
        state: what it led to, before any restart, leading axis environments.
        reward: the objective's, `(envs,)`.
        config: what is beyond all measure.
    """
    bad = _beyond(config.max_reward, reward) | _beyond(config.max_reward, state.reward)
    for values in (
        state.obs,
        state.info["recovery_state"],
        _physics(state, "qpos"),
        _physics(state, "qvel"),
    ):
        bad |= _beyond(config.max_state, values)
    return bad


def discard(state: State, reward: jax.Array, bad: jax.Array) -> tuple[State, jax.Array]:
    """Returns the step's result with the bad samples' episodes cut off, and their rewards 0.

    `restart` then draws fresh starts; a time limit in the place of the bad sample is what makes
    advantage estimation look no further than the state before it, whose value is as it was.
    """
    info = state.info | {
        "healthy": state.info["healthy"] & ~bad,
        "termination": state.info["termination"] & ~bad,
        "truncation": state.info["truncation"] | bad,
        "task_reward": jnp.where(bad, 0.0, state.info["task_reward"]),
    }
    state = state.replace(
        reward=jnp.where(bad, 0.0, state.reward),
        done=jnp.where(bad, 1.0, state.done),
        info=info,
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
    return jnp.asarray(getattr(state.data, name, jnp.zeros((len(state.obs), 0))))


def _beyond(limit: float, values: jax.Array) -> jax.Array:
    """Whether any of each environment's values is NaN or larger than `limit`, `(envs,)`."""
    return ~(jnp.abs(values) <= limit).reshape(len(values), -1).all(-1)
