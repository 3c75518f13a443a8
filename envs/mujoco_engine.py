"""C MuJoCo on the host's cores, called from inside a compiled JAX program.

`mujoco.batch.Batch` steps many simulations on a thread pool and gives the same bits at any thread
count. A buffer callback hands it XLA's own buffers: nothing is copied twice, no compiler is
needed, and under `jax.vmap` the whole batch is one call.
"""

from __future__ import annotations

import functools
import os
import threading

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct
from jax.experimental.buffer_callback import Buffer, ExecutionContext, buffer_callback
from mujoco.batch import Batch


class MujocoData(struct.PyTreeNode):
    """One simulation's state.

    Attributes:
        qpos: `(nq,)` float32.
        qvel: `(nv,)` float32.
        qacc_warmstart: `(nv,)` float32; the solver's initial guess, which makes a step a pure
            function of this state.
    """

    qpos: jax.Array
    qvel: jax.Array
    qacc_warmstart: jax.Array


def available_cores() -> int:
    """Returns the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class MujocoEngine:
    """Steps C MuJoCo on all cores of the host (see `envs.physics.PhysicsEngine`)."""

    name = "mujoco"

    def __init__(self, model: mujoco.MjModel, threads: int = 0):
        """Wraps `model`; `threads` is the size of the pool, 0 for all cores."""
        # A simulation that explodes must stay visibly broken instead of restarting upright.
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
        self.model = model
        self._threads = threads or available_cores()
        self._batches: dict[int, Batch] = {}
        self._lock = threading.Lock()

    def init(self, qpos: jax.Array, qvel: jax.Array) -> MujocoData:
        return MujocoData(qpos, qvel, jnp.zeros_like(qvel))

    def restart(
        self, data: MujocoData, restart: jax.Array, qpos: jax.Array, qvel: jax.Array
    ) -> MujocoData:
        return jax.tree.map(
            lambda new, old: jnp.where(restart, new, old), self.init(qpos, qvel), data
        )

    def step(self, data: MujocoData, ctrl: jax.Array, substeps: int) -> MujocoData:
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32), data)
        call = buffer_callback(
            functools.partial(self._step_buffers, substeps=substeps),
            shapes,
            vmap_method="broadcast_all",
        )
        return call(data, ctrl)

    def _step_buffers(
        self, _: ExecutionContext, out: MujocoData, data: MujocoData, ctrl: Buffer, *, substeps: int
    ) -> None:
        """Runs on XLA's host thread: NumPy only, since calling JAX from here can deadlock."""
        qpos = np.asarray(data.qpos).reshape(-1, self.model.nq)
        # XLA may run independent calls at once, and a batch serves one caller.
        with self._lock:
            batch = self._batch(len(qpos))
            batch.qpos = qpos
            batch.qvel = np.asarray(data.qvel).reshape(-1, self.model.nv)
            batch.qacc_warmstart = np.asarray(data.qacc_warmstart).reshape(-1, self.model.nv)
            batch.ctrl = np.asarray(ctrl).reshape(-1, self.model.nu)
            batch.step(nstep=substeps)
            for name in ("qpos", "qvel", "qacc_warmstart"):
                target = np.asarray(getattr(out, name))
                target[...] = batch.bind(name).reshape(target.shape)

    def _batch(self, size: int) -> Batch:
        if size not in self._batches:
            batch = Batch(self.model, nsim=size, nthread=min(self._threads, size))
            for name in ("qpos", "qvel", "qacc_warmstart", "ctrl"):
                batch.bind(name)
            self._batches[size] = batch
        return self._batches[size]
