"""What real robots bring: forces, ranges of controls, random models. Shown on a box that falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from envs import EnvironmentUnavailable, RecoveryEnv, Start, State, defaults
from envs.physics.choice import make_engine
from envs.physics.interface import EngineUnavailable, MujocoData, PhysicsEngine
from envs.physics.mujoco_engine import MujocoEngine

SENSORS = (
    '<touch site="s"/><accelerometer site="s"/><force site="s"/><actuatorfrc actuator="servo"/>'
)
HEIGHTS = np.array([0.09, 0.095, 0.3, 0.5], np.float32)  # two on the floor, two in the air


def xml(sensors: str = SENSORS, option: str = "") -> str:
    """A second body comes before the box, so that its free joint is not the first."""
    return f"""
    <mujoco>
      <option timestep="0.005">{option}</option>
      <worldbody>
        <geom type="plane" size="5 5 .1"/>
        <body pos="2 0 1">
          <joint name="hinge" type="hinge" axis="0 1 0" damping="0.5"/>
          <geom type="capsule" fromto="0 0 0 0 0 .3" size="0.04" contype="0" conaffinity="0"/>
        </body>
        <body name="box"><freejoint/>
          <geom name="box" type="box" size=".1 .1 .1" mass="2"/>
          <site name="s" type="box" size=".12 .12 .12"/>
        </body>
      </worldbody>
      <actuator><position name="servo" joint="hinge" kp="5" ctrlrange="0.5 2.5"/></actuator>
      <sensor>{sensors}</sensor>
    </mujoco>"""


class Box(RecoveryEnv):
    """A box and a servo."""

    name = "box"
    original_task = "lie still"
    frame_skip = 4

    @classmethod
    def make_model(cls) -> mujoco.MjModel:
        return mujoco.MjModel.from_xml_string(xml())

    @classmethod
    def starts(cls) -> dict[str, Start]:
        lying = np.array([0, 0, 0, 0.1, 1, 0, 0, 0], float)
        upside_down = np.array([0, 0, 0, 0.3, 0, 1, 0, 0], float)
        return {"ordinary": Start(lying), "ood": Start(upside_down)}

    def observe(self, data: Any, memory: Any) -> jax.Array:
        return jnp.concatenate([data.qpos, data.qvel, data.sensordata])

    def task_reward(self, before: State, action: jax.Array, data: Any, memory: Any) -> jax.Array:
        return -jnp.square(data.qvel).sum()

    def is_healthy(self, data: Any) -> jax.Array:
        return data.qpos[4] > 0.9


class RandomBox(Box):
    """A box of another mass and another friction in each episode."""

    name = "random_box"

    def randomize(self, model: mujoco.MjModel, key: jax.Array) -> dict[str, jax.Array]:
        factor = jax.random.uniform(key, minval=0.5, maxval=2.0)
        inertia = jnp.asarray(model.body_inertia) * factor
        friction = jnp.asarray(model.geom_friction) * factor
        mass = jnp.asarray(model.body_mass) * factor
        return {"body_mass": mass, "body_inertia": inertia, "geom_friction": friction}


def poses() -> tuple[jax.Array, jax.Array]:
    qpos = np.zeros((len(HEIGHTS), 8), np.float32)
    qpos[:, 3], qpos[:, 4] = HEIGHTS, 1.0
    return jnp.asarray(qpos), jnp.zeros((len(HEIGHTS), 7))


def truth(model: mujoco.MjModel, qpos: Any, qvel: Any, ctrl: float, warmstart: Any) -> np.ndarray:
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:], data.qacc_warmstart[:] = qpos, qvel, warmstart
    data.ctrl[:] = ctrl
    mujoco.mj_forward(model, data)
    return np.array(data.sensordata)


def run(engine: PhysicsEngine) -> tuple[MujocoData, MujocoData, MujocoData]:
    """Returns the starts, what follows from them, and the same starts once more after that."""
    qpos, qvel = poses()
    step = jax.jit(jax.vmap(lambda data: engine.step(data, jnp.full(1, 2.0), 20)))
    begun = jax.jit(jax.vmap(engine.init))(qpos, qvel)
    stepped = step(begun)
    again = jax.vmap(lambda d, q, v: engine.restart(d, jnp.bool_(True), q, v))
    return begun, stepped, jax.jit(again)(stepped, qpos, qvel)


@pytest.fixture(scope="module")
def on_c() -> tuple[MujocoData, MujocoData, MujocoData]:
    return run(MujocoEngine(Box.make_model(), threads=1))


def test_forces_are_of_the_state_that_they_come_with(on_c: tuple[MujocoData, ...]) -> None:
    begun, stepped, again = on_c
    model, (qpos, qvel) = Box.make_model(), poses()
    for i in range(len(HEIGHTS)):
        expected = truth(model, qpos[i], qvel[i], 0.0, 0.0)
        np.testing.assert_allclose(begun.sensordata[i], expected, rtol=1e-5, atol=1e-4)
        now = stepped.qpos[i], stepped.qvel[i]
        expected = truth(model, *now, 2.0, stepped.qacc_warmstart[i])
        np.testing.assert_allclose(stepped.sensordata[i], expected, rtol=1e-2, atol=0.05)
    assert begun.sensordata[0, 0] > 50.0
    np.testing.assert_array_equal(begun.sensordata[2:, 0], 0.0)
    np.testing.assert_array_equal(again.sensordata, begun.sensordata)


@pytest.mark.parametrize("threads", [2, 3])
def test_forces_are_the_same_on_any_number_of_threads(
    threads: int, on_c: tuple[MujocoData, ...]
) -> None:
    jax.tree.map(
        np.testing.assert_array_equal, run(MujocoEngine(Box.make_model(), threads=threads)), on_c
    )


@pytest.mark.parametrize(
    ("engine", "sensors", "option", "expected"),
    [
        ("mujoco", "<clock name='c'/>", "", "sensor c reads the time"),
        ("mujoco", "<user name='u' dim='1'/>", "", "sensor u is computed by a callback"),
        ("mujoco", "", "<flag sleep='enable'/>", "lets bodies sleep"),
        ("mjx", "<e_potential/>", "", "MJX lacks what this model needs"),
    ],
)
def test_what_no_state_keeps_is_refused(
    engine: str, sensors: str, option: str, expected: str
) -> None:
    model = mujoco.MjModel.from_xml_string(xml(sensors, option))
    with pytest.raises(EngineUnavailable, match=expected) as caught:
        make_engine(engine, model)
    assert "\n" not in str(caught.value)


def test_actions_span_the_range_of_the_controls() -> None:
    env = Box(engine="mujoco")
    data = env.reset(jax.random.key(0)).data
    for action, control in ((-1.0, 0.5), (0.0, 1.5), (1.0, 2.5)):
        assert env.control(data, jnp.full(1, action)) == control
    assert "`servo`, -1 is 0.5 and 1 is 2.5" in env.description()


def test_a_free_joint_need_not_be_first() -> None:
    env = Box(start="ood", engine="mujoco")
    pose = env.random_pose(env.model, np.random.default_rng(0))
    assert defaults._lowest_point(env.model, pose) == pytest.approx(defaults.CLEARANCE)
    state = env.reset(jax.random.key(0))
    np.testing.assert_allclose(state.data.qpos[4:], [0, 1, 0, 0])


def batch(env: RecoveryEnv) -> tuple[State, State, Callable[[State], State]]:
    """Returns starts, the same a few steps later, and what restarts them."""
    begun = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 3))
    actions = jnp.zeros((3, 1))
    step = jax.jit(jax.vmap(env.step))
    return begun, step(step(begun, actions), actions), jax.jit(jax.vmap(env.restart))


def test_random_models_are_of_their_episode() -> None:
    env = RandomBox(start="ordinary", engine="mujoco")
    begun, later, restart = batch(env)
    mass = np.asarray(begun.data.fields["body_mass"])[:, 2]
    assert len(set(mass.tolist())) == 3
    for i in range(3):  # as one simulation of a model with these numbers
        model = env.make_model()
        for name, field in begun.data.fields.items():
            getattr(model, name)[:] = field[i]
        data = mujoco.MjData(model)
        mujoco.mj_setConst(model, data)
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.ctrl[:] = begun.data.qpos[i], 1.5
        mujoco.mj_step(model, data, nstep=2 * env.frame_skip)
        np.testing.assert_allclose(later.data.qpos[i], data.qpos, atol=1e-6)
    ended = later.replace(done=jnp.array([1.0, 0.0, 1.0]))
    again = restart(ended).data.fields["body_mass"][:, 2]
    np.testing.assert_array_equal(again == mass, [False, True, False])
    fresh = jax.vmap(env.reset)(ended.key)
    for i in (0, 2):  # a restart is a reset, model included
        pairs = (
            jax.tree.map(lambda leaf, i=i: leaf[i], state) for state in (restart(ended), fresh)
        )
        jax.tree.map(np.testing.assert_array_equal, *(s.replace(key=()) for s in pairs))


def test_mjx_has_the_same_random_models_and_forces() -> None:
    def run(engine: str) -> tuple[State, State]:
        env = RandomBox(engine=engine)

        def both(qpos: jax.Array, qvel: jax.Array) -> tuple[State, State]:
            begun = env.begin_at(qpos, qvel)
            return begun, env.step(begun, jnp.zeros(1))

        return jax.jit(jax.vmap(both))(*poses())

    (begun, later), (begun_mjx, later_mjx) = run("mujoco"), run("mjx")
    jax.tree.map(np.testing.assert_array_equal, begun.data.fields, begun_mjx.data.fields)
    assert begun.data.fields["body_mass"][0, 2] != 2.0
    near = {"rtol": 2e-2, "atol": 0.1}
    np.testing.assert_allclose(begun.data.sensordata, begun_mjx.data.sensordata, **near)
    np.testing.assert_allclose(later.data.qpos, later_mjx.data.qpos, atol=1e-3)
    in_the_air = np.s_[2:]
    np.testing.assert_allclose(
        later.data.sensordata[in_the_air], later_mjx.data.sensordata[in_the_air], **near
    )


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (
            {"body_mas": jnp.zeros(3)},
            "'body_mas', which cannot differ.*the nearest that can: body_mass",
        ),
        ({"jnt_dofadr": jnp.zeros(1)}, "'jnt_dofadr', which cannot differ"),
        ({"opt.timestep": jnp.zeros(())}, "'opt.timestep', which cannot differ"),
        ({"body_mass": jnp.zeros(2)}, r"\['body_mass'\] must have shape \(3,\), not \(2,\)"),
    ],
)
def test_fields_that_the_model_does_not_have(
    drawn: dict[str, jax.Array], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RandomBox, "randomize", lambda self, model, key: drawn)
    with pytest.raises(EnvironmentUnavailable, match=expected):
        RandomBox(engine="mujoco")
