"""The robots against Gymnasium's own environments, stepped from the same states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium.envs.mujoco.ant_v5
import gymnasium.envs.mujoco.half_cheetah_v5
import gymnasium.envs.mujoco.hopper_v5
import gymnasium.envs.mujoco.walker2d_v5
import jax
import mujoco
import numpy as np
import pytest

from envs import RecoveryEnv, State

# The state is float32 here and float64 there; the physics in between is the same double precision
# code. Relative error of a rounded value: 6e-8.
STATE_TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}
# A velocity as a difference of rounded positions (below 4 m, so to 2.4e-7) over 0.008 s.
REWARD_TOLERANCE = {"rtol": 1e-6, "atol": 1e-4}
STEPS = 3


def gymnasium_env(name: str) -> Any:
    """Returns Gymnasium's environment with the overrides, written into the compiled model."""
    envs = gymnasium.envs.mujoco
    if name == "ant":
        # As in version 4: no contact forces in the observation, none in the reward.
        env: Any = envs.ant_v5.AntEnv(
            include_cfrc_ext_in_observation=False, contact_cost_weight=0.0
        )
        for joint, sign in (("ankle_1", 1), ("ankle_2", -1), ("ankle_3", -1), ("ankle_4", 1)):
            env.model.joint(joint).range[:] = np.deg2rad(sorted([0, sign * 70]))
    elif name == "half_cheetah":
        env = envs.half_cheetah_v5.HalfCheetahEnv()
        env.model.joint("bthigh").range[:] = [-0.52, 2.094]
        env.model.actuator("bthigh").gear[0] = 150
    elif name == "hopper":
        env = envs.hopper_v5.HopperEnv()
    else:
        env = envs.walker2d_v5.Walker2dEnv(xml_file="walker2d.xml")
        for joint in ("thigh_joint", "thigh_left_joint"):
            env.model.joint(joint).range[:] = np.deg2rad([-30, 0])
        env.model.geom("foot_geom").friction[0] = 0.9
        env.model.geom("foot_left_geom").friction[0] = 1.9
    return env


def reference_health(name: str, env: Any) -> bool:
    """Returns whether Gymnasium's environment is healthy, with what the official code adds."""
    if name == "half_cheetah":  # never unhealthy in Gymnasium
        return abs(env.data.qpos[2]) <= np.pi / 2
    if name == "ant":  # only a matter of height in Gymnasium
        back = env.data.body("torso").xmat.reshape(3, 3)  # of the last Runge-Kutta stage
        mujoco.mju_quat2Mat(back.reshape(-1), env.data.qpos[3:7])
        roll = np.arctan2(back[2, 1], back[2, 2])
        return env.is_healthy and abs(roll) <= np.pi / 2
    return env.is_healthy


def reference_step(
    name: str, env: Any, data: Any, index: int, action: np.ndarray
) -> tuple[np.ndarray, float, bool]:
    """Returns observation, task reward and health after one step from `data[index]`."""
    env.set_state(
        np.asarray(data.qpos[index], np.float64), np.asarray(data.qvel[index], np.float64)
    )
    env.data.qacc_warmstart[:] = data.qacc_warmstart[index]
    x_before = env.data.qpos[0]
    obs, reward, _, _, info = env.step(action)
    if name == "ant":
        # Gymnasium measures the torso's `xpos`, which MuJoCo last computed in the final
        # Runge-Kutta stage rather than for the state that the step returns.
        x_velocity = (env.data.qpos[0] - x_before) / env.dt
        assert info["x_velocity"] == pytest.approx(x_velocity, abs=0.5)
        reward += x_velocity - info["reward_forward"]
    if "reward_survive" in info:  # ours pays it in every state and then blanks unhealthy ones
        reward += 1.0 - info["reward_survive"]
    return obs, reward, reference_health(name, env)


@pytest.fixture(autouse=True)
def scratch_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MuJoCo logs a warning about Gymnasium's half_cheetah.xml to a file where it stands."""
    monkeypatch.chdir(tmp_path)


def test_model_is_gymnasiums_but_for_the_overrides(env: RecoveryEnv) -> None:
    reference = gymnasium_env(env.name).model
    for field in (
        "body_mass body_inertia body_ipos body_iquat body_pos body_quat body_invweight0 "
        "dof_armature dof_damping dof_invweight0 jnt_range jnt_stiffness jnt_axis jnt_pos "
        "jnt_margin jnt_limited geom_size geom_pos geom_quat geom_friction geom_margin "
        "geom_contype geom_conaffinity geom_condim geom_solref geom_solimp jnt_solref jnt_solimp "
        "actuator_gear actuator_ctrlrange actuator_trnid qpos0 qpos_spring"
    ).split():
        np.testing.assert_allclose(
            getattr(env.model, field), getattr(reference, field), rtol=1e-12, err_msg=field
        )
    for option in "timestep integrator solver cone iterations ls_iterations tolerance".split():
        assert getattr(env.model.opt, option) == getattr(reference.opt, option)
    np.testing.assert_array_equal(env.model.opt.gravity, reference.opt.gravity)


def test_steps_like_gymnasium(
    env: RecoveryEnv,
    state_at: Callable[..., State],
    random_states: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    reference = gymnasium_env(env.name)
    count = 32
    rng = np.random.default_rng(1)
    state = state_at(env, *random_states(env, count))
    step = jax.jit(jax.vmap(env.step))
    healths = []
    for _ in range(STEPS):
        actions = rng.uniform(-1, 1, (count, env.action_size)).astype(np.float32)
        before = jax.device_get(state)
        state = step(state, actions)
        after = jax.device_get(state)
        for i in range(count):
            obs, reward, healthy = reference_step(env.name, reference, before.data, i, actions[i])
            np.testing.assert_allclose(after.obs["policy"][i], obs, **STATE_TOLERANCE)
            np.testing.assert_allclose(after.episode.task_reward[i], reward, **REWARD_TOLERANCE)
            assert after.reward[i] == (after.episode.task_reward[i] if healthy else 0.0)
            assert after.episode.healthy[i] == healthy
            was_healthy = before.episode.was_healthy[i] or healthy
            assert after.episode.termination[i] == (was_healthy and not healthy)
            healths.append(healthy)
    assert 0.1 < np.mean(healths) < 0.9, "the states should be healthy and unhealthy ones"
