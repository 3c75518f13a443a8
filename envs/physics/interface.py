"""What a physics engine is.

An engine advances a pytree of simulation state by a number of physics steps. Environments are
written once on that pytree, so they run unchanged on every engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import mujoco
from flax import struct

NO_FIELDS: Mapping[str, jax.Array] = MappingProxyType({})


class EngineUnavailable(ValueError):
    """The engine is known but cannot run on this machine; the message says what it needs."""


class PhysicsData(Protocol):
    """The part of an engine's state that environments read.

    Attributes:
        qpos: generalised positions, `(nq,)`, in metres and radians.
        qvel: generalised velocities, `(nv,)`, per second.
        sensordata: what the model's sensors read at exactly this `qpos` and `qvel`,
            `(nsensordata,)`, on every engine alike. Accelerations and forces (touch,
            accelerometer, ...) are those of this instant under the control of the step that led
            here; at a start under no control. It is how an environment gets at the kinematics of
            its bodies.
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
        fields: the model's fields that this episode has values of its own for, by name.
    """

    qpos: jax.Array
    qvel: jax.Array
    act: jax.Array
    qacc_warmstart: jax.Array
    sensordata: jax.Array
    fields: Mapping[str, jax.Array] = struct.field(default_factory=dict)

    def restarted(
        self,
        where: jax.Array,
        qpos: jax.Array,
        qvel: jax.Array,
        sensordata: jax.Array,
        fields: Mapping[str, jax.Array],
    ) -> MujocoData:
        """Returns this state, or the given one with nothing remembered where `where` is true."""
        return MujocoData(
            qpos=jnp.where(where, qpos, self.qpos),
            qvel=jnp.where(where, qvel, self.qvel),
            act=jnp.where(where, 0.0, self.act),
            qacc_warmstart=jnp.where(where, 0.0, self.qacc_warmstart),
            sensordata=jnp.where(where, sensordata, self.sensordata),
            fields={
                name: jnp.where(where, fields[name], field) for name, field in self.fields.items()
            },
        )


# Fields of a model that may differ from one episode to the next: quantities of bodies, joints,
# contacts, actuators and the world that hold for themselves. Indices, kinds, sizes and what MuJoCo
# derives stay the model's: another index would read memory that is not the model's.
RANDOM_FIELDS = frozenset(
    {
        *("body_mass", "body_inertia", "body_ipos", "body_iquat", "body_gravcomp"),
        *("dof_armature", "dof_damping", "dof_frictionloss", "dof_solimp", "dof_solref"),
        *("jnt_stiffness", "jnt_range", "jnt_solimp", "jnt_solref", "qpos_spring"),
        *("geom_friction", "geom_solimp", "geom_solmix", "geom_solref"),
        *("pair_friction", "pair_solimp", "pair_solref"),
        *("actuator_gainprm", "actuator_biasprm", "actuator_dynprm", "actuator_gear"),
        *("actuator_forcerange", "tendon_damping", "tendon_frictionloss", "tendon_stiffness"),
        *("opt.gravity", "opt.wind", "opt.density", "opt.viscosity"),
    }
)


class PhysicsEngine(Protocol):
    """Pure functions on one simulation's state; `jax.vmap` makes them a batch.

    Attributes:
        name: the engine's name as given on the command line.
        model: the compiled MuJoCo model.
        model_fields: which of `RANDOM_FIELDS` can differ from one simulation to the next, empty for
            an engine that has one model for all.
    """

    name: str
    model: mujoco.MjModel

    @property
    def model_fields(self) -> frozenset[str]: ...

    def init(
        self, qpos: jax.Array, qvel: jax.Array, fields: Mapping[str, jax.Array] = NO_FIELDS
    ) -> Any:
        """Returns the state at `qpos` `(nq,)` and `qvel` `(nv,)`, with nothing remembered.

        `fields` of the model, by name, are those of this simulation from here on.
        """

    def restart(
        self,
        data: Any,
        restart: jax.Array,
        qpos: jax.Array,
        qvel: jax.Array,
        fields: Mapping[str, jax.Array] = NO_FIELDS,
    ) -> Any:
        """Returns `data`, or the state at `qpos`, `qvel` where the boolean `restart` is true."""

    def step(self, data: Any, ctrl: jax.Array, substeps: int) -> Any:
        """Returns the state after `substeps` physics steps under constant `ctrl` `(nu,)`."""
