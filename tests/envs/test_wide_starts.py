"""Banks of settled poses: at rest, unhealthy, on the ground and all over the place."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs
from envs import RecoveryEnv, Start, defaults, registry
from envs.tools import wide_starts

ROBOTS = [name for name in envs.names() if "ood-wide" in registry.get(name).all_starts()]


@pytest.fixture(scope="module", params=ROBOTS)
def env(request: pytest.FixtureRequest) -> RecoveryEnv:
    return envs.load(request.param, start="ood-wide", engine="mujoco")


def bank_of(env: RecoveryEnv) -> np.ndarray:
    return np.asarray(env.all_starts()["ood-wide"].qpos)


def test_robots_that_ship_have_one() -> None:
    shipping = {"ant", "half_cheetah", "hopper", "humanoid", "push_chair", "walker2d"}
    assert shipping <= set(ROBOTS)


def test_poses_are_unhealthy_and_at_rest(env: RecoveryEnv) -> None:
    bank = bank_of(env)
    assert bank.shape == (wide_starts.POSES, env.model.nq)
    assert np.isfinite(bank).all()
    state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 256))
    assert not state.episode.healthy.any()
    np.testing.assert_array_equal(state.data.qvel, 0.0)
    # Without any action, most stay where they are; springs were held by torques.
    step = jax.jit(jax.vmap(env.step))
    after = state
    for _ in range(5):
        after = step(after, jnp.zeros((256, env.action_size)))
    assert np.median(np.abs(np.asarray(after.data.qpos - state.data.qpos)).max(axis=1)) < (
        0.7 if env.name == "half_cheetah" else 0.05
    )


def test_poses_differ(env: RecoveryEnv) -> None:
    hinges = env.model.jnt_qposadr[env.model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE]
    assert bank_of(env)[:, hinges].std(axis=0).max() > 0.1


def test_poses_touch_the_ground(env: RecoveryEnv) -> None:
    model, data = env.make_model(), mujoco.MjData(env.make_model())
    lowest = []
    for pose in bank_of(env)[::8]:
        data.qpos[:] = pose
        mujoco.mj_forward(model, data)
        # A contact acts within its margin, 0.02 m for the ant. Limbs that a robot folded on itself
        # may overlap: planar robots cannot move aside.
        ground = [c.dist - c.includemargin for c in data.contact if 0 in (c.geom1, c.geom2)]
        lowest.append(min(ground, default=np.inf))
    assert max(lowest) < 0.01, "one hangs in the air"
    assert min(lowest) > -0.05, "one is in the ground"


def test_a_reset_draws_all_poses(env: RecoveryEnv) -> None:
    bank = bank_of(env)
    state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(1), 2048))
    drawn = np.unique(np.asarray(state.data.qpos)[:, -1])
    assert len(drawn) > 0.95 * len(np.unique(bank[:, -1]))


def test_a_bank_of_one_pose_is_that_pose() -> None:
    pose = np.arange(6.0)
    qpos, qvel = Start(pose[None]).sample(jax.random.key(0), nv=6)
    np.testing.assert_array_equal(qpos, pose)
    np.testing.assert_array_equal(qvel, np.zeros(6))


def test_poses_may_have_noise() -> None:
    start = Start(np.zeros((3, 6))).with_noise(np.full(6, 0.1))
    draws = jax.vmap(lambda key: start.sample(key, 6)[0])(jax.random.split(jax.random.key(0), 64))
    assert 0.08 < np.abs(draws).max() <= 0.1


def test_random_poses_stand_just_above_the_ground() -> None:
    numbers = np.random.default_rng(0)
    for name in ("ant", "hopper"):
        model = registry.get(name).make_model()
        data = mujoco.MjData(model)
        for _ in range(20):
            data.qpos[:] = defaults.random_pose(model, numbers)
            mujoco.mj_forward(model, data)
            ground = [c.dist for c in data.contact if 0 in (c.geom1, c.geom2)]
            assert min(ground, default=1.0) > 0.0, name


def test_the_same_seed_gives_the_same_bank() -> None:
    env = envs.load("half_cheetah", engine="mujoco")
    first, second = (wide_starts.build(env, poses=4, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, wide_starts.build(env, poses=4, seed=6))


def test_full_turns_are_taken_off() -> None:
    model = registry.get("half_cheetah").make_model()
    pose = np.array([[0, -0.4, 2 * np.pi + 0.1, *[0] * 6]])
    settled = wide_starts.settle(model, pose, ctrl=np.zeros((1, 6)))
    assert len(settled) == 1
    assert abs(settled[0, 2]) < np.pi


def test_a_bank_of_moving_robots_gives_each_pose_its_own_velocity() -> None:
    poses = np.repeat(np.arange(4.0)[:, None], 6, axis=1)
    start = Start(poses, qvel=10.0 * poses[:, :5], qvel_noise=0.5)
    qpos, qvel = jax.vmap(lambda key: start.sample(key, nv=5))(
        jax.random.split(jax.random.key(0), 99)
    )
    assert set(np.asarray(qpos[:, 0])) == {0.0, 1.0, 2.0, 3.0}
    assert 0.0 < np.abs(qvel - 10.0 * qpos[:, :5]).max() <= 0.5
