"""The policy and the critic: two networks, their parameters, and the statistics they assume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from brax.training.acme import running_statistics
from flax import struct

from envs.mirror import Mirror

ACTIVATIONS = {"tanh": nn.tanh, "elu": nn.elu, "swish": nn.swish, "relu": nn.relu}
# What a mean action passes through: Brax's usual policies bound it by tanh.
OUTPUTS = {"linear": lambda x: x, "tanh": nn.tanh}
# Observations further than this many standard deviations out are clipped. An out-of-distribution
# pose lies up to 30 out: the usual clip at 5 or 10 would hide it.
MAX_NORMALIZED_OBSERVATION = 40.0


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
    def __call__(self, x: jax.Array) -> jax.Array:
        for size in self.layer_sizes[:-1]:
            x = nn.Dense(size, kernel_init=nn.initializers.orthogonal(2**0.5))(x)
            x = ACTIVATIONS[self.activation](x)
        last = nn.initializers.orthogonal(self.output_scale)
        return OUTPUTS[self.output](nn.Dense(self.layer_sizes[-1], kernel_init=last)(x))


class PolicyNetwork:
    """A policy's network: normalised observations to mean actions.

    A method may bring one that draws something at random for each transition, or that keeps
    statistics of what it has seen (`methods.sero`); this one does neither.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        output: str = "linear",
    ):
        """Builds a multi-layer perceptron.

        Args:
            observation_size, action_size: of the environment.
            hidden_sizes: units of the hidden layers.
            activation: a name of `ACTIVATIONS`, after each of them.
            output: a name of `OUTPUTS`, what mean actions pass through.

        Raises:
            ValueError: `activation` is not in `ACTIVATIONS`.
        """
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"unknown activation {activation!r}; known: {', '.join(sorted(ACTIVATIONS))}"
            )
        self.observation_size = observation_size
        self.action_size = action_size
        self.hidden_sizes = tuple(hidden_sizes)
        self.activation = activation
        self.output = output
        self._mlp = MLP((*hidden_sizes, action_size), activation, 0.01, output)

    def init(self, key: jax.Array) -> Any:
        """Returns fresh parameters."""
        return self._mlp.init(key, jnp.zeros((self.observation_size,)))

    def mean(self, params: Any, normalized_obs: jax.Array, drawn: Any = None) -> jax.Array:
        """Returns mean actions `(..., action_size)`; `drawn` is what `draw` gave, or None."""
        return jnp.asarray(self._mlp.apply(params, normalized_obs))

    def draw(self, key: jax.Array, count: int) -> Any:
        """Returns what acting draws for `count` transitions, the loss to use it again; None."""
        return None

    def statistics(self) -> Any:
        """Returns the statistics of a fresh policy (`Agent.auxiliary`); None."""
        return None

    def observed(self, statistics: Any, params: Any, normalized_obs: jax.Array) -> Any:
        """Returns the statistics after an iteration's observations `(time, envs, size)`."""
        return statistics


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
        critic_statistics: Brax running statistics of the critic's observations,
            `(critic_observation_size,)`; None where it sees what the policy sees.
        auxiliary: what the policy's network keeps of what it has seen; None by default.
    """

    params: AgentParams
    observation_statistics: running_statistics.RunningStatisticsState
    value_statistics: running_statistics.RunningStatisticsState
    critic_statistics: running_statistics.RunningStatisticsState | None = None
    auxiliary: Any = None


class ActorCritic:
    """The networks as pure functions of an `Agent`."""

    def __init__(
        self,
        policy: PolicyNetwork,
        mirror: Mirror | None = None,
        critic_observation_size: int = 0,
    ):
        """Builds the critic beside a policy, with the same hidden layers.

        Args:
            policy: the policy's network.
            mirror: both sides are to be treated alike: means and values are averages of what the
                networks say of an observation and of its mirror image. A critic with observations
                of its own sees those as they are.
            critic_observation_size: of what the critic sees; 0: what the policy sees.

        Raises:
            ValueError: `mirror` is of another size.
        """
        if mirror is not None:
            mirror.check(policy.observation_size, policy.action_size)
        self.policy = policy
        self.mirror = mirror
        self.critic_observation_size = critic_observation_size
        self._critic = MLP((*policy.hidden_sizes, 1), policy.activation, output_scale=1.0)

    def init(self, key: jax.Array, initial_std: float) -> Agent:
        """Returns a fresh agent whose action noise has standard deviation `initial_std`."""
        policy_key, critic_key = jax.random.split(key)
        obs = jnp.zeros((self.policy.observation_size,))
        critic_obs = jnp.zeros((self.critic_observation_size,))
        own = bool(self.critic_observation_size)
        return Agent(
            params=AgentParams(
                policy=self.policy.init(policy_key),
                critic=self._critic.init(critic_key, critic_obs if own else obs),
                log_std=jnp.full((2, self.policy.action_size), jnp.log(initial_std), jnp.float32),
            ),
            observation_statistics=running_statistics.init_state(obs),
            value_statistics=running_statistics.init_state(jnp.zeros(())),
            critic_statistics=running_statistics.init_state(critic_obs) if own else None,
            auxiliary=self.policy.statistics(),
        )

    def normalize(self, agent: Agent, obs: jax.Array) -> jax.Array:
        """Returns the policy's observations `(..., observation_size)` in standard deviations."""
        return running_statistics.normalize(
            obs, agent.observation_statistics, max_abs_value=MAX_NORMALIZED_OBSERVATION
        )

    def normalize_critic(self, agent: Agent, obs: Mapping[str, jax.Array]) -> jax.Array:
        """Returns what the critic sees of observations, in standard deviations."""
        if agent.critic_statistics is None:
            return self.normalize(agent, obs["policy"])
        return running_statistics.normalize(
            obs["critic"], agent.critic_statistics, max_abs_value=MAX_NORMALIZED_OBSERVATION
        )

    def mean(self, params: AgentParams, normalized_obs: jax.Array, drawn: Any = None) -> jax.Array:
        """Returns the policy's mean action, `(..., action_size)`, before clipping to -1..1.

        The same `drawn` (`PolicyNetwork.draw`) gives the same action: PPO's ratio stays exact.
        """
        mean = self.policy.mean(params.policy, normalized_obs, drawn)
        if self.mirror is None:
            return mean
        reflected = self.mirror.observation.difference(normalized_obs)
        mirrored = self.policy.mean(params.policy, reflected, drawn)
        return 0.5 * (mean + self.mirror.action(mirrored))

    def normalized_value(self, params: AgentParams, normalized_obs: jax.Array) -> jax.Array:
        """Returns the critic's output, `(...)`, in standard deviations of the value targets."""

        def value(normalized_obs: jax.Array) -> jax.Array:
            return jnp.asarray(self._critic.apply(params.critic, normalized_obs))[..., 0]

        if self.mirror is None or self.critic_observation_size:
            return value(normalized_obs)
        mirrored = value(self.mirror.observation.difference(normalized_obs))
        return 0.5 * (value(normalized_obs) + mirrored)

    def value(self, agent: Agent, obs: Mapping[str, jax.Array]) -> jax.Array:
        """Returns the value estimate of observations `(..., size)`, `(...)`."""
        return running_statistics.denormalize(
            self.normalized_value(agent.params, self.normalize_critic(agent, obs)),
            agent.value_statistics,
        )

    def observed(self, agent: Agent, obs: Mapping[str, jax.Array], std_floor: float) -> Agent:
        """Returns the agent whose statistics know the observations `(time, envs, size)` as well.

        Networks that treat both sides alike see each observation and its mirror image.
        """
        seen = obs["policy"]
        auxiliary = self.policy.observed(
            agent.auxiliary, agent.params.policy, self.normalize(agent, seen)
        )
        if self.mirror is not None:
            seen = jnp.concatenate([seen, self.mirror.observation(seen)])
        critic = agent.critic_statistics
        if critic is not None:
            critic = running_statistics.update(critic, obs["critic"], std_min_value=std_floor)
        return agent.replace(
            observation_statistics=running_statistics.update(
                agent.observation_statistics, seen, std_min_value=std_floor
            ),
            critic_statistics=critic,
            auxiliary=auxiliary,
        )
