"""The environments by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envs.ant import Ant
from envs.half_cheetah import HalfCheetah
from envs.hopper import Hopper
from envs.humanoid import Humanoid
from envs.push_chair import PushChair
from envs.recovery_env import RecoveryEnv
from envs.walker2d import Walker2d

_ENVIRONMENTS: dict[str, type[RecoveryEnv]] = {}


def register(environment: type[RecoveryEnv]) -> type[RecoveryEnv]:
    """Adds a `RecoveryEnv` subclass under its `name`; usable as a class decorator.

    Raises:
        ValueError: another class has that name.
    """
    if _ENVIRONMENTS.setdefault(environment.name, environment) is not environment:
        raise ValueError(f"an environment named {environment.name!r} is already registered")
    return environment


def names() -> list[str]:
    """Returns the names that `load` knows."""
    return sorted(_ENVIRONMENTS)


def get(name: str) -> type[RecoveryEnv]:
    """Returns the class registered under `name`.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in _ENVIRONMENTS:
        raise ValueError(f"unknown environment {name!r}; known: {', '.join(names())}")
    return _ENVIRONMENTS[name]


def load(
    name: str,
    start: str | Mapping[str, float] = "ordinary",
    engine: str = "auto",
    **options: Any,
) -> RecoveryEnv:
    """Returns the environment `name`; `start`, `engine`, `options` as for `RecoveryEnv`.

    Raises:
        ValueError: an unknown name, start or engine.
    """
    return get(name)(start=start, engine=engine, **options)


for _environment in (Ant, HalfCheetah, Hopper, Humanoid, PushChair, Walker2d):
    register(_environment)
