"""A run's command means its settings."""

from __future__ import annotations

import shlex

import pytest
import tyro

from lamour_jax.command import command
from lamour_jax.train import Arguments, resolve


@pytest.mark.parametrize(
    "words",
    [
        "--env half_cheetah",
        "--env ant --seed 7 --method sero --engine mjx --steps 100000 --num-envs 64",
        "--env hopper --start ood-noisy --set ppo.learning_rate=1e-4 --reward 'my file.py'",
        "--env ant --set training_starts={ood: 0.5, ordinary: 0.5} --set ppo.max_std=[1.0,0.5]",
        "--env walker2d --reward model --model other --candidates 3 --regenerate",
        "--env hopper --stage original --set ppo.hidden_sizes=[8,8] --policy a/b.npz",
    ],
)
def test_the_command_gives_the_settings_back(words: str) -> None:
    if "{" in words:
        arguments = ["--env", "ant", "--set", "training_starts={ood: 0.5, ordinary: 0.5}"]
    else:
        arguments = shlex.split(words)
    config = resolve(tyro.cli(Arguments, args=arguments))
    said = command(config)
    assert said.startswith("python -m lamour_jax.train --env ")
    assert resolve(tyro.cli(Arguments, args=shlex.split(said)[3:])) == config


def test_a_preset_needs_no_settings() -> None:
    config = resolve(Arguments(env="ant"))
    assert command(config) == "python -m lamour_jax.train --env ant"
