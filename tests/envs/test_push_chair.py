"""PushChair: measures, starts, commands, reward, health and ends, against hand-computed cases."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs
from envs import RecoveryEnv, State
from envs.robots.push_chair import model as parts
from envs.robots.push_chair.robot import (
    CHAIR_POSITION,
    CHAIR_QUATERNION,
    NEAREST,
    SUCCESS_REWARD,
    SWIVEL,
    PushChair,
    box_distance,
    capsule_distance,
)

STILL = np.zeros(29)
FAR = np.array([50.0, 0.0, 1.0] * 2)  # hands that are nowhere near


@pytest.fixture(scope="module")
def env() -> RecoveryEnv:
    return envs.load("push_chair", engine="mujoco")


def standing_at(x: float, y: float, tilt: float = 0.0) -> np.ndarray:
    """Returns a pose with the chair at (x, y), tilted backward by `tilt`."""
    qpos = PushChair.starts()["ordinary"].qpos.copy()
    qpos[CHAIR_POSITION] = [x, y, parts.SEAT_HEIGHT]
    qpos[CHAIR_QUATERNION] = [np.cos(tilt / 2), 0, -np.sin(tilt / 2), 0]
    return qpos


def moment(qpos: np.ndarray, qvel: np.ndarray = STILL, hands: np.ndarray = FAR) -> SimpleNamespace:
    """Returns what an environment reads of a simulation; `hands`: left x y z, right x y z."""
    as_jax = {"qpos": qpos, "qvel": qvel, "sensordata": hands}
    return SimpleNamespace(**{k: jnp.asarray(v, jnp.float32) for k, v in as_jax.items()})


def moving(x: float = 0.0, y: float = 0.0, spin: float = 0.0) -> np.ndarray:
    qvel = STILL.copy()
    qvel[22:24], qvel[27] = [x, y], spin
    return qvel


def test_sizes(env: RecoveryEnv) -> None:
    assert (env.observation_size, env.action_size, env.recovery_state_size) == (62, 20, 5)
    assert env.control_timestep == pytest.approx(0.05)
    assert (env.recovered_share, env.has_goal) == (0.1, True)


def test_time_limits() -> None:
    assert envs.load("push_chair", engine="mujoco").time_limit == 100
    assert envs.load("push_chair", start="ood", engine="mujoco").time_limit == 400
    mix = {"ood": 0.8, "ordinary": 0.2}
    assert envs.load("push_chair", start=mix, engine="mujoco").time_limit == 400
    assert envs.load("push_chair", engine="mujoco", episode_length=7).time_limit == 7


# Distances to surfaces.


@pytest.mark.parametrize(
    ("point", "distance"),
    [
        ((3.0, 0.0, 0.0), 2.0),
        ((0.0, -3.0, 0.0), 1.0),
        ((1.5, 2.5, 0.0), np.hypot(0.5, 0.5)),
        ((2.0, 3.0, 4.0), np.sqrt(1 + 1 + 1)),
        ((1.0, 0.0, 0.0), 0.0),
        ((0.0, 0.0, 0.0), -1.0),
        ((0.9, 1.5, 0.0), -0.1),
    ],
)
def test_distance_to_a_box(point: tuple[float, ...], distance: float) -> None:
    centers = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 7.0]])
    measured = box_distance(jnp.array(point), centers, np.array([[1.0, 2.0, 3.0]]))
    assert float(measured[0]) == pytest.approx(distance, abs=1e-6)
    shifted = box_distance(
        jnp.array(point) + jnp.array([0, 0, 7.0]), centers, np.array([[1.0, 2.0, 3.0]])
    )
    assert float(shifted[1]) == pytest.approx(distance, abs=1e-5)


@pytest.mark.parametrize(
    ("point", "distance"),
    [
        ((1.0, 0.0, 0.5), 0.8),
        ((0.0, 0.0, 3.0), 1.8),
        ((0.3, 0.4, -1.2), np.sqrt(0.25 + 1.44) - 0.2),
        ((0.1, 0.0, 0.5), -0.1),
        ((0.0, 0.0, 0.0), -0.2),
    ],
)
def test_distance_to_a_capsule(point: tuple[float, ...], distance: float) -> None:
    start, end = np.array([[0.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 1.0]])
    measured = capsule_distance(jnp.array(point), start, end, np.array([0.2]))
    assert float(measured[0]) == pytest.approx(distance, abs=1e-6)


def test_surface_distance_is_mujocos(env: RecoveryEnv) -> None:
    """Random poses of everything; a grain at each tool, whose distances MuJoCo measures."""
    grain = 1e-3
    spec = parts.build()
    for arm in parts.ARMS:
        spec.body(f"{arm}_hand").add_geom(
            name=f"{arm}_grain",
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[grain, 0, 0],
            pos=[0, 0, parts.TOOL],
            mass=0,
        )
    model = spec.compile()
    data = mujoco.MjData(model)
    chair = ["seat", "back", "column", *(f"leg{n}" for n in range(5))]
    rng = np.random.default_rng(0)
    qpos, hands, expected = [], [], []
    for _ in range(100):
        data.qpos[:] = PushChair.starts()["ordinary"].qpos
        data.qpos[4:22] += rng.uniform(-0.6, 0.6, 18)
        data.qpos[CHAIR_POSITION] += rng.uniform(-0.5, 0.5, 3)
        quaternion = rng.normal(size=4)
        data.qpos[CHAIR_QUATERNION] = quaternion / np.linalg.norm(quaternion)
        data.qpos[SWIVEL] = rng.uniform(-3, 3)
        mujoco.mj_forward(model, data)
        qpos.append(data.qpos.copy())
        hands.append(data.sensordata.copy())
        expected.append(
            [
                grain
                + min(
                    mujoco.mj_geomDistance(
                        model, data, model.geom(f"{arm}_grain").id, model.geom(part).id, 9.0, None
                    )
                    for part in chair
                )
                for arm in parts.ARMS
            ]
        )

    def distances(qpos: jax.Array, hands: jax.Array) -> jax.Array:
        return env.surface_distances(SimpleNamespace(qpos=qpos, sensordata=hands))

    measured = jax.jit(jax.vmap(distances))(
        jnp.array(qpos, jnp.float32), jnp.array(hands, jnp.float32)
    )
    outside = np.array(expected) > 2 * grain  # deep inside, MuJoCo's depth is another measure
    assert outside.mean() > 0.8
    np.testing.assert_allclose(
        np.asarray(measured)[outside], np.array(expected)[outside], atol=2e-5
    )


# The recovery state.


@pytest.mark.parametrize("tilt", [0.0, 1e-3, 0.1, 0.5 * np.pi, 3.0])
def test_tilt(env: RecoveryEnv, tilt: float) -> None:
    state = env.recovery_state(moment(standing_at(-1.0, 0.0, tilt)))
    assert float(state[2]) == pytest.approx(tilt, abs=2e-6)


def test_recovery_state_by_hand(env: RecoveryEnv) -> None:
    back_face = -0.25 - 0.025  # of the back, seen from the seat
    behind_the_back = [0.3 + back_face - 0.2, 0.0, parts.SEAT_HEIGHT + 0.2]
    before_the_seat = [0.3 + 0.24 + 0.4, -0.5, parts.SEAT_HEIGHT]
    hands = np.array([*behind_the_back, *before_the_seat])
    qvel = moving(0.3, -0.4, spin=2.0)
    state = np.asarray(env.recovery_state(moment(standing_at(0.3, -0.4), qvel, hands)))
    left = np.hypot(0.2, 0.4 - 0.22)  # 0.2 m behind, 0.4 m to the left of the middle
    right = 0.4
    np.testing.assert_allclose(state, [(left + right) / 2, 0.5, 0.0, 0.5, 2.0], atol=1e-6)


# Reward, health and ends.


def reward(env: RecoveryEnv, now: SimpleNamespace, action: float = 0.0) -> float:
    return float(env.task_reward(now, jnp.full(20, action), now, ()))


def at_the_back(qpos: np.ndarray, away: float = 0.0) -> np.ndarray:
    """Returns hands `away` [m] behind the back of the chair; without, nearer than counts."""
    hand = np.zeros(3)
    mujoco.mju_rotVecQuat(hand, np.array([-0.275 - away, 0.0, 0.3]), qpos[CHAIR_QUATERNION])
    return np.tile(qpos[CHAIR_POSITION] + hand, 2)


NEAR = -NEAREST - np.log(NEAREST)  # what nearness is worth there


@pytest.mark.parametrize(
    ("qpos", "qvel", "near", "expected"),
    [
        pytest.param(standing_at(1.0, 0.0), STILL, True, NEAR + 2.0 - 2.0 * 1.0, id="at the chair"),
        pytest.param(
            standing_at(1.0, 0.0),
            moving(-0.5),
            True,
            NEAR + 2.0 + 2.0 * (1 - np.exp(-0.5)) - 2.0,
            id="towards the target",
        ),
        pytest.param(
            standing_at(1.0, 0.0), moving(3.0), True, NEAR + 2.0 - 2.0 - 2.0, id="away from it"
        ),
        pytest.param(
            standing_at(0.1, 0.0),
            moving(0.5),
            True,
            NEAR + 2.0 + 2.0 + 2.0 * np.exp(-5.0),
            id="through the target",
        ),
        pytest.param(
            standing_at(0.1, 0.0), STILL, True, NEAR + 8.0 + SUCCESS_REWARD, id="at rest there"
        ),
        pytest.param(
            standing_at(0.1, 0.0, 0.25 * np.pi), STILL, False, None, id="fallen, hands away"
        ),
    ],
)
def test_reward_by_hand(
    env: RecoveryEnv,
    qpos: np.ndarray,
    qvel: np.ndarray,
    near: bool,
    expected: float | None,
) -> None:
    hands = at_the_back(qpos) if near else FAR
    now = moment(qpos, qvel, hands)
    if expected is None:
        expected = -float(env.recovery_state(now)[0]) - 0.2 * 0.25 * np.pi
    assert reward(env, now) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("away", "tilt", "stage"),
    [
        (0.05, 0.0, 2.0 - 2.0 * 0.5),
        (0.099, 0.0, 2.0 - 2.0 * 0.5),
        (0.101, 0.0, 0.0),
        (0.3, 0.0, 0.0),
        (0.05, 0.19 * np.pi, 2.0 - 2.0 * 0.5),
        (0.05, 0.21 * np.pi, 0.0),
        (0.05, 0.5 * np.pi, 0.0),
    ],
)
def test_only_hands_close_to_a_standing_chair_are_paid_more(
    env: RecoveryEnv, away: float, tilt: float, stage: float
) -> None:
    qpos = standing_at(0.5, 0.0, tilt)
    expected = -away - np.log(away) - 0.2 * tilt + stage
    now = moment(qpos, hands=at_the_back(qpos, away))
    assert reward(env, now) == pytest.approx(expected, abs=1e-4)


def test_large_actions_cost_a_little(env: RecoveryEnv) -> None:
    qpos = standing_at(1.0, 0.0)
    now = moment(qpos, hands=at_the_back(qpos, 0.5))  # a reward of 0.2: single precision suffices
    cost = reward(env, now, 0.0) - reward(env, now, 1.0)
    assert cost == pytest.approx(1e-6 * np.sqrt(20), rel=0.05)


@pytest.mark.parametrize(
    ("tilt", "healthy", "failed"),
    [(0.0, 1, 0), (0.099, 1, 0), (0.101, 0, 0), (0.199, 0, 0), (0.201, 0, 1), (0.5, 0, 1)],
)
def test_health_and_failure(env: RecoveryEnv, tilt: float, healthy: int, failed: int) -> None:
    now = moment(standing_at(-1.0, 0.0, tilt * np.pi))
    assert (bool(env.is_healthy(now)), bool(env.has_failed(now))) == (healthy, failed)


@pytest.mark.parametrize(
    ("qpos", "qvel", "success"),
    [
        (standing_at(0.1, 0.1), STILL, True),
        (standing_at(0.0, -0.149), STILL, True),
        (standing_at(0.0, -0.151), STILL, False),
        (standing_at(0.0, 0.0), moving(0.09, 0.0, 0.19), True),
        (standing_at(0.0, 0.0), moving(0.11, 0.0, 0.0), False),
        (standing_at(0.0, 0.0), moving(0.0, 0.0, 0.21), False),
        (standing_at(0.0, 0.0, 0.21 * np.pi), STILL, False),
    ],
)
def test_success(env: RecoveryEnv, qpos: np.ndarray, qvel: np.ndarray, success: bool) -> None:
    assert bool(env.has_succeeded(moment(qpos, qvel))) is success


@pytest.fixture(scope="module")
def step(env: RecoveryEnv) -> Callable[..., State]:
    return jax.jit(jax.vmap(env.step))


def test_ends_of_episodes(
    env: RecoveryEnv, step: Callable[..., State], state_at: Callable[..., State]
) -> None:
    poses = np.stack(
        [
            standing_at(-1.0, 0.0),
            standing_at(0.0, 0.0),
            PushChair.starts()["ood"].qpos,
            PushChair.starts()["ood"].qpos,
        ]
    )
    poses[:, 0] = -3.0  # the robot keeps away
    state = state_at(env, poses, np.zeros((4, 29)))
    state = state.replace(
        episode=state.episode.replace(was_healthy=jnp.array([True, True, True, False]))
    )
    after = step(state, np.zeros((4, 20), np.float32))
    np.testing.assert_array_equal(after.episode.success, [False, True, False, False])
    np.testing.assert_array_equal(after.episode.fell, [False, False, True, False])
    np.testing.assert_array_equal(after.episode.termination, [False, True, True, False])
    np.testing.assert_array_equal(after.episode.healthy, [True, True, False, False])
    assert after.reward[1] > SUCCESS_REWARD - 10.0
    assert after.reward[2] == after.reward[3] == 0.0
    np.testing.assert_allclose(after.recovery_state[0, 1:], [1.0, 0.0, 0.0, 0.0], atol=1e-3)


# Commands and observation.


def test_velocities_are_reached_in_the_bases_frame(
    env: RecoveryEnv, step: Callable[..., State], state_at: Callable[..., State]
) -> None:
    pose = standing_at(-1.0, 0.0)
    pose[:3] = [-4.0, 0.0, np.pi / 2]  # looks along the world's +y
    forward, left, turn, lift = (np.eye(20, dtype=np.float32)[i] for i in range(4))
    diagonal, elbow, grip = forward + left, np.eye(20)[7] * -0.5, np.eye(20)[18]
    actions = np.stack([forward, left, turn, lift, diagonal, elbow, grip]).astype(np.float32)
    count = len(actions)
    state = state_at(env, np.tile(pose, (count, 1)), np.zeros((count, 29)))
    for _ in range(4):
        state = step(state, actions)
    qvel = np.asarray(state.data.qvel)
    np.testing.assert_allclose(qvel[0, :3], [0.0, 0.5, 0.0], atol=0.03)
    np.testing.assert_allclose(qvel[1, :3], [-0.5, 0.0, 0.0], atol=0.03)
    assert qvel[2, 2] == pytest.approx(3.14, rel=0.1)
    assert qvel[3, 3] == pytest.approx(0.5, rel=0.1)
    np.testing.assert_allclose(qvel[4, :3], [-0.5, 0.5, 0.0], atol=0.05)
    assert qvel[5, 7] == pytest.approx(-1.57, rel=0.15)
    # Both fingers open alike, within their range.
    fingers = np.asarray(state.data.qpos)[6, 11:13]
    assert 0.025 < fingers[0] < 0.045
    assert fingers[1] == pytest.approx(fingers[0], abs=2e-3)
    # The base's own velocities are what the policy sees.
    np.testing.assert_allclose(state.obs["policy"][:2, :2], [[0.5, 0.0], [0.0, 0.5]], atol=0.03)


def test_observation_does_not_know_the_worlds_directions(
    env: RecoveryEnv, state_at: Callable[..., State]
) -> None:
    """The whole scene turned about the target looks the same."""
    rng = np.random.default_rng(0)
    pose, qvel = standing_at(-0.8, 0.3, 0.4), rng.normal(size=29) * 0.3
    angle = 1.1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned, turned_qvel = pose.copy(), qvel.copy()
    for first in (0, CHAIR_POSITION.start):
        turned[first : first + 2] = turn @ pose[first : first + 2]
    turned[2] += angle
    quaternion = np.zeros(4)
    about_z = np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)])
    mujoco.mju_mulQuat(quaternion, about_z, pose[CHAIR_QUATERNION])
    turned[CHAIR_QUATERNION] = quaternion
    for first in (0, 22):
        turned_qvel[first : first + 2] = turn @ qvel[first : first + 2]
    state = state_at(env, np.stack([pose, turned]), np.stack([qvel, turned_qvel]))
    np.testing.assert_allclose(state.obs["policy"][0], state.obs["policy"][1], atol=2e-5)


# Starts.


@pytest.fixture(scope="module")
def ordinary(env: RecoveryEnv) -> State:
    return jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 256))


def test_values_at_an_ordinary_start_are_as_described(ordinary: State) -> None:
    """What the language model is told of them."""
    distance, to_target, *others = np.asarray(ordinary.recovery_state).T
    description = PushChair.description()
    low, high = map(float, re.findall(r"([\d.]+) to ([\d.]+) at an ordinary start", description)[0])
    assert low <= distance.min() < low + 0.05 and high - 0.05 < distance.max() <= high
    assert "| 0 or more | 0 to 1.2 |" in description and to_target.max() <= 1.2
    np.testing.assert_allclose(others, 0.0, atol=1e-6)


def test_ordinary_starts(ordinary: State) -> None:
    states = ordinary
    qpos = np.asarray(states.data.qpos)
    chair, robot = qpos[:, CHAIR_POSITION][:, :2], qpos[:, :2]
    distance, apart = np.linalg.norm(chair, axis=1), np.linalg.norm(robot - chair, axis=1)
    for drawn in (distance, apart):
        assert 0.8 <= drawn.min() < 0.82 and 1.18 < drawn.max() <= 1.2001
    directions = np.arctan2(chair[:, 1], chair[:, 0])
    assert np.histogram(directions, bins=4, range=(-np.pi, np.pi))[0].min() > 40
    w, _, _, z = qpos[:, CHAIR_QUATERNION].T
    facing = np.stack([w * w - z * z, 2 * w * z], axis=1)
    to_target = -chair / distance[:, None]
    error = np.arccos(np.clip((facing * to_target).sum(1), -1, 1))
    assert 0.38 * np.pi < error.max() <= 0.4 * np.pi + 1e-3
    behind = (chair - robot) / apart[:, None]
    off = np.arccos(np.clip((facing * behind).sum(1), -1, 1))
    assert 0.19 * np.pi < off.max() <= 0.2 * np.pi + 1e-3
    heading = np.stack([np.cos(qpos[:, 2]), np.sin(qpos[:, 2])], axis=1)
    heading_error = np.arccos(np.clip((heading * behind).sum(1), -1, 1))
    assert heading_error.max() <= 0.05 * np.pi + 1e-3
    assert np.asarray(states.episode.healthy).all()
    assert (np.abs(np.asarray(states.data.qvel)) == 0).all()


@pytest.mark.parametrize("start", ["ordinary", "perturbed", "ood", "ood-noisy"])
def test_nothing_begins_inside_anything(start: str) -> None:
    env = envs.load("push_chair", start=start, engine="mujoco")
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(1), 200))
    data = mujoco.MjData(env.model)
    for qpos in np.asarray(states.data.qpos, np.float64):
        data.qpos[:] = qpos
        mujoco.mj_forward(env.model, data)
        assert all(contact.dist > -2e-3 for contact in data.contact)


def test_ood_start() -> None:
    env = envs.load("push_chair", start="ood", engine="mujoco")
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 64))
    _, to_target, tilt, speed, spin = np.asarray(states.recovery_state).T
    np.testing.assert_allclose(to_target, 1.0, atol=1e-6)
    np.testing.assert_allclose(tilt, 0.5021 * np.pi, atol=1e-5)
    assert (speed == 0).all() and (spin == 0).all()
    assert not np.asarray(states.episode.healthy).any()
