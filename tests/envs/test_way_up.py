"""Poses on the way up: in balance or on their way, from out of distribution to recovered."""

from __future__ import annotations

import jax
import mujoco
import numpy as np

import envs
from envs import banks, way_up


def test_rising_starts_are_in_balance_between_lying_and_standing() -> None:
    humanoid = envs.load("humanoid", engine="mujoco")
    poses = np.asarray(humanoid.starts()["rising"].qpos)
    np.testing.assert_allclose(np.linalg.norm(poses[:, 3:7], axis=1), 1.0)
    low, high = humanoid.model.jnt_range[1:].T
    assert ((low - 1e-6 <= poses[:, 7:]) & (poses[:, 7:] <= high + 1e-6)).all()
    data = mujoco.MjData(humanoid.model)
    heads = []
    for pose in poses:
        data.qpos[:] = pose
        mujoco.mj_forward(humanoid.model, data)
        heads.append(data.body("head").xpos[2])
        touching = [contact.dist for contact in data.contact if 0 in contact.geom]
        assert all(abs(distance) < 1e-5 for distance in touching), "on the floor, not in it"
        data.qpos[2] -= 0.02
        mujoco.mj_forward(humanoid.model, data)
        places = [contact.pos[0] for contact in data.contact if 0 in contact.geom]
        assert min(places) < data.subtree_com[1][0] < max(places), "in balance"
    per_decimeter, _ = np.histogram(heads, bins=np.linspace(0.5, 1.4, 10))
    assert len(poses) == per_decimeter.sum() and len(set(per_decimeter)) == 1


def test_lifting_starts_lead_from_a_lying_chair_to_a_standing_one() -> None:
    env = envs.load("push_chair", start="lifting", engine="mujoco", num_envs=256)
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 256))
    hands, _, tilt, _, _ = np.asarray(states.info["recovery_state"]).T
    in_steps, _ = np.histogram(tilt / np.pi, bins=[0.05, 0.15, 0.25, 0.35, 0.45, 0.55])
    assert in_steps.sum() == 256 and in_steps.min() > 10
    assert 0.1 < (hands > 0.15)[tilt > 0.49 * np.pi].mean() < 0.9, "some still reach for it"
    assert np.median(hands[tilt < 0.45 * np.pi]) < 0.1, "hands lift it"


def test_a_bank_can_be_built_anew() -> None:
    poses = way_up.rising(poses=1, seed=3)
    assert poses.shape == (9, 28)
    np.testing.assert_array_equal(poses, way_up.rising(poses=1, seed=3))
    assert not np.array_equal(poses, way_up.rising(poses=1, seed=4))
    poses = way_up.lifting(poses=12, seed=3)
    assert poses.shape == (12, 30)
    np.testing.assert_array_equal(poses, way_up.lifting(poses=12, seed=3))


def test_the_rising_bank_was_built_by_the_code_here() -> None:
    np.testing.assert_allclose(banks.load("humanoid", "rising"), way_up.rising(), atol=1e-5)
