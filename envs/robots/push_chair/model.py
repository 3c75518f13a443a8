"""The model of PushChair: a wheeled base with a lift and two Panda arms, and an office chair.

Built here from primitives rather than loaded. What is simplified, or otherwise than in the
official task (ManiSkill2's PushChair, of which LaMOuR uses model 3003), stands beside the numbers:

- Links look like capsules and have the Panda's masses; their inertias follow from these shapes.
- Robot and chair touch in spheres: fingertips, palms, wrists, forearms and a bumper against the
  chair's boxes and capsules; casters and the rounded corners of seat and back against the floor.
  Sphere contacts are exact and the same in C MuJoCo and MJX. The robot does not collide with
  itself, nor its elbows and mast with the chair.
- Casters are balls with little friction: they roll in every direction, without steering. Their
  sides do not roll: from a tilt of about 20 degrees on the chair rests on a sphere beside each,
  with the friction of the official wheels. Else a lying chair would roll off under every push.
- The robot's weight is carried (gravity compensation), as the Panda's own controller does.
- Joint speeds up to 3.14 rad/s are commanded as in the official task; a real Panda ends at 2.175
  (joints 1 to 4) and 2.61 rad/s (5 to 7).
- Friction: MuJoCo takes the larger of two surfaces' (PhysX, by default, their mean). Of robot and
  chair 1.0, whatever the chair's is; officially fingers have 2.0, the chair 0.1, which makes 1.05.
  Of a lying chair on the floor 0.3; officially 0.1 and 0.5, which makes 0.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import mujoco
import numpy as np

ARMS = ("left", "right")

# One physics step is a fifth of a control step (20 Hz): 100 Hz where the official task has 500, for
# speed. Explicit velocity servos are stable while gain x step < 2 x inertia; every gain below is at
# most its joint's armature or mass / 0.01 s. (An implicit integrator would allow more, but MJX's
# differs from MuJoCo's where a servo's force is at its limit.)
TIMESTEP = 0.01


@dataclass(frozen=True)
class Link:
    """A Panda link: modified (Craig) Denavit-Hartenberg parameters, limits, mass and look.

    Attributes:
        a, d, alpha: metres, metres, multiples of pi/2.
        limits: joint range [rad].
        mass: kg, as identified by Gaz et al. (RA-L 2019).
        torque: largest joint torque [N m].
        capsule: its look in its own frame: from z to z, radius [m].
    """

    a: float
    d: float
    alpha: int
    limits: tuple[float, float]
    mass: float
    torque: float
    capsule: tuple[float, float, float]


PANDA = (
    Link(0.0, 0.333, 0, (-2.8973, 2.8973), 4.970684, 87.0, (-0.24, -0.05, 0.065)),
    Link(0.0, 0.0, -1, (-1.7628, 1.7628), 0.646926, 87.0, (-0.06, 0.06, 0.065)),
    Link(0.0, 0.316, 1, (-2.8973, 2.8973), 3.228604, 87.0, (-0.24, -0.06, 0.06)),
    Link(0.0825, 0.0, 1, (-3.0718, -0.0698), 3.587895, 87.0, (-0.06, 0.06, 0.06)),
    Link(-0.0825, 0.384, -1, (-2.8973, 2.8973), 1.225946, 12.0, (-0.28, -0.06, 0.05)),
    Link(0.0, 0.0, 1, (-0.0175, 3.7525), 1.666555, 12.0, (-0.05, 0.05, 0.05)),
    Link(0.088, 0.0, 1, (-2.8973, 2.8973), 0.735522, 12.0, (-0.01, 0.07, 0.045)),
)
FLANGE = 0.107  # metres from the last joint to the hand
TOOL = 0.1034  # metres from the hand to the point between the fingertips
# Inertia of the rotors behind their gears: our choice, as large as stable servos of these gains
# need (above). MuJoCo Menagerie's Panda has 0.1 in every joint.
ARMATURE = {87.0: 0.5, 12.0: 0.2}
GAIN = {87.0: 50.0, 12.0: 20.0}  # N m per rad/s

ARM_HOME = (0.0, 0.0, 0.0, -1.5, 0.0, 3.0, 0.78)  # rad
FINGER_RANGE = (0.0, 0.04)  # metres from the middle, each
BASE_SPEED, LIFT_SPEED = 0.5, 0.5  # m/s
TURN_SPEED = JOINT_SPEED = 3.14  # rad/s
FINGER_SPEED = 0.1  # m/s

# The lift's coordinate is the height of the torso's top; the arms stand 0.65 m below it.
LIFT_HOME, LIFT_RANGE = 0.9, (0.75, 1.35)
ARM_BELOW_TOP = 0.65
SHOULDER_OFFSET = 0.22  # metres from the middle to either arm

# The chair is our choice: the size of an office chair, 0.62 x 0.65 x 0.90 m (the official model's
# mesh, scaled by 0.8, 0.94 x 1.3 x 0.9 m before it is turned), of 10 kg, which the arms can tip up
# (official: a density of 200 kg/m^3; what that weighs we do not know).
SEAT_HEIGHT = 0.48  # metres from the floor to the middle of the seat's board
SEAT_SIZE = (0.24, 0.23, 0.025)  # half extents
BACK_SIZE = (0.025, 0.22, 0.20)
BACK_POSITION = (-0.25, 0.0, 0.22)  # seen from the seat: a chair looks along its x axis
CASTER_RADIUS, CASTER_CIRCLE = 0.035, 0.28
# The side of a caster: a smaller sphere farther out, 1 cm above the floor while the chair stands.
CASTER_SIDE_RADIUS, CASTER_SIDE_OUT, CASTER_SIDE_UP = 0.03, 0.03, 0.005

# Contact bits: floor x chair, floor x hands, robot x chair.
_SKID, _HAND_FLOOR, _ROBOT_CHAIR = 1, 2, 4
_NOTHING = {"contype": 0, "conaffinity": 0}

_WHITE, _GREY, _DARK = [0.92, 0.93, 0.95, 1], [0.55, 0.58, 0.62, 1], [0.16, 0.18, 0.21, 1]
_BLUE, _RED, _GREEN = [0.12, 0.42, 0.75, 1], [0.80, 0.25, 0.16, 1], [0.15, 0.65, 0.30, 0.5]


def build() -> mujoco.MjSpec:
    """Returns the model: robot, chair, floor and a mark at the target, the origin."""
    spec = mujoco.MjSpec()
    spec.modelname = "push_chair"
    spec.compiler.degree = False
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_EULER
    # MJX stops here, converged or not. In 64 states with hands on the chair it has converged by 12
    # iterations: 12, 30 and 60 give the same bits, and velocities after a control step that are off
    # by 4e-5 at worst (relative to the largest, against C MuJoCo; with 30 also measured by `pytest
    # -s tests/envs/test_engines.py -k push_chair`). More are for arms that are deep in the chair:
    # there 12 once left errors as large as the velocities, and 30 had 4e-4 (at half the timestep).
    spec.add_numeric(name="mjx_iterations", data=[30])
    spec.stat.extent, spec.visual.map.shadowclip = 3.0, 3.0  # metres that shadows reach
    # MJX would make room for every pair that may touch (116). At most seven do at a time in random
    # motion toward the chair and on the way up with it; beyond this number it keeps the deepest.
    spec.add_numeric(name="max_contact_points", data=[16])
    _add_surroundings(spec)
    carriage = _add_base(spec)
    for arm in ARMS:
        _add_arm(spec, carriage, arm)
    for arm in ARMS:
        _add_velocity_servo(spec, f"{arm}_finger1", FINGER_SPEED, 200.0, 70.0)
    _add_chair(spec)
    return spec


def star_capsules() -> list[tuple[tuple[float, ...], tuple[float, ...], float]]:
    """Returns column and legs in the star's frame: from where to where, and radius [m]."""
    foot = CASTER_RADIUS - SEAT_HEIGHT
    hub = (0.0, 0.0, foot + 0.05)
    angles = 2 * np.pi * np.arange(5) / 5
    ends = CASTER_CIRCLE * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    legs = [(hub, (float(x), float(y), foot + 0.02), 0.02) for x, y in ends]
    return [((0.0, 0.0, -0.06), hub, 0.03), *legs]


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.6, 0.75, 0.9],
        rgb2=[0.1, 0.2, 0.3],
        width=64,
        height=384,
    )
    spec.add_texture(
        name="floor",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=[0.3, 0.35, 0.4],
        rgb2=[0.45, 0.5, 0.55],
        width=256,
        height=256,
    )
    material = spec.add_material(name="floor", texrepeat=[1, 1], texuniform=True)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "floor"
    world = spec.worldbody
    world.add_light(pos=[0, 0, 4], dir=[0, 0, -1], type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0, 0, 1],
        material="floor",
        friction=[0.3, 0.005, 0.0001],
        contype=0,
        conaffinity=_SKID | _HAND_FLOOR,
    )
    world.add_site(
        name="target",
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[0.15, 0.002, 0],
        rgba=_GREEN,
    )


def _add_base(spec: mujoco.MjSpec) -> mujoco.MjsBody:
    """Adds the planar base with its mast; returns the carriage that the arms stand on."""
    base = spec.worldbody.add_body(name="base", pos=[-2.0, 0, 0], gravcomp=1)
    for name, axis in (("base_x", [1, 0, 0]), ("base_y", [0, 1, 0])):
        joint = base.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis)
        joint.ref = base.pos[axis.index(1)]  # the coordinate is the place in the world
    base.add_joint(name="base_yaw", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1])
    box, cylinder = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
    base.add_geom(
        type=box, size=[0.27, 0.25, 0.05], pos=[0, 0, 0.13], mass=60, rgba=_DARK, **_NOTHING
    )
    for x in (-0.19, 0.19):
        for y in (-0.25, 0.25):
            wheel = base.add_geom(
                type=cylinder, size=[0.08, 0.03, 0], pos=[x, y, 0.08], mass=3, rgba=_GREY
            )
            wheel.quat = _about_x(1)
            wheel.contype = wheel.conaffinity = 0
    base.add_geom(
        type=box, size=[0.05, 0.07, 0.30], pos=[-0.16, 0, 0.45], mass=8, rgba=_GREY, **_NOTHING
    )
    base.add_geom(
        name="bumper",
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[0.25, 0, 0],
        pos=[0, 0, 0.25],
        mass=0,
        group=3,
        contype=_ROBOT_CHAIR,
        conaffinity=0,
    )
    carriage = base.add_body(name="carriage", pos=[0, 0, LIFT_HOME - ARM_BELOW_TOP], gravcomp=1)
    lift = carriage.add_joint(
        name="lift", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, 1], limited=True
    )
    lift.range, lift.ref = LIFT_RANGE, LIFT_HOME
    carriage.add_geom(
        type=box, size=[0.09, 0.30, 0.03], pos=[0, 0, -0.03], mass=8, rgba=_BLUE, **_NOTHING
    )
    carriage.add_geom(
        type=box, size=[0.06, 0.09, 0.29], pos=[-0.04, 0, 0.27], mass=10, rgba=_BLUE, **_NOTHING
    )
    carriage.add_geom(
        type=box, size=[0.05, 0.08, 0.045], pos=[0.0, 0, 0.605], mass=2, rgba=_DARK, **_NOTHING
    )
    for joint, speed, gain, force in (
        # Commands come in the base's frame: turned into the world's, a diagonal one is longer.
        ("base_x", np.sqrt(2) * BASE_SPEED, 2500.0, 500.0),
        ("base_y", np.sqrt(2) * BASE_SPEED, 2500.0, 500.0),
        ("base_yaw", TURN_SPEED, 250.0, 200.0),
        ("lift", LIFT_SPEED, 1500.0, 600.0),
    ):
        _add_velocity_servo(spec, joint, speed, gain, force)
    return carriage


def _add_arm(spec: mujoco.MjSpec, carriage: mujoco.MjsBody, arm: str) -> None:
    side = 1.0 if arm == "left" else -1.0
    body = carriage.add_body(name=f"{arm}_link0", pos=[0, side * SHOULDER_OFFSET, 0], gravcomp=1)
    capsule = mujoco.mjtGeom.mjGEOM_CAPSULE
    body.add_geom(
        type=capsule,
        fromto=[0, 0, 0, 0, 0, 0.06],
        size=[0.07, 0, 0],
        mass=2.8,
        rgba=_GREY,
        **_NOTHING,
    )
    for number, (link, home) in enumerate(zip(PANDA, ARM_HOME, strict=True), start=1):
        turn = link.alpha * np.pi / 2
        offset = [link.a, -np.sin(turn) * link.d, np.cos(turn) * link.d]
        # The model's own pose is the home pose; `ref` lets the joint still count as the Panda's.
        quaternion = np.zeros(4)
        mujoco.mju_mulQuat(quaternion, _about_x(link.alpha), _about_z(home))
        body = body.add_body(name=f"{arm}_link{number}", pos=offset, quat=quaternion, gravcomp=1)
        name = f"{arm}_joint{number}"
        joint = body.add_joint(
            name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1], limited=True
        )
        joint.range, joint.ref, joint.armature = link.limits, home, ARMATURE[link.torque]
        low, high, radius = link.capsule
        body.add_geom(
            type=capsule,
            fromto=[0, 0, low, 0, 0, high],
            size=[radius, 0, 0],
            mass=link.mass,
            rgba=_WHITE if number % 2 else _GREY,
            **_NOTHING,
        )
        _add_velocity_servo(spec, name, JOINT_SPEED, GAIN[link.torque], link.torque)
        if number in (5, 7):
            at = [0.0, 0.0, -0.15 if number == 5 else 0.0]
            _add_touching_sphere(body, f"{arm}_{'forearm' if number == 5 else 'wrist'}", at, 0.06)
    hand = body.add_body(
        name=f"{arm}_hand",
        pos=[0, 0, FLANGE],
        quat=_about_z(-np.pi / 4),
        gravcomp=1,
    )
    hand.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.025, 0.10, 0.03],
        pos=[0, 0, 0.03],
        mass=0.73,
        rgba=_DARK,
        **_NOTHING,
    )
    _add_touching_sphere(hand, f"{arm}_palm", [0, 0, 0.02], 0.045)
    hand.add_site(name=f"{arm}_tool", pos=[0, 0, TOOL], size=[0.01, 0, 0], group=3)
    for number, sign in ((1, 1.0), (2, -1.0)):
        finger = hand.add_body(name=f"{arm}_finger{number}", pos=[0, 0, TOOL - 0.045], gravcomp=1)
        joint = finger.add_joint(
            name=f"{arm}_finger{number}",
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[0, sign, 0],
            limited=True,
        )
        joint.range = FINGER_RANGE
        joint.armature = 2.0  # kg, our choice: for a stable servo
        finger.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[0.01, 0.008, 0.025],
            pos=[0, sign * 0.012, 0.022],
            mass=0.015,
            rgba=_GREY,
            **_NOTHING,
        )
        _add_touching_sphere(finger, f"{arm}_tip{number}", [0, sign * 0.012, 0.045], 0.012)
    # The gripper's gears keep both fingers at the same distance from the middle.
    spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        name1=f"{arm}_finger2",
        name2=f"{arm}_finger1",
        data=[0, 1, *[0] * 10],  # the same position, to first order
    )
    spec.add_sensor(
        name=f"{arm}_tool",
        type=mujoco.mjtSensor.mjSENS_FRAMEPOS,
        objtype=mujoco.mjtObj.mjOBJ_SITE,
        objname=f"{arm}_tool",
    )


def _add_chair(spec: mujoco.MjSpec) -> None:
    """Adds the chair, 10 kg: seat and back as a free body, five-star base on a swivel below."""
    box, capsule, sphere = (
        mujoco.mjtGeom.mjGEOM_BOX,
        mujoco.mjtGeom.mjGEOM_CAPSULE,
        mujoco.mjtGeom.mjGEOM_SPHERE,
    )
    # This friction never counts: every part of the robot that may touch the chair has 1.0.
    surface = {"contype": 0, "conaffinity": _ROBOT_CHAIR, "friction": [0.3, 0.005, 0.0001]}
    skid = {"contype": _SKID, "conaffinity": 0, "mass": 0, "group": 3}
    seat = spec.worldbody.add_body(name="seat", pos=[-1.0, 0, SEAT_HEIGHT])
    seat.add_freejoint(name="chair")
    seat.add_geom(name="seat", type=box, size=SEAT_SIZE, mass=4, rgba=_RED, **surface)
    seat.add_geom(
        name="back", type=box, size=BACK_SIZE, pos=BACK_POSITION, mass=2, rgba=_RED, **surface
    )
    # Four spheres at the corners of a board as thick as they are: against a flat floor, exactly
    # the contacts of the board with rounded edges.
    for board, center, size in (
        ("seat", (0.0, 0.0, 0.0), SEAT_SIZE),
        ("back", BACK_POSITION, BACK_SIZE),
    ):
        radius = min(size)
        inner = np.array(size) - radius  # 0 along the thickness
        corners = sorted({tuple(np.array(signs) * inner) for signs in product((-1, 1), repeat=3)})
        for number, corner in enumerate(corners):
            seat.add_geom(
                name=f"{board}_corner{number}",
                type=sphere,
                size=[radius, 0, 0],
                pos=np.array(center) + corner,
                friction=[0.3, 0.005, 0.0001],
                **skid,
            )
    star = seat.add_body(name="star")
    swivel = star.add_joint(name="swivel", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1])
    # N m s/rad. Officially drawn from 5 to 15, with some dry friction, for every episode.
    swivel.damping[0] = 5.0
    column, *legs = star_capsules()
    for name, (start, end, radius), mass in (
        ("column", column, 1.5),
        *((f"leg{number}", leg, 0.3) for number, leg in enumerate(legs)),
    ):
        star.add_geom(
            name=name,
            type=capsule,
            fromto=[*start, *end],
            size=[radius, 0, 0],
            mass=mass,
            rgba=_DARK,
            **surface,
        )
    for number, (_, end, _) in enumerate(legs):
        # It slides where a wheel would roll: our choice of a friction, which overrides the floor's.
        star.add_geom(
            name=f"caster{number}",
            type=sphere,
            size=[CASTER_RADIUS, 0, 0],
            pos=[*end[:2], CASTER_RADIUS - SEAT_HEIGHT],
            mass=0.2,
            rgba=_GREY,
            priority=1,
            friction=[0.05, 0.005, 0.0001],
            contype=_SKID,
            conaffinity=0,
        )
        outward = 1.0 + CASTER_SIDE_OUT / CASTER_CIRCLE
        star.add_geom(
            name=f"caster_side{number}",
            type=sphere,
            size=[CASTER_SIDE_RADIUS, 0, 0],
            pos=[
                end[0] * outward,
                end[1] * outward,
                CASTER_RADIUS + CASTER_SIDE_UP - SEAT_HEIGHT,
            ],
            friction=[1.0, 0.005, 0.0001],
            **skid,
        )


def _add_velocity_servo(
    spec: mujoco.MjSpec, joint: str, speed: float, gain: float, force: float
) -> None:
    """Adds an actuator whose force is `gain` x (commanded - actual velocity), within `force`."""
    actuator = spec.add_actuator(
        name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT, ctrllimited=True
    )
    actuator.set_to_velocity(gain)
    actuator.ctrlrange = [-speed, speed]
    actuator.forcelimited, actuator.forcerange = True, [-force, force]


def _add_touching_sphere(
    body: mujoco.MjsBody, name: str, position: list[float], radius: float
) -> None:
    """Adds a sphere, not drawn, in which the robot touches chair and floor."""
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[radius, 0, 0],
        pos=position,
        mass=0,
        group=3,
        friction=[1.0, 0.005, 0.0001],
        contype=_HAND_FLOOR | _ROBOT_CHAIR,
        conaffinity=0,
    )


def _about_x(quarters: int) -> np.ndarray:
    """Returns the quaternion of a turn about x by `quarters` quarter turns."""
    half = quarters * np.pi / 4
    return np.array([np.cos(half), np.sin(half), 0.0, 0.0])


def _about_z(angle: float) -> np.ndarray:
    """Returns the quaternion of a turn about z by `angle` [rad]."""
    return np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])
