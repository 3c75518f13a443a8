"""The original task's reward, everywhere or while healthy, without consolidation.

The baselines "SAC-env" and "SAC-zero" of LaMOuR (arXiv 2503.17125), on this learner.
"""

from __future__ import annotations

from lamour_jax.methods.method import Method
from lamour_jax.objective import Objective

ENV_REWARD = Method(
    "the original task's reward everywhere",
    lambda ingredients: Objective(reward=lambda state, action: state.episode.task_reward),
)
ZERO_REWARD = Method(
    "the original task's reward while healthy, 0 while not",
    lambda ingredients: Objective(reward=lambda state, action: state.reward),
)
