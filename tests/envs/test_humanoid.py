"""The humanoid: its model, observation and reward against DM Control's own environment."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from types import SimpleNamespace

import jax
import mujoco
import numpy as np
import pytest

import envs
from envs import RecoveryEnv, State
from envs.robots.humanoid.robot import Humanoid

COUNT, STEPS = 24, 3


@pytest.fixture(scope="module")
def humanoid() -> RecoveryEnv:
    return envs.load("humanoid", engine="mujoco")


def reference() -> object:
    """Returns DM Control's environment; skips where it cannot be installed."""
    pytest.importorskip("dm_control")
    from dm_control.mujoco.wrapper.mjbindings import sizes
    from dm_control.suite import humanoid

    # DM Control 1.0.50 names fields of deformable bodies that MuJoCo 4.0 no longer has.
    for struct, kind in (("mjmodel", mujoco.MjModel), ("mjdata", mujoco.MjData)):
        for field in [name for name in sizes.array_sizes[struct] if not hasattr(kind, name)]:
            assert field.startswith("flex")
            del sizes.array_sizes[struct][field]
    return humanoid.run(random=0)


def test_sizes(humanoid: RecoveryEnv) -> None:
    model = humanoid.model
    assert (model.nq, model.nv, model.nu, humanoid.observation_size) == (28, 27, 21, 67)
    assert humanoid.action_size == 21
    assert (model.opt.timestep, humanoid.frame_skip) == (0.005, 5)
    assert humanoid.control_timestep == pytest.approx(0.025)
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER
    assert model.opt.solver == mujoco.mjtSolver.mjSOL_NEWTON
    np.testing.assert_array_equal(model.actuator_ctrlrange, [[-1, 1]] * 21)
    assert model.body_mass.sum() == pytest.approx(40.844, abs=1e-3)
    assert humanoid.time_limit == 1000
    assert not humanoid.has_goal


def test_model_is_dm_controls(humanoid: RecoveryEnv) -> None:
    theirs = reference().physics.model
    for field in (
        "body_mass body_inertia body_ipos body_iquat body_pos body_quat dof_armature dof_damping "
        "jnt_range jnt_stiffness jnt_axis jnt_pos jnt_limited jnt_solref jnt_solimp geom_size "
        "geom_pos geom_quat geom_friction geom_margin geom_contype geom_conaffinity geom_condim "
        "geom_solref geom_solimp actuator_gear actuator_ctrlrange actuator_trnid qpos0 qpos_spring"
    ).split():
        np.testing.assert_array_equal(
            getattr(humanoid.model, field), getattr(theirs, field), err_msg=field
        )
    for option in "timestep integrator solver cone iterations ls_iterations tolerance".split():
        assert getattr(humanoid.model.opt, option) == getattr(theirs.opt, option), option
    autoreset = int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)  # of our engine
    assert humanoid.model.opt.disableflags & ~autoreset == theirs.opt.disableflags & ~autoreset


def test_playgrounds_copy_is_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """From there it is taken where DM Control cannot be installed."""
    find = importlib.util.find_spec
    if find("dm_control") is None or find("mujoco_playground") is None:
        pytest.skip("needs both packages")
    ours = Humanoid.make_model()
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "dm_control" else find(name)
    )
    theirs = Humanoid.make_model()
    for field in dir(ours):
        value = getattr(ours, field)
        if isinstance(value, np.ndarray) and not field.startswith(("_", "name")):
            np.testing.assert_array_equal(getattr(theirs, field), value, err_msg=field)
    for option in "timestep integrator solver cone iterations ls_iterations disableflags".split():
        assert getattr(theirs.opt, option) == getattr(ours.opt, option), option


def test_steps_like_dm_control(
    humanoid: RecoveryEnv,
    state_at: Callable[..., State],
    random_states: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    theirs = reference()
    physics, task = theirs.physics, theirs.task
    rng = np.random.default_rng(1)
    state = state_at(humanoid, *random_states(humanoid, COUNT))
    step = jax.jit(jax.vmap(humanoid.step))
    rewards = []
    for _ in range(STEPS):
        actions = rng.uniform(-1, 1, (COUNT, 21)).astype(np.float32)
        before = jax.device_get(state)
        state = step(state, actions)
        after = jax.device_get(state)
        for i in range(COUNT):
            with physics.reset_context():
                physics.data.qpos[:] = before.data.qpos[i]
                physics.data.qvel[:] = before.data.qvel[i]
                physics.data.qacc_warmstart[:] = before.data.qacc_warmstart[i]
            np.testing.assert_allclose(
                before.obs["policy"][i], flat(task, physics), rtol=1e-5, atol=2e-6
            )
            physics.data.qacc_warmstart[:] = before.data.qacc_warmstart[i]
            task.before_step(actions[i].astype(np.float64), physics)
            physics.step(humanoid.frame_skip)
            np.testing.assert_allclose(
                after.obs["policy"][i], flat(task, physics), rtol=2e-4, atol=2e-4
            )
            reward = task.get_reward(physics)
            np.testing.assert_allclose(after.episode.task_reward[i], reward, rtol=1e-3, atol=1e-5)
            assert after.episode.healthy[i] == (1.0 < physics.data.qpos[2] < 2.0)
            rewards.append(reward)
    assert min(rewards) < 0.01 and max(rewards) > 0.05, "the states should stand and lie"


def flat(task: object, physics: object) -> np.ndarray:
    """Returns DM Control's observation as one vector."""
    entries = task.get_observation(physics).values()
    return np.concatenate([np.atleast_1d(entry) for entry in entries])


def test_restarted_sensors_are_those_of_the_new_start() -> None:
    env = envs.load("humanoid", start={"ordinary": 0.5, "ood": 0.5}, engine="mujoco")
    state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 6))
    ended = state.replace(done=np.array([1, 0, 1, 0, 1, 1], np.float32))
    restarted = jax.jit(jax.vmap(env.restart))(ended)
    fresh = jax.jit(jax.vmap(env.engine.init))(restarted.data.qpos, restarted.data.qvel)
    np.testing.assert_allclose(restarted.data.sensordata, fresh.sensordata, rtol=1e-5, atol=1e-6)
    kept = np.array([1, 3])
    np.testing.assert_array_equal(restarted.obs["policy"][kept], state.obs["policy"][kept])


@pytest.mark.parametrize("start", ["ordinary", "ood"])
def test_starts(start: str) -> None:
    env = envs.load("humanoid", start=start, engine="mujoco")
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 64))
    assert (np.asarray(states.episode.healthy) == (start == "ordinary")).all()
    pose = env.starts()[start].qpos
    offset = np.delete(np.asarray(states.data.qpos) - pose, range(3, 7), axis=1)
    assert 0.009 < np.abs(offset).max() <= 0.01 + 1e-6
    assert 0.009 < np.abs(np.asarray(states.data.qvel)).max() <= 0.01
    data = mujoco.MjData(env.model)
    data.qpos[:] = pose
    mujoco.mj_forward(env.model, data)
    assert all(contact.dist > -2e-3 for contact in data.contact), "no initial penetration"
    facing = data.body("torso").xmat.reshape(3, 3)[2]  # z components of the torso's axes
    expected = [0, 0, 1] if start == "ordinary" else [1, 0, 0]  # face up
    np.testing.assert_allclose(facing, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("height", "healthy"), [(1.0, False), (1.001, True), (1.999, True), (2.0, False)]
)
def test_health_at_its_thresholds(humanoid: RecoveryEnv, height: float, healthy: bool) -> None:
    data = SimpleNamespace(qpos=np.array([0, 0, height]), qvel=np.zeros(27))
    assert bool(humanoid.is_healthy(data)) is healthy


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(envs.ModelUnavailable, match=r"pip install 'lamour-jax\[humanoid\]'"):
        envs.load("humanoid", engine="mujoco")
