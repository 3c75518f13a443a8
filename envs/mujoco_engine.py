"""C MuJoCo on the host's cores, called from inside a compiled JAX program.

`mujoco.batch.Batch` steps many simulations on a thread pool and gives the same bits at any thread
count. A host call hands it XLA's own buffers: nothing is copied twice, no compiler is needed, and
under `jax.vmap` the whole batch is one call.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import threading
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct
from mujoco.batch import Batch, SimulationError

from envs import host_call


class PhysicsError(RuntimeError):
    """MuJoCo itself failed in some environments; the message names the first and says why."""


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
        # Programs name the model that they step: engines of equal models may stand in for each
        # other, in this process and, with a program from the disk, in a later one.
        self._name = f"mujoco {_fingerprint(model)}"
        host_call.register(f"{self._name} sense", self._sense_batch)

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
        name = f"{self._name} step {substeps}"
        host_call.register(name, functools.partial(self._step_batch, substeps=substeps))
        leaves, structure = jax.tree.flatten(data)
        shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, jnp.float32) for leaf in leaves)
        stepped = host_call.call(name, shapes, *leaves, ctrl)
        return jax.tree.unflatten(structure, stepped)

    def _sense(
        self, where: jax.Array, qpos: jax.Array, qvel: jax.Array, otherwise: jax.Array
    ) -> jax.Array:
        """Returns the sensors' readings at `qpos`, `qvel`, or `otherwise` where `where` is false.

        Robots without sensors, which are most, pay nothing for it.
        """
        if not self.model.nsensordata:
            return otherwise
        shape = jax.ShapeDtypeStruct((self.model.nsensordata,), jnp.float32)
        [sensed] = host_call.call(f"{self._name} sense", (shape,), where, qpos, qvel, otherwise)
        return sensed

    def _step_batch(
        self, results: list[np.ndarray], arguments: list[np.ndarray], *, substeps: int
    ) -> None:
        """Results: the fields of `MujocoData`; arguments: the same and the controls."""
        qpos, qvel, qacc_warmstart, _, ctrl = arguments
        model = self.model
        qpos = qpos.reshape(-1, model.nq)
        # XLA may run independent calls at once, and a batch serves one caller.
        with self._lock:
            batch = self._batch(len(qpos))
            batch.qpos = qpos
            batch.qvel = qvel.reshape(-1, model.nv)
            batch.qacc_warmstart = qacc_warmstart.reshape(-1, model.nv)
            batch.ctrl = ctrl.reshape(len(qpos), model.nu)
            with _naming_environments(len(qpos)):
                batch.step(nstep=substeps, stage=self._stage_after_step)
            for name, target in zip(self._fields, results, strict=False):
                target[...] = batch.bind(name).reshape(target.shape)

    def _sense_batch(self, results: list[np.ndarray], arguments: list[np.ndarray]) -> None:
        """As `_step_batch`; computes only the simulations that are asked for."""
        [target], [where, qpos, qvel, otherwise] = results, arguments
        chosen = np.flatnonzero(where)
        target[...] = otherwise
        if not len(chosen):
            return
        target = target.reshape(-1, self.model.nsensordata)
        with self._lock:
            batch = self._batch(len(target))
            batch.qpos[chosen] = qpos.reshape(-1, self.model.nq)[chosen]
            batch.qvel[chosen] = qvel.reshape(-1, self.model.nv)[chosen]
            with _naming_environments(len(target)):
                batch.forward(chosen, stage=int(mujoco.mjtStage.mjSTAGE_VEL))
            target[chosen] = batch.bind("sensordata")[chosen]

    def _batch(self, size: int) -> Batch:
        if size not in self._batches:
            batch = Batch(self.model, nsim=size, nthread=min(self._threads, size))
            for name in (*self._fields, "ctrl"):
                batch.bind(name)
            self._batches[size] = batch
        return self._batches[size]


@contextlib.contextmanager
def _naming_environments(size: int) -> Iterator[None]:
    """An error inside the physics says which of the `size` environments it happened in."""
    try:
        yield
    except SimulationError as error:
        first = int(error.ids[0])
        others = f" and {len(error.ids) - 1} more" if len(error.ids) > 1 else ""
        reason = str(error).partition(f"simulation {first}: ")[2] or str(error)
        reason = " ".join(reason.split())  # MuJoCo's messages have several lines
        raise PhysicsError(f"environment {first}{others} of {size}: {reason}") from None


def _fingerprint(model: mujoco.MjModel) -> str:
    """Returns the same short text for equal models, in every process."""
    content = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, content)
    return hashlib.sha256(content.tobytes()).hexdigest()[:16]
