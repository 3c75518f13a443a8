"""What follows from a robot's class and model where its file does not say it."""

from __future__ import annotations

import inspect

import mujoco
import numpy as np

# Where the lowest point of a random pose is let go [m].
CLEARANCE = 0.02


def motor_noise(model: mujoco.MjModel) -> np.ndarray:
    """Returns `(nq,)`: 0.05 [rad] for each hinge that has a motor, else 0."""
    noise = np.zeros(model.nq)
    moved = model.actuator_trnid[model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT, 0]
    for joint in moved:
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE:
            noise[model.jnt_qposadr[joint]] = 0.05
    return noise


def control_range(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the middle and half the width of each actuator's range, both `(nu,)` float32.

    0 and 1 where it has no range; None if that is so of all, or -1..1 is the range of all.
    """
    limited = model.actuator_ctrllimited.astype(bool)
    low, high = np.where(limited[:, None], model.actuator_ctrlrange, [-1.0, 1.0]).T
    middle, half = (low + high) / 2, (high - low) / 2
    if (middle == 0.0).all() and (half == 1.0).all():
        return None
    return middle.astype(np.float32), half.astype(np.float32)


def description(name: str, original_task: str, text: str, model: mujoco.MjModel) -> str:
    """Returns a robot's docstring `text` and the names in its model, as Markdown."""
    joints = [
        f"- `{model.joint(index).name}`: "
        f"{mujoco.mjtJoint(model.jnt_type[index]).name.removeprefix('mjJNT_').lower()}"
        + (" from {:.3g} to {:.3g}".format(*model.jnt_range[index]) if limited else "")
        for index, limited in enumerate(model.jnt_limited)
    ]
    actions = [
        f"- action[{index}]: `{model.actuator(index).name}`"
        + (", -1 is {:.3g} and 1 is {:.3g}".format(*limits) if limited else "")
        for index, (limits, limited) in enumerate(
            zip(model.actuator_ctrlrange, model.actuator_ctrllimited, strict=True)
        )
    ]
    paragraphs = [
        f"# {name}",
        inspect.cleandoc(text),
        f"**Original task:** {original_task}.",
        "## State",
        "The entries are as said above. The joints of the model, in order:",
        "\n".join(joints),
        "## Action",
        "Each entry is between -1 and 1.",
        "\n".join(actions),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def random_pose(model: mujoco.MjModel, rng: np.random.Generator) -> np.ndarray:
    """Returns a `qpos` `(nq,)`: any orientation, any joint angle in its range, just above ground.

    Coordinates that slide stay as they are in the model, but for the height.
    """
    qpos = model.qpos0.copy()
    height = None
    for joint in range(model.njnt):
        kind, address = mujoco.mjtJoint(model.jnt_type[joint]), int(model.jnt_qposadr[joint])
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            qpos[address + 3 : address + 7] = random_quaternion(rng)
            height = address + 2 if height is None else height
        elif kind == mujoco.mjtJoint.mjJNT_BALL:
            qpos[address : address + 4] = random_quaternion(rng)
        elif kind == mujoco.mjtJoint.mjJNT_HINGE:
            low, high = model.jnt_range[joint] if model.jnt_limited[joint] else (-np.pi, np.pi)
            qpos[address] = rng.uniform(low, high)
        elif model.jnt_axis[joint, 2] > 0.99 and height is None:
            height = address
    if height is not None:
        qpos[height] += CLEARANCE - _lowest_point(model, qpos)
    return qpos


def random_quaternion(rng: np.random.Generator) -> np.ndarray:
    """Returns a rotation `(4,)`, all equally likely."""
    quaternion = rng.normal(size=4)
    return quaternion / np.linalg.norm(quaternion)


def _lowest_point(model: mujoco.MjModel, qpos: np.ndarray) -> float:
    """Returns the height of the robot's lowest point [m], by its geoms' bounding boxes."""
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    own = model.geom_bodyid != 0
    upward = data.geom_xmat[own].reshape(-1, 3, 3)[:, 2]
    centre, half_size = model.geom_aabb[own, :3], model.geom_aabb[own, 3:]
    heights = data.geom_xpos[own, 2] + (upward * centre).sum(axis=1)
    return float((heights - (np.abs(upward) * half_size).sum(axis=1)).min())
