"""Settings: declared once, changed by name, checked, saved as YAML; a robot's in its folder."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

import envs
from lamour_jax.config import (
    FORMAT_VERSION,
    RunConfig,
    Stage,
    changed,
    override,
    read_config,
    settings,
    validate,
)
from lamour_jax.errors import UserError
from lamour_jax.ppo.config import PPOConfig
from lamour_jax.robot_settings import preset, robot_settings

CONFIG = RunConfig()


def get(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("steps=5000", 5000),
        ("terminate=true", True),
        ("stage=original", "original"),
        ("start=ood-noisy", "ood-noisy"),
        ("reward_options.model=openai/1e4", "openai/1e4"),
        ("ppo.learning_rate=1e-4", 1e-4),
        ("ppo.learning_rate=1", 1.0),
        ("ppo.activation=elu", "elu"),
        ("ppo.max_std=[1, 5e-1]", (1.0, 0.5)),
        ("ppo.hidden_sizes=[32, 16]", (32, 16)),
        ("training_starts={ood: 1, ordinary: 0.5}", {"ood": 1.0, "ordinary": 0.5}),
        ("log=[]", ()),
    ],
)
def test_override_sets_exactly_one_setting(assignment: str, expected: Any) -> None:
    name = assignment.partition("=")[0]
    config = override(CONFIG, assignment)
    assert get(config, name) == expected
    assert type(get(config, name)) is type(expected)
    assert changed(config, {name: get(CONFIG, name)}) == CONFIG


MISTAKES = {
    "steps": "--set takes name=value, not 'steps'",
    "stepz=1": "unknown setting stepz; did you mean steps?",
    "ppo.lerning_rate=1": "unknown setting ppo.lerning_rate; did you mean ppo.learning_rate?",
    "learning_rate=1": "unknown setting learning_rate; did you mean ppo.learning_rate?",
    "ppo.lr=1": "unknown setting ppo.lr; did you mean ppo.learning_rate?",
    "ppo.discount=0.99": "unknown setting ppo.discount; did you mean ppo.horizon [s]?",
    "training_episode_length=200": (
        "unknown setting training_episode_length; did you mean training_episode_seconds [s]?"
    ),
    "qqq=1": "unknown setting qqq; docs/configuration.md lists them all",
    "guard=1": (
        "guard is a group of settings; set one of guard.max_state, guard.max_reward, "
        "guard.max_skips_in_a_row, guard.max_skips, guard.bad_state_files"
    ),
    "steps.of=1": "setting steps has no parts; write steps=value",
    "steps=many": "steps must be an integer, not 'many'",
    "steps=1.5": "steps must be an integer, not 1.5",
    "steps=true": "steps must be an integer, not True",
    "steps=": "steps must be an integer, not None",
    "steps=0": "steps must be at least 1, not 0",
    "seed=-1": "seed must be at least 0, not -1",
    "terminate=1": "terminate must be true or false, not 1",
    "stage=later": "stage must be 'recovery' or 'original', not 'later'",
    "log=[x]": "log at 0 must be 'tensorboard' or 'wandb', not 'x'",
    "training_episode_seconds=-1": "training_episode_seconds [s] must be at least 0, not -1",
    "training_starts=ood": "training_starts must be a mapping, not 'ood'",
    "training_starts={ood": "training_starts must be a mapping, not '{ood'",
    "training_starts={ood: -1}": "training_starts at ood must be at least 0, not -1",
    "checkpoints.keep=1": "checkpoints.keep must be at least 2, not 1",
    "checkpoints.every_minutes=-1": "checkpoints.every_minutes [min] must be at least 0, not -1",
    "checkpoints.every_steps=-1": "checkpoints.every_steps must be at least 0, not -1",
    "guard.max_state=0": "guard.max_state must be above 0, not 0",
    "guard.max_skips=0": "guard.max_skips must be at least 1, not 0",
    "evaluation.episodes=0": "evaluation.episodes must be at least 1, not 0",
    "ppo.clip=true": "ppo.clip must be a number, not True",
    "ppo.horizon=0": "ppo.horizon [s] must be above 0, not 0",
    "ppo.annealing=1.5": "ppo.annealing must be at most 1, not 1.5",
    "ppo.initial_scale=.nan": "ppo.initial_scale must be a finite number, not nan",
    "ppo.activation=relu6": (
        "ppo.activation must be 'tanh', 'elu', 'swish' or 'relu', not 'relu6'"
    ),
    "ppo.hidden_sizes=[]": "ppo.hidden_sizes must be a list of at least 1, not []",
    "ppo.max_std=1": "ppo.max_std must be a list, not 1",
    "ppo.max_std=[1]": "ppo.max_std must be a list of 2, not [1]",
    "ppo.max_std=[1, 2, 3]": "ppo.max_std must be a list of 2, not [1, 2, 3]",
    "ppo.max_std=[1, 0]": "ppo.max_std at 1 must be above 0, not 0",
}


@pytest.mark.parametrize("assignment", MISTAKES)
def test_a_mistake_is_one_line_with_the_setting_the_value_and_what_fits(assignment: str) -> None:
    with pytest.raises(UserError) as caught:
        override(CONFIG, assignment)
    assert str(caught.value) == MISTAKES[assignment]


def test_settings_in_seconds_are_computed_for_the_control_step() -> None:
    ppo = PPOConfig(horizon=2.0, explore_time_constant=0.1)
    assert ppo.per_step(0.05) == pytest.approx((math.exp(-0.025), math.exp(-0.5)))
    assert PPOConfig(explore_time_constant=0.0).per_step(0.05).correlation == 0.0
    env = envs.load("hopper", engine="mujoco")
    assert RunConfig(training_episode_seconds=4.0).training_episode_steps(env) == 500
    assert RunConfig().training_episode_steps(env) == env.episode_length


def test_sizes_that_do_not_go_together() -> None:
    ppo = PPOConfig(num_envs=8, unroll_length=16, minibatch_size=32)
    validate(RunConfig(steps=128, ppo=ppo))
    with pytest.raises(UserError, match="--steps 127 is smaller than one iteration.* 128 steps"):
        validate(RunConfig(steps=127, ppo=ppo))
    with pytest.raises(UserError, match=r"minibatch_size \(48\) must divide .* 128 transitions"):
        validate(RunConfig(ppo=dataclasses.replace(ppo, minibatch_size=48)))
    assert RunConfig(steps=3 * 128 + 127, ppo=ppo).iterations == 3


def test_yaml_holds_every_setting() -> None:
    config = override(RunConfig(training_starts={"ood": 0.7, "ordinary": 0.3}), "log=[wandb]")
    text = config.to_yaml()
    assert RunConfig.from_yaml(text) == config
    saved = yaml.safe_load(text)
    again = CONFIG
    for name in settings():
        value = saved
        for part in name.split("."):
            value = value[part]
        # Saved settings can be given back by --set, one by one.
        plain = yaml.safe_dump(value, default_flow_style=True).strip()
        again = override(again, f"{name}={plain.removesuffix('...').strip()}")
    assert again == config


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f"version: {FORMAT_VERSION}", "version: 2", "format version 2; this release reads 3: "),
        ("  clip: 0.2\n", "", "missing setting ppo.clip"),
        ("  clip:", "  clap:", "unknown setting ppo.clap; did you mean ppo.clip?"),
        ("  clip: 0.2", "  clip: -1", "ppo.clip must be above 0, not -1"),
        ("ppo:\n", "ppo: [\n", "damaged"),
    ],
)
def test_a_run_that_cannot_be_read(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = CONFIG.to_yaml()
    assert old in text
    (tmp_path / "config.yaml").write_text(text.replace(old, new))
    with pytest.raises(UserError) as caught:
        read_config(tmp_path)
    assert f"the run in {tmp_path} cannot be read: config.yaml: {message}" in str(caught.value)


@pytest.mark.parametrize("stage", ["recovery", "original"])
@pytest.mark.parametrize("env", envs.names())
def test_every_robot_has_valid_settings(env: str, stage: Stage) -> None:
    config = preset(env, stage)
    validate(config)
    assert (config.env, config.stage) == (env, stage)
    starts = envs.registry.get(env).starts()
    assert {config.start, *config.training_starts} <= set(starts)


def test_a_methods_settings_are_on_top_of_the_robots() -> None:
    assert preset("half_cheetah", "recovery", "sero").objective.aux_coef == 10.0
    assert preset("humanoid", "recovery", "sero").objective.aux_coef == 1.0
    assert preset("ant", "recovery", "env").ppo.explore_std == (3.6, 0.3)
    assert preset("ant", "recovery").ppo.explore_std == (1.8, 0.3)


def test_unknown_robot_has_no_settings() -> None:
    with pytest.raises(UserError, match="unknown environment 'dog'; known: ant, half"):
        preset("dog", "recovery")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recovery: {steps: [", "cannot be read: "),
        ("recover: {steps: 1}", "has no section recover; its sections: recovery, original, "),
        ("recovery: 3", "recovery must be a mapping of settings, not 3"),
        ("methods: 3", "methods must be a mapping of settings, not 3"),
        ("methods: {serro: {steps: 3}}", "methods: unknown method 'serro'; known: lamour, "),
        ("recovery: {stepz: 3}", "unknown setting stepz; did you mean steps?"),
        ("recovery: {steps: 0}", "steps must be at least 1, not 0"),
        ("original: {ppo: {clip: big}}", "ppo.clip must be a number, not 'big'"),
        ("methods: {zero: {ppo: {clip: big}}}", "ppo.clip must be a number, not 'big'"),
        ("recovery: {env: hopper}", "env is chosen on the command line"),
    ],
)
def test_a_robots_file_that_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        robot_settings(file, "recovery", "lamour")
    assert str(caught.value).startswith(f"{file}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_robots_file_is_optional_and_may_be_empty(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    assert robot_settings(file, "recovery", "lamour") == {}
    file.write_text("# nothing yet\n")
    assert robot_settings(file, "original", "lamour") == {}
    file.write_text("recovery: {ppo: {learning_rate: 1e-4}}")
    assert robot_settings(file, "recovery", "lamour") == {"ppo.learning_rate": 1e-4}
