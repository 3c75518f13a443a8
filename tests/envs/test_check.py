"""What is checked of a user's environment, beyond what test_bring_your_own writes into a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from envs import RecoveryEnv, Start
from envs.adapters.check import UnusableEnvironment, check

XML = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <geom type="plane" size="5 5 .1"/>
    <body pos="0 0 1">
      <joint name="hinge" axis="0 1 0" range="-170 170"/>
      <geom type="capsule" fromto="0 0 0 0 0 .5" size="0.04" mass="{mass}"/>
    </body>
    <body pos="2 0 .2"><joint name="ball" type="ball"/><geom type="box" size=".1 .1 .1"/></body>
  </worldbody>
  <actuator><motor joint="hinge" gear="4" ctrlrange="-1 1"/></actuator>
</mujoco>"""
UPRIGHT, FALLEN = np.array([0, 1, 0, 0, 0.0]), np.array([2.5, 1, 0, 0, 0])


class Pole(RecoveryEnv):
    """A pole, and a box that turns."""

    name = "checked_pole"
    original_task = "keep the pole upright"
    frame_skip = 5

    @classmethod
    def make_model(cls) -> mujoco.MjModel:
        return mujoco.MjModel.from_xml_string(XML.format(mass=1))

    @classmethod
    def starts(cls) -> dict[str, Start]:
        return {"ordinary": Start(UPRIGHT), "ood": Start(FALLEN)}

    def observe(self, data: Any, memory: Any) -> Any:
        return jnp.concatenate([data.qpos, data.qvel])

    def task_reward(self, before: Any, action: Any, data: Any, memory: Any) -> Any:
        return 1.0 - jnp.square(data.qpos[0])

    def is_healthy(self, data: Any) -> Any:
        return jnp.abs(data.qpos[0]) <= 0.5


def changed(**parts: Any) -> type[RecoveryEnv]:
    return type("Changed", (Pole,), parts)


def ood(**start: Any) -> type[RecoveryEnv]:
    start = {"qpos": FALLEN} | start
    starts = classmethod(lambda cls: {"ordinary": Start(UPRIGHT), "ood": Start(**start)})
    return changed(starts=starts)


def remembers_on_itself(self: Any, data: Any, memory: Any) -> Any:
    self.last = data.qpos
    return data.qpos


def random_model(cls: type[RecoveryEnv]) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(XML.format(mass=np.random.uniform(1, 2)))


def another_key(self: Any, data: Any, memory: Any) -> Any:
    return {"policy": data.qpos, "privileged": data.qvel}


def longer_memory(self: Any, memory: Any, data: Any, action: Any, key: Any) -> Any:
    return jnp.concatenate([memory, action])


MISTAKES: dict[str, tuple[Callable[[], type[RecoveryEnv]], str]] = {
    "noise": (
        lambda: changed(observe=lambda s, d, m: d.qpos + np.random.randn(5).astype("f4")),
        r"observe\(\) is another function each time it is called; random numbers of NumPy",
    ),
    "noise in the memory": (
        lambda: changed(remember=lambda s, d, k: jnp.full(2, np.random.rand())),
        r"remember\(\) is another function each time",
    ),
    "self": (
        lambda: changed(observe=remembers_on_itself),
        r"observe\(\) keeps a traced value in self.last.*the episode's memory",
    ),
    "random model": (
        lambda: changed(make_model=classmethod(random_model)),
        r"make_model\(\) makes another model each time",
    ),
    "other observations": (
        lambda: changed(observe=another_key),
        r"observe\(\) must return a vector or a dictionary with 'policy'.*not one with .*privile",
    ),
    "nothing seen": (
        lambda: changed(observe=lambda s, d, m: jnp.zeros(0)),
        r"observe\(\) must return a vector of floats, `\(size,\)`, not float32\(0,\)",
    ),
    "memory that grows": (
        lambda: changed(remember=lambda s, d, k: jnp.zeros(1), advance=longer_memory),
        r"memory is float32\(1,\) at a start and float32\(2,\) after a step",
    ),
    "control": (
        lambda: changed(control=lambda s, d, a: jnp.concatenate([a, a])),
        r"control\(\) must return one number for each of the 1 actuators, not 2",
    ),
    "reward is NaN": (
        lambda: changed(task_reward=lambda s, b, a, d, m: jnp.sqrt(-1.0 - d.qpos[0] ** 2)),
        r"task_reward\(\) is not finite after a step: nan",
    ),
    "pose is NaN": (lambda: ood(qpos=np.full(5, np.nan)), "qpos has numbers that are not finite"),
    "quaternion": (
        lambda: ood(qpos=np.zeros(5)),
        r"qpos\[1:5\] is the rotation of joint ball: a unit quaternion .*not one of length 0",
    ),
    "range": (
        lambda: ood(qpos=np.array([3.1, 1, 0, 0, 0])),
        r"qpos\[0\] puts joint hinge at 3.1, outside of its range from -2.97 to 2.97",
    ),
    "time limit": (lambda: ood(time_limit=-5), "time_limit must be a whole number from 1, not -5"),
    "part of a step": (lambda: ood(time_limit=2.5), "a whole number from 1, not 2.5"),
    "empty bank": (lambda: ood(qpos=np.zeros((0, 5))), "qpos is an empty bank"),
    "velocity": (lambda: ood(qvel=np.zeros(3)), r"qvel must have shape \(4,\) .*not \(3,\)"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(case: str) -> None:
    make, expected = MISTAKES[case]
    with pytest.raises(UnusableEnvironment, match=expected) as caught:
        check(make())
    assert "\n" not in str(caught.value)


def test_a_pose_deep_in_the_floor_is_named_with_its_depth() -> None:
    low = XML.replace('pos="0 0 1"', 'pos="0 0 0.3"').format(mass=1)
    make_model = classmethod(lambda cls: mujoco.MjModel.from_xml_string(low))
    with pytest.raises(UnusableEnvironment, match=r"lies 0.14 m deep in what it touches"):
        check(changed(make_model=make_model))


@pytest.mark.parametrize("kind", [jnp.bfloat16, jnp.float16])
def test_half_precision_becomes_single(kind: Any) -> None:
    def observe(self: Any, data: Any, memory: Any) -> jax.Array:
        return data.qpos.astype(kind)

    def task_reward(self: Any, *_: Any) -> jax.Array:
        return jnp.ones((), kind)

    environment = changed(observe=observe, task_reward=task_reward, is_healthy=lambda s, d: True)
    check(environment)
    env = environment(engine="mujoco")
    state = jax.eval_shape(lambda k: env.step(env.reset(k), jnp.zeros(1)), jax.random.key(0))
    found = {state.obs["policy"].dtype, state.reward.dtype, state.recovery_state.dtype}
    assert found == {jnp.dtype("float32")}


def test_an_observation_that_has_other_parts_after_a_step() -> None:
    def observe(self: Any, data: Any, memory: Any) -> Any:
        seen = {"policy": data.qpos}
        return seen if memory.ndim == 0 else seen | {"critic": data.qvel}

    robot = changed(
        observe=observe,
        remember=lambda self, data, key: jnp.float32(0.0),
        advance=lambda self, memory, data, action, key: jnp.zeros(1),
    )
    with pytest.raises(UnusableEnvironment, match="differ between the start of an episode"):
        check(robot)


def test_masses_that_are_not_finite() -> None:
    def randomize(self: Any, model: mujoco.MjModel, key: jax.Array) -> dict[str, jax.Array]:
        return {"body_mass": jnp.full(model.nbody, jnp.nan)}

    with pytest.raises(UnusableEnvironment, match=r"not finite after a step; look at randomize"):
        check(changed(randomize=randomize))
