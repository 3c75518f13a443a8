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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco.batch import MODEL_FIELDS, Batch, SimulationError

from envs.physics import host_call, sensors
from envs.physics.interface import NO_FIELDS, RANDOM_FIELDS, MujocoData


class PhysicsError(RuntimeError):
    """MuJoCo itself failed in some environments; the message names the first and says why."""


_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds of each period (Linux, cgroup v2)
# Of `MujocoData`: what a step begins from, and what it leaves.
_STATE = ("qpos", "qvel", "act", "qacc_warmstart")
_FIELDS = (*_STATE, "sensordata")


def available_cores() -> int:
    """Returns the number of cores that this process may run on, a container's quota included."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # not on Linux, or `max`: no quota
        return cores


class MujocoEngine:
    """Steps C MuJoCo on all cores of the host (see `envs.physics.interface.PhysicsEngine`)."""

    name = "mujoco"

    def __init__(self, model: mujoco.MjModel, threads: int = 0):
        """Wraps `model`; `threads` is the size of the pool, 0 for all cores."""
        # A simulation that explodes must stay visibly broken instead of restarting upright.
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
        self.model = model
        self._threads = threads or available_cores()
        # A step leaves the sensors one substep behind the state; this brings them up to it.
        self._stage = sensors.stage(model)
        self._batches: dict[tuple[int, tuple[str, ...]], Batch] = {}
        self._lock = threading.Lock()
        # Programs name the model that they step, and on how many threads: engines of equal names
        # may stand in for each other, in this process and, with a program from the disk, in a later
        # one. The youngest does: two programs that use them take turns at its lock.
        self._name = f"mujoco {_fingerprint(model)} {self._threads} threads"

    @property
    def model_fields(self) -> frozenset[str]:
        return RANDOM_FIELDS & frozenset(MODEL_FIELDS)

    def init(
        self, qpos: jax.Array, qvel: jax.Array, fields: Mapping[str, jax.Array] = NO_FIELDS
    ) -> MujocoData:
        none = jnp.zeros(self.model.nsensordata)
        sensordata = self._sense(jnp.bool_(True), qpos, qvel, none, fields)
        act, warmstart = jnp.zeros(self.model.na), jnp.zeros_like(qvel)
        return MujocoData(qpos, qvel, act, warmstart, sensordata, dict(fields))

    def restart(
        self,
        data: MujocoData,
        restart: jax.Array,
        qpos: jax.Array,
        qvel: jax.Array,
        fields: Mapping[str, jax.Array] = NO_FIELDS,
    ) -> MujocoData:
        sensordata = self._sense(restart, qpos, qvel, data.sensordata, fields)
        return data.restarted(restart, qpos, qvel, sensordata, fields)

    def step(self, data: MujocoData, ctrl: jax.Array, substeps: int) -> MujocoData:
        fields = tuple(sorted(data.fields))
        name = self._register(f"step {substeps}", fields, self._step_batch, substeps=substeps)
        leaves = [getattr(data, field) for field in _FIELDS]
        shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, jnp.float32) for leaf in leaves)
        own = [data.fields[field] for field in fields]
        stepped = host_call.call(name, shapes, *leaves, ctrl, *own)
        return data.replace(**dict(zip(_FIELDS, stepped, strict=True)))

    def _register(
        self, what: str, fields: tuple[str, ...], call: Callable[..., None], **options: Any
    ) -> str:
        """Registers what a program calls; returns the name that it calls it by."""
        name = " ".join([self._name, what, *fields])
        host_call.register(name, functools.partial(call, fields=fields, **options))
        return name

    def _sense(
        self,
        where: jax.Array,
        qpos: jax.Array,
        qvel: jax.Array,
        otherwise: jax.Array,
        fields: Mapping[str, jax.Array],
    ) -> jax.Array:
        """Returns the sensors' readings at `qpos`, `qvel`, or `otherwise` where `where` is false.

        Robots without sensors, which are most, pay nothing for it.
        """
        if not self.model.nsensordata:
            return otherwise
        shape = jax.ShapeDtypeStruct((self.model.nsensordata,), jnp.float32)
        names = tuple(sorted(fields))
        name = self._register("sense", names, self._sense_batch)
        own = [fields[field] for field in names]
        [sensed] = host_call.call(name, (shape,), where, qpos, qvel, otherwise, *own)
        return sensed

    def _step_batch(
        self,
        results: list[np.ndarray],
        arguments: list[np.ndarray],
        *,
        substeps: int,
        fields: tuple[str, ...],
    ) -> None:
        """Results: `_FIELDS`; arguments: the same, the controls and the model's `fields`."""
        before, ctrl = arguments[: len(_STATE)], arguments[len(_FIELDS)]
        own = arguments[len(_FIELDS) + 1 :]
        size = before[0].size // self.model.nq
        # XLA may run independent calls at once, and a batch serves one caller.
        with self._lock:
            batch = self._batch(size, fields)
            _put_fields(batch, fields, own, np.arange(size))
            for name, value in zip((*_STATE, "ctrl"), (*before, ctrl), strict=True):
                setattr(batch, name, value.reshape(batch.bind(name).shape))
            with _naming_environments(size):
                batch.step(nstep=substeps, stage=self._stage)
            for name, target in zip(_FIELDS, results, strict=True):
                target[...] = batch.bind(name).reshape(target.shape)

    def _sense_batch(
        self, results: list[np.ndarray], arguments: list[np.ndarray], *, fields: tuple[str, ...]
    ) -> None:
        """As `_step_batch`; computes only the simulations that are asked for."""
        [target], [where, qpos, qvel, otherwise, *own] = results, arguments
        chosen = np.flatnonzero(where)
        target[...] = otherwise
        if not len(chosen):
            return
        target = target.reshape(-1, self.model.nsensordata)
        with self._lock:
            batch = self._batch(len(target), fields)
            _put_fields(batch, fields, own, chosen)
            batch.qpos[chosen] = qpos.reshape(-1, self.model.nq)[chosen]
            batch.qvel[chosen] = qvel.reshape(-1, self.model.nv)[chosen]
            # What an earlier episode left here is not of this start.
            for name in ("act", "qacc_warmstart", "ctrl"):
                batch.bind(name)[chosen] = 0.0
            with _naming_environments(len(target)):
                batch.forward(chosen, stage=self._stage)
            target[chosen] = batch.bind("sensordata")[chosen]

    def _batch(self, size: int, fields: tuple[str, ...]) -> Batch:
        if (size, fields) not in self._batches:
            batch = Batch(self.model, nsim=size, nthread=min(self._threads, size))
            for name in (*_FIELDS, "ctrl"):
                batch.bind(name)
            for name in fields:
                batch.expand(name)
            self._batches[size, fields] = batch
        return self._batches[size, fields]


def _put_fields(
    batch: Batch, fields: tuple[str, ...], values: list[np.ndarray], chosen: np.ndarray
) -> None:
    """Gives the `chosen` simulations their model's fields, and what MuJoCo derives from them.

    Nothing is computed for those that have them already: a field changes once an episode.
    """
    changed = np.zeros(len(chosen), bool)
    for name, value in zip(fields, values, strict=True):
        current = batch.expand(name)
        wanted = value.reshape(current.shape)[chosen]
        differs = (current[chosen] != wanted).reshape(len(chosen), -1).any(axis=1)
        current[chosen[differs]] = wanted[differs]
        changed |= differs
    derived_from = mujoco.MjModel._setconst_inputs
    if changed.any() and any(name in derived_from or name.startswith("opt.") for name in fields):
        batch.set_const(chosen[changed])


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
        raise PhysicsError(
            f"environment {first}{others} of the {size} on its device: {reason}"
        ) from None


def _fingerprint(model: mujoco.MjModel) -> str:
    """Returns the same short text for equal models, in every process."""
    content = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, content)
    return hashlib.sha256(content.tobytes()).hexdigest()[:16]
