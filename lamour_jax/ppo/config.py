"""The learner's settings, and those of its guard against broken numbers."""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass

from lamour_jax.setting import CHECKED, setting

# Bounds of what the policy's learning rate is scaled by.
POLICY_SCALES = (0.03, 3.0)

Size = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class PerStep(NamedTuple):
    """The settings in seconds, for one control step."""

    discount: float
    correlation: float


@dataclass(frozen=True, config=CHECKED)
class PPOConfig:
    """Proximal policy optimisation (Schulman et al., arXiv 1707.06347) on a batch of environments.

    Pairs are the values at the start and at the end of annealing, geometric between.
    """

    num_envs: int = setting(64, "Environments that are stepped side by side.", ge=1)
    unroll_length: int = setting(
        64, "Steps of each environment in one iteration.", "control steps", ge=1
    )
    epochs: int = setting(8, "Passes over the transitions of one iteration.", ge=1)
    minibatch_size: int = setting(
        256, "Transitions in one gradient step. It divides num_envs x unroll_length.", ge=1
    )
    learning_rate: float = setting(3e-4, "Adam's step size at the start.", gt=0)
    final_learning_rate: float = setting(
        0.05, "Share of the learning rate that is left when the linear decay ends.", ge=0, le=1
    )
    target_kl: float = setting(
        0.01,
        "Mean KL divergence of one iteration's updates. The policy's learning rate is scaled to "
        "stay near it; the critic's is not.",
        gt=0,
    )
    initial_scale: float = setting(
        1.0,
        "First scale of the policy's learning rate. A small one keeps the first updates from "
        "destroying a policy that is far out of its distribution.",
        ge=POLICY_SCALES[0],
        le=POLICY_SCALES[1],
    )
    horizon: float = setting(
        4.975, "Horizon of the discount: discount = exp(-control step / horizon).", "s", gt=0
    )
    gae_lambda: float = setting(
        0.95, "Mixing of generalised advantage estimation (arXiv 1506.02438).", ge=0, le=1
    )
    clip: float = setting(0.2, "How far the probability ratio may move.", gt=0)
    acting_weight: tuple[Positive, Positive] = setting(
        (1.0, 1.0),
        "Weight of PPO's loss where the robot does not explore. The narrow noise there makes "
        "gradients 10 to 100 times larger, so a small weight first lets the robot learn to come "
        "back.",
    )
    entropy_coef: float = setting(0.0, "Weight of the entropy of the action distribution.", ge=0)
    bound_coef: float = setting(
        1.0,
        "Weight of the squared excess of mean actions over -1..1 where the robot explores. "
        "Noise does not reach the motors beyond that range.",
        ge=0,
    )
    max_grad_norm: float = setting(0.5, "Gradients are scaled down to this norm.", gt=0)
    critic_warmup: float = setting(
        0.0, "Share of training in which only the critic learns.", ge=0, le=1
    )
    annealing: float = setting(
        1.0,
        "Share of training after which max_std, explore_std and acting_weight stay at their ends.",
        gt=0,
        le=1,
    )
    hidden_sizes: tuple[Size, ...] = setting(
        (64, 64), "Units of the hidden layers of both networks.", min_length=1
    )
    activation: Literal["tanh", "elu", "swish", "relu"] = setting(
        "tanh", "Activation of the hidden layers."
    )
    output: Literal["linear", "tanh"] = setting(
        "linear", "What mean actions pass through. Brax's policies have tanh."
    )
    dropout: float = setting(
        0.0, "Share of the policy's hidden units that training leaves out (SeRO).", ge=0, lt=1
    )
    mirror: bool = setting(
        False,
        "Average what the networks say of a state and of its mirror image, for robots that are "
        "alike on both sides (doi 10.1145/3359566.3360070). The task and the reward have to be "
        "alike as well.",
    )
    std: float = setting(0.6, "First standard deviation of the action noise.", gt=0)
    min_std: float = setting(0.15, "Floor of the learned standard deviation.", ge=0)
    max_std: tuple[Positive, Positive] = setting(
        (1.0, 0.2), "Ceiling of the learned standard deviation."
    )
    settled_std: float = setting(
        0.05, "Ceiling of the finished policy's noise. Training's wider noise is not needed.", gt=0
    )
    explore_std: tuple[Positive, Positive] = setting(
        (1.0, 0.3), "Standard deviation of the noise where the robot is not recovered."
    )
    explore_time_constant: float = setting(
        0.0,
        "Time constant of the noise where the robot is not recovered: correlation of two steps = "
        "exp(-control step / time constant); 0: white noise. Held noise moves limbs, white noise "
        "averages out within a few short steps.",
        "s",
        ge=0,
    )
    observation_std_floor: float = setting(
        0.25, "Smallest standard deviation that the normaliser divides by.", gt=0
    )

    @property
    def batch_size(self) -> int:
        """Transitions in one iteration."""
        return self.num_envs * self.unroll_length

    def per_step(self, dt: float) -> PerStep:
        """Returns the settings in seconds for a control step of `dt` [s]."""
        tau = self.explore_time_constant
        return PerStep(math.exp(-dt / self.horizon), math.exp(-dt / tau) if tau else 0.0)


@dataclass(frozen=True, config=CHECKED)
class GuardConfig:
    """What is done about numbers that are not finite or far too large."""

    max_state: float = setting(
        1e6,
        "Largest magnitude of an observation, a position or a velocity. A sample beyond it is bad: "
        "its environment restarts and the update leaves it out.",
        gt=0,
    )
    max_reward: float = setting(1e6, "Largest magnitude of a reward, likewise.", gt=0)
    max_skips_in_a_row: int = setting(
        1000,
        "Updates with gradients that are not finite are skipped. Training stops at so many in a "
        "row.",
        ge=1,
    )
    max_skips: int = setting(10_000, "Training stops at so many skipped updates in all.", ge=1)
    bad_state_files: int = setting(20, "Largest number of files in a run's bad_states/.", ge=0)
