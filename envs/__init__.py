"""Robots that may start out of distribution, on C MuJoCo or MJX."""

from envs import registry
from envs.recovery_env import (
    EnvironmentUnavailable,
    ModelUnavailable,
    RecoveryEnv,
    Start,
    State,
)
from envs.registry import load, names, register

__all__ = [
    "EnvironmentUnavailable",
    "ModelUnavailable",
    "RecoveryEnv",
    "Start",
    "State",
    "load",
    "names",
    "register",
    "registry",
]
