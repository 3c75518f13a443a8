"""Poses on the way up: in balance or on their way, from out of distribution to recovered."""

from __future__ import annotations

import itertools

import jax
import numpy as np

import envs
from envs import banks
from envs.robots.humanoid import banks as way_up
from envs.robots.humanoid.robot import HEAD_ABOVE_TORSO, Humanoid
from envs.robots.push_chair.banks import lifting
from envs.tools import planner


def test_rising_starts_lead_from_lying_to_standing() -> None:
    humanoid = envs.load("humanoid", start="rising", engine="mujoco", num_envs=256)
    qpos, qvel = banks.load_moving(Humanoid.file("rising.npz"))
    low, high = humanoid.model.jnt_range[1:].T
    assert ((low - 0.5 < qpos[:, 7:]) & (qpos[:, 7:] < high + 0.5)).all(), "within soft limits"
    assert np.abs(qvel).max() < 60.0
    heads = way_up.head_height(qpos)
    per_decimeter, _ = np.histogram(heads, bins=np.linspace(0.0, 1.4, 15))
    assert per_decimeter[1:].min() > 5 and per_decimeter.max() <= way_up.RISING_STATES
    states = jax.jit(jax.vmap(humanoid.reset))(jax.random.split(jax.random.key(0), 256))
    seen = np.asarray(states.obs["policy"][:, 21])
    assert seen.min() < 0.3 and seen.max() > 1.35
    speeds = np.abs(np.asarray(states.data.qvel)).mean()
    np.testing.assert_allclose(speeds, np.abs(qvel).mean(), rtol=0.2, err_msg="they move")
    assert 0.0 < np.asarray(states.episode.healthy).mean() < 0.5


def test_of_each_height_few_states_and_the_last_ones_first() -> None:
    heads = np.repeat([0.25, 0.45, 1.25], [30, 3, 2])
    qpos, qvel = np.zeros((35, 28)), np.zeros((35, 27))
    qpos[:, 2], qpos[:, 3] = heads - HEAD_ABOVE_TORSO, 1.0
    qvel[:, 0] = np.arange(35)[::-1]  # how many steps are left
    way = list(zip(qpos, qvel, strict=True))
    kept, moving = way_up.in_order([way, way[20:]], states=5, seed=0)
    heights, counts = np.unique(way_up.head_height(kept).round(2), return_counts=True)
    np.testing.assert_allclose(heights, [0.25, 0.45, 1.25])
    assert counts.tolist() == [5, 5, 4], "of both ways"
    assert (np.diff(moving[:, 0]) >= 0).all()


def test_a_planner_lets_the_humanoid_sit_up() -> None:
    model = Humanoid.make_model()
    lying = Humanoid.starts()["ood"].qpos

    def way(steps: int) -> np.ndarray:
        rng = np.random.default_rng(0)
        plan = planner.follow(model, Humanoid.frame_skip, lying, way_up.getting_up, rng)
        return np.array([qpos for qpos, _ in itertools.islice(plan, steps)])

    passed = way(10)
    heads = way_up.head_height(passed)
    assert heads[-1] > heads[0] + 0.1
    np.testing.assert_array_equal(way(2), passed[:2])


def test_lifting_starts_lead_from_a_lying_chair_to_a_standing_one() -> None:
    env = envs.load("push_chair", start="lifting", engine="mujoco", num_envs=256)
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 256))
    hands, _, tilt, _, _ = np.asarray(states.recovery_state).T
    in_steps, _ = np.histogram(tilt / np.pi, bins=[0.05, 0.15, 0.25, 0.35, 0.45, 0.55])
    assert in_steps.sum() == 256 and in_steps.min() > 10
    assert 0.1 < (hands > 0.15)[tilt > 0.49 * np.pi].mean() < 0.9, "some still reach for it"
    assert np.median(hands[tilt < 0.45 * np.pi]) < 0.1, "hands lift it"


def test_a_bank_can_be_built_anew() -> None:
    poses = lifting(poses=12, seed=3)
    assert poses.shape == (12, 30)
    np.testing.assert_array_equal(poses, lifting(poses=12, seed=3))
