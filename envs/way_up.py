"""Starts on the way up: poses between out of distribution and recovered, to train from.

    python -m envs.way_up

writes them anew (`envs.banks`). The way back of the humanoid and of PushChair's robot is long. From
these poses it is learned from its end backwards, as in a reverse curriculum (Florensa et al.,
arXiv 1707.05300).
"""

from __future__ import annotations

import sys

import mujoco
import numpy as np

from envs import banks
from envs.humanoid import Humanoid
from envs.push_chair import (
    CHAIR_QUATERNION,
    HEALTHY_TILT,
    LEFT,
    LIFT,
    LYING_HEIGHT,
    LYING_TILT,
    RIGHT,
    PushChair,
    pose,
)

# Of the humanoid, for each tenth of a metre of its head's height between 0.5 m and 1.4 m.
RISING_POSES = 28
LIFTING_POSES = 256

# The left arm [rad] with its hand at the upper edge of a lying chair's seat, the base `REACH` [m]
# behind the seat; the right arm mirrors it.
REACHING, REACH = np.array([-0.08, 0.99, 0.0, -1.43, 0.0, 3.55, 0.78]), 0.92
MIRRORED = np.array([-1, 1, -1, 1, -1, 1, 1])


def rising(poses: int = RISING_POSES, seed: int = 0) -> np.ndarray:
    """Returns poses `(9 * poses, 28)` of the humanoid in balance, from sitting to standing.

    Lean, waist, hips and knees are drawn at random, the same on both sides; the ankles keep the
    feet flat as far as they reach. Kept are poses with the center of mass above what touches the
    floor, as many of each height of the head: some sit, some kneel, most squat or stoop.
    """
    model = Humanoid.make_model()
    data = mujoco.MjData(model)
    rng = np.random.default_rng(seed)
    at = {model.joint(joint).name: model.jnt_qposadr[joint] for joint in range(1, model.njnt)}
    kept: dict[int, list[np.ndarray]] = {decimeters: [] for decimeters in range(5, 14)}
    while min(map(len, kept.values())) < poses:
        lean, waist, hip, knee = rng.uniform((-0.4, -1.0, -1.9, -2.7), (1.2, 0.2, 0.0, 0.0))
        qpos = np.array([2.0, 0, 0, np.cos(lean / 2), 0, np.sin(lean / 2), 0, *[0] * 21])
        qpos[at["abdomen_y"]] = waist
        for side in ("left", "right"):
            # Knees bend the other way round.
            ankle = np.clip(knee - hip - waist - lean, *model.joint(f"{side}_ankle_y").range)
            for joint, angle in (("hip_y", hip), ("knee", knee), ("ankle_y", ankle)):
                qpos[at[f"{side}_{joint}"]] = angle
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        data.qpos[2] -= _ends(model, data)[:, 2].min()
        mujoco.mj_kinematics(model, data)
        alike = kept.get(int(10 * data.xpos[model.body("head").id, 2]), [])
        if len(alike) < poses and _is_in_balance(model, data):
            alike.append(data.qpos.copy())
    return np.concatenate(list(kept.values()))


def lifting(poses: int = LIFTING_POSES, seed: int = 0) -> np.ndarray:
    """Returns poses `(poses, 30)` of PushChair from a lying chair to a standing one.

    A robot sets the chair upright within seconds by driving forward with both hands at the upper
    edge of the seat. A quarter of the poses reach for that edge, the others are passed through on
    the way up, by many robots that do it slightly differently.
    """
    model = PushChair.make_model()
    rng = np.random.default_rng(seed)
    far = pose(LYING_TILT, LYING_HEIGHT)
    far[0] = -1.25 - REACH
    kept: list[np.ndarray] = []
    while len(kept) < poses:
        near = far.copy()
        arm = REACHING + rng.normal(scale=0.03, size=7)
        near[LEFT][:7], near[RIGHT][:7] = arm, MIRRORED * arm
        near[:2] = -1.0 - REACH - rng.uniform(0.0, 0.05), rng.uniform(-0.05, 0.05)
        near[LIFT] += rng.uniform(-0.05, 0.05)
        way_up = _push_up(model, near, rng)
        if way_up is not None:
            kept.extend(far + rng.uniform(size=(2, 1)) * (near - far))
            kept.extend(rng.choice(way_up, size=6))
    return np.array(kept[:poses])


def _push_up(
    model: mujoco.MjModel, qpos: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Returns what the robot passes through `(steps, nq)` until the chair stands, if it ever does.

    It drives forward and lifts a little.
    """
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    data.ctrl[0], data.ctrl[LIFT] = rng.uniform(0.2, 0.4), rng.uniform(0.0, 0.15)  # m/s
    passed = []
    while data.time < 8.0:
        mujoco.mj_step(model, data, PushChair.frame_skip)
        passed.append(data.qpos.copy())
        _, x, y, _ = passed[-1][CHAIR_QUATERNION]
        if 1.0 - 2.0 * (x * x + y * y) > np.cos(HEALTHY_TILT):
            return np.array(passed)
    return None


def _is_in_balance(model: mujoco.MjModel, data: mujoco.MjData) -> bool:
    """Whether forward and backward the center of mass is well above what touches the floor."""
    ends = _ends(model, data)
    touching = ends[ends[:, 2] < 0.02, 0]
    mujoco.mj_comPos(model, data)
    center_of_mass = data.subtree_com[model.body("torso").id, 0]
    return bool(touching.min() + 0.02 < center_of_mass < touching.max() - 0.02)


def _ends(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """Returns the lowest points `(points, 3)` of both ends of all of the body's capsules [m]."""
    moving = model.geom_bodyid > 0
    radius, half_length = model.geom_size[moving, 0], model.geom_size[moving, 1]  # 0 of a sphere
    half = half_length[:, None] * data.geom_xmat[moving].reshape(-1, 3, 3)[:, :, 2]
    ends = np.concatenate([data.geom_xpos[moving] + half, data.geom_xpos[moving] - half])
    ends[:, 2] -= np.tile(radius, 2)
    return ends


def main() -> int:
    """Builds both banks."""
    built = {("humanoid", "rising"): rising(), ("push_chair", "lifting"): lifting()}
    for (robot, start), poses in built.items():
        file = banks.save(robot, start, poses)
        print(f"{file}: {len(poses)} poses, {file.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
