"""The command that trains a run again, from its settings."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from typing import Any

import yaml

from lamour_jax.config import RunConfig
from lamour_jax.robot_settings import preset

# These have options of their own.
_OPTIONS = {
    "engine": "--engine",
    "reward": "--reward",
    "policy": "--policy",
    "steps": "--steps",
    "seed": "--seed",
}
# A recovery has the networks of its original policy.
_OF_THE_POLICY = {"ppo.hidden_sizes", "ppo.activation", "ppo.dropout"}


def command(config: RunConfig) -> str:
    """Returns the shortest command line that means `config`."""
    words = ["python", "-m", "lamour_jax.train", "--env", config.env]
    if config.stage != "recovery":
        words += ["--stage", config.stage]
    if config.method != "lamour":
        words += ["--method", config.method]
    base = preset(config.env, config.stage, config.method)
    if config.start != base.start:
        words += ["--start", config.start]
        base = dataclasses.replace(base, start=config.start, training_starts={})
    for path, value in _differences(config, base):
        if path in _OPTIONS:
            words += [_OPTIONS[path], str(value)]
        elif config.stage == "original" or path not in _OF_THE_POLICY:
            plain = list(value) if isinstance(value, tuple) else value
            text = yaml.safe_dump(plain, default_flow_style=True, width=10_000)
            words += ["--set", f"{path}={text.splitlines()[0]}"]
    return shlex.join(words)


def _differences(config: Any, base: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for entry in dataclasses.fields(config):
        value, usual = getattr(config, entry.name), getattr(base, entry.name)
        if dataclasses.is_dataclass(value):
            yield from _differences(value, usual, f"{prefix}{entry.name}.")
        elif value != usual:
            yield f"{prefix}{entry.name}", value
