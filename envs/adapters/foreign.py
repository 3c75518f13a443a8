"""MuJoCo Playground and Brax environments with a health test and an out-of-distribution start.

Their physics, observation and reward stay theirs; a subclass of `ForeignEnv` says which environment
it is, when it is healthy and from where it is to come back. Everything else (termination and
truncation apart, fresh starts in every episode, what reward code sees) is `RecoveryEnv`'s.
"""

from __future__ import annotations

import abc
import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct

from envs.physics.interface import NO_FIELDS, PhysicsEngine
from envs.recovery_env import EnvironmentUnavailable, RecoveryEnv, State
from envs.start import Start


class ForeignData(struct.PyTreeNode):
    """What a `RecoveryEnv` has as its physics: the other environment's whole state.

    Attributes:
        state: MuJoCo Playground's or Brax's `State`.
    """

    state: Any

    @property
    def physics(self) -> Any:
        """Playground's `mjx.Data` or Brax's pipeline state."""
        return self.state.data if hasattr(self.state, "data") else self.state.pipeline_state

    @property
    def qpos(self) -> jax.Array:
        """Generalised positions, `(nq,)`."""
        return jnp.asarray(self.physics.qpos if self._mjx else self.physics.q)

    @property
    def qvel(self) -> jax.Array:
        """Generalised velocities, `(nv,)`."""
        return jnp.asarray(self.physics.qvel if self._mjx else self.physics.qd)

    @property
    def sensordata(self) -> jax.Array:
        """What the model's sensors read; empty for Brax's own engines."""
        return jnp.asarray(self.physics.sensordata) if self._mjx else jnp.zeros(0)

    @property
    def _mjx(self) -> bool:
        return hasattr(self.physics, "qpos")


class ForeignEngine:
    """An environment of Playground or Brax behind the interface of a physics engine."""

    model_fields: frozenset[str] = frozenset()  # theirs to draw

    def __init__(self, env: Any):
        """Wraps `env`.

        Raises:
            EnvironmentUnavailable: it is neither Playground's nor one of Brax's with physics.
        """
        env = getattr(env, "unwrapped", env)
        self.env = env
        if hasattr(env, "mjx_model") and hasattr(env, "mj_model"):
            self.name, self.model = "playground", env.mj_model
        elif hasattr(env, "pipeline_init") and getattr(env.sys, "mj_model", None) is not None:
            self.name, self.model = f"brax/{env.backend}", env.sys.mj_model
        else:
            raise EnvironmentUnavailable(
                f"{type(env).__name__} is neither an environment of MuJoCo Playground (it has no "
                "mjx_model) nor one of Brax with a model (no pipeline_init)"
            )

    def reset(self, key: jax.Array) -> ForeignData:
        """Returns the environment's own start for `key`."""
        return ForeignData(self.env.reset(jax.random.key_data(key)))

    def init(
        self, qpos: jax.Array, qvel: jax.Array, fields: Mapping[str, jax.Array] = NO_FIELDS
    ) -> ForeignData:
        return self.put(self.reset(jax.random.key(0)), qpos, qvel)

    def put(self, data: ForeignData, qpos: jax.Array, qvel: jax.Array) -> ForeignData:
        """Returns a fresh start moved to `qpos` and `qvel`, with its observation there."""
        if self.name == "playground":
            from mujoco import mjx

            posed = data.physics.replace(qpos=qpos, qvel=qvel)
            posed = mjx.forward(self.env.mjx_model, posed)
            obs = self._observe(posed, data.state.info)
            return ForeignData(data.state.replace(data=posed, obs=obs))
        posed = self.env.pipeline_init(qpos, qvel)
        obs = self._observe(posed, jnp.zeros(self.env.action_size))
        return ForeignData(data.state.replace(pipeline_state=posed, obs=obs))

    def _observe(self, physics: Any, second: Any) -> Any:
        """Calls the environment's observation, which in Brax may take an action besides."""
        observe = self.env._get_obs
        takes = len(inspect.signature(observe).parameters)
        return observe(physics) if takes == 1 else observe(physics, second)

    def restart(
        self,
        data: ForeignData,
        restart: jax.Array,
        qpos: jax.Array,
        qvel: jax.Array,
        fields: Mapping[str, jax.Array] = NO_FIELDS,
    ) -> ForeignData:
        return select(restart, self.init(qpos, qvel), data)

    def step(self, data: ForeignData, ctrl: jax.Array, substeps: int) -> ForeignData:
        """Advances one step of the environment, which knows its substeps itself."""
        return ForeignData(self.env.step(data.state, ctrl))


@dataclass(frozen=True)
class OwnStart(Start):
    """The environment's own reset; `qpos` only stands for it where one pose is wanted."""

    def sample(self, key: jax.Array, nv: int) -> tuple[jax.Array, jax.Array]:
        """Returns NaN, which `ForeignEnv` replaces by its own reset."""
        return jnp.full(self.qpos.shape, jnp.nan), jnp.full(nv, jnp.nan)


class ForeignEnv(RecoveryEnv):
    """An environment of MuJoCo Playground or Brax that may start out of distribution.

    A subclass defines `name`, `original_task`, `make_env`, `out_of_distribution` and `is_healthy`.
    The ordinary start is the environment's own reset; `done` of the environment ends an episode as
    the loss of health does. It runs on its own engine, whatever `engine` says.

    Attributes:
        observation_key: which entry of an observation that is a dictionary the policy sees.
    """

    frame_skip: ClassVar[int] = 1
    engines: ClassVar[tuple[str, ...]] = ("auto",)
    observation_key: ClassVar[str] = "state"

    engine: ForeignEngine

    # What a subclass says.

    @classmethod
    @abc.abstractmethod
    def make_env(cls) -> Any:
        """Returns the environment, without any of the wrappers that learners put around it."""

    @classmethod
    @abc.abstractmethod
    def out_of_distribution(cls) -> Start:
        """Returns the start to come back from."""

    # What follows from it.

    @classmethod
    def make_model(cls) -> mujoco.MjModel:
        return _engine(cls).model

    @classmethod
    def starts(cls) -> dict[str, Start]:
        pose = np.array(cls.make_model().qpos0, np.float32)
        return {"ordinary": OwnStart(pose), "ood": cls.out_of_distribution()}

    def observe(self, data: Any, memory: Any) -> jax.Array:
        obs = data.state.obs
        return jnp.asarray(obs[self.observation_key] if isinstance(obs, dict) else obs)

    def task_reward(self, before: State, action: jax.Array, data: Any, memory: Any) -> jax.Array:
        return jnp.asarray(data.state.reward)

    def control(self, data: Any, action: jax.Array) -> jax.Array:
        return action

    def has_failed(self, data: Any) -> jax.Array:
        return ~self.is_healthy(data) | (data.state.done > 0)

    @property
    def action_size(self) -> int:
        return int(self.engine.env.action_size)

    @property
    def control_timestep(self) -> float:
        return float(self.engine.env.dt)

    def _make_engine(self, engine: str, num_envs: int) -> PhysicsEngine:
        return _engine(type(self))

    def _begin(self, key: jax.Array, distance: jax.Array) -> ForeignData:
        own_key, key = jax.random.split(key)
        own = self.engine.reset(own_key)
        qpos, qvel = self._sample_start(key, distance)
        keep = jnp.isnan(qpos).any()
        posed = self.engine.put(
            own, jnp.where(keep, own.qpos, qpos), jnp.where(keep, own.qvel, qvel)
        )
        return select(keep, own, posed)

    def _begin_where(
        self, where: jax.Array, data: ForeignData, key: jax.Array, distance: jax.Array
    ) -> ForeignData:
        return select(where, self._begin(key, distance), data)


@functools.cache
def _engine(environment: type[ForeignEnv]) -> ForeignEngine:
    """Returns the engine of a class, made once: these environments take seconds to build."""
    return ForeignEngine(environment.make_env())


def select(where: jax.Array, chosen: ForeignData, other: ForeignData) -> ForeignData:
    """Returns `chosen` where the boolean `where` is true, `other` elsewhere."""

    def leaf(first: Any, second: Any) -> Any:
        return jnp.where(where, first, second).astype(jnp.asarray(second).dtype)

    return jax.tree.map(leaf, chosen, other)
