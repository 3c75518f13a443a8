"""PushChair: push a chair to a target; out of distribution the chair lies on its back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs import banks
from envs.defaults import random_quaternion
from envs.mirror import Mirror, Reflection, axes
from envs.physics.interface import PhysicsData
from envs.recovery_env import RecoveryEnv, State
from envs.robots.push_chair import model as parts
from envs.start import Start

FINGER_HOME = 0.02
# How the chair comes to rest on its back: seat 0.28 m high, a quarter turn (the official rotation)
# and a little more, until the back's upper edge and two casters lie on the floor.
LYING_TILT, LYING_HEIGHT = 0.5021 * np.pi, 0.2777
# Where its seat is let go to fall into a random pose [m]: it touches nothing, however it is turned.
DROP_HEIGHT = 0.9

# Where things are in qpos (30) and qvel (29).
LIFT, LEFT, RIGHT = 3, slice(4, 13), slice(13, 22)  # each arm: 7 joints, 2 fingers
CHAIR_POSITION, CHAIR_QUATERNION = slice(22, 25), slice(25, 29)
CHAIR_VELOCITY, CHAIR_SPIN, SWIVEL = slice(22, 25), slice(25, 28), 29

SPEEDS = np.array(
    [parts.BASE_SPEED, parts.BASE_SPEED, parts.TURN_SPEED, parts.LIFT_SPEED]
    + [parts.JOINT_SPEED] * 14
    + [parts.FINGER_SPEED] * 2
)

# The chair's surface, without casters: boards in the seat's frame (centers, half sizes) and rods in
# the star's (starts, ends, radii).
BOARDS = (
    np.array([[0.0, 0.0, 0.0], parts.BACK_POSITION]),
    np.array([parts.SEAT_SIZE, parts.BACK_SIZE]),
)
RODS = tuple(np.array(column) for column in zip(*parts.star_capsules(), strict=True))

# What is on either arm, and what points or turns the other way in a mirror.
JOINTS = [f"joint{number}" for number in range(1, 8)]
SIDES = ("left", "right")
SIDEWAYS_JOINTS = ("joint1", "joint3", "joint5", "joint7")
SIDEWAYS = ("base_y", "turn", "seat_y", "forward_y", "up_y", "velocity_y", "spin_x", "spin_z")
SIDEWAYS_PLACES = ("target_y", "hand_y")

AT_TARGET = 0.15  # metres
CLOSE = 0.1  # metres from a hand to the chair
STANDING_TILT, HEALTHY_TILT = 0.2 * np.pi, 0.1 * np.pi
RESTING_SPEED, RESTING_SPIN = 0.1, 0.2  # m/s, rad/s
SUCCESS_REWARD = 100.0
# A nearer hand counts as this near: our choice. The reward of nearness is logarithmic and would
# else pay most for closing a gripper on a board's edge.
NEAREST = 0.01


@dataclass(frozen=True)
class PushChairStart(Start):
    """A chair around the target and a robot behind it.

    `qpos` has the chair face +x; both are then placed and turned, and the noise of `Start` is
    added to everything else. By default distances and angles are those of the official task.

    Attributes:
        chair_distance: nearest and farthest from the target [m], in any direction.
        facing_error: largest angle between where the chair faces and the target [rad].
        robot_distance: nearest and farthest from the chair [m].
        robot_angle: largest angle of the robot off the line behind the chair [rad].
        heading_error: largest angle between the robot's heading and the chair [rad].
    """

    chair_distance: tuple[float, float] = (0.8, 1.2)
    facing_error: float = 0.4 * np.pi
    robot_distance: tuple[float, float] = (0.8, 1.2)
    robot_angle: float = 0.2 * np.pi
    heading_error: float = 0.05 * np.pi

    def sample(self, key: jax.Array, nv: int) -> tuple[jax.Array, jax.Array]:
        key, place_key = jax.random.split(key)
        qpos, qvel = super().sample(key, nv)
        centered = jax.random.uniform(place_key, (6,), minval=-1.0, maxval=1.0)
        direction = np.pi * centered[0]
        chair = _between(self.chair_distance, centered[1]) * _unit(direction)
        facing = direction + np.pi + self.facing_error * centered[2]
        behind = facing + np.pi + self.robot_angle * centered[3]
        robot = chair + _between(self.robot_distance, centered[4]) * _unit(behind)
        heading = behind + np.pi + self.heading_error * centered[5]
        qpos = qpos.at[:2].set(robot).at[2].set(jnp.arctan2(jnp.sin(heading), jnp.cos(heading)))
        w, x, y, z = qpos[CHAIR_QUATERNION]
        c, s = jnp.cos(facing / 2), jnp.sin(facing / 2)
        turned = jnp.stack([c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w])
        qpos = qpos.at[CHAIR_POSITION.start : CHAIR_POSITION.start + 2].set(chair)
        return qpos.at[CHAIR_QUATERNION].set(turned), qvel


class PushChair(RecoveryEnv):
    """A wheeled base with two Panda arms pushes an office chair to the origin.

    After ManiSkill2's task of that name. Vectors are seen from the robot's base, whose x axis
    points forward and whose z axis points up; the world's directions mean nothing.

    Observation (62): velocity of the base (2) and its yaw rate; height of the lift and its
    velocity; arm joint angles (14) and velocities (14); openings of the grippers (2); the seat's
    place (2) and height, its forward axis (3), its upward axis (3), its velocity (3) and angular
    velocity (3); the target's place (2); from the seat to either hand (2 x 3); the distance of
    either hand to the chair's surface (2); distance from chair to target, the chair's tilt.
    Action (20), velocities, -1..1 of the largest: base forward, left (0.5 m/s) and turn
    (3.14 rad/s), lift (0.5 m/s), arm joints (14 x 3.14 rad/s), grippers (0.1 m/s, opening).
    Reward: -d - clip(ln(d), -10, 0), d the hands' mean distance to the chair but no less than
    0.01 m; -0.2 x tilt; -1e-6 x length of the action; while the chair stands: 2 with the hands
    within 0.1 m, and then either, off the target, up to 2 for speed towards it and -2 x distance,
    or, at it, 2 + 2 exp(-10 x speed) and 2 more at rest; 100 for success.
    Healthy: tilt <= 0.1 pi. Success: at rest within 0.15 m of the target, standing.
    Fails: tilt >= 0.2 pi.
    Recovery state (5): d [m], distance from chair to target [m], tilt [rad], speed of the chair
    [m/s], its angular speed [rad/s].
    """

    name = "push_chair"
    original_task = "push the chair to the target and keep it standing"
    frame_skip = 5
    episode_length = 400
    recovered_share = 0.1
    has_goal = True
    moves_things = True

    @classmethod
    def make_model(cls) -> mujoco.MjModel:
        return parts.build().compile()

    @classmethod
    def starts(cls) -> dict[str, Start]:
        standing, on_its_back = pose(0.0, parts.SEAT_HEIGHT), pose(LYING_TILT, LYING_HEIGHT)
        # Our choice: the widths of `perturbed`, and that the star below the seat begins turned in
        # any way (officially in one that is stored with the chair).
        joints = np.array([*[0] * 4, *[1] * 7, 0, 0, *[1] * 7, 0, 0, *[0] * 8])
        swivel = np.eye(30)[SWIVEL]
        ood = PushChairStart(on_its_back, chair_distance=(1.0, 1.0), facing_error=0.0)
        starts: dict[str, Start] = {
            "ordinary": PushChairStart(standing, qpos_noise=np.pi * swivel, time_limit=100),
            "perturbed": PushChairStart(
                standing,
                qpos_noise=0.2 * joints + np.pi * swivel,
                qvel_noise=np.array([*[0] * 22, 0.3, 0.3, 0, 0, 0, 0.3, 0]),
                chair_distance=(0.2, 1.4),
                facing_error=0.6 * np.pi,
                robot_distance=(1.1, 1.5),
                robot_angle=0.4 * np.pi,
                time_limit=100,
            ),
            "lifting": Start(banks.load(cls.file("lifting.npz"))),
            "ood": ood,
            "ood-noisy": PushChairStart(
                on_its_back, qpos_noise=0.05 * joints, chair_distance=(0.8, 1.2)
            ),
        }
        if cls.file("ood-wide.npz").is_file():
            fallen = banks.load(cls.file("ood-wide.npz"))
            starts["ood-wide"] = PushChairStart(fallen, facing_error=np.pi)
        return starts

    @classmethod
    def random_pose(cls, model: mujoco.MjModel, rng: np.random.Generator) -> np.ndarray:
        """Drops the chair out of the robot's reach, turned in any way."""
        qpos = cls.starts()["ood"].qpos.copy()
        qpos[CHAIR_POSITION.stop - 1] = DROP_HEIGHT
        qpos[CHAIR_QUATERNION] = random_quaternion(rng)
        qpos[SWIVEL] = rng.uniform(-np.pi, np.pi)
        return qpos

    def control(self, data: PhysicsData, action: jax.Array) -> jax.Array:
        velocity = jnp.asarray(SPEEDS) * action
        return jnp.concatenate([_turn(data.qpos[2], velocity[:2]), velocity[2:]])

    def observe(self, data: PhysicsData, memory: Any) -> jax.Array:
        qpos, qvel = data.qpos, data.qvel
        yaw, robot = qpos[2], qpos[:2]
        rotation = _rotation(qpos[CHAIR_QUATERNION])
        place = qpos[CHAIR_POSITION]
        hands = data.sensordata.reshape(2, 3)

        def seen(vector: jax.Array) -> jax.Array:
            return jnp.concatenate([_turn(-yaw, vector[:2]), vector[2:]])

        return jnp.concatenate(
            [
                _turn(-yaw, qvel[:2]),
                qvel[2:3],
                qpos[LIFT : LIFT + 1],
                qvel[LIFT : LIFT + 1],
                qpos[LEFT][:7],
                qpos[RIGHT][:7],
                qvel[LEFT][:7],
                qvel[RIGHT][:7],
                qpos[jnp.array([LEFT.stop - 2, RIGHT.stop - 2])],
                _turn(-yaw, place[:2] - robot),
                place[2:],
                seen(rotation[:, 0]),
                seen(rotation[:, 2]),
                seen(qvel[CHAIR_VELOCITY]),
                seen(rotation @ qvel[CHAIR_SPIN]),
                _turn(-yaw, -robot),
                *[seen(hand - place) for hand in hands],
                self.surface_distances(data),
                self.recovery_state(data)[1:3],
            ]
        )

    def recovery_state(self, data: PhysicsData, memory: Any = ()) -> jax.Array:
        return jnp.stack(
            [
                self.surface_distances(data).mean(),
                jnp.linalg.norm(data.qpos[CHAIR_POSITION][:2]),
                _tilt(data),
                jnp.linalg.norm(data.qvel[CHAIR_VELOCITY]),
                jnp.linalg.norm(data.qvel[CHAIR_SPIN]),
            ]
        )

    def task_reward(
        self, before: State, action: jax.Array, data: PhysicsData, memory: Any
    ) -> jax.Array:
        distance, to_target, tilt, _, _ = self.recovery_state(data)
        distance = jnp.maximum(distance, NEAREST)
        reward = -distance - jnp.clip(jnp.log(distance), -10.0, 0.0)
        reward = reward - 0.2 * tilt - 1e-6 * jnp.linalg.norm(action)
        velocity = data.qvel[CHAIR_VELOCITY][:2]
        speed = jnp.linalg.norm(velocity)
        receding = velocity @ data.qpos[CHAIR_POSITION][:2] / jnp.maximum(to_target, 1e-6)
        resting = self.has_succeeded(data)
        at_target = 2.0 + 2.0 * jnp.exp(-10.0 * speed) + 2.0 * resting
        on_the_way = 2.0 * jnp.maximum(-1.0, 1.0 - jnp.exp(receding)) - 2.0 * to_target
        stage = 2.0 + jnp.where(to_target <= AT_TARGET, at_target, on_the_way)
        reward = reward + jnp.where((tilt < STANDING_TILT) & (distance < CLOSE), stage, 0.0)
        return reward + SUCCESS_REWARD * resting

    def is_healthy(self, data: PhysicsData) -> jax.Array:
        return _tilt(data) <= HEALTHY_TILT

    def has_failed(self, data: PhysicsData) -> jax.Array:
        return _tilt(data) >= STANDING_TILT

    def has_succeeded(self, data: PhysicsData) -> jax.Array:
        _, to_target, tilt, _, spin = self.recovery_state(data)
        speed = jnp.linalg.norm(data.qvel[CHAIR_VELOCITY][:2])
        at_rest = (speed <= RESTING_SPEED) & (spin <= RESTING_SPIN)
        return (to_target <= AT_TARGET) & (tilt < STANDING_TILT) & at_rest

    @classmethod
    def mirror(cls) -> Mirror:
        joints = [f"{side}_{joint}" for side in SIDES for joint in JOINTS]
        grippers = [f"{side}_gripper" for side in SIDES]
        base, chair = axes("base", of="xy"), axes("seat", "forward", "up", "velocity", "spin")
        speeds = [f"{joint}_speed" for joint in joints]
        hands = [*axes("target", of="xy"), *axes("left_hand", "right_hand")]
        distances = ["left_distance", "right_distance", "distance", "tilt"]
        seen = [*base, "turn", "lift", "lift_speed", *joints, *speeds, *grippers, *chair]
        sideways = [*SIDEWAYS, *SIDEWAYS_PLACES, *SIDEWAYS_JOINTS]
        sideways += [f"{joint}_speed" for joint in SIDEWAYS_JOINTS]
        return Mirror(
            observation=Reflection.by_name(
                [*seen, *hands, *distances], sideways, middles={"joint7": parts.ARM_HOME[6]}
            ),
            action=Reflection.by_name([*base, "turn", "lift", *joints, *grippers], sideways),
        )

    def surface_distances(self, data: PhysicsData) -> jax.Array:
        """Returns how far the left and the right hand are from the chair's surface [m], `(2,)`.

        Of seat, back, column and legs: the casters, which the robot's hands pass through, do not
        count. A hand is the point between its fingertips; inside the chair the distance is 0.
        """
        rotation = _rotation(data.qpos[CHAIR_QUATERNION])
        place, swivel = data.qpos[CHAIR_POSITION], data.qpos[SWIVEL]

        def distance(hand: jax.Array) -> jax.Array:
            by_seat = rotation.T @ (hand - place)
            by_star = jnp.concatenate([_turn(-swivel, by_seat[:2]), by_seat[2:]])
            boards = box_distance(by_seat, *BOARDS)
            rods = capsule_distance(by_star, *RODS)
            return jnp.maximum(jnp.minimum(boards.min(), rods.min()), 0.0)

        return jax.vmap(distance)(data.sensordata.reshape(2, 3))


def box_distance(point: jax.Array, center: np.ndarray, half_size: np.ndarray) -> jax.Array:
    """Returns signed distances `(n,)` from `point` `(3,)` to the surfaces of boxes along the axes.

    Args:
        point: negative distances are those of points inside.
        center: of each box, `(n, 3)`.
        half_size: of each box, `(n, 3)`.
    """
    beyond = jnp.abs(point - center) - half_size
    outside = jnp.linalg.norm(jnp.maximum(beyond, 0.0), axis=-1)
    return outside + jnp.minimum(beyond.max(axis=-1), 0.0)


def capsule_distance(
    point: jax.Array, start: np.ndarray, end: np.ndarray, radius: np.ndarray
) -> jax.Array:
    """Returns signed distances `(n,)` from `point` `(3,)` to the surfaces of capsules.

    Args:
        point: negative distances are those of points inside.
        start, end: of each capsule's axis, `(n, 3)`.
        radius: of each, `(n,)`.
    """
    axis = end - start
    share = ((point - start) * axis).sum(axis=-1) / np.square(axis).sum(axis=-1)
    nearest = start + jnp.clip(share, 0.0, 1.0)[:, None] * axis
    return jnp.linalg.norm(point - nearest, axis=-1) - radius


def pose(tilt: float, height: float) -> np.ndarray:
    """Returns `qpos` `(30,)`: the robot at home, 1 m behind a chair that leans back by `tilt`."""
    arm = [*parts.ARM_HOME, FINGER_HOME, FINGER_HOME]
    robot = [-2.0, 0.0, 0.0, parts.LIFT_HOME, *arm, *arm]
    leaning = [np.cos(tilt / 2), 0.0, -np.sin(tilt / 2), 0.0]
    return np.array([*robot, -1.0, 0.0, height, *leaning, 0.0])


def _tilt(data: PhysicsData) -> jax.Array:
    """Returns the angle between the chair's upward axis and the world's [rad], 0 to pi."""
    _, x, y, _ = data.qpos[CHAIR_QUATERNION] / jnp.linalg.norm(data.qpos[CHAIR_QUATERNION])
    # Through the sine of half the angle: a cosine near 1 has no precision left in single.
    return 2.0 * jnp.arcsin(jnp.clip(jnp.sqrt(x * x + y * y), 0.0, 1.0))


def _rotation(quaternion: jax.Array) -> jax.Array:
    """Returns the rotation matrix `(3, 3)` of a quaternion (w, x, y, z) `(4,)`."""
    w, x, y, z = quaternion / jnp.linalg.norm(quaternion)
    return jnp.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _turn(angle: jax.Array, vector: jax.Array) -> jax.Array:
    """Returns `vector` `(2,)` turned counter-clockwise by `angle`."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1]])


def _unit(angle: jax.Array) -> jax.Array:
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def _between(ends: tuple[float, float], centered: jax.Array) -> jax.Array:
    """Returns the point of an interval at -1 (its lower end) to 1 (its upper end)."""
    low, high = ends
    return 0.5 * (low + high) + 0.5 * (high - low) * centered
