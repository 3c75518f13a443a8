"""C MuJoCo inside compiled programs: the same bits, however it is called."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from envs import registry
from envs.physics import choice, host_call, interface, mujoco_engine
from envs.physics.interface import MujocoData
from envs.physics.mujoco_engine import MujocoEngine

BATCH, STEPS, SUBSTEPS = 6, 4, 4

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def inputs() -> Arrays:
    """Returns `qpos`, `qvel` and the controls of `STEPS` steps of a batch of walkers."""
    rng = np.random.default_rng(0)
    qpos = registry.get("walker2d").starts()["ood"].qpos + rng.uniform(-0.1, 0.1, (BATCH, 9))
    qvel = rng.normal(size=(BATCH, 9))
    ctrl = rng.uniform(-1, 1, (STEPS, BATCH, 6))
    return qpos.astype(np.float32), qvel.astype(np.float32), ctrl.astype(np.float32)


def walker_engine(threads: int) -> MujocoEngine:
    return MujocoEngine(registry.get("walker2d").make_model(), threads=threads)


def run_scan(engine: MujocoEngine, inputs: Arrays) -> MujocoData:
    """One compiled program: `vmap` inside `scan` inside `jit`."""
    qpos, qvel, ctrl = inputs
    step = jax.vmap(lambda data, u: engine.step(data, u, SUBSTEPS))

    @jax.jit
    def run(data: MujocoData, ctrl: jax.Array) -> MujocoData:
        return jax.lax.scan(lambda data, u: (step(data, u), None), data, ctrl)[0]

    return run(jax.vmap(engine.init)(qpos, qvel), ctrl)


@pytest.fixture(scope="module")
def expected(inputs: Arrays) -> MujocoData:
    return run_scan(walker_engine(threads=1), inputs)


def assert_same_bits(actual: MujocoData, expected: MujocoData) -> None:
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000\n", 8), ("200000 100000\n", 2), ("50000 100000\n", 1), ("9999999 100000", 8)],
)
def test_cores_within_a_containers_quota(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(mujoco_engine, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert mujoco_engine.available_cores() == cores


def test_any_number_of_threads(inputs: Arrays, expected: MujocoData) -> None:
    assert_same_bits(run_scan(walker_engine(threads=2), inputs), expected)


def test_called_one_by_one(inputs: Arrays, expected: MujocoData) -> None:
    engine = walker_engine(threads=2)
    for i in range(BATCH):
        data = engine.init(inputs[0][i], inputs[1][i])
        for ctrl in inputs[2][:, i]:
            data = engine.step(data, ctrl, SUBSTEPS)
        assert_same_bits(data, jax.tree.map(lambda leaf, i=i: leaf[i], expected))


@pytest.mark.parametrize("sizes", [(BATCH - 1,), (2, BATCH // 2)])
def test_any_batch_shape(inputs: Arrays, expected: MujocoData, sizes: tuple[int, ...]) -> None:
    engine = walker_engine(threads=2)
    count = int(np.prod(sizes))
    step: Callable[..., MujocoData] = lambda data, u: engine.step(data, u, SUBSTEPS)  # noqa: E731
    init: Callable[..., MujocoData] = engine.init
    for _ in sizes:
        step, init = jax.vmap(step), jax.vmap(init)
    qpos, qvel = (x[:count].reshape(*sizes, -1) for x in inputs[:2])
    data, step = init(qpos, qvel), jax.jit(step)
    for ctrl in inputs[2]:
        data = step(data, ctrl[:count].reshape(*sizes, -1))
    assert_same_bits(
        jax.tree.map(lambda leaf: leaf.reshape(count, -1), data),
        jax.tree.map(lambda leaf: leaf[:count], expected),
    )


def test_substeps_are_physics_steps(inputs: Arrays) -> None:
    engine = walker_engine(threads=1)
    data = engine.init(inputs[0][0], inputs[1][0])
    ctrl = inputs[2][0, 0]
    at_once = engine.step(data, ctrl, 2)
    in_two = engine.step(engine.step(data, ctrl, 1), ctrl, 1)
    np.testing.assert_allclose(at_once.qpos, in_two.qpos, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(at_once.qvel, in_two.qvel, rtol=1e-4, atol=1e-4)


def test_restart_forgets_where_asked(inputs: Arrays, expected: MujocoData) -> None:
    engine = walker_engine(threads=1)
    where = np.arange(BATCH) % 2 == 0
    fresh = jax.vmap(engine.restart)(expected, where, inputs[0], inputs[1])
    for i in range(BATCH):
        source = engine.init(inputs[0][i], inputs[1][i]) if where[i] else None
        wanted = source or jax.tree.map(lambda leaf, i=i: leaf[i], expected)
        assert_same_bits(jax.tree.map(lambda leaf, i=i: leaf[i], fresh), wanted)


def test_a_failure_inside_reaches_the_caller(inputs: Arrays) -> None:
    engine = walker_engine(threads=1)
    data = engine.init(inputs[0][0], inputs[1][0])
    with pytest.raises(jax.errors.JaxRuntimeError, match="reshape"):
        jax.block_until_ready(engine.step(data, np.zeros(5, np.float32), SUBSTEPS))


def test_by_another_version_of_xlas_interface(
    inputs: Arrays, expected: MujocoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_call, "_is_available", lambda: False)
    uncached = functools.cache(host_call._callbacks.__wrapped__)
    monkeypatch.setattr(host_call, "_callbacks", uncached)
    assert_same_bits(run_scan(walker_engine(threads=2), inputs), expected)


def test_as_accelerators_call(inputs: Arrays, expected: MujocoData) -> None:
    # Without JAX in between, which on a CPU would wait for itself.
    qpos, qvel, controls = inputs
    engine = walker_engine(threads=2)
    data = jax.device_get(jax.vmap(engine.init)(qpos, qvel))
    one = jax.eval_shape(engine.init, qpos[0], qvel[0])
    jax.eval_shape(lambda data, u: engine.step(data, u, SUBSTEPS), one, controls[0, 0])
    name, shapes = f"{engine._name} step {SUBSTEPS}", tuple(jax.tree.leaves(one))
    for ctrl in controls:
        stepped = host_call._on_copies(name, shapes, 1, *jax.tree.leaves(data), ctrl)
        data = jax.tree.unflatten(jax.tree.structure(data), stepped)
    assert_same_bits(data, expected)


@pytest.mark.parametrize("engine", ["mujoco", "mjx"])
def test_activations_are_part_of_the_state(engine: str) -> None:
    model = mujoco.MjModel.from_xml_string("""
        <mujoco><worldbody>
        <body><joint name="hinge" damping="1"/><geom size=".1"/></body></worldbody>
        <actuator><general joint="hinge" dyntype="filter" dynprm="0.1"/></actuator></mujoco>""")
    ours = choice.make_engine(engine, model)
    start = ours.init(jnp.zeros(1), jnp.zeros(1))
    step = jax.jit(lambda data: ours.step(data, jnp.ones(1), 3))
    first, second = step(start), step(step(start))
    theirs = mujoco.MjData(model)
    theirs.ctrl[:] = 1.0
    for stepped in (first, second):
        mujoco.mj_step(model, theirs, nstep=3)
        np.testing.assert_allclose(stepped.act, theirs.act, rtol=1e-6)
        np.testing.assert_allclose(stepped.qpos, theirs.qpos, rtol=1e-4)
    np.testing.assert_array_equal(step(start).act, first.act)
    again = ours.restart(second, jnp.bool_(True), jnp.zeros(1), jnp.zeros(1))
    np.testing.assert_array_equal(again.act, 0.0)


def test_a_model_that_remembers_more_is_refused() -> None:
    model = mujoco.MjModel.from_xml_string("""
        <mujoco><worldbody><body><joint name="hinge"/><geom size=".1"/></body></worldbody>
        <actuator><motor joint="hinge" nsample="3" delay="0.01"/></actuator></mujoco>""")
    with pytest.raises(interface.EngineUnavailable, match="the model has delays, which would be"):
        choice.make_engine("mujoco", model)
