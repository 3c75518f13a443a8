"""Shared by the tests of `envs`: the robots on C MuJoCo, and states made by hand."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from envs import RecoveryEnv, State, registry

# Gymnasium's; the others have test files of their own.
ROBOTS = ("ant", "half_cheetah", "hopper", "walker2d")


@pytest.fixture(scope="session", params=ROBOTS)
def env(request: pytest.FixtureRequest) -> RecoveryEnv:
    """Each of Gymnasium's robots in turn, on C MuJoCo."""
    return registry.load(request.param, engine="mujoco")


@pytest.fixture(scope="session")
def state_at() -> Callable[[RecoveryEnv, np.ndarray, np.ndarray], State]:
    """Returns a function that makes a batch of states of `qpos` `(n, nq)` and `qvel` `(n, nv)`.

    They stand at the beginning of an episode, with nothing remembered by the solver.
    """

    def at(env: RecoveryEnv, key: jax.Array, qpos: jax.Array, qvel: jax.Array) -> State:
        return env.begin_at(qpos, qvel).replace(key=key)

    def batch(env: RecoveryEnv, qpos: np.ndarray, qvel: np.ndarray) -> State:
        keys = jax.random.split(jax.random.key(0), len(qpos))
        make = jax.vmap(functools.partial(at, env))
        return make(keys, jnp.asarray(qpos, jnp.float32), jnp.asarray(qvel, jnp.float32))

    return batch


@pytest.fixture(scope="session")
def struggle() -> Callable[[RecoveryEnv], Iterator[mujoco.MjData]]:
    """Returns a function that yields a robot's data, always the same, substep after substep.

    It lies, stands and moves at random, simulated by C MuJoCo, whose buffers grow.
    """

    def simulate(env: RecoveryEnv) -> Iterator[mujoco.MjData]:
        model, data = env.model, mujoco.MjData(env.model)
        random = np.random.default_rng(0)
        for start in ("ood", "ood-wide", "ordinary"):
            poses = np.atleast_2d(env.all_starts()[start].qpos)
            for qpos in poses[:: max(1, len(poses) // 4)][:4]:
                mujoco.mj_resetData(model, data)
                data.qpos[:] = qpos
                for step in range(300):
                    if step % 15 == 0:
                        low, high = model.actuator_ctrlrange.T
                        data.ctrl[:] = random.uniform(low, high)
                    mujoco.mj_step(model, data)
                    yield data

    return simulate


@pytest.fixture(scope="session")
def contacts_with_chair() -> Callable[[mujoco.MjModel, mujoco.MjData], int]:
    """Returns a function that counts in how many points PushChair's robot touches the chair."""

    def count(model: mujoco.MjModel, data: mujoco.MjData) -> int:
        bodies = model.geom_bodyid[data.contact.geom].reshape(-1, 2)
        of_chair = bodies >= model.body("seat").id  # the robot's come before
        return int(((bodies > 0).all(axis=1) & (of_chair.sum(axis=1) == 1)).sum())

    return count


@pytest.fixture(scope="session")
def random_states() -> Callable[[RecoveryEnv, int], tuple[np.ndarray, np.ndarray]]:
    """Returns a function that draws `n` states, upright and fallen, `qpos`, `qvel` in float32."""

    def draw(env: RecoveryEnv, n: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        poses = [env.starts()[name].qpos for name in ("ordinary", "ood")]
        qpos = np.stack([poses[i % 2] for i in range(n)])
        qpos = qpos + rng.uniform(-0.1, 0.1, qpos.shape)
        free = env.model.jnt_type == mujoco.mjtJoint.mjJNT_FREE
        for first in env.model.jnt_qposadr[free] + 3:
            quaternion = slice(first, first + 4)
            qpos[:, quaternion] /= np.linalg.norm(qpos[:, quaternion], axis=1, keepdims=True)
        qvel = rng.normal(scale=0.5, size=(n, env.model.nv))
        return qpos.astype(np.float32), qvel.astype(np.float32)

    return draw
