"""MuJoCo Warp: MuJoCo as CUDA kernels, called from inside a JAX program through MJX (NVIDIA)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import mujoco

from envs.physics import warp_sizes
from envs.physics.interface import NO_FIELDS, EngineUnavailable
from envs.physics.mjx_engine import fix_solver, full_precision, mjx

# Bits of Warp's overflow flags (`OverflowType`) that say that a solver used all its iterations,
# as it does here by intention, and not that a buffer was too small.
_SOLVER_STOPPED = 1 << 9 | 1 << 10


class WarpEngine:
    """Steps MuJoCo Warp (see `envs.physics.interface.PhysicsEngine`).

    Its state is the whole `mjx.Data`, which holds Warp's buffers.
    """

    name = "mjx-warp"
    model_fields: frozenset[str] = frozenset()  # Warp's kernels read one model for all

    def __init__(self, model: mujoco.MjModel, num_envs: int):
        """Puts `model` on the device.

        Args:
            model: the compiled model; its solver settings are changed.
            num_envs: how many simulations are stepped side by side at most: all their contacts are
                in one buffer.

        Raises:
            EngineUnavailable: warp-lang is not installed.
        """
        if importlib.util.find_spec("warp") is None:
            raise EngineUnavailable(
                "physics engine 'mjx-warp' needs warp-lang on an NVIDIA machine: "
                "pip install 'lamour-jax[warp]'"
            )
        fix_solver(model)
        self.model = model
        self._num_envs = num_envs
        self._mjx_model = mjx.put_model(model, impl="warp")
        warned = self._mjx_model.opt._impl.warn_overflow & ~_SOLVER_STOPPED
        self._mjx_model = self._mjx_model.tree_replace({"opt._impl.warn_overflow": warned})

    def init(
        self, qpos: jax.Array, qvel: jax.Array, fields: Mapping[str, jax.Array] = NO_FIELDS
    ) -> mjx.Data:
        data = mjx.make_data(
            self.model,
            impl="warp",
            naconmax=self._num_envs * warp_sizes.near_pairs(self.model),
            njmax=warp_sizes.constraint_rows(self.model),
        )
        return self._sense(data.replace(qpos=qpos, qvel=qvel))

    def restart(
        self,
        data: mjx.Data,
        restart: jax.Array,
        qpos: jax.Array,
        qvel: jax.Array,
        fields: Mapping[str, jax.Array] = NO_FIELDS,
    ) -> mjx.Data:
        # Everything else is computed anew by the next step: selecting only the state saves a pass
        # over the whole structure.
        data = data.replace(
            qpos=jnp.where(restart, qpos, data.qpos),
            qvel=jnp.where(restart, qvel, data.qvel),
            act=jnp.where(restart, 0.0, data.act),
            qacc_warmstart=jnp.where(restart, 0.0, data.qacc_warmstart),
            ctrl=jnp.where(restart, 0.0, data.ctrl),  # forces at a start are without control
            time=jnp.where(restart, 0.0, data.time),
        )
        overflow = jnp.where(restart, 0, data._impl.overflow)
        return self._sense(data.tree_replace({"_impl.overflow": overflow}))

    def step(self, data: mjx.Data, ctrl: jax.Array, substeps: int) -> mjx.Data:
        data = data.replace(ctrl=ctrl)
        with full_precision():
            data = jax.lax.fori_loop(0, substeps, lambda _, d: mjx.step(self._mjx_model, d), data)
        return _refuse_overflow(self._sense(data))

    def _sense(self, data: mjx.Data) -> mjx.Data:
        """Returns `data` with the sensors read at its `qpos` and `qvel`.

        A step leaves them one substep behind. Robots without sensors pay nothing for it.
        """
        if not self.model.nsensordata:
            return data
        with full_precision():
            return mjx.forward(self._mjx_model, data)


def _refuse_overflow(data: mjx.Data) -> mjx.Data:
    """Returns `data`, not finite where Warp had no room for all contacts or constraints.

    A robot would sink into the floor. As an exploded simulation, it is started anew, left out of
    what is learned from, and reported.
    """
    overflow = (data._impl.overflow & ~_SOLVER_STOPPED) != 0
    return data.replace(qpos=jnp.where(overflow, jnp.nan, data.qpos))
