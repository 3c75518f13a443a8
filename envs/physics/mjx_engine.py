"""MJX: MuJoCo as a JAX program (TPU, GPU, CPU)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import mujoco

from envs.physics import sensors
from envs.physics.interface import NO_FIELDS, RANDOM_FIELDS, EngineUnavailable, MujocoData

# MJX prints to standard output when the optional Warp is not installed.
with contextlib.redirect_stdout(io.StringIO()):
    from mujoco import mjx

# What MJX solves decides its speed; docs/speed.md has what was measured. It iterates until a whole
# batch has converged. With at most 8 iterations the legged robots come as near to C MuJoCo as MJX
# ever does, with 4 some of their states do not. Line search nearly always takes all its steps; 4 do
# as well as 50. A model whose contacts need more iterations names
# their number by the numeric `mjx_iterations`; by `max_contact_points`, which MJX itself reads, how
# many of all possible contacts are solved for.
SOLVER_ITERATIONS = 8
LINE_SEARCH_STEPS = 4
CONTACT_LIMIT = "max_contact_points"


def full_precision() -> contextlib.AbstractContextManager[None]:
    """Within it, matrix products are traced in float32, whatever networks are allowed to use."""
    return jax.default_matmul_precision("float32")


def fix_solver(model: mujoco.MjModel) -> None:
    """Gives `model` the numbers of solver iterations that it is stepped with."""
    model.opt.iterations = _numeric(model, "mjx_iterations", SOLVER_ITERATIONS)
    model.opt.ls_iterations = LINE_SEARCH_STEPS


class MjxEngine:
    """Steps MJX on JAX's default device (see `envs.physics.interface.PhysicsEngine`)."""

    name = "mjx"

    def __init__(self, model: mujoco.MjModel):
        """Puts `model` on the device; its solver settings are changed.

        Raises:
            EngineUnavailable: MJX has not all that the model needs, or would read another number
                than the model's limit of contacts.
        """
        limit = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_NUMERIC, CONTACT_LIMIT)
        # MJX takes a numeric's index for its address.
        if limit >= 0 and model.numeric_adr[limit] != limit:
            raise EngineUnavailable(
                f"MJX finds the model's numeric {CONTACT_LIMIT} only where every numeric before it "
                "is a single number: put it first"
            )
        fix_solver(model)
        self.model = model
        self._stage = sensors.stage(model)
        try:
            self._mjx_model = mjx.put_model(model, impl="jax")
        except NotImplementedError as error:
            lacking = " ".join(str(error).split())
            raise EngineUnavailable(
                f"MJX lacks what this model needs ({lacking}): change it, or choose --engine mujoco"
            ) from None

    @property
    def model_fields(self) -> frozenset[str]:
        """Those that MJX computes with; what MuJoCo derives from them stays the model's."""
        own = {
            name for name in RANDOM_FIELDS if isinstance(_field(self._mjx_model, name), jax.Array)
        }
        return frozenset(own)

    def init(
        self, qpos: jax.Array, qvel: jax.Array, fields: Mapping[str, jax.Array] = NO_FIELDS
    ) -> MujocoData:
        zeros, none = jnp.zeros_like(qvel), jnp.zeros(self.model.na)
        sensordata = self._sense(self._with(fields), self._posed(qpos, qvel))
        return MujocoData(qpos, qvel, none, zeros, sensordata, dict(fields))

    def restart(
        self,
        data: MujocoData,
        restart: jax.Array,
        qpos: jax.Array,
        qvel: jax.Array,
        fields: Mapping[str, jax.Array] = NO_FIELDS,
    ) -> MujocoData:
        sensordata = self._sense(self._with(fields), self._posed(qpos, qvel))
        return data.restarted(restart, qpos, qvel, sensordata, fields)

    def step(self, data: MujocoData, ctrl: jax.Array, substeps: int) -> MujocoData:
        # The rest of mjx.Data, some hundred times as much, is computed anew by every step.
        full = self._posed(data.qpos, data.qvel)
        full = full.replace(act=data.act, qacc_warmstart=data.qacc_warmstart, ctrl=ctrl)
        model = self._with(data.fields)
        with full_precision():
            full = jax.lax.fori_loop(0, substeps, lambda _, d: mjx.step(model, d), full)
        return data.replace(
            qpos=full.qpos,
            qvel=full.qvel,
            act=full.act,
            qacc_warmstart=full.qacc_warmstart,
            sensordata=self._sense(model, full),
        )

    def _with(self, fields: Mapping[str, jax.Array]) -> mjx.Model:
        return self._mjx_model.tree_replace(dict(fields)) if fields else self._mjx_model

    def _posed(self, qpos: jax.Array, qvel: jax.Array) -> mjx.Data:
        return mjx.make_data(self.model, impl="jax").replace(qpos=qpos, qvel=qvel)

    def _sense(self, model: mjx.Model, data: mjx.Data) -> jax.Array:
        """Returns the sensors' readings at the `qpos` and `qvel` of `data`, under its `ctrl`.

        A step leaves them one substep behind. Robots without sensors pay nothing for it.
        """
        if not self.model.nsensordata:
            return jnp.zeros(0)
        if self._stage == int(mujoco.mjtStage.mjSTAGE_ACC):
            with full_precision():
                return jnp.asarray(mjx.forward(model, data).sensordata)
        with full_precision():
            posed = mjx.com_vel(model, mjx.com_pos(model, mjx.kinematics(model, data)))
            sensed = mjx.sensor_vel(model, mjx.sensor_pos(model, posed))
        return jnp.asarray(sensed.sensordata)


def _field(model: mjx.Model, name: str) -> Any:
    for part in name.split("."):
        model = getattr(model, part, None)
    return model


def _numeric(model: mujoco.MjModel, name: str, default: int) -> int:
    """Returns the first number of the model's custom numeric `name`, `default` if it has none."""
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_NUMERIC, name)
    return default if index < 0 else int(model.numeric_data[model.numeric_adr[index]])
