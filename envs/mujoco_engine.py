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
        sensordata: `(nsensordata,)` float32; empty for a model without sensors.
    """

    qpos: jax.Array
    qvel: jax.Array
    qacc_warmstart: jax.Array
    sensordata: jax.Array


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
        self._fields = ["qpos", "qvel", "qacc_warmstart"]
        # A step leaves the sensors one substep behind the state; this brings them up to it.
        self._stage_after_step = int(mujoco.mjtStage.mjSTAGE_NONE)
        if model.nsensordata:
            self._fields.append("sensordata")
            self._stage_after_step = int(mujoco.mjtStage.mjSTAGE_VEL)
        self._batches: dict[int, Batch] = {}
        self._lock = threading.Lock()

    def init(self, qpos: jax.Array, qvel: jax.Array) -> MujocoData:
        everywhere = jnp.bool_(True)
        sensordata = self._sense(everywhere, qpos, qvel, jnp.zeros(self.model.nsensordata))
        return MujocoData(qpos, qvel, jnp.zeros_like(qvel), sensordata)

    def restart(
        self, data: MujocoData, restart: jax.Array, qpos: jax.Array, qvel: jax.Array
    ) -> MujocoData:
        return MujocoData(
            qpos=jnp.where(restart, qpos, data.qpos),
            qvel=jnp.where(restart, qvel, data.qvel),
            qacc_warmstart=jnp.where(restart, 0.0, data.qacc_warmstart),
            sensordata=self._sense(restart, qpos, qvel, data.sensordata),
        )

    def step(self, data: MujocoData, ctrl: jax.Array, substeps: int) -> MujocoData:
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32), data)
        call = buffer_callback(
            functools.partial(self._step_buffers, substeps=substeps),
            shapes,
            vmap_method="broadcast_all",
        )
        return call(data, ctrl)

    def _sense(
        self, where: jax.Array, qpos: jax.Array, qvel: jax.Array, otherwise: jax.Array
    ) -> jax.Array:
        """Returns the sensors' readings at `qpos`, `qvel`, or `otherwise` where `where` is false.

        Robots without sensors, which are most, pay nothing for it.
        """
        if not self.model.nsensordata:
            return otherwise
        shape = jax.ShapeDtypeStruct((self.model.nsensordata,), jnp.float32)
        call = buffer_callback(self._sense_buffers, shape, vmap_method="broadcast_all")
        return call(where, qpos, qvel, otherwise)

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
            batch.step(nstep=substeps, stage=self._stage_after_step)
            for name in self._fields:
                target = np.asarray(getattr(out, name))
                target[...] = batch.bind(name).reshape(target.shape)

    def _sense_buffers(
        self,
        _: ExecutionContext,
        out: Buffer,
        where: Buffer,
        qpos: Buffer,
        qvel: Buffer,
        otherwise: Buffer,
    ) -> None:
        """As `_step_buffers`; computes only the simulations that are asked for."""
        target, chosen = np.asarray(out), np.flatnonzero(np.asarray(where))
        target[...] = np.asarray(otherwise)
        if not len(chosen):
            return
        target = target.reshape(-1, self.model.nsensordata)
        with self._lock:
            batch = self._batch(len(target))
            batch.qpos[chosen] = np.asarray(qpos).reshape(-1, self.model.nq)[chosen]
            batch.qvel[chosen] = np.asarray(qvel).reshape(-1, self.model.nv)[chosen]
            batch.forward(chosen, stage=int(mujoco.mjtStage.mjSTAGE_VEL))
            target[chosen] = batch.bind("sensordata")[chosen]

    def _batch(self, size: int) -> Batch:
        if size not in self._batches:
            batch = Batch(self.model, nsim=size, nthread=min(self._threads, size))
            for name in (*self._fields, "ctrl"):
                batch.bind(name)
            self._batches[size] = batch
        return self._batches[size]
