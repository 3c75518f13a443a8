"""Reward code written by a language model, compiled into pure JAX functions without running it."""

from reward_codegen.errors import RewardCodeError
from reward_codegen.program import RewardProgram, compile_reward

__all__ = ["RewardCodeError", "RewardProgram", "compile_reward"]
