"""Hopper: hop forward; out of distribution it lies on the floor."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs.physics.interface import PhysicsData
from envs.recovery_env import RecoveryEnv, State, gymnasium_spec
from envs.start import Start


class Hopper(RecoveryEnv):
    """Gymnasium's hopper.

    Observation (11): `qpos[1:]` (height, pitch, three joint angles), `qvel` clipped to +-10 (6).
    Action (3): torques, -1..1.
    Reward: forward velocity + 1 - 0.001 x sum of squared actions.
    Healthy: height > 0.7 m, abs(pitch) < 0.2 rad, every other state entry within +-100.
    """

    name = "hopper"
    original_task = "hop forward as fast as possible without falling"
    frame_skip = 4

    @classmethod
    def make_model(cls) -> mujoco.MjModel:
        return gymnasium_spec("hopper.xml").compile()

    @classmethod
    def starts(cls) -> dict[str, Start]:
        upright = np.array([0, 1.25, 0, 0, 0, 0])
        ood = Start(np.array([-1.2729, 0.10, -1.7453, 0, 0, 0]), qpos_noise=5e-3, qvel_noise=5e-3)
        return {
            "ordinary": Start(upright, qpos_noise=5e-3, qvel_noise=5e-3),
            "perturbed": Start(
                upright,
                qpos_noise=np.array([0, 0.05, 0.15, 0.2, 0.2, 0.2]),
                qvel_noise=0.8,
                qvel_normal=True,
            ),
            "ood": ood,
            "ood-noisy": ood.with_noise(np.array([0, 0, 0, *[0.05] * 3])),
        }

    def observe(self, data: PhysicsData, memory: Any) -> jax.Array:
        return jnp.concatenate([data.qpos[1:], jnp.clip(data.qvel, -10.0, 10.0)])

    def task_reward(
        self, before: State, action: jax.Array, data: PhysicsData, memory: Any
    ) -> jax.Array:
        return self._x_velocity(before.data, data) + 1.0 - 1e-3 * jnp.sum(jnp.square(action))

    def is_healthy(self, data: PhysicsData) -> jax.Array:
        rest = jnp.concatenate([data.qpos[2:], data.qvel])
        return (data.qpos[1] > 0.7) & (jnp.abs(data.qpos[2]) < 0.2) & (jnp.abs(rest) < 100.0).all()
