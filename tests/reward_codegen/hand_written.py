"""The bundled reward programs as one would write them for JAX by hand, to compare with.

Each maps `state` `(state_size,)` and `action` `(action_size,)` to the reward `()`, with the
values of the robot's `reward.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp


def _finite(state: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.isfinite(state).all() & jnp.isfinite(action).all()


def _penalised(state: jax.Array, action: jax.Array, reward: jax.Array) -> jax.Array:
    reward = reward - 0.01 * jnp.square(action).mean()
    return jnp.where(_finite(state, action), jnp.minimum(reward, -0.01), -20.0)


def ant(state: jax.Array, action: jax.Array) -> jax.Array:
    """ant"""
    height = state[0]
    tilt = jnp.arccos(jnp.clip(1.0 - 2.0 * (state[2] ** 2 + state[3] ** 2), -1.0, 1.0))
    recovered = (height >= 0.2) & (height <= 1.0) & (tilt < 1.3)
    stage = jnp.where(recovered, 0.0, -0.5)
    stage = jnp.where(tilt < jnp.pi / 2, stage, -2.0)
    stage = jnp.where(tilt < 2.0, stage, -3.5)
    stage = jnp.where(tilt < 2.5, stage, -5.0)
    return _penalised(state, action, -1.0 - tilt - 2.0 * jnp.abs(height - 0.6) + stage)


def half_cheetah(state: jax.Array, action: jax.Array) -> jax.Array:
    """half_cheetah"""
    error = jnp.abs(state[1])
    stage = jnp.where(error < 1.2, 0.0, -0.5)
    stage = jnp.where(error < jnp.pi / 2, stage, -2.0)
    stage = jnp.where(error < 2.0, stage, -3.5)
    stage = jnp.where(error < 2.5, stage, -5.0)
    dense = -1.0 - 4.0 / jnp.pi * error - jnp.maximum(0.0, -state[0])
    return _penalised(state, action, dense + stage)


def hopper(state: jax.Array, action: jax.Array) -> jax.Array:
    """hopper"""
    height, error = state[0], jnp.abs(state[1])
    stage = jnp.where(error < 0.2, 0.0, -1.0)
    stage = jnp.where(height > 0.75, stage, -2.0)
    stage = jnp.where(height > 0.5, stage, -3.0)
    stage = jnp.where(height > 0.3, stage, -4.0)
    dense = -1.0 - 2.0 * jnp.maximum(0.0, 1.25 - height) - 1.5 * error
    return _penalised(state, action, dense + stage)


def walker2d(state: jax.Array, action: jax.Array) -> jax.Array:
    """walker2d"""
    height, error = state[0], jnp.abs(state[1])
    stage = jnp.where((height < 2.0) & (error < 0.3), 0.0, -1.0)
    stage = jnp.where(height > 0.9, stage, -2.0)
    stage = jnp.where(height > 0.6, stage, -3.0)
    stage = jnp.where(height > 0.35, stage, -3.5)
    dense = -1.0 - 2.0 * jnp.abs(1.25 - height) - 2.0 * error
    return _penalised(state, action, dense + stage)


REWARDS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "ant": ant,
    "half_cheetah": half_cheetah,
    "hopper": hopper,
    "walker2d": walker2d,
}
