"""The environments by name, and the user's own by the place of their class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envs import own
from envs.ant import Ant
from envs.half_cheetah import HalfCheetah
from envs.hopper import Hopper
from envs.humanoid import Humanoid
from envs.push_chair import PushChair
from envs.recovery_env import RecoveryEnv
from envs.walker2d import Walker2d

_ENVIRONMENTS: dict[str, type[RecoveryEnv]] = {}
_OWN: dict[str, type[RecoveryEnv]] = {}  # by place


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
    """Returns the class registered under `name`, or the user's own class that it names.

    `FILE.py:CLASS` and `package.module:CLASS` load, check and register a class; see `envs.own`.

    Raises:
        ValueError: the name is unknown, or taken by another class.
        UnusableEnvironment: the user's class cannot be used; the message says why.
    """
    if name in _ENVIRONMENTS:
        return _ENVIRONMENTS[name]
    if not own.is_own(name):
        raise ValueError(
            f"unknown environment {name!r}; known: {', '.join(names())}, or your own: FILE.py:CLASS"
        )
    place = own.absolute(name)
    if place not in _OWN:
        environment = own.load_class(name)
        if _ENVIRONMENTS.get(environment.name, environment) is not environment:
            raise own.UnusableEnvironment(
                f"{environment.__name__}.name: another environment is named {environment.name!r}; "
                "choose another name"
            )
        _OWN[place] = register(environment)
    return _OWN[place]


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
