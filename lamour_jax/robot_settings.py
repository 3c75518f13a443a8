"""The settings of a robot: the defaults, and what the `settings.yaml` in its folder changes."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import yaml

import envs
from lamour_jax.config import RunConfig, Stage, changed, dotted, load_yaml
from lamour_jax.errors import UserError
from lamour_jax.methods import METHODS

# Ordinary starts keep the original task in view while the robot does not come back yet.
_RECOVERY_STARTS = {"ood": 0.7, "ordinary": 0.3}
# An original policy trained from its small start noise alone does not survive the states that
# recovery hands over to it.
_ORIGINAL_STARTS = {"perturbed": 0.8, "ordinary": 0.2}
# SeRO's uncertainty lies in 0..1, the library's rewards between -8 and -11 at the starts out of
# distribution: at the same scale neither makes lying still worthwhile.
_OF_METHODS: dict[str, dict[str, Any]] = {"sero": {"objective.aux_coef": 10.0}}

# The command line says these.
_CHOSEN = ("env", "stage", "method", "seed")


def preset(env: str, stage: Stage, method: str = "lamour") -> RunConfig:
    """Returns the settings of a robot for a stage, and for a method in recovery.

    A robot without a `settings.yaml` has the defaults, with its own starts.

    Raises:
        UserError: no such robot, or its `settings.yaml` is wrong.
    """
    try:
        robot = envs.registry.get(env)
    except envs.EnvironmentUnavailable:
        raise
    except ValueError as error:
        raise UserError(str(error)) from None
    changes = robot_settings(robot.file("settings.yaml"), stage, method)
    config = changed(RunConfig(env=env, stage=stage, method=method), changes)
    starts = config.training_starts or _RECOVERY_STARTS
    if stage == "original":
        robust = {k: share for k, share in _ORIGINAL_STARTS.items() if k in robot.starts()}
        starts = config.training_starts or robust
        config = dataclasses.replace(config, start="ordinary")
    return dataclasses.replace(config, training_starts=starts)


def robot_settings(file: Path, stage: Stage, method: str) -> dict[str, Any]:
    """Returns what a robot's `settings.yaml` changes, by dotted names; nothing without one.

    All of the file is checked, also what another stage or method has there.

    Raises:
        UserError: the file cannot be read, or something in it is wrong.
    """
    plain = _read(file)
    stages, by_method = typing.get_args(Stage), _mapping(file, plain, "methods")
    known = (*stages, "methods")
    if unknown := [name for name in plain if name not in known]:
        raise UserError(f"{file} has no section {unknown[0]}; its sections: {', '.join(known)}")
    if unknown := [name for name in by_method if name not in METHODS]:
        raise UserError(
            f"{file}: methods: unknown method {unknown[0]!r}; known: {', '.join(METHODS)}"
        )
    of_stages = {name: dict(dotted(_mapping(file, plain, name))) for name in stages}
    of_methods = {name: dict(dotted(_mapping(file, by_method, name))) for name in by_method}
    for section in (*of_stages.values(), *of_methods.values()):
        _check(file, section)
    if stage == "original":
        return of_stages[stage]
    return of_stages[stage] | _OF_METHODS.get(method, {}) | of_methods.get(method, {})


def _read(file: Path) -> dict[str, Any]:
    try:
        plain = load_yaml(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{file} cannot be read: it is no YAML{where}") from None
    return _mapping(file, {"the file": plain}, "the file")


def _mapping(file: Path, plain: dict[str, Any], name: str) -> dict[str, Any]:
    found = plain.get(name)
    if not isinstance(found, dict | None):
        raise UserError(f"{file}: {name} must be a mapping of settings, not {found!r}")
    return {str(key): value for key, value in (found or {}).items()}


def _check(file: Path, section: dict[str, Any]) -> None:
    for name in _CHOSEN:
        if name in section:
            raise UserError(f"{file}: {name} is chosen on the command line; take it out")
    try:
        changed(RunConfig(), section)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
