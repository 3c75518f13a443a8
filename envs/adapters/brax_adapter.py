"""The environments as Brax environments, so that Brax's own wrappers and learners take them."""

from __future__ import annotations

from typing import Any

import brax.envs.base
import jax
import jax.numpy as jnp

from envs.recovery_env import RecoveryEnv, State


class BraxEnv(brax.envs.base.Env):
    """A `RecoveryEnv` behind Brax's interface.

    The whole `State` travels as Brax's `pipeline_state`, so that Brax's automatic reset puts back
    what belongs to an episode (whether the robot has been healthy) together with the physics.
    `done` is termination alone: in Brax the time limit, and with it truncation, is the business
    of `EpisodeWrapper(episode_length=...)`. Brax's automatic reset returns to the start that an
    environment drew first; for a fresh start in every episode use `RecoveryEnv.restart`.
    """

    def __init__(self, env: RecoveryEnv):
        self.env = env

    def reset(self, rng: jax.Array) -> brax.envs.base.State:
        """Returns a fresh start drawn with the key `rng`."""
        return self._brax_state(self.env.reset(rng), metrics={}, info={})

    def step(self, state: brax.envs.base.State, action: jax.Array) -> brax.envs.base.State:
        """Advances one control step under `action` `(action_size,)`, clipped to -1..1."""
        recovery_state = self.env.step(state.pipeline_state, action)
        return self._brax_state(recovery_state, state.metrics, state.info)

    @property
    def observation_size(self) -> int:
        return self.env.observation_size

    @property
    def action_size(self) -> int:
        return self.env.action_size

    @property
    def backend(self) -> str:
        """The physics engine's name."""
        return self.env.engine.name

    @staticmethod
    def _brax_state(
        state: State, metrics: dict[str, jax.Array], info: dict[str, Any]
    ) -> brax.envs.base.State:
        """Keeps the `metrics` and `info` that Brax's wrappers have added."""
        healthy = state.episode.healthy.astype(jnp.float32)
        return brax.envs.base.State(
            pipeline_state=state,
            obs=state.obs["policy"],
            reward=state.reward,
            done=state.episode.termination.astype(jnp.float32),
            metrics=metrics | {"healthy": healthy},
            info=info,
        )
