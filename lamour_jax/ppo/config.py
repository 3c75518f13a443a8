"""The learner's settings, and what it takes for beyond all measure."""

from __future__ import annotations

from dataclasses import dataclass

# Bounds of what the policy's learning rate is scaled by.
POLICY_SCALES = (0.03, 3.0)


@dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimisation (Schulman et al., arXiv 1707.06347) on a batch of environments.

    Attributes:
        num_envs: environments stepped side by side.
        unroll_length: control steps of each environment in one iteration.
        epochs: passes over an iteration's transitions.
        minibatch_size: transitions in one gradient step; divides num_envs x unroll_length.
        learning_rate: Adam's step size at the start.
        final_learning_rate: its share that is left at the end of the linear decay.
        target_kl: the policy's learning rate is scaled so that the mean KL divergence of an
            iteration's updates stays near this; the critic's is not.
        initial_scale: what it is scaled by at first, from 0.03 to 3. A policy that is brought far
            out of distribution moves by a KL divergence of tens within a first full-sized
            iteration, and forgets.
        discount: per control step.
        gae_lambda: mixing of generalised advantage estimation (arXiv 1506.02438).
        clip: how far the probability ratio may move.
        acting_weight: weight of PPO's surrogate where the robot is not exploring, at the start
            and at the end of annealing; geometric between. The narrow noise there makes gradients
            and KL divergence 10 to 100 times those of exploring states, which would hardly be
            learned from at equal weight: first come back, then run well again. Consolidation
            keeps its full weight throughout.
        entropy_coef: weight of the action distribution's entropy.
        bound_coef: weight of the squared excess of mean actions over -1..1 where the robot is
            exploring. Far out of distribution the original policy's means lie at up to 5, where
            noise no longer reaches the motors.
        max_grad_norm: gradients are scaled down to this global norm.
        critic_warmup: share of training in which only the critic learns.
        annealing: share of training after which max_std, explore_std and acting_weight stay at
            their ends: how soon the noise is over need not depend on how long training is.
        hidden_sizes: units of the hidden layers of both networks.
        activation: their activation, tanh, elu, swish or relu.
        output: what mean actions pass through, linear or tanh (Brax's policies).
        dropout: share of the policy's hidden units that is left out while training (SeRO).
        mirror: of robots that are alike on both sides (`RecoveryEnv.mirror`): mean actions and
            values are averages of what the networks say of a state and of its mirror image, so
            that the policy does in the mirror what it does (the symmetric network of Abdolhosseini
            et al., doi 10.1145/3359566.3360070). The task and the reward have to be alike as well.
            Where a state is its own mirror image such a policy moves both sides alike: which leg
            goes first has to be learned with little noise.
        std: initial standard deviation of the action noise.
        min_std: floor of the learned standard deviation.
        max_std: its ceiling at the start and at the end of annealing; geometric between.
        settled_std: ceiling of the finished policy's noise. Training's wider noise makes a policy
            robust; a finished one need not bear it.
        explore_std: standard deviation where the robot is not recovered, likewise start and end.
        explore_correlation: of that noise from one control step to the next. White noise averages
            out within a few 8 ms steps; held noise moves limbs.
        observation_std_floor: smallest standard deviation that the normaliser divides by.
    """

    num_envs: int = 64
    unroll_length: int = 64
    epochs: int = 8
    minibatch_size: int = 256
    learning_rate: float = 3e-4
    final_learning_rate: float = 0.05
    target_kl: float = 0.01
    initial_scale: float = 1.0
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    acting_weight: tuple[float, float] = (1.0, 1.0)
    entropy_coef: float = 0.0
    bound_coef: float = 1.0
    max_grad_norm: float = 0.5
    critic_warmup: float = 0.0
    annealing: float = 1.0
    hidden_sizes: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    output: str = "linear"
    dropout: float = 0.0
    mirror: bool = False
    std: float = 0.6
    min_std: float = 0.15
    max_std: tuple[float, float] = (1.0, 0.2)
    settled_std: float = 0.05
    explore_std: tuple[float, float] = (1.0, 0.3)
    explore_correlation: float = 0.0
    observation_std_floor: float = 0.25

    @property
    def batch_size(self) -> int:
        """Transitions in one iteration."""
        return self.num_envs * self.unroll_length


@dataclass(frozen=True)
class GuardConfig:
    """What is done about numbers that are not finite, or beyond all measure.

    Attributes:
        max_state: largest magnitude of an observation, a position or a velocity. A sample with a
            larger one, or NaN, is bad: its environment restarts, the update leaves it out.
        max_reward: likewise of a reward.
        max_skips_in_a_row: updates with gradients that are not finite are skipped; training stops
            when so many in a row are.
        max_skips: or so many in all.
        bad_state_files: files in a run's `bad_states/` at most.
    """

    max_state: float = 1e6
    max_reward: float = 1e6
    max_skips_in_a_row: int = 1000
    max_skips: int = 10_000
    bad_state_files: int = 20
