"""Ant: run forward; out of distribution it lies upside down."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs.physics.interface import PhysicsData
from envs.recovery_env import RecoveryEnv, State, gymnasium_spec
from envs.start import Start


class Ant(RecoveryEnv):
    """Gymnasium's ant with ankles that reach both ways, so that a flipped one can push itself over.

    Observation (27): `qpos[2:]` (height, orientation quaternion w x y z, eight joint angles),
    `qvel` (14). The official 84 contact-force entries are zero in practice and left out.
    Action (8): torques, -1..1.
    Reward: forward velocity + 1 - 0.5 x sum of squared actions.
    Healthy: 0.2 m <= height <= 1.0 m and abs(roll) <= pi/2.
    """

    name = "ant"
    original_task = "run forward as fast as possible"
    frame_skip = 5

    @classmethod
    def make_model(cls) -> mujoco.MjModel:
        spec = gymnasium_spec("ant.xml")
        for ankle, limits in {
            "ankle_1": [0.0, 70.0],
            "ankle_2": [-70.0, 0.0],
            "ankle_3": [-70.0, 0.0],
            "ankle_4": [0.0, 70.0],
        }.items():
            spec.joint(ankle).range = limits  # degrees: the model's own angle unit
        # Of 25 contacts with the floor at most 4 are active (tests/envs/test_mjx_engine.py). MJX
        # finds their limit only where no numeric before it has several numbers.
        spec.delete(spec.numeric("init_qpos"))
        spec.add_numeric(name="max_contact_points", data=[8])
        # A shell on its back tells top from bottom in pictures; sites are drawn, not simulated.
        spec.body("torso").add_site(pos=[0, 0, 0.05], size=[0.235] * 3, rgba=[0.2, 0.3, 0.4, 1])
        return spec.compile()

    @classmethod
    def starts(cls) -> dict[str, Start]:
        # The model's own initial pose (its `init_qpos` numeric is not used by Gymnasium).
        upright = np.array([0, 0, 0.75, 1, 0, 0, 0, *[0] * 8], dtype=float)
        upside_down = np.array([0, 0, 0.25, 0, 1, 0, 0, *[0] * 8], dtype=float)
        joints = np.array([*[0] * 7, *[1] * 8])
        ood = Start(upside_down)
        return {
            "ordinary": Start(upright, qpos_noise=0.1, qvel_noise=0.1, qvel_normal=True),
            "perturbed": Start(
                upright,
                qpos_noise=np.array([0, 0, 0.1, *[0.3] * 4, *[0.4] * 8]),
                qvel_noise=0.8,
                qvel_normal=True,
            ),
            "ood": ood,
            "ood-noisy": ood.with_noise(0.05 * joints),
        }

    def observe(self, data: PhysicsData, memory: Any) -> jax.Array:
        return jnp.concatenate([data.qpos[2:], data.qvel])

    def task_reward(
        self, before: State, action: jax.Array, data: PhysicsData, memory: Any
    ) -> jax.Array:
        return self._x_velocity(before.data, data) + 1.0 - 0.5 * jnp.sum(jnp.square(action))

    def is_healthy(self, data: PhysicsData) -> jax.Array:
        height = data.qpos[2]
        w, x, y, z = data.qpos[3:7]
        roll = jnp.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
        return (height >= 0.2) & (height <= 1.0) & (jnp.abs(roll) <= jnp.pi / 2)
