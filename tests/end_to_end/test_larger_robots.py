"""Humanoid and PushChair by the command line, both stages; and that the humanoid learns at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import envs
from lamour_jax import policies
from lamour_jax.objective import original_task
from lamour_jax.policies import fresh_header
from lamour_jax.ppo.learner import Learner
from lamour_jax.robot_settings import preset
from lamour_jax.train import main

TINY = (
    *("--engine", "mujoco", "--num-envs", "8", "--steps", "512"),
    *("--set", "ppo.unroll_length=32", "--set", "ppo.minibatch_size=64"),
    *("--set", "ppo.hidden_sizes=[8]", "--set", "evaluation.during_training=1"),
    *("--set", "evaluation.episodes=2", "--set", "evaluation.episodes_during_training=2"),
)
SIZES = {"humanoid": (67, 21), "push_chair": (62, 20)}


@pytest.mark.slow
@pytest.mark.parametrize("env", SIZES)
def test_both_stages_finish(env: str, tmp_path: Path) -> None:
    original, recovery = tmp_path / "original", tmp_path / "recovery"
    options = ["--env", env, *TINY]
    assert main([*options, "--stage", "original", "--out", str(original)]) == 0
    header, _ = policies.load(original / "policy.npz")
    assert (header.env, header.observation_size, header.action_size) == (env, *SIZES[env])

    policy = str(original / "policy.npz")
    assert main([*options, "--policy", policy, "--out", str(recovery)]) == 0
    for folder in (original, recovery):
        result = json.loads((folder / "result.json").read_text())
        assert result["env_steps"] == 512
        # Only a task with a goal succeeds or not.
        assert ("success_rate" in result) == (env == "push_chair")
    assert result["reward_source"] == f"library/{env}"
    assert result["recovery_rate"] == 0.0, "nothing was learned"


@pytest.mark.slow
def test_humanoid_learns_to_fall_later() -> None:
    """The first 80,000 of its preset's 32 million steps."""
    config = preset("humanoid", "original")
    env = envs.load("humanoid", start=config.training_starts, engine="mujoco")
    network = fresh_header(env, config).network()
    learner = Learner(env, original_task(), config.ppo, config.iterations, network)
    state = learner.init(0)
    lengths = []
    for _ in range(10):
        state, found = learner.iterate(state)
        lengths.append(float(found.metrics["episode/length"][0]))
    # The clocks are staggered: what ends first had begun late.
    assert np.mean(lengths[-2:]) > 1.3 * np.mean(lengths[1:3])
