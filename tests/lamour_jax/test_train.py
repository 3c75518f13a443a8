"""From the command line to the settings of a run, and one run for each seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lamour_jax.train as command
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.robot_settings import preset
from lamour_jax.run.folder import RunFolder
from lamour_jax.train import Arguments, main, resolve


def test_without_arguments_it_is_the_half_cheetahs_preset() -> None:
    assert resolve(Arguments()) == preset("half_cheetah", "recovery")


def test_arguments_change_the_preset() -> None:
    config = resolve(
        Arguments(
            env="hopper",
            engine="mujoco",
            method="zero",
            start="ood-noisy",
            steps=640_000,
            num_envs=32,
            seed=4,
            set=("ppo.horizon=2.0", "terminate=true"),
        )
    )
    assert (config.env, config.engine) == ("hopper", "mujoco")
    assert (config.method, config.seed) == ("zero", 4)
    assert (config.steps, config.ppo.num_envs, config.ppo.horizon) == (640_000, 32, 2.0)
    assert config.terminate
    # What is asked for is also what is trained on.
    assert (config.start, config.training_starts) == ("ood-noisy", {})


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, Path]]:
    """Stands in for both stages; collects stage, seed and folder of each run."""
    collected = []

    def run(configs: list[RunConfig], folders: list[RunFolder], console: Console) -> None:
        collected.extend(
            (config.stage, config.seed, folder.path)
            for config, folder in zip(configs, folders, strict=True)
        )

    monkeypatch.setattr(command, "run_stage", run)
    return collected


def test_each_seed_has_its_own_folder(runs: list[Any], tmp_path: Path) -> None:
    assert main(["--seed", "5", "--seeds", "2", "--out", str(tmp_path / "out")]) == 0
    assert runs == [
        ("recovery", 5, tmp_path / "out" / "seed_5"),
        ("recovery", 6, tmp_path / "out" / "seed_6"),
    ]


def test_seeds_ask_a_model_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def run(configs: list[RunConfig], folders: list[RunFolder], console: Console) -> None:
        asked.extend(config.reward_options.regenerate for config in configs)

    monkeypatch.setattr(command, "run_stage", run)
    assert main(["--regenerate", "--seeds", "3", "--out", str(tmp_path / "out")]) == 0
    assert asked == [True, False, False]


def test_stage_original(runs: list[Any], tmp_path: Path) -> None:
    assert main(["--stage", "original", "--out", str(tmp_path / "out")]) == 0
    assert runs == [("original", 0, tmp_path / "out")]


def test_runs_without_a_folder_go_to_runs(
    runs: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    assert runs[0][2].parent == Path("runs")
    assert (tmp_path / runs[0][2]).is_dir()
