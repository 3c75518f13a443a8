"""What the language model is told of each robot, against the model."""

from __future__ import annotations

import re

import mujoco
import numpy as np
import pytest

from envs import RecoveryEnv, registry
from envs.robots.push_chair.robot import SPEEDS


def rows(description: str, section: str) -> list[list[str]]:
    """Returns the cells of each numbered table row below the heading that begins with `section`."""
    body = description.split(f"\n## {section}", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in body.splitlines() if re.match(r"\| \d", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def coordinate_names(model: mujoco.MjModel) -> tuple[list[str], list[str]]:
    """Returns the joint of each entry of qpos and of qvel, in the model's order."""
    widths = {mujoco.mjtJoint.mjJNT_FREE: (7, 6), mujoco.mjtJoint.mjJNT_BALL: (4, 3)}
    qpos, qvel = [], []
    for joint in range(model.njnt):
        position, velocity = widths.get(mujoco.mjtJoint(model.jnt_type[joint]), (1, 1))
        qpos += [model.joint(joint).name] * position
        qvel += [model.joint(joint).name] * velocity
    return qpos, qvel


def test_every_state_entry_has_its_row(env: RecoveryEnv) -> None:
    qpos, qvel = coordinate_names(env.model)
    left_out = env.model.nq + env.model.nv - env.observation_size  # the position on the floor
    table = rows(env.description(), "State")
    assert [int(row[0]) for row in table] == list(range(env.observation_size))
    assert [row[1] for row in table] == [f"`{name}`" for name in (qpos + qvel)[left_out:]]
    assert all(len(row) == 6 and all(row) for row in table)
    assert f"## State: {env.observation_size} numbers" in env.description()


def test_every_action_entry_has_its_row(env: RecoveryEnv) -> None:
    table = action_rows(env.model, env.description())
    for row, gear in zip(table, env.model.actuator_gear[:, 0], strict=True):
        torque = f"largest {gear:g} N m"
        assert torque in row[2] or torque.replace("largest", "largest,") in env.description()


def action_rows(model: mujoco.MjModel, description: str) -> list[list[str]]:
    """Returns the rows of the action table, after checking all but their words."""
    driven = [model.joint(joint).name for joint in model.actuator_trnid[:, 0]]
    table = rows(description, "Action")
    assert [int(row[0]) for row in table] == list(range(model.nu))
    assert [row[1] for row in table] == [f"`{name}`" for name in driven]
    assert all(row[3] == "-1 to 1" for row in table)
    assert f"## Action: {model.nu} numbers" in description
    return table


def test_humanoids_tables() -> None:
    model, description = (
        registry.get("humanoid").make_model(),
        registry.get("humanoid").description(),
    )
    assert "## State: 67 numbers" in description
    assert f"weighs {model.body_mass.sum():.1f} kg" in description
    assert "One control step lasts 0.025 s" in description
    table = rows(description, "State")
    assert [int(row[0]) for row in table] == list(range(67))
    assert all(len(row) == 6 and all(row) for row in table)
    qpos, qvel = coordinate_names(model)
    assert [row[1] for row in table[:21]] == [f"`{name}`" for name in qpos[7:]]
    assert [row[1] for row in table[40:]] == [f"`{name}`" for name in qvel]
    for row in table[:21]:
        stated = [float(number) for number in row[4].split(" to ")]
        np.testing.assert_allclose(stated, model.joint(row[1].strip("`")).range, atol=6e-4)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    standing = [float(row[5]) for row in table[22:34]]
    np.testing.assert_allclose(data.sensordata[:12], standing, atol=6e-3)
    actions = action_rows(model, description)
    for row, gear in zip(actions, model.actuator_gear[:, 0], strict=True):
        assert f"largest {gear:g} N m" in row[2]


def test_push_chairs_tables() -> None:
    model = registry.get("push_chair").make_model()
    description = registry.get("push_chair").description()
    assert "## State: 5 numbers" in description
    assert "One control step lasts 0.05 s" in description
    assert f"weighs {model.body('seat').subtreemass[0]:.0f} kg" in description
    table = rows(description, "State")
    assert [int(row[0]) for row in table] == list(range(5))
    assert [row[3] for row in table] == ["m", "m", "rad", "m/s", "rad/s"]
    for row, speed in zip(action_rows(model, description), SPEEDS, strict=True):
        assert f"largest {speed:g} " in row[2]


def test_stated_ranges_are_the_models(env: RecoveryEnv) -> None:
    positions = env.observation_size - env.model.nv
    for row in rows(env.description(), "State")[:positions]:
        joint = env.model.joint(row[1].strip("`"))
        if env.model.jnt_limited[joint.id]:
            stated = [float(number) for number in row[4].split(" to ")]
            np.testing.assert_allclose(stated, joint.range, atol=6e-4)
            assert row[3] == "rad"


@pytest.mark.parametrize("name", registry.names())
def test_stated_standing_values_are_in_range(name: str) -> None:
    for row in rows(registry.get(name).description(), "State"):
        limits = re.fullmatch(r"(\S+) to (\S+)", row[4])
        numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", row[5].split(";")[0])]
        assert numbers
        if limits:
            low, high = map(float, limits.groups())
            assert low <= min(numbers) and max(numbers) <= high


def test_stated_mass_and_control_step(env: RecoveryEnv) -> None:
    description = env.description()
    assert f"weighs {round(env.model.body_mass.sum(), 1):g} kg" in description
    assert f"One control step lasts {env.control_timestep:g} s" in description


@pytest.mark.parametrize("name", ["half_cheetah", "hopper", "walker2d"])
def test_positive_pitch_tips_forward(name: str) -> None:
    assert "positive: tipped forward" in rows(registry.get(name).description(), "State")[1][2]
    model = registry.get(name).make_model()
    data = mujoco.MjData(model)
    data.joint("rooty").qpos = 0.3
    mujoco.mj_kinematics(model, data)
    assert data.body("torso").xmat[2] > 0.1  # its top has moved along +x ...
    assert data.body("torso").xmat[6] < -0.1  # ... and its front down


@pytest.mark.parametrize(
    ("name", "joint", "angle", "geom", "coordinate", "sign"),
    [
        ("ant", "hip_1", 0.3, "left_ankle_geom", 1, 1),  # from forward left further to the left
        ("ant", "ankle_1", 0.3, "left_ankle_geom", 2, -1),
        ("ant", "ankle_2", -0.3, "right_ankle_geom", 2, -1),
        ("ant", "ankle_3", -0.3, "third_ankle_geom", 2, -1),
        ("ant", "ankle_4", 0.3, "fourth_ankle_geom", 2, -1),
        ("half_cheetah", "bthigh", 0.3, "bfoot", 0, -1),
        ("half_cheetah", "bshin", 0.3, "bfoot", 0, -1),
        ("half_cheetah", "bfoot", 0.3, "bfoot", 0, -1),
        ("half_cheetah", "fthigh", 0.3, "ffoot", 0, -1),
        ("half_cheetah", "fshin", 0.3, "ffoot", 0, -1),
        ("half_cheetah", "ffoot", 0.3, "ffoot", 0, -1),
        ("hopper", "thigh_joint", -0.3, "leg_geom", 0, -1),
        ("hopper", "leg_joint", -0.3, "foot_geom", 0, -1),
        ("hopper", "foot_joint", 0.3, "foot_geom", 2, 1),
        ("walker2d", "thigh_left_joint", -0.3, "leg_left_geom", 0, -1),
        ("walker2d", "leg_left_joint", -0.3, "foot_left_geom", 0, -1),
        ("walker2d", "foot_left_joint", 0.3, "foot_left_geom", 2, 1),
        ("humanoid", "abdomen_y", 0.3, "left_shin", 0, -1),
        ("humanoid", "abdomen_x", 0.3, "left_shin", 1, 1),
        ("humanoid", "right_hip_x", 0.3, "right_shin", 1, 1),
        ("humanoid", "left_hip_x", 0.3, "left_shin", 1, -1),
        ("humanoid", "right_hip_y", -0.3, "right_shin", 0, 1),
        ("humanoid", "right_knee", -0.3, "right_right_foot", 0, -1),
        ("humanoid", "right_ankle_y", 0.3, "right_right_foot", 2, -1),
        ("humanoid", "right_shoulder2", 0.3, "right_hand", 2, 1),
        ("humanoid", "left_shoulder2", 0.3, "left_hand", 2, -1),
        ("push_chair", "left_joint2", 0.3, "left_palm", 2, -1),
        ("push_chair", "left_joint4", 0.3, "left_palm", 2, 1),
        ("push_chair", "right_joint6", 0.3, "right_palm", 2, 1),
        ("push_chair", "right_joint1", 0.3, "right_palm", 1, 1),
        ("push_chair", "lift", 0.3, "left_palm", 2, 1),
    ],
)
def test_joints_turn_as_described(
    name: str, joint: str, angle: float, geom: str, coordinate: int, sign: int
) -> None:
    model = registry.get(name).make_model()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    before = data.geom(geom).xpos[coordinate].copy()
    data.joint(joint).qpos += angle
    mujoco.mj_kinematics(model, data)
    assert sign * (data.geom(geom).xpos[coordinate] - before) > 1e-3


@pytest.mark.parametrize("name", registry.names())
def test_says_the_task_but_not_the_recovery(name: str) -> None:
    description = registry.get(name).description().lower()
    assert "**original task:**" in description
    assert "**healthy** means" in description
    for word in ("recover", "get up", "turn over", "out of distribution", "reward"):
        assert word not in description
