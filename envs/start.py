"""Where episodes begin: in a pose with noise, or in a bank of states, any of them or in order."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

# Of a graded bank's length: what one episode moves an environment by, and draws spread to.
STEP, SPREAD = 0.05, 0.05


@dataclass(frozen=True)
class Start:
    """A distribution of starts: a pose plus independent noise in every coordinate.

    Attributes:
        qpos: the pose, `(nq,)`, or a bank of poses that are equally likely, `(poses, nq)`.
        qpos_noise: half-width of the uniform noise in `qpos`, a scalar or `(nq,)`.
        qvel_noise: scale of the noise in `qvel`, a scalar or `(nv,)`.
        qvel_normal: whether velocity noise is normal (scale = sigma) or uniform (half-width).
        time_limit: steps of an episode that begins here; None: the robot's `episode_length`.
        qvel: the velocity without noise, a scalar, `(nv,)`, or one of each pose, `(poses, nv)`.
    """

    qpos: np.ndarray
    qpos_noise: float | np.ndarray = 0.0
    qvel_noise: float | np.ndarray = 0.0
    qvel_normal: bool = False
    time_limit: int | None = None
    qvel: float | np.ndarray = 0.0

    def with_noise(self, qpos_noise: np.ndarray) -> Start:
        """Returns this start with at least `qpos_noise` `(nq,)` in every coordinate."""
        return dataclasses.replace(self, qpos_noise=np.maximum(self.qpos_noise, qpos_noise))

    def sample(self, key: jax.Array, nv: int) -> tuple[jax.Array, jax.Array]:
        """Draws `qpos` `(nq,)` and `qvel` `(nv,)`, both float32."""
        pose, velocity = jnp.asarray(self.qpos, jnp.float32), jnp.asarray(self.qvel, jnp.float32)
        if pose.ndim == 2:
            key, pose_key = jax.random.split(key)
            chosen = jax.random.randint(pose_key, (), 0, len(pose))
            pose = pose[chosen]
            velocity = velocity[chosen] if velocity.ndim == 2 else velocity
        return self._with_noise(key, pose, jnp.broadcast_to(velocity, (nv,)))

    def _with_noise(
        self, key: jax.Array, pose: jax.Array, velocity: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        qpos_key, qvel_key = jax.random.split(key)
        qpos = pose + jnp.asarray(self.qpos_noise, jnp.float32) * jax.random.uniform(
            qpos_key, pose.shape, minval=-1.0, maxval=1.0
        )
        if self.qvel_normal:
            direction = jax.random.normal(qvel_key, velocity.shape)
        else:
            direction = jax.random.uniform(qvel_key, velocity.shape, minval=-1.0, maxval=1.0)
        return qpos, velocity + jnp.asarray(self.qvel_noise, jnp.float32) * direction


@dataclass(frozen=True)
class GradedStart(Start):
    """A bank in order: first what is easy to recover from, last what is hard.

    Each environment draws around a distance of its own, which grows as it recovers (`Grading`).
    """

    def sample_at(
        self, key: jax.Array, nv: int, distance: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Draws `qpos` `(nq,)` and `qvel` `(nv,)` at about a `distance` `()` in 0..1."""
        key, place_key = jax.random.split(key)
        place = distance + jax.random.uniform(place_key, minval=-SPREAD, maxval=SPREAD)
        states = len(self.qpos)
        chosen = jnp.clip(jnp.floor(place * states).astype(int), 0, states - 1)
        pose = jnp.asarray(self.qpos, jnp.float32)[chosen]
        velocity = jnp.asarray(np.broadcast_to(self.qvel, (states, nv)), jnp.float32)[chosen]
        return self._with_noise(key, pose, velocity)


class Grading(struct.PyTreeNode):
    """One environment's place in a graded start, as legged robots' terrains have levels.

    After Rudin et al. (arXiv 2109.11978): who recovers begins farther away next time, who does not
    begins nearer, and who has come to the end goes on from anywhere.

    Attributes:
        distance: 0..1, from where it begins next in the bank, `()`.
        counts: whether the episode that runs began there, `()` bool.
    """

    distance: jax.Array
    counts: jax.Array

    @classmethod
    def first(cls, key: jax.Array, counts: jax.Array) -> Grading:
        """Returns a distance anywhere."""
        return cls(_anywhere(key), counts)

    def after(
        self, done: jax.Array, recovered: jax.Array, key: jax.Array, counts: jax.Array
    ) -> Grading:
        """Returns the grading after an episode, this one while it is not `done`.

        Args:
            done: whether the episode has ended, `()` bool.
            recovered: whether the robot was healthy in it, if only once, `()` bool.
            key: of the next start.
            counts: whether that start is the graded one, `()` bool.
        """
        moved = jnp.maximum(self.distance + jnp.where(recovered, STEP, -STEP), 0.0)
        moved = jnp.where(moved > 1.0, _anywhere(key), moved)
        return Grading(
            distance=jnp.where(done & self.counts, moved, self.distance),
            counts=jnp.where(done, counts, self.counts),
        )


def _anywhere(key: jax.Array) -> jax.Array:
    return jax.random.uniform(jax.random.fold_in(key, 1))
