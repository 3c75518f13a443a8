"""Who acts, and how, once training is over: what evaluations, pictures and deployment share."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from envs import State
from lamour_jax.objective import Objective, original_task
from lamour_jax.ppo.networks import ActorCritic, Agent


@dataclass(frozen=True)
class Actor:
    """A method's way from states to actions.

    Attributes:
        network: the networks of the agents.
        objective: says where an agent explores and where the original policy acts.
        original: that original policy; only methods that let it act need one.
    """

    network: ActorCritic
    objective: Objective = field(default_factory=original_task)
    original: Agent | None = None

    def __call__(self, agent: Agent, state: State, key: jax.Array | None = None) -> jax.Array:
        """Returns actions `(batch, action_size)` in a batch of states, unclipped.

        Mean actions without a `key`; with one, samples with the policies' own noise, an agent's
        wider where it explores.
        """
        exploring = jax.vmap(self.objective.exploring)(state)
        action = self._actions(agent, state.obs, exploring, key)
        if self.original is None:
            return action
        original = self._actions(self.original, state.obs, jnp.zeros_like(exploring), key)
        return jnp.where(jax.vmap(self.objective.original_acts)(state)[:, None], original, action)

    def _actions(
        self, agent: Agent, obs: jax.Array, exploring: jax.Array, key: jax.Array | None
    ) -> jax.Array:
        mean = self.network.mean(agent.params, self.network.normalize(agent, obs))
        if key is None:
            return mean
        std = jnp.exp(agent.params.log_std)
        return self.network.sample(key, mean, jnp.where(exploring[:, None], std[1], std[0]))
