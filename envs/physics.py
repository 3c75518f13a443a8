"""What a physics engine is, and which one to use.

An engine advances a pytree of simulation state by a number of physics steps. Environments are
written once on that pytree, so they run unchanged on every engine.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args

import jax
import jax.numpy as jnp
import mujoco
from flax import struct

EngineName = Literal["auto", "mujoco", "mjx", "mjx-warp"]
ENGINES: tuple[str, ...] = get_args(EngineName)


class EngineUnavailable(ValueError):
    """The engine is known but cannot run on this machine; the message says what it needs."""


class PhysicsData(Protocol):
    """The part of an engine's state that environments read.

    Attributes:
        qpos: generalised positions, `(nq,)`, in metres and radians.
        qvel: generalised velocities, `(nv,)`, per second.
        sensordata: what the model's sensors read at exactly this `qpos` and `qvel`,
            `(nsensordata,)`; positions and velocities only, no accelerations or forces. It is how
            an environment gets at the kinematics of its bodies, on every engine alike.
    """

    @property
    def qpos(self) -> jax.Array: ...

    @property
    def qvel(self) -> jax.Array: ...

    @property
    def sensordata(self) -> jax.Array: ...


class MujocoData(struct.PyTreeNode):
    """One simulation between two control steps: all that the next one depends on.

    Attributes:
        qpos: `(nq,)` float32.
        qvel: `(nv,)` float32.
        act: activations of muscles and filtered actuators, `(na,)` float32.
        qacc_warmstart: `(nv,)` float32; the solver's initial guess, which makes a step a pure
            function of this state.
        sensordata: `(nsensordata,)` float32; empty for a model without sensors.
    """

    qpos: jax.Array
    qvel: jax.Array
    act: jax.Array
    qacc_warmstart: jax.Array
    sensordata: jax.Array

    def restarted(
        self, where: jax.Array, qpos: jax.Array, qvel: jax.Array, sensordata: jax.Array
    ) -> MujocoData:
        """Returns this state, or the given one with nothing remembered where `where` is true."""
        return MujocoData(
            qpos=jnp.where(where, qpos, self.qpos),
            qvel=jnp.where(where, qvel, self.qvel),
            act=jnp.where(where, 0.0, self.act),
            qacc_warmstart=jnp.where(where, 0.0, self.qacc_warmstart),
            sensordata=jnp.where(where, sensordata, self.sensordata),
        )


class PhysicsEngine(Protocol):
    """Pure functions on one simulation's state; `jax.vmap` makes them a batch.

    Attributes:
        name: the engine's name as given on the command line.
        model: the compiled MuJoCo model.
    """

    name: str
    model: mujoco.MjModel

    def init(self, qpos: jax.Array, qvel: jax.Array) -> Any:
        """Returns the state at `qpos` `(nq,)` and `qvel` `(nv,)`, with nothing remembered."""

    def restart(self, data: Any, restart: jax.Array, qpos: jax.Array, qvel: jax.Array) -> Any:
        """Returns `data`, or the state at `qpos`, `qvel` where the boolean `restart` is true."""

    def step(self, data: Any, ctrl: jax.Array, substeps: int) -> Any:
        """Returns the state after `substeps` physics steps under constant `ctrl` `(nu,)`."""


def resolve(engine: str) -> str:
    """Returns the engine that `auto` stands for on this machine, or `engine` itself.

    C MuJoCo was 9 to 12 times as fast as MJX on the same two cores (`rollout` and `mjx` of four
    robots in benchmarks/results), so it is the choice wherever JAX has no accelerator.

    Raises:
        ValueError: `engine` is not one of `ENGINES`.
    """
    if engine not in ENGINES:
        raise ValueError(f"unknown physics engine {engine!r}; known: {', '.join(ENGINES)}")
    if engine != "auto":
        return engine
    return "mujoco" if jax.default_backend() == "cpu" else "mjx"


def make_engine(engine: str, model: mujoco.MjModel, num_envs: int = 1) -> PhysicsEngine:
    """Returns the named engine for `model`; `engine` is one of `ENGINES`.

    `num_envs` simulations at most are stepped side by side; only `mjx-warp` needs to know.

    Raises:
        ValueError: the name is unknown.
        EngineUnavailable: the engine cannot run on this machine, or none can step this model.
    """
    name = resolve(engine)
    if model.npluginstate or model.nhistory:
        what = "plugins that keep a state" if model.npluginstate else "delays"
        raise EngineUnavailable(
            f"the model has {what}, which would be lost between control steps: leave them out"
        )
    if name == "mujoco":
        from envs.mujoco_engine import MujocoEngine

        return MujocoEngine(model)
    if name == "mjx":
        from envs.mjx_engine import MjxEngine

        return MjxEngine(model)
    from envs.warp_engine import WarpEngine

    return WarpEngine(model, num_envs)
