"""A half cheetah on its back learns to turn over and run on, by the command that users type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import envs
from lamour_jax.policies import originals
from lamour_jax.ppo.acting import Actor
from lamour_jax.run.evaluation import Evaluator
from lamour_jax.train import main

EPISODES = 64
# About half of the preset's: enough to recover, not to be perfect.
STEPS = 1_200_000


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_half_cheetah_learns_to_recover(tmp_path: Path) -> None:
    header, original = originals.load("half_cheetah")
    ood = envs.load("half_cheetah", start="ood", engine="mujoco", terminate=False)
    before = Evaluator(Actor(header.network()), EPISODES)(ood, original, 0).summary()
    assert before["recovery_rate"] <= 0.05, "there is nothing to learn"

    options = ["--engine", "mujoco", "--steps", str(STEPS), "--out", str(tmp_path / "out")]
    settings = {
        "evaluation.episodes": EPISODES,
        "evaluation.episodes_during_training": 8,
        "evaluation.during_training": 2,
    }
    assert main([*options, *(f"--set={name}={value}" for name, value in settings.items())]) == 0

    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["recovery_rate"] >= 0.8
    assert result["retention"] >= 0.8
    assert result["ood_return"] > 10.0 * abs(before["return"])
