"""What follows from a robot's class and model where its file does not say it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import mujoco
import numpy as np

if TYPE_CHECKING:
    from envs.recovery_env import RecoveryEnv


def motor_noise(model: mujoco.MjModel) -> np.ndarray:
    """Returns `(nq,)`: 0.05 [rad] for each hinge that has a motor, else 0."""
    noise = np.zeros(model.nq)
    moved = model.actuator_trnid[model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT, 0]
    for joint in moved:
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE:
            noise[model.jnt_qposadr[joint]] = 0.05
    return noise


def description(environment: type[RecoveryEnv]) -> str:
    """Returns the class's docstring and the names in its model, as Markdown."""
    model = environment.make_model()
    joints = [
        f"- `{model.joint(index).name}`: "
        f"{mujoco.mjtJoint(model.jnt_type[index]).name.removeprefix('mjJNT_').lower()}"
        + (" from {:.3g} to {:.3g}".format(*model.jnt_range[index]) if limited else "")
        for index, limited in enumerate(model.jnt_limited)
    ]
    actions = [f"- action[{index}]: `{model.actuator(index).name}`" for index in range(model.nu)]
    paragraphs = [
        f"# {environment.name}",
        inspect.cleandoc(environment.__doc__ or ""),
        f"**Original task:** {environment.original_task}.",
        "## State",
        "The entries are as said above. The joints of the model, in order:",
        "\n".join(joints),
        "## Action",
        "Each entry is between -1 and 1.",
        "\n".join(actions),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"
