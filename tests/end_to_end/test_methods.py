"""Every method from the command line to a result, in the smallest run there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lamour_jax import policies
from lamour_jax.methods.sero import LARGEST
from lamour_jax.train import main
from tests.end_to_end.test_run import TINY


def run(folder: Path, *options: str) -> dict[str, object]:
    assert main([*TINY, *options, "--engine", "mujoco", "--out", str(folder)]) == 0
    result: dict[str, object] = json.loads((folder / "result.json").read_text())
    return result


@pytest.mark.slow
def test_sero_starts_from_a_policy_trained_with_dropout(tmp_path: Path) -> None:
    run(tmp_path / "original", "--stage", "original", "--set", "ppo.dropout=0.1")
    original = tmp_path / "original" / "policy.npz"
    header, agent = policies.load(original)
    assert header.dropout == 0.1
    assert float(agent.auxiliary[LARGEST].min()) > 0.0

    result = run(tmp_path / "sero", "--method", "sero", "--policy", str(original))
    assert result["method"] == "sero"
    assert policies.load(tmp_path / "sero" / "policy.npz")[0].dropout == 0.1


@pytest.mark.slow
def test_the_switch_keeps_what_the_original_policy_does(tmp_path: Path) -> None:
    # A step size that leaves nothing of the learning policy: from ordinary starts another one acts.
    ruined = ("--set", "ppo.learning_rate=1.0", "--set", "ppo.max_grad_norm=1e6")
    result = run(tmp_path / "switch", "--method", "lamour-switch", *ruined)
    assert result["retention"] == pytest.approx(1.0, abs=0.1)
