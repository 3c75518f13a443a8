"""Several seeds in one program: the same curves as alone, each in a folder of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from lamour_jax import training
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.ppo.networks import Agent
from lamour_jax.run.checkpoints import Identity
from lamour_jax.run.folder import RunFolder
from lamour_jax.train import main
from tests.lamour_jax.probes import SMALL, Probe, make_learner, plus_or_minus_one

ITERATIONS = 8
SEEDS = (0, 3, 4)
LEARNER = make_learner(
    Probe(reward=lambda obs, action: obs * action, start=plus_or_minus_one), iterations=ITERATIONS
)


def bias(agent: Agent) -> dict[str, float]:
    return {"eval/bias": float(jax.tree.leaves(agent.params.policy)[0].sum())}


def train(path: Path, *seeds: int) -> list[list[dict[str, float]]]:
    config = RunConfig(steps=ITERATIONS * SMALL.batch_size, ppo=SMALL)
    runs = [
        training.SeedRun(
            Identity(dataclasses.replace(config, seed=seed)),
            RunFolder(path / f"seed_{seed}"),
            bias,
        )
        for seed in seeds
    ]
    trained = training.train(LEARNER, runs, Console(), lambda latest: {})
    assert [len(run.folder.metrics()) for run in runs] == [ITERATIONS] * len(seeds)
    return [history.rows for _, history in trained]


def test_seeds_side_by_side_learn_as_they_do_alone(tmp_path: Path) -> None:
    together = train(tmp_path / "together", *SEEDS)
    for seed, rows in zip(SEEDS, together, strict=True):
        [alone] = train(tmp_path / "alone", seed)
        for name in alone[0]:
            if "second" not in name:
                found, expected = ([row.get(name) for row in of] for of in (rows, alone))
                np.testing.assert_allclose(
                    np.array(found, float), np.array(expected, float), rtol=1e-3, atol=1e-4
                )
    assert together[0][-1]["eval/bias"] != together[1][-1]["eval/bias"]


def test_one_of_them_can_be_gone_on_with_alone(tmp_path: Path) -> None:
    train(tmp_path, *SEEDS)
    run = training.SeedRun(
        Identity(RunConfig(steps=ITERATIONS * SMALL.batch_size, ppo=SMALL, seed=SEEDS[1])),
        RunFolder.reopen(_with_config(tmp_path / f"seed_{SEEDS[1]}")),
        bias,
    )
    [(_, history)] = training.train(LEARNER, [run], Console(), lambda latest: {})
    assert len(history.rows) == ITERATIONS


def _with_config(folder: Path) -> Path:
    (folder / "config.yaml").touch()
    return folder


@pytest.mark.parametrize("others", [[], ["--seeds", "2", "--stage", "original"]])
def test_it_takes_several_seeds_of_a_recovery(
    others: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--together", *others]) == 2
    said = capsys.readouterr().err
    assert said == "error: --together is for --seeds 2 or more of the recovery stage\n"


def test_it_is_not_for_an_engine_with_one_buffer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--together", "--seeds", "2", "--engine", "mjx-warp"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --together is not for --engine mjx-warp")
