"""The robots by name: the folders of `envs/robots`, registered classes, and the user's own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs.adapters import own
from envs.recovery_env import ROBOT_FILE, RecoveryEnv

_ROBOTS = Path(__file__).with_name("robots")
_REGISTERED: dict[str, type[RecoveryEnv]] = {}
_OWN: dict[str, type[RecoveryEnv]] = {}  # by place


def register(environment: type[RecoveryEnv]) -> type[RecoveryEnv]:
    """Adds a `RecoveryEnv` subclass under its `name`; usable as a class decorator.

    Raises:
        ValueError: another class has that name.
    """
    taken = environment.name in _shipped()
    if taken or _REGISTERED.setdefault(environment.name, environment) is not environment:
        raise ValueError(f"an environment named {environment.name!r} is already registered")
    return environment


def names() -> list[str]:
    """Returns the names that `load` knows."""
    return sorted({*_shipped(), *_REGISTERED})


def get(name: str) -> type[RecoveryEnv]:
    """Returns the class of a robot that ships, of a registered one, or the user's own.

    `FOLDER`, `FILE.py:CLASS` and `package.module:CLASS` load and check a class; see
    `envs.adapters.own`.

    Raises:
        ValueError: the name is unknown, or taken by another class.
        UnusableEnvironment: the user's class cannot be used; the message says why.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name in _shipped():
        module = importlib.import_module(f"envs.robots.{name}.{ROBOT_FILE}")
        [environment] = own.classes_of(module)
        return environment
    if not own.is_own(name):
        raise ValueError(
            f"unknown environment {name!r}; known: {', '.join(names())}, or your own: a folder, "
            "or FILE.py:CLASS"
        )
    place = own.absolute(name)
    if place not in _OWN:
        environment = own.load_class(name)
        other = environment.name in _shipped() or environment.name in _REGISTERED
        if other and _REGISTERED.get(environment.name) is not environment:
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


def _shipped() -> list[str]:
    return [folder.name for folder in _ROBOTS.iterdir() if (folder / f"{ROBOT_FILE}.py").is_file()]
