"""A robot that sets a lying chair upright: poses on the way, to train from.

The way back is long. From these poses it is learned from its end backwards, as in a reverse
curriculum (Florensa et al., arXiv 1707.05300). `python -m envs.tools bank --env push_chair
--start lifting` makes them anew.
"""

from __future__ import annotations

import mujoco
import numpy as np

from envs.robots.push_chair.robot import (
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

LIFTING_POSES = 256

# The left arm [rad] with its hand at the upper edge of a lying chair's seat, the base `REACH` [m]
# behind the seat; the right arm mirrors it.
REACHING, REACH = np.array([-0.08, 0.99, 0.0, -1.43, 0.0, 3.55, 0.78]), 0.92
MIRRORED = np.array([-1, 1, -1, 1, -1, 1, 1])


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


BANKS = {"lifting": lifting}
