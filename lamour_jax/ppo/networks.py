"""The policy and the critic: two flax networks, their parameters, and the action distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from brax.training.acme import running_statistics
from brax.training.distribution import NormalDistribution
from flax import struct

from envs.mirror import Mirror

ACTIVATIONS = {"tanh": nn.tanh, "elu": nn.elu, "swish": nn.swish, "relu": nn.relu}
# What a mean action passes through: Brax's usual policies bound it by tanh.
OUTPUTS = {"linear": lambda x: x, "tanh": nn.tanh}
# Observations further than this many standard deviations out are clipped. An out-of-distribution
# pose lies up to 30 out: the usual clip at 5 or 10 would hide it.
MAX_NORMALIZED_OBSERVATION = 40.0
# Passes through the network that estimate the variance of its hidden units (SeRO, official code).
DROPOUT_PASSES = 30


# Factors of each hidden layer's units, `(..., units)`: 0 where a unit is dropped.
DropoutMasks = tuple[jax.Array, ...]


class MLP(nn.Module):
    """A multi-layer perceptron with orthogonal initialisation.

    Attributes:
        layer_sizes: units of each layer, the output's last.
        activation: a name of `ACTIVATIONS`, after every layer but the last.
        output_scale: gain of the last layer's initial weights.
        output: a name of `OUTPUTS`, after the last layer.
    """

    layer_sizes: Sequence[int]
    activation: str
    output_scale: float
    output: str = "linear"

    @nn.compact
    def __call__(
        self, x: jax.Array, masks: DropoutMasks | None = None, hidden: bool = False
    ) -> jax.Array:
        """Returns the output, or the last hidden layer if `hidden`."""
        for index, size in enumerate(self.layer_sizes[:-1]):
            x = nn.Dense(size, kernel_init=nn.initializers.orthogonal(2**0.5))(x)
            x = ACTIVATIONS[self.activation](x)
            if masks is not None:
                x = x * masks[index]
        if hidden:
            return x
        last = nn.initializers.orthogonal(self.output_scale)
        return OUTPUTS[self.output](nn.Dense(self.layer_sizes[-1], kernel_init=last)(x))


class AgentParams(struct.PyTreeNode):
    """Everything that learning changes by gradient.

    Attributes:
        policy: parameters of the mean's network.
        critic: parameters of the value network.
        log_std: `(2, action_size)`: row 0 where the robot is not exploring (ordinary and
            recovered states), row 1 where it is (not recovered).
    """

    policy: Any
    critic: Any
    log_std: jax.Array


class Agent(struct.PyTreeNode):
    """An agent as it acts: parameters plus the statistics that its networks assume.

    Attributes:
        params: see `AgentParams`.
        observation_statistics: Brax running statistics, `(observation_size,)`.
        value_statistics: Brax running statistics of the value targets, `()`.
        max_hidden_variance: the largest variance under dropout that each unit of the policy's last
            hidden layer reached while the original policy was trained; none without dropout.
    """

    params: AgentParams
    observation_statistics: running_statistics.RunningStatisticsState
    value_statistics: running_statistics.RunningStatisticsState
    max_hidden_variance: jax.Array | None = None


class NoiseBounds(struct.PyTreeNode):
    """Bounds on the action noise's standard deviation; row 0 acting, row 1 exploring, `(2,)`.

    `correlation` is that of exploration noise from one step to the next, `()`.
    """

    low: jax.Array
    high: jax.Array
    correlation: jax.Array


class ActorCritic:
    """The networks as pure functions of an `Agent`; a Gaussian policy with a gated std."""

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        dropout: float = 0.0,
        output: str = "linear",
        mirror: Mirror | None = None,
    ):
        """Builds the networks.

        Args:
            observation_size, action_size: of the environment.
            hidden_sizes: units of the hidden layers of both networks.
            activation: a name of `ACTIVATIONS`, after each of them.
            dropout: share of hidden policy units that is left out.
            output: a name of `OUTPUTS`, what mean actions pass through.
            mirror: both sides are to be treated alike: means and values are averages of what the
                networks say of an observation and of its mirror image.

        Raises:
            ValueError: `activation` is not in `ACTIVATIONS`, or `mirror` is of another size.
        """
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"unknown activation {activation!r}; known: {', '.join(sorted(ACTIVATIONS))}"
            )
        if mirror is not None:
            mirror.check(observation_size, action_size)
        self.observation_size = observation_size
        self.action_size = action_size
        self.dropout = dropout
        self.mirror = mirror
        self._hidden_sizes = tuple(hidden_sizes)
        self._policy = MLP((*hidden_sizes, action_size), activation, 0.01, output)
        self._critic = MLP((*hidden_sizes, 1), activation, output_scale=1.0)
        self._distribution = NormalDistribution(action_size)

    def init(self, key: jax.Array, initial_std: float) -> Agent:
        """Returns a fresh agent whose action noise has standard deviation `initial_std`."""
        policy_key, critic_key = jax.random.split(key)
        obs = jnp.zeros((self.observation_size,))
        return Agent(
            params=AgentParams(
                policy=self._policy.init(policy_key, obs),
                critic=self._critic.init(critic_key, obs),
                log_std=jnp.full((2, self.action_size), jnp.log(initial_std), jnp.float32),
            ),
            observation_statistics=running_statistics.init_state(obs),
            value_statistics=running_statistics.init_state(jnp.zeros(())),
            max_hidden_variance=jnp.zeros(self._hidden_sizes[-1]) if self.dropout else None,
        )

    def normalize(self, agent: Agent, obs: jax.Array) -> jax.Array:
        """Returns observations `(..., observation_size)` in standard deviations."""
        return running_statistics.normalize(
            obs, agent.observation_statistics, max_abs_value=MAX_NORMALIZED_OBSERVATION
        )

    def mean(
        self,
        params: AgentParams,
        normalized_obs: jax.Array,
        dropout_keys: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the policy's mean action, `(..., action_size)`, before clipping to -1..1.

        With `dropout_keys` `(...)` hidden units are dropped, the same ones for the same key: that
        keeps PPO's ratio exact (consistent dropout, Hausknecht and Wagener, arXiv 2202.11818).
        """
        masks = None if dropout_keys is None else jax.vmap(self._dropout_masks)(dropout_keys)

        def mean(normalized_obs: jax.Array) -> jax.Array:
            return jnp.asarray(self._policy.apply(params.policy, normalized_obs, masks))

        if self.mirror is None:
            return mean(normalized_obs)
        mirrored = mean(self.mirror.observation.difference(normalized_obs))
        return 0.5 * (mean(normalized_obs) + self.mirror.action(mirrored))

    def dropout_keys(self, key: jax.Array, count: int) -> jax.Array | None:
        """Returns a key for each of `count` transitions, or none for networks without dropout."""
        return jax.random.split(key, count) if self.dropout else None

    def hidden_variance(self, params: AgentParams, normalized_obs: jax.Array) -> jax.Array:
        """Returns the variance under dropout of the last hidden layer, `(..., units)`.

        Always the same `DROPOUT_PASSES` draws, so that it is a function of the observation.
        """
        keys = jax.random.split(jax.random.key(0), DROPOUT_PASSES)
        hidden = jax.vmap(
            lambda key: self._policy.apply(
                params.policy, normalized_obs, self._dropout_masks(key), hidden=True
            )
        )(keys)
        return jnp.asarray(hidden).var(axis=0)

    def _dropout_masks(self, key: jax.Array) -> DropoutMasks:
        kept = 1.0 - self.dropout
        keys = jax.random.split(key, len(self._hidden_sizes))
        return tuple(
            jax.random.bernoulli(key, kept, (size,)) / kept
            for key, size in zip(keys, self._hidden_sizes, strict=True)
        )

    def std(self, params: AgentParams, exploring: jax.Array, bounds: NoiseBounds) -> jax.Array:
        """Returns the action noise's std, `(..., action_size)`; `exploring` is `(...)` bool."""
        std = jnp.clip(jnp.exp(params.log_std), bounds.low[:, None], bounds.high[:, None])
        return jnp.where(exploring[..., None], std[1], std[0])

    def noise(
        self, params: AgentParams, exploring: jax.Array, past: jax.Array, bounds: NoiseBounds
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the std of the next action given past noise, and how it moves the mean.

        Args:
            params: the agent's.
            exploring: `(...)` bool; only exploration noise is correlated.
            past: exploration noise of the step before in units of its std, `(..., action_size)`.
            bounds: of the std, and the correlation.
        """
        std = self.std(params, exploring, bounds)
        correlation = jnp.where(exploring, bounds.correlation, 0.0)[..., None]
        return std * jnp.sqrt(1.0 - jnp.square(correlation)), std * correlation * past

    def normalized_value(self, params: AgentParams, normalized_obs: jax.Array) -> jax.Array:
        """Returns the critic's output, `(...)`, in standard deviations of the value targets."""

        def value(normalized_obs: jax.Array) -> jax.Array:
            return jnp.asarray(self._critic.apply(params.critic, normalized_obs))[..., 0]

        if self.mirror is None:
            return value(normalized_obs)
        mirrored = value(self.mirror.observation.difference(normalized_obs))
        return 0.5 * (value(normalized_obs) + mirrored)

    def value(self, agent: Agent, obs: jax.Array) -> jax.Array:
        """Returns the value estimate of observations `(..., observation_size)`, `(...)`."""
        return running_statistics.denormalize(
            self.normalized_value(agent.params, self.normalize(agent, obs)),
            agent.value_statistics,
        )

    def sample(self, key: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
        """Draws actions, unclipped."""
        return self._distribution.create_dist((mean, std)).sample(seed=key)

    def log_prob(self, mean: jax.Array, std: jax.Array, action: jax.Array) -> jax.Array:
        """Returns the log density of unclipped actions, `(...)`."""
        return self._distribution.log_prob((mean, std), action)

    def entropy(self, mean: jax.Array, std: jax.Array) -> jax.Array:
        """Returns the action distribution's entropy, `(...)`."""
        return self._distribution.create_dist((mean, std)).entropy().sum(-1)


def cross_entropy(
    target_mean: jax.Array, target_std: jax.Array, mean: jax.Array, std: jax.Array
) -> jax.Array:
    """Cross-entropy of diagonal Gaussians, `-E[log N(a; mean, std)]`, `a ~ N(target)`, `(...)`.

    The closed form of policy consolidation's expectation over the original policy's actions
    (LaMOuR, arXiv 2503.17125, eq. for LPC): the same gradient without sampling noise.
    """
    variance = jnp.square(std)
    squared = jnp.square(target_std) + jnp.square(target_mean - mean)
    return 0.5 * jnp.sum(squared / variance + jnp.log(2.0 * jnp.pi * variance), axis=-1)
