"""HalfCheetah: run forward; out of distribution it lies on its back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs.physics.interface import PhysicsData
from envs.recovery_env import RecoveryEnv, State, gymnasium_spec
from envs.start import Start

TOTAL_MASS = 14.0  # kg, Gymnasium's half_cheetah.xml


class HalfCheetah(RecoveryEnv):
    """Gymnasium's half cheetah with the stronger back thigh of the official implementation.

    Observation (17): `qpos[1:]` (height, pitch, six joint angles), `qvel` (9).
    Action (6): torques, -1..1.
    Reward: forward velocity - 0.1 x sum of squared actions.
    Healthy: abs(pitch) <= pi/2; the pitch is not wrapped, a full turn is not healthy.
    """

    name = "half_cheetah"
    original_task = "run forward as fast as possible"
    frame_skip = 5

    @classmethod
    def make_model(cls) -> mujoco.MjModel:
        spec = gymnasium_spec("half_cheetah.xml")
        # So that a cheetah on its back can push itself over (official implementation).
        spec.joint("bthigh").range = [-0.52, 2.094]
        spec.actuator("bthigh").gear[0] = 150.0
        # Of 16 contacts with the floor at most 3 are active (tests/envs/test_mjx_engine.py).
        spec.add_numeric(name="max_contact_points", data=[8])
        spec.compiler.settotalmass = -1.0  # deprecated in the file; scaled below instead
        model = spec.compile()
        mujoco.mj_setTotalmass(model, TOTAL_MASS)
        mujoco.mj_setConst(model, mujoco.MjData(model))
        return model

    @classmethod
    def starts(cls) -> dict[str, Start]:
        ordinary = Start(np.zeros(9), qpos_noise=0.1, qvel_noise=0.1, qvel_normal=True)
        on_its_back = np.array([0, -0.5, -2.8798, 1.0472, 0, 0, 0, 0, 0])
        ood = Start(on_its_back, qpos_noise=0.1, qvel_noise=0.1, qvel_normal=True)
        return {
            "ordinary": ordinary,
            "perturbed": Start(
                np.zeros(9),
                qpos_noise=np.array([0, 0.1, 0.6, *[0.4] * 6]),
                qvel_noise=1.0,
                qvel_normal=True,
            ),
            "ood": ood,
            "ood-noisy": ood.with_noise(np.array([0, 0, 0, *[0.05] * 6])),
        }

    def observe(self, data: PhysicsData, memory: Any) -> jax.Array:
        return jnp.concatenate([data.qpos[1:], data.qvel])

    def task_reward(
        self, before: State, action: jax.Array, data: PhysicsData, memory: Any
    ) -> jax.Array:
        return self._x_velocity(before.data, data) - 0.1 * jnp.sum(jnp.square(action))

    def is_healthy(self, data: PhysicsData) -> jax.Array:
        return jnp.abs(data.qpos[2]) <= jnp.pi / 2
