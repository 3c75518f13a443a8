"""Robots that may start out of distribution, on C MuJoCo or MJX."""

from envs import registry
from envs.physics import xla_threads
from envs.recovery_env import (
    EnvironmentUnavailable,
    ModelUnavailable,
    RecoveryEnv,
    State,
)
from envs.registry import load, names, register
from envs.start import GradedStart, Start

xla_threads.avoid_two()

__all__ = [
    "EnvironmentUnavailable",
    "GradedStart",
    "ModelUnavailable",
    "RecoveryEnv",
    "Start",
    "State",
    "load",
    "names",
    "register",
    "registry",
]
