"""Walker2d: walk forward; out of distribution it lies on the floor."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs.physics.interface import PhysicsData
from envs.recovery_env import RecoveryEnv, State, gymnasium_spec
from envs.start import Start


class Walker2d(RecoveryEnv):
    """Gymnasium's walker with the thigh range of the official implementation.

    Observation (17): `qpos[1:]` (height, pitch, six joint angles), `qvel` clipped to +-10 (9).
    Action (6): torques, -1..1.
    Reward: forward velocity + 1 - 0.001 x sum of squared actions.
    Healthy: 0.9 m < height < 2.0 m, abs(pitch) < 0.3 rad.
    """

    name = "walker2d"
    original_task = "walk forward as fast as possible without falling"
    frame_skip = 4

    @classmethod
    def make_model(cls) -> mujoco.MjModel:
        spec = gymnasium_spec("walker2d.xml")
        for joint in ("thigh_joint", "thigh_left_joint"):
            spec.joint(joint).range = [-30.0, 0.0]  # degrees: the model's own angle unit
        for geom, friction in (("foot_geom", 0.9), ("foot_left_geom", 1.9)):
            spec.geom(geom).friction[0] = friction
        return spec.compile()

    @classmethod
    def starts(cls) -> dict[str, Start]:
        upright = np.array([0, 1.25, 0, 0, 0, 0, 0, 0, 0])
        lying = np.array([-1.2729, 0.10, 1.5740, -0.1222, 0, -0.7854, -0.1222, 0, -0.7854])
        ood = Start(lying, qpos_noise=5e-3, qvel_noise=5e-3)
        return {
            "ordinary": Start(upright, qpos_noise=5e-3, qvel_noise=5e-3),
            "perturbed": Start(
                upright,
                qpos_noise=np.array([0, 0.1, 0.25, *[0.25] * 6]),
                qvel_noise=np.array([1.0, 1.5, 1.0, *[2.0] * 6]),
                qvel_normal=True,
            ),
            "ood": ood,
            "ood-noisy": ood.with_noise(np.array([0, 0, 0, *[0.05] * 6])),
        }

    def observe(self, data: PhysicsData, memory: Any) -> jax.Array:
        return jnp.concatenate([data.qpos[1:], jnp.clip(data.qvel, -10.0, 10.0)])

    def task_reward(
        self, before: State, action: jax.Array, data: PhysicsData, memory: Any
    ) -> jax.Array:
        return self._x_velocity(before.data, data) + 1.0 - 1e-3 * jnp.sum(jnp.square(action))

    def is_healthy(self, data: PhysicsData) -> jax.Array:
        height, pitch = data.qpos[1], data.qpos[2]
        return (height > 0.9) & (height < 2.0) & (jnp.abs(pitch) < 0.3)
