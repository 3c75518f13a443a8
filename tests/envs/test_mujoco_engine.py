"""C MuJoCo inside compiled programs: the same bits, however it is called."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pytest

from envs import registry
from envs.mujoco_engine import MujocoData, MujocoEngine

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
