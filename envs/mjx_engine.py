"""MJX: MuJoCo as a JAX program (TPU, GPU, CPU), or through MuJoCo Warp on NVIDIA."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from typing import Literal

import jax
import jax.numpy as jnp
import mujoco

from envs import warp_sizes
from envs.physics import EngineUnavailable

# MJX prints to standard output when the optional Warp is not installed.
with contextlib.redirect_stdout(io.StringIO()):
    from mujoco import mjx

# Bits of Warp's overflow flags (`OverflowType`) that say that a solver used all its iterations,
# as it does here by intention, and not that a buffer was too small.
_SOLVER_STOPPED = 1 << 9 | 1 << 10


class MjxEngine:
    """Steps MJX on JAX's default device (see `envs.physics.PhysicsEngine`)."""

    # MJX runs a fixed number of solver iterations for a whole batch, and they decide its speed. At
    # 4 Newton iterations with 8 line-search steps, 95 % of random HalfCheetah states are within
    # 1e-5 of C MuJoCo after a control step; the rest, pressed into the floor, differ by 2 to 17 %.
    # A model whose contacts need more names its number by the numeric `mjx_iterations`.
    SOLVER_ITERATIONS = 4
    LINE_SEARCH_STEPS = 8

    def __init__(
        self,
        model: mujoco.MjModel,
        implementation: Literal["jax", "warp"] = "jax",
        num_envs: int = 1,
    ):
        """Puts `model` on the device.

        Args:
            model: the compiled model; its solver settings are changed.
            implementation: MJX's own, or that of MuJoCo Warp.
            num_envs: how many simulations are stepped side by side at most. Warp keeps all their
                contacts in one buffer.

        Raises:
            EngineUnavailable: `implementation` is `warp` and warp-lang is not installed.
        """
        self.name = "mjx" if implementation == "jax" else "mjx-warp"
        if implementation == "warp" and importlib.util.find_spec("warp") is None:
            raise EngineUnavailable(
                "physics engine 'mjx-warp' needs warp-lang on an NVIDIA machine: "
                "pip install 'lamour-jax[warp]'"
            )
        self.model = model
        model.opt.iterations = _numeric(model, "mjx_iterations", self.SOLVER_ITERATIONS)
        model.opt.ls_iterations = self.LINE_SEARCH_STEPS
        self._mjx_model = mjx.put_model(model, impl=implementation)
        self._warp = implementation == "warp"
        self._num_envs = num_envs
        if self._warp:
            warned = self._mjx_model.opt._impl.warn_overflow & ~_SOLVER_STOPPED
            self._mjx_model = self._mjx_model.tree_replace({"opt._impl.warn_overflow": warned})

    def init(self, qpos: jax.Array, qvel: jax.Array) -> mjx.Data:
        if self._warp:
            data = mjx.make_data(
                self.model,
                impl="warp",
                naconmax=self._num_envs * warp_sizes.contacts(self.model),
                njmax=warp_sizes.constraint_rows(self.model),
            )
        else:
            data = mjx.make_data(self.model, impl="jax")
        return self._sense(data.replace(qpos=qpos, qvel=qvel))

    def restart(
        self, data: mjx.Data, restart: jax.Array, qpos: jax.Array, qvel: jax.Array
    ) -> mjx.Data:
        # Everything else in mjx.Data is computed anew by the next step: selecting only the state
        # saves a pass over the whole structure.
        data = data.replace(
            qpos=jnp.where(restart, qpos, data.qpos),
            qvel=jnp.where(restart, qvel, data.qvel),
            qacc_warmstart=jnp.where(restart, 0.0, data.qacc_warmstart),
            time=jnp.where(restart, 0.0, data.time),
        )
        if self._warp:
            overflow = jnp.where(restart, 0, data._impl.overflow)
            data = data.tree_replace({"_impl.overflow": overflow})
        return self._sense(data)

    def step(self, data: mjx.Data, ctrl: jax.Array, substeps: int) -> mjx.Data:
        data = data.replace(ctrl=ctrl)
        data = jax.lax.fori_loop(0, substeps, lambda _, d: mjx.step(self._mjx_model, d), data)
        return self._refuse_overflow(self._sense(data))

    def _refuse_overflow(self, data: mjx.Data) -> mjx.Data:
        """Returns `data`, not finite where Warp had no room for all contacts or constraints.

        A robot would sink into the floor. As an exploded simulation, it is started anew, left out
        of what is learned from, and reported.
        """
        if not self._warp:
            return data
        overflow = (data._impl.overflow & ~_SOLVER_STOPPED) != 0
        return data.replace(qpos=jnp.where(overflow, jnp.nan, data.qpos))

    def _sense(self, data: mjx.Data) -> mjx.Data:
        """Returns `data` with the sensors read at its `qpos` and `qvel`.

        A step leaves them one substep behind. Robots without sensors pay nothing for it.
        """
        model = self._mjx_model
        if not self.model.nsensordata:
            return data
        if self._warp:
            return mjx.forward(model, data)
        posed = mjx.com_vel(model, mjx.com_pos(model, mjx.kinematics(model, data)))
        sensed = mjx.sensor_vel(model, mjx.sensor_pos(model, posed))
        return data.replace(sensordata=sensed.sensordata)


def _numeric(model: mujoco.MjModel, name: str, default: int) -> int:
    """Returns the first number of the model's custom numeric `name`, `default` if it has none."""
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_NUMERIC, name)
    return default if index < 0 else int(model.numeric_data[model.numeric_adr[index]])
