"""How an agent acts: the one function behind training, evaluation, playing and export."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs import State
from lamour_jax.objective import Objective, original_task
from lamour_jax.ppo import noise
from lamour_jax.ppo.networks import ActorCritic, Agent


class Acted(struct.PyTreeNode):
    """What was done in a batch of states, and what learning needs to know of it.

    Attributes:
        action: `(batch, action_size)`, not clipped.
        noise_offset: what correlated noise moved the mean action by, `(batch, action_size)`.
        log_prob: log density of the action under the learning agent's noise, `(batch,)`.
        exploring: whether the noise was that of exploring, `(batch,)` bool.
        original_acted: whether the action was the original policy's, `(batch,)` bool.
        noise: exploration noise in units of its std, the past of the next step; 0 elsewhere.
        drawn: what the policy's network drew for each state, if it draws anything.
    """

    action: jax.Array
    noise_offset: jax.Array
    log_prob: jax.Array
    exploring: jax.Array
    original_acted: jax.Array
    noise: jax.Array
    drawn: Any = None


def act(
    network: ActorCritic,
    agent: Agent,
    obs: jax.Array,
    exploring: jax.Array,
    key: jax.Array | None = None,
    past: jax.Array | float = 0.0,
    limits: noise.NoiseBounds = noise.OWN,
    drawn: Any = None,
) -> Acted:
    """Returns what an agent does in a batch of observations.

    Args:
        network: the agent's networks.
        agent: who acts.
        obs: what its policy sees, `(batch, observation_size)`.
        exploring: where it explores, `(batch,)` bool.
        key: of the noise; without one the mean actions.
        past: exploration noise of the step before in units of its std, `(batch, action_size)`.
        limits: of the noise; by default the agent's own.
        drawn: what its policy's network drew for these states (`PolicyNetwork.draw`).
    """
    std, offset = noise.given_past(agent.params.log_std, exploring, jnp.asarray(past), limits)
    mean = network.mean(agent.params, network.normalize(agent, obs), drawn) + offset
    action = mean if key is None else noise.sample(key, mean, std)
    own_noise = (action - mean + offset) / limits.high[1]
    return Acted(
        action=action,
        noise_offset=offset,
        log_prob=noise.log_prob(mean, std, action),
        exploring=exploring,
        original_acted=jnp.zeros_like(exploring),
        noise=jnp.where(exploring[:, None], own_noise, 0.0),
        drawn=drawn,
    )


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

    def __call__(
        self,
        agent: Agent,
        state: State,
        key: jax.Array | None = None,
        past: jax.Array | float = 0.0,
        limits: noise.NoiseBounds = noise.OWN,
        drawn: Any = None,
    ) -> Acted:
        """Returns what is done in a batch of states; arguments as those of `act`.

        Where the method lets the original policy act, the action is its own, with its own noise.
        """
        obs = state.obs["policy"]
        exploring = jax.vmap(self.objective.exploring)(state)
        acted = act(self.network, agent, obs, exploring, key, past, limits, drawn)
        if self.original is None:
            return acted
        original_acts = jax.vmap(self.objective.original_acts)(state)
        original_key = None if key is None else jax.random.fold_in(key, 2)
        nowhere = jnp.zeros_like(exploring)
        original = act(self.network, self.original, obs, nowhere, original_key)
        return acted.replace(
            action=jnp.where(original_acts[:, None], original.action, acted.action),
            original_acted=original_acts,
        )
