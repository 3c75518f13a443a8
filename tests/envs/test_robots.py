"""The numbers of the four robots: models, starts and health."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import jax
import mujoco
import numpy as np
import pytest

from envs import RecoveryEnv, registry

RK4, EULER = mujoco.mjtIntegrator.mjINT_RK4, mujoco.mjtIntegrator.mjINT_EULER
DEGREE = np.pi / 180


@dataclass(frozen=True)
class Facts:
    """What a robot is: `sizes` are nq, nv, nu and the observation's."""

    timestep: float
    frame_skip: int
    control_timestep: float
    integrator: mujoco.mjtIntegrator
    sizes: tuple[int, int, int, int]
    gears: list[float]
    qpos_noise: float
    qvel_noise: float
    qvel_normal: bool
    upright: list[float]
    ood: list[float]
    ood_noise: float


FACTS = {
    "ant": Facts(
        *(0.01, 5, 0.05, RK4, (15, 14, 8, 27), [150] * 8, 0.1, 0.1, True),
        upright=[0, 0, 0.75, 1, 0, 0, 0] + [0] * 8,
        ood=[0, 0, 0.25, 0, 1, 0, 0] + [0] * 8,
        ood_noise=0,
    ),
    "half_cheetah": Facts(
        *(0.01, 5, 0.05, EULER, (9, 9, 6, 17), [150, 90, 60, 120, 60, 30], 0.1, 0.1, True),
        upright=[0] * 9,
        ood=[0, -0.5, -2.8798, 1.0472, 0, 0, 0, 0, 0],
        ood_noise=0.1,
    ),
    "hopper": Facts(
        *(0.002, 4, 0.008, RK4, (6, 6, 3, 11), [200] * 3, 5e-3, 5e-3, False),
        upright=[0, 1.25, 0, 0, 0, 0],
        ood=[-1.2729, 0.10, -1.7453, 0, 0, 0],
        ood_noise=5e-3,
    ),
    "walker2d": Facts(
        *(0.002, 4, 0.008, RK4, (9, 9, 6, 17), [100] * 6, 5e-3, 5e-3, False),
        upright=[0, 1.25, 0, 0, 0, 0, 0, 0, 0],
        ood=[-1.2729, 0.10, 1.5740, -0.1222, 0, -0.7854, -0.1222, 0, -0.7854],
        ood_noise=5e-3,
    ),
}


def test_model(env: RecoveryEnv) -> None:
    facts, model = FACTS[env.name], env.model
    assert model.opt.timestep == facts.timestep
    assert env.frame_skip == facts.frame_skip
    assert env.control_timestep == pytest.approx(facts.control_timestep)
    assert model.opt.integrator == facts.integrator
    assert model.opt.solver == mujoco.mjtSolver.mjSOL_NEWTON
    assert model.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL
    assert (model.nq, model.nv, model.nu, env.observation_size) == facts.sizes
    assert env.action_size == model.nu
    np.testing.assert_allclose(model.actuator_gear[:, 0], facts.gears)
    np.testing.assert_array_equal(model.actuator_ctrlrange, [[-1, 1]] * model.nu)
    assert model.actuator_ctrllimited.all()
    assert env.time_limit == 1000


@pytest.mark.parametrize(
    ("name", "joint", "limits"),
    [
        ("ant", "ankle_1", [0, 70 * DEGREE]),
        ("ant", "ankle_2", [-70 * DEGREE, 0]),
        ("ant", "ankle_3", [-70 * DEGREE, 0]),
        ("ant", "ankle_4", [0, 70 * DEGREE]),
        ("half_cheetah", "bthigh", [-0.52, 2.094]),
        ("walker2d", "thigh_joint", [-30 * DEGREE, 0]),
        ("walker2d", "thigh_left_joint", [-30 * DEGREE, 0]),
    ],
)
def test_overridden_joint_ranges(name: str, joint: str, limits: list[float]) -> None:
    np.testing.assert_allclose(registry.get(name).make_model().joint(joint).range, limits)


def test_overridden_mass_and_friction() -> None:
    assert registry.get("half_cheetah").make_model().body_mass.sum() == pytest.approx(14.0)
    walker = registry.get("walker2d").make_model()
    assert walker.geom("foot_geom").friction[0] == 0.9
    assert walker.geom("foot_left_geom").friction[0] == 1.9


@pytest.mark.parametrize("start", ["ordinary", "ood"])
def test_starts_fill_their_noise(env: RecoveryEnv, start: str) -> None:
    facts = FACTS[env.name]
    noisy = start == "ordinary" or facts.ood_noise > 0
    pose = facts.upright if start == "ordinary" else facts.ood
    width = facts.qpos_noise if start == "ordinary" else facts.ood_noise
    drawn = registry.load(env.name, start=start, engine="mujoco")
    states = jax.jit(jax.vmap(drawn.reset))(jax.random.split(jax.random.key(0), 512))

    offset = np.asarray(states.data.qpos) - np.array(pose)
    if env.name == "ant":
        offset = np.delete(offset, range(3, 7), axis=1)  # a quaternion's length means nothing
    largest = np.abs(offset).max(axis=0)
    assert (largest <= width + 1e-6).all()
    assert (largest >= 0.95 * width).all()

    velocity = np.asarray(states.data.qvel)
    if not noisy:
        assert (velocity == 0).all()
    elif facts.qvel_normal:
        np.testing.assert_allclose(velocity.std(axis=0), facts.qvel_noise, rtol=0.15)
    else:
        largest = np.abs(velocity).max(axis=0)
        assert (largest <= facts.qvel_noise).all()
        assert (largest >= 0.95 * facts.qvel_noise).all()

    assert (np.asarray(states.episode.healthy) == (start == "ordinary")).all()


def turned(axis: int, degrees: float) -> dict[int, float]:
    """Returns the ant's quaternion entries for a turn about one of its axes."""
    half = degrees * DEGREE / 2
    return {3: np.cos(half), 4 + axis: np.sin(half)}


@pytest.mark.parametrize(
    ("name", "qpos", "healthy"),
    [
        ("ant", {2: 0.2}, True),
        ("ant", {2: 0.199}, False),
        ("ant", {2: 1.0}, True),
        ("ant", {2: 1.001}, False),
        ("ant", turned(0, 89), True),
        ("ant", turned(0, -89), True),
        ("ant", turned(0, 91), False),
        ("ant", turned(0, -91), False),
        ("ant", turned(1, 80), True),
        ("ant", turned(1, 100), False),  # beyond which the roll reads pi
        ("ant", turned(2, 180), True),
        ("half_cheetah", {2: np.pi / 2 - 1e-3}, True),
        ("half_cheetah", {2: -np.pi / 2 + 1e-3}, True),
        ("half_cheetah", {2: np.pi / 2 + 1e-3}, False),
        ("half_cheetah", {2: -np.pi / 2 - 1e-3}, False),
        ("half_cheetah", {2: 2 * np.pi}, False),  # not wrapped
        ("half_cheetah", {1: -0.6}, True),
        ("hopper", {1: 0.701}, True),
        ("hopper", {1: 0.7}, False),
        ("hopper", {1: 50.0}, True),
        ("hopper", {2: 0.199}, True),
        ("hopper", {2: -0.199}, True),
        ("hopper", {2: 0.2}, False),
        ("hopper", {2: -0.2}, False),
        ("hopper", {5: 99.9}, True),
        ("hopper", {5: 100.1}, False),
        ("hopper", {3: -100.1}, False),
        ("walker2d", {1: 0.901}, True),
        ("walker2d", {1: 0.9}, False),
        ("walker2d", {1: 1.999}, True),
        ("walker2d", {1: 2.0}, False),
        ("walker2d", {2: 0.299}, True),
        ("walker2d", {2: -0.299}, True),
        ("walker2d", {2: 0.3}, False),
        ("walker2d", {2: -0.3}, False),
        ("walker2d", {5: 200.0}, True),
    ],
)
def test_health_at_its_thresholds(name: str, qpos: dict[int, float], healthy: bool) -> None:
    robot = registry.load(name, engine="mujoco")
    pose = np.array(FACTS[name].upright, np.float32)
    for index, value in qpos.items():
        pose[index] = value
    data = SimpleNamespace(qpos=pose, qvel=np.zeros(robot.model.nv, np.float32))
    assert bool(robot.is_healthy(data)) is healthy


@pytest.mark.parametrize(("velocity", "healthy"), [(99.9, True), (-99.9, True), (100.1, False)])
def test_hopper_is_unhealthy_at_absurd_velocities(velocity: float, healthy: bool) -> None:
    robot = registry.load("hopper", engine="mujoco")
    pose = np.array(FACTS["hopper"].upright, np.float32)
    data = SimpleNamespace(qpos=pose, qvel=np.full(6, velocity, np.float32))
    assert bool(robot.is_healthy(data)) is healthy


@pytest.mark.parametrize("name", ["hopper", "walker2d"])
def test_observed_velocities_are_clipped(name: str) -> None:
    robot = registry.load(name, engine="mujoco")
    data = SimpleNamespace(
        qpos=np.array(FACTS[name].upright, np.float32),
        qvel=np.full(robot.model.nv, -12.0, np.float32),
    )
    np.testing.assert_array_equal(robot.observe(data, ())[-robot.model.nv :], -10.0)
