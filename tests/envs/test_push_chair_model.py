"""PushChair's model: numbers, rest, tipping over, and what may touch what."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import pytest

from envs.robots.push_chair import model as parts
from envs.robots.push_chair.robot import CHAIR_QUATERNION, SWIVEL, PushChair

# Of the Panda: modified Denavit-Hartenberg parameters a and d [m], alpha [pi/2], joint limits [rad]
# and torque limit [N m] as Franka publishes them (franka_ros), masses [kg] as identified by Gaz et
# al. (IEEE RA-L 2019).
PUBLISHED = (
    (0.0, 0.333, 0, -2.8973, 2.8973, 87, 4.970684),
    (0.0, 0.0, -1, -1.7628, 1.7628, 87, 0.646926),
    (0.0, 0.316, 1, -2.8973, 2.8973, 87, 3.228604),
    (0.0825, 0.0, 1, -3.0718, -0.0698, 87, 3.587895),
    (-0.0825, 0.384, -1, -2.8973, 2.8973, 12, 1.225946),
    (0.0, 0.0, 1, -0.0175, 3.7525, 12, 1.666555),
    (0.088, 0.0, 1, -2.8973, 2.8973, 12, 0.735522),
)
FLANGE, TOOL = 0.107, 0.1034  # metres from the last joint to the hand, and on to its tool point

TILT_OF_REST = {"back": 0.502 * np.pi, "side": 0.528 * np.pi, "front": 0.776 * np.pi}


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return PushChair.make_model()


def at_start(model: mujoco.MjModel, start: str = "ordinary") -> mujoco.MjData:
    data = mujoco.MjData(model)
    data.qpos[:] = PushChair.starts()[start].qpos
    mujoco.mj_forward(model, data)
    return data


def run(model: mujoco.MjModel, data: mujoco.MjData, seconds: float) -> None:
    for _ in range(round(seconds / model.opt.timestep)):
        mujoco.mj_step(model, data)


def tilt(data: mujoco.MjData) -> float:
    return float(np.arccos(np.clip(data.body("seat").xmat[8], -1, 1)))


def energy_of_motion(model: mujoco.MjModel, data: mujoco.MjData) -> float:
    product = np.zeros(model.nv)
    mujoco.mj_mulM(model, data, product, data.qvel)
    return 0.5 * float(data.qvel @ product)


def test_sizes(model: mujoco.MjModel) -> None:
    assert (model.nq, model.nv, model.nu) == (30, 29, 20)
    assert model.opt.timestep == 0.01
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER
    assert model.opt.solver == mujoco.mjtSolver.mjSOL_NEWTON
    assert model.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL


def test_masses(model: mujoco.MjModel) -> None:
    assert model.body("seat").subtreemass[0] == pytest.approx(10.0)
    for arm in parts.ARMS:
        for number, (*_, mass) in enumerate(PUBLISHED, start=1):
            assert model.body(f"{arm}_link{number}").mass[0] == pytest.approx(mass)
        assert model.body(f"{arm}_hand").mass[0] == pytest.approx(0.73)
    carried = model.body_gravcomp > 0
    assert carried[1 : model.body("seat").id].all()
    assert not carried[model.body("seat").id :].any()


def test_servos_are_stable_by_themselves(model: mujoco.MjModel) -> None:
    """Explicit velocity feedback diverges from gain x timestep = 2 x inertia on."""
    inertia = np.zeros((model.nv, model.nv))
    for start in ("ordinary", "ood"):
        mujoco.mj_fullM(model, at_start(model, start), inertia)
        gains = np.zeros(model.nv)
        gains[model.jnt_dofadr[model.actuator_trnid[:, 0]]] = model.actuator_gainprm[:, 0]
        rates = np.linalg.eigvals(np.linalg.solve(inertia, np.diag(gains))).real
        assert rates.max() * model.opt.timestep < 1.5


def tool_from_foot(model: mujoco.MjModel, arm: str, angles: np.ndarray) -> np.ndarray:
    data = mujoco.MjData(model)
    for number, angle in enumerate(angles, start=1):
        data.joint(f"{arm}_joint{number}").qpos = angle
    mujoco.mj_kinematics(model, data)
    return np.array(data.site(f"{arm}_tool").xpos - data.body(f"{arm}_link0").xpos)


@pytest.mark.parametrize("arm", parts.ARMS)
def test_arm_has_the_pandas_kinematics(model: mujoco.MjModel, arm: str) -> None:
    """The tool from the arm's foot, by the product of the joints' transforms."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        angles = np.array([rng.uniform(low, high) for *_, low, high, _, _ in PUBLISHED])
        transform = np.eye(4)
        for (a, d, alpha, *_), angle in zip(PUBLISHED, angles, strict=True):
            turn = alpha * np.pi / 2
            c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(turn), np.sin(turn)
            transform = transform @ [
                [c, -s, 0, a],
                [s * ca, c * ca, -sa, -d * sa],
                [s * sa, c * sa, ca, d * ca],
                [0, 0, 0, 1],
            ]
        tool = transform @ [0, 0, FLANGE + TOOL, 1]
        np.testing.assert_allclose(tool_from_foot(model, arm, angles), tool[:3], atol=1e-9)


@pytest.mark.parametrize(
    ("angles", "tool"),
    [
        ([0, 0, 0, 0, 0, 0, 0], [0.088, 0, 0.333 + 0.316 + 0.384 - FLANGE - TOOL]),
        # The hand points straight down, in front of the arm.
        (
            [0, 0, 0, -np.pi / 2, 0, np.pi / 2, 0],
            [0.0825 + 0.384 + 0.088, 0, 0.333 + 0.316 + 0.0825 - FLANGE - TOOL],
        ),
    ],
)
def test_tool_is_where_it_is_by_hand(
    model: mujoco.MjModel, angles: list[float], tool: list[float]
) -> None:
    for arm in parts.ARMS:
        measured = tool_from_foot(model, arm, np.array(angles))
        np.testing.assert_allclose(measured, tool, atol=1e-9)


def test_joint_and_torque_limits(model: mujoco.MjModel) -> None:
    for arm in parts.ARMS:
        for number, (*_, low, high, torque, _) in enumerate(PUBLISHED, start=1):
            joint = model.joint(f"{arm}_joint{number}")
            np.testing.assert_allclose(joint.range, [low, high])
            assert model.jnt_limited[joint.id]
            assert low < parts.ARM_HOME[number - 1] < high
            servo = model.actuator(f"{arm}_joint{number}")
            np.testing.assert_allclose(servo.forcerange, [-torque, torque])


@pytest.mark.parametrize("start", ["ordinary", "ood"])
def test_starts_at_rest_and_stays_there(model: mujoco.MjModel, start: str) -> None:
    data = at_start(model, start)
    assert all(contact.dist > -1e-3 for contact in data.contact), "no initial penetration"
    before = data.qpos.copy()
    run(model, data, 2.0)
    moved = np.abs(data.qpos - before)
    # On its back the chair may roll and sink by less than 1 cm until it rests.
    assert moved.max() < (1e-4 if start == "ordinary" else 1e-2)
    assert np.abs(data.qvel).max() < 1e-3


@pytest.mark.parametrize("lying_on", TILT_OF_REST)
def test_lies_still_on_its(model: mujoco.MjModel, lying_on: str) -> None:
    data = mujoco.MjData(model)
    data.qpos[:] = PushChair.starts()["ordinary"].qpos
    half = np.sqrt(0.5)
    data.qpos[24] = 0.3
    data.qpos[CHAIR_QUATERNION] = {
        "back": [half, 0, -half, 0],
        "side": [half, half, 0, 0],
        "front": [half, 0, half, 0],
    }[lying_on]
    run(model, data, 5.0)
    assert np.abs(data.qvel).max() < 1e-3
    assert tilt(data) == pytest.approx(TILT_OF_REST[lying_on], abs=0.01 * np.pi)


def test_energy_at_rest_decays(model: mujoco.MjModel) -> None:
    data = at_start(model)
    rng = np.random.default_rng(0)
    data.qvel[:] = rng.normal(scale=0.5, size=model.nv)
    data.qvel[22:28] = [0.3, -0.2, 0.0, 0.0, 0.0, 1.0]  # the chair rolls and turns
    mujoco.mj_forward(model, data)
    energies = [energy_of_motion(model, data)]
    for _ in range(5):
        run(model, data, 1.0)
        energies.append(energy_of_motion(model, data))
    assert energies[0] > 2.0
    assert energies[1] < 0.1 * energies[0]
    assert energies[-1] < 1e-3


def push(model: mujoco.MjModel, force: float, height: float, seconds: float) -> mujoco.MjData:
    """Returns the simulation 4 s after the back was pushed forward at `height` above the floor."""
    data = at_start(model)
    data.qpos[0] = -6.0  # the robot is out of the way
    seat = model.body("seat").id
    for _ in range(round(seconds / model.opt.timestep)):
        at = data.body("seat").xpos + np.array([-0.25, 0, height - parts.SEAT_HEIGHT])
        data.qfrc_applied[:] = 0
        mujoco.mj_applyFT(
            model, data, np.array([force, 0, 0]), np.zeros(3), at, seat, data.qfrc_applied
        )
        mujoco.mj_step(model, data)
    data.qfrc_applied[:] = 0
    run(model, data, 4.0)
    return data


def test_pushed_gently_it_rolls_and_stops(model: mujoco.MjModel) -> None:
    data = push(model, force=20.0, height=0.85, seconds=0.5)
    assert tilt(data) < 1e-3
    assert 0.2 < data.body("seat").xpos[0] + 1.0 < 2.0
    assert np.abs(data.qvel).max() < 1e-2


def test_pushed_hard_and_high_it_tips_over(model: mujoco.MjModel) -> None:
    assert tilt(push(model, force=100.0, height=0.88, seconds=0.3)) > 0.4 * np.pi
    assert tilt(push(model, force=100.0, height=0.45, seconds=0.3)) < 0.05, "pushed low it rolls"


def test_swivels_and_can_be_set_upright(model: mujoco.MjModel) -> None:
    data = at_start(model)
    data.joint("swivel").qfrc_applied = 5.0
    run(model, data, 1.0)
    assert data.qpos[SWIVEL] > 0.5
    assert tilt(data) < 1e-3
    # Turned up slowly and let go where its weight takes over, a lying chair comes to stand.
    data = at_start(model, "ood")
    data.qpos[0] = -6.0
    seat = model.body("seat").id
    for _ in range(1000):
        if tilt(data) < 0.12 * np.pi:
            break
        turning = 100.0 * (0.8 - data.body("seat").cvel[1])
        data.xfrc_applied[seat, 4] = turning
        mujoco.mj_step(model, data)
    data.xfrc_applied[:] = 0
    run(model, data, 3.0)
    assert tilt(data) < 1e-2


def test_pushed_at_its_seat_a_lying_chair_comes_to_stand(model: mujoco.MjModel) -> None:
    """As a robot behind it can: forward and a little up, at the edge that is on top."""
    data = at_start(model, "ood")
    data.qpos[0] = -6.0
    seat = model.body("seat").id
    force = np.array([60.0, 0.0, 40.0])
    for _ in range(300):
        if tilt(data) < 0.12 * np.pi:
            break
        top = data.body("seat").xpos + data.body("seat").xmat.reshape(3, 3) @ [0.24, 0, 0]
        data.qfrc_applied[:] = 0
        mujoco.mj_applyFT(model, data, force, np.zeros(3), top, seat, data.qfrc_applied)
        mujoco.mj_step(model, data)
    data.qfrc_applied[:] = 0
    run(model, data, 3.0)
    assert tilt(data) < 1e-2


def test_casters_roll_only_while_the_chair_stands(model: mujoco.MjModel) -> None:
    def lowest_below_side(turned: float) -> float:
        """How far a caster's lowest point is below that of its side, turned outward [m]."""
        out, up = parts.CASTER_SIDE_OUT, parts.CASTER_SIDE_UP
        side = up * np.cos(turned) - out * np.sin(turned) - parts.CASTER_SIDE_RADIUS
        return float(side + parts.CASTER_RADIUS)

    assert lowest_below_side(0.0) == pytest.approx(0.01)
    assert lowest_below_side(np.radians(15)) > 0 > lowest_below_side(np.radians(25))
    side, caster = model.geom("caster_side0"), model.geom("caster0")
    assert side.friction[0] == 1.0 and caster.friction[0] == 0.05
    np.testing.assert_allclose(
        np.linalg.norm(side.pos - caster.pos),
        np.hypot(parts.CASTER_SIDE_OUT, parts.CASTER_SIDE_UP),
    )


def test_what_may_touch_what(model: mujoco.MjModel) -> None:
    def may(one: str, other: str) -> bool:
        a, b = model.geom(one), model.geom(other)
        return bool((a.contype & b.conaffinity) | (b.contype & a.conaffinity))

    for touching in (
        "caster0",
        "caster_side0",
        "seat_corner0",
        "back_corner3",
        "left_palm",
        "right_tip2",
    ):
        assert may(touching, "floor")
    for chair in ("seat", "back", "column", "leg4"):
        assert may("left_tip1", chair) and may("right_forearm", chair) and may("bumper", chair)
        assert not may(chair, "floor")
    assert not may("left_palm", "right_palm")
    assert not may("left_palm", "caster0")
    assert not may("bumper", "floor")


def test_contacts_fit_into_what_mjx_makes_room_for(
    model: mujoco.MjModel, contacts_with_chair: Callable[[mujoco.MjModel, mujoco.MjData], int]
) -> None:
    room = int(model.numeric("max_contact_points").data[0])
    rng = np.random.default_rng(0)
    data = at_start(model, "ood")
    data.qpos[0] = -1.9  # near enough to touch
    most = most_with_chair = 0
    for _ in range(150):
        speeds = model.actuator_ctrlrange[:, 1] * rng.uniform(-1, 1, model.nu)
        speeds[[0, 3]] = [0.2, -0.5]  # forward, down onto the chair
        data.ctrl[:] = speeds
        for _ in range(PushChair.frame_skip):
            mujoco.mj_step(model, data)
            most = max(most, data.ncon)
            most_with_chair = max(most_with_chair, contacts_with_chair(model, data))
    assert np.isfinite(data.qpos).all()
    assert most_with_chair > 0, "the robot should touch the chair"
    assert 4 < most <= room
    assert np.abs(data.qvel).max() < 20.0
