"""Humanoid: run; out of distribution it lies on its back."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs import banks
from envs.mirror import Mirror, Reflection, axes
from envs.physics.interface import PhysicsData
from envs.recovery_env import ModelUnavailable, RecoveryEnv, State
from envs.start import GradedStart, Start

HEAD_ABOVE_TORSO = 0.19  # metres along the torso's own z axis
STAND_HEIGHT = 1.4  # metres: the head's height from which on standing is worth 1
RUN_SPEED = 10.0  # m/s: the speed from which on running is worth 1
EXTREMITIES = ("left_hand", "left_foot", "right_hand", "right_foot")
# Joints and vectors that point or turn the other way in a mirror.
SIDEWAYS_JOINTS = ("abdomen_z", "abdomen_x", "ankle_x", "shoulder1", "shoulder2")
SIDEWAYS = ("hand_y", "foot_y", "up_y", "center_of_mass_y", "root_y", "spin_x", "spin_z")


class Humanoid(RecoveryEnv):
    """DM Control's humanoid with its `run` task.

    Observation (67), as DM Control's without `pure_state`: 21 joint angles, the head's height, the
    extremities' positions in the torso's frame (4 x 3), the bottom row of the torso's rotation
    matrix (3), the centre of mass's velocity (3), `qvel` (27).
    Action (21): torques, -1..1.
    Reward, in 0..1: standing x upright x small control x move; running faster than 10 m/s is worth
    no more.
    Healthy: 1.0 m < height of the torso < 2.0 m.
    """

    name = "humanoid"
    original_task = "run upright as fast as possible, up to 10 m/s, without falling"
    frame_skip = 5

    @classmethod
    def make_model(cls) -> mujoco.MjModel:
        spec = mujoco.MjSpec.from_file(str(_suite_folder() / "humanoid.xml"))
        # MuJoCo Playground's copy of the file differs from DM Control's in these alone.
        spec.option.iterations, spec.option.ls_iterations = 100, 50
        spec.option.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_EULERDAMP)
        for numeric in list(spec.numerics):  # for MJX; ours follow
            spec.delete(numeric)
        # Of 177 contacts that MJX would solve for, at most 11 of a kind are active in a humanoid
        # that lies and struggles (tests/envs/test_mjx_engine.py).
        spec.add_numeric(name="max_contact_points", data=[16])
        # Of the sensors only those that the observation reads: forces and touch cost time.
        for sensor in list(spec.sensors):
            spec.delete(sensor)
        for body in EXTREMITIES:
            spec.add_sensor(
                name=body,
                type=mujoco.mjtSensor.mjSENS_FRAMEPOS,
                objtype=mujoco.mjtObj.mjOBJ_XBODY,
                objname=body,
                reftype=mujoco.mjtObj.mjOBJ_XBODY,
                refname="torso",
            )
        spec.add_sensor(
            name="center_of_mass_velocity",
            type=mujoco.mjtSensor.mjSENS_SUBTREELINVEL,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            objname="torso",
        )
        return spec.compile()

    @classmethod
    def starts(cls) -> dict[str, Start]:
        # The model's own initial pose: its feet are 0.2 m above the floor.
        upright = np.array([0, 0, 1.5, 1, 0, 0, 0, *[0] * 21], dtype=float)
        half = np.sqrt(0.5)
        on_its_back = np.array([0, 0, 0.12, half, 0, -half, 0, *[0] * 21], dtype=float)
        joints = np.array([*[0] * 7, *[1] * 21])
        ood = Start(on_its_back, qpos_noise=1e-2, qvel_noise=1e-2)
        passed, velocity = banks.load_moving(cls.file("rising.npz"))
        rising = GradedStart(passed, qvel=velocity, qvel_noise=0.1, qvel_normal=True)
        return {
            "ordinary": Start(upright, qpos_noise=1e-2, qvel_noise=1e-2),
            "perturbed": Start(
                upright,
                qpos_noise=np.array([0, 0, 0.05, *[0.05] * 4, *[0.15] * 21]),
                qvel_noise=0.5,
                qvel_normal=True,
            ),
            "rising": rising,
            "ood": ood,
            "ood-noisy": ood.with_noise(0.05 * joints),
        }

    def observe(self, data: PhysicsData, memory: Any) -> jax.Array:
        extremities, center_of_mass_velocity = data.sensordata[:12], data.sensordata[12:]
        return jnp.concatenate(
            [
                data.qpos[7:],
                self._head_height(data)[None],
                extremities,
                _vertical(data),
                center_of_mass_velocity,
                data.qvel,
            ]
        )

    def task_reward(
        self, before: State, action: jax.Array, data: PhysicsData, memory: Any
    ) -> jax.Array:
        # DM Control's tolerances, written out: a Gaussian that falls to 0.1 at its margin, two
        # linear ramps and a parabola.
        lacking = jnp.maximum(STAND_HEIGHT - self._head_height(data), 0.0) / (STAND_HEIGHT / 4)
        standing = jnp.exp(jnp.log(0.1) * jnp.square(lacking))
        upright = jnp.clip((_vertical(data)[2] + 1.0) / 1.9, 0.0, 1.0)
        small_control = (4.0 + jnp.mean(1.0 - jnp.square(action))) / 5.0
        speed = jnp.linalg.norm(data.sensordata[12:14])
        move = (5.0 * jnp.clip(speed / RUN_SPEED, 0.0, 1.0) + 1.0) / 6.0
        return standing * upright * small_control * move

    def is_healthy(self, data: PhysicsData) -> jax.Array:
        return (data.qpos[2] > 1.0) & (data.qpos[2] < 2.0)

    @classmethod
    def mirror(cls) -> Mirror:
        model = cls.make_model()
        joints = [model.joint(joint).name for joint in range(1, model.njnt)]
        motors = [model.actuator(motor).name for motor in range(model.nu)]
        seen = [*joints, "head", *axes(*EXTREMITIES, "up", "center_of_mass", "root", "spin")]
        speeds = [f"{joint}_speed" for joint in joints]
        sideways = [*SIDEWAYS_JOINTS, *[f"{joint}_speed" for joint in SIDEWAYS_JOINTS], *SIDEWAYS]
        return Mirror(
            observation=Reflection.by_name([*seen, *speeds], sideways),
            action=Reflection.by_name(motors, SIDEWAYS_JOINTS),
        )

    def _head_height(self, data: PhysicsData) -> jax.Array:
        return data.qpos[2] + HEAD_ABOVE_TORSO * _vertical(data)[2]


def _vertical(data: PhysicsData) -> jax.Array:
    """Returns the world's upward axis in the torso's frame, `(3,)`."""
    w, x, y, z = data.qpos[3:7] / jnp.linalg.norm(data.qpos[3:7])
    return jnp.stack([2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)])


def _suite_folder() -> Path:
    """Returns the folder of DM Control's suite: in its own package or in MuJoCo Playground.

    Neither is imported, only looked into.

    Raises:
        ModelUnavailable: neither package is installed.
    """
    for package, folder in {
        "dm_control": "suite",
        "mujoco_playground": "_src/dm_control_suite/xmls",
    }.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            return Path(spec.submodule_search_locations[0]) / folder
    raise ModelUnavailable(
        "the humanoid's model comes with DM Control, which is not installed: "
        "pip install 'lamour-jax[humanoid]'"
    )
