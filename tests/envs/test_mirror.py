"""Robots that are alike on both sides move in the mirror as they move."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs
from envs.mirror import Reflection
from envs.recovery_env import RecoveryEnv


def test_a_reflection_swaps_sides_and_turns_what_points_sideways() -> None:
    names = ["left_hand_y", "right_hand_y", "lean_y", "left_twist", "right_twist"]
    reflection = Reflection.by_name(names, ["hand_y", "twist"], middles={"twist": 0.5})
    vector = jnp.array([1.0, 2.0, 3.0, 0.6, 0.9])
    np.testing.assert_allclose(reflection(vector), [-2.0, -1.0, 3.0, 0.1, 0.4], atol=1e-6)
    np.testing.assert_allclose(reflection(reflection(vector)), vector, atol=1e-6)


def test_a_reflection_that_loses_an_entry_is_an_error() -> None:
    with pytest.raises(ValueError, match="every entry once"):
        Reflection(index=(0, 0), sign=(1.0, 1.0), offset=(0.0, 0.0))


@pytest.mark.parametrize("name", ["humanoid", "push_chair"])
def test_a_mirrored_robot_sees_the_mirror_image_of_what_the_robot_sees(name: str) -> None:
    """From mirrored states, under mirrored actions, for ten control steps."""
    env = envs.load(name, start="perturbed", engine="mujoco", num_envs=8)
    mirror = env.mirror()
    assert mirror is not None
    states = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 8))
    qpos, qvel = np.asarray(states.data.qpos), np.asarray(states.data.qvel)
    mirrored = jax.vmap(env.begin_at)(*_mirrored(env, qpos, qvel))
    step = jax.jit(jax.vmap(env.step))
    for key in jax.random.split(jax.random.key(1), 10):
        np.testing.assert_allclose(
            mirrored.obs["policy"], mirror.observation(states.obs["policy"]), atol=2e-3
        )
        action = jax.random.uniform(key, (8, env.action_size), minval=-1.0, maxval=1.0)
        states, mirrored = step(states, action), step(mirrored, mirror.action(action))
        np.testing.assert_allclose(mirrored.reward, states.reward, atol=2e-3)


def _mirrored(env: RecoveryEnv, qpos: np.ndarray, qvel: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Reflects states at the world's xz plane, by where the joints' axes point."""
    model = env.model
    pose = model.qpos0
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    mirrored_qpos, mirrored_qvel = qpos.copy(), qvel.copy()
    for joint in range(model.njnt):
        name = model.joint(joint).name
        at, of = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            mirrored_qpos[:, at : at + 7] = qpos[:, at : at + 7] * [1, -1, 1, 1, -1, 1, -1]
            mirrored_qvel[:, of : of + 6] = qvel[:, of : of + 6] * [1, -1, 1, -1, 1, -1]
            continue
        side = "left" if "left" in name else "right"
        partner = name.replace(side, "right" if side == "left" else "left")
        other = model.joint(partner).id
        slides = model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE
        flip = np.array([1, -1, 1]) if slides else np.array([-1, 1, -1])
        sign = round(float((flip * data.xaxis[joint]) @ data.xaxis[other]))
        if "finger" in name:
            sign = 1  # both fingers of a hand are as far from its middle
        there = int(model.jnt_qposadr[other])
        mirrored_qpos[:, there] = pose[there] + sign * (qpos[:, at] - pose[at])
        mirrored_qvel[:, int(model.jnt_dofadr[other])] = sign * qvel[:, of]
    return jnp.asarray(mirrored_qpos), jnp.asarray(mirrored_qvel)
