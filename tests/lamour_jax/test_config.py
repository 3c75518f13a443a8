"""Settings: overrides by name and type, checks before anything is built, saved as YAML."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import yaml

import envs
from lamour_jax.config import RunConfig, Stage, override, preset, validate
from lamour_jax.errors import UserError
from lamour_jax.ppo.config import PPOConfig

CONFIG = RunConfig()


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("steps=5000", 5000),
        ("terminate=true", True),
        ("stage=original", "original"),
        ("start=ood-noisy", "ood-noisy"),
        ("ppo.learning_rate=1e-4", 1e-4),
        ("ppo.learning_rate=1", 1.0),
        ("ppo.activation=elu", "elu"),
        ("ppo.max_std=[1, 0.5]", (1.0, 0.5)),
        ("ppo.hidden_sizes=[32, 16]", (32, 16)),
        ("training_starts={ood: 1, ordinary: 0.5}", {"ood": 1.0, "ordinary": 0.5}),
        ("evaluation.episodes=8", 8),
    ],
)
def test_override_sets_exactly_one_setting(assignment: str, expected: Any) -> None:
    path = assignment.partition("=")[0].split(".")
    config = override(CONFIG, assignment)
    value = config
    for name in path:
        value = getattr(value, name)
    assert value == expected
    assert type(value) is type(expected)
    back = dataclasses.replace(config, **{path[0]: getattr(CONFIG, path[0])})
    assert back == CONFIG


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("steps", "takes name=value, not 'steps'"),
        ("step=1", r"unknown setting 'step' in --set step=1; known: .*\bsteps\b"),
        ("ppo.lr=1", r"unknown setting 'lr' .* known: .*\blearning_rate\b"),
        ("ppo=1", r"'ppo' is a group of settings; set one of .*\bppo\.learning_rate\b"),
        ("steps.of=1", "setting 'steps' has no parts; write --set steps=value"),
        ("steps=many", "steps must be of type int, not 'many'"),
        ("steps=1.5", "steps must be of type int, not '1.5'"),
        ("steps=true", "steps must be of type int, not 'true'"),
        ("steps=", "steps must be of type int, not ''"),
        ("terminate=1", "terminate must be of type bool, not '1'"),
        ("stage=later", "stage must be .*'later'"),
        ("ppo.clip=big", r"ppo.clip must be of type float, not 'big'"),
        ("ppo.clip=true", r"ppo.clip must be of type float, not 'true'"),
        ("ppo.clip=", r"ppo.clip must be of type float, not ''"),
        ("ppo.max_std=1", r"max_std must be .* not '1'"),
        ("ppo.max_std=[a, b]", r"max_std must be .*'\[a, b\]'"),
        ("training_starts=ood", "training_starts must be .*'ood'"),
        ("training_starts={ood: much}", "training_starts must be "),
        ("training_starts={ood", "training_starts must be "),
    ],
)
def test_override_says_what_is_wrong(assignment: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        override(CONFIG, assignment)


@pytest.mark.parametrize(
    "assignment",
    [
        "steps=0",
        "steps=-1",
        "seed=-1",
        "training_episode_length=0",
        "evaluation.episodes=0",
        "evaluation.episodes_during_training=-3",
        "ppo.num_envs=0",
        "ppo.unroll_length=0",
        "ppo.epochs=0",
        "ppo.minibatch_size=0",
    ],
)
def test_sizes_must_be_positive(assignment: str) -> None:
    name, _, value = assignment.partition("=")
    last_word = name.split("_")[-1]
    with pytest.raises(UserError, match=rf"{last_word} must be at least [01], not {value}$"):
        validate(override(CONFIG, assignment))


def test_budget_must_allow_one_iteration() -> None:
    ppo = PPOConfig(num_envs=8, unroll_length=16, minibatch_size=32)
    validate(RunConfig(steps=128, ppo=ppo))
    with pytest.raises(UserError, match="--steps 127 is smaller than one iteration.* 128 steps"):
        validate(RunConfig(steps=127, ppo=ppo))


def test_minibatches_must_divide_an_iteration() -> None:
    ppo = PPOConfig(num_envs=8, unroll_length=16, minibatch_size=48)
    with pytest.raises(UserError, match=r"minibatch_size \(48\) must divide .* 128 transitions"):
        validate(RunConfig(ppo=ppo))


def test_iterations_are_whole() -> None:
    ppo = PPOConfig(num_envs=8, unroll_length=16)
    assert RunConfig(steps=3 * 128 + 127, ppo=ppo).iterations == 3


def test_yaml_holds_every_setting() -> None:
    config = RunConfig(training_starts={"ood": 0.7, "ordinary": 0.3})
    saved = yaml.safe_load(config.to_yaml())
    for entry in dataclasses.fields(PPOConfig):
        # Saved settings can be given back by --set, one by one.
        text = yaml.safe_dump(saved["ppo"][entry.name], default_flow_style=True).strip()
        again = override(CONFIG, f"ppo.{entry.name}={text.removesuffix('...').strip()}")
        assert getattr(again.ppo, entry.name) == getattr(config.ppo, entry.name)
    settings = {entry.name for entry in dataclasses.fields(RunConfig)}
    assert set(saved) == settings | {"format_version"}
    assert saved["training_starts"] == config.training_starts


@pytest.mark.parametrize("stage", ["recovery", "original"])
@pytest.mark.parametrize("env", envs.names())
def test_every_robot_has_a_valid_preset(env: str, stage: Stage) -> None:
    config = preset(env, stage)
    validate(config)
    assert (config.env, config.stage) == (env, stage)
    starts = envs.registry.get(env).starts()
    assert {config.start, *config.training_starts} <= set(starts)


def test_unknown_robot_has_no_preset() -> None:
    with pytest.raises(UserError, match="no preset for environment 'dog'; known: ant, half"):
        preset("dog", "recovery")
