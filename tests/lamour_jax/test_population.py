"""Several runs in one program: the same curves as alone, each in a folder of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.ppo.networks import Agent
from lamour_jax.run import loop, turns
from lamour_jax.run.checkpoints import Identity
from lamour_jax.run.folder import RunFolder
from lamour_jax.run.record import Run
from tests.lamour_jax.probes import SMALL, Probe, make_learner, plus_or_minus_one

ITERATIONS = 8
SEEDS = (0, 3, 4)
LEARNER = make_learner(
    Probe(reward=lambda obs, action: obs * action, start=plus_or_minus_one), iterations=ITERATIONS
)
CONFIG = RunConfig(steps=ITERATIONS * SMALL.batch_size, ppo=SMALL)


def bias(run: Run, agent: Agent) -> dict[str, float]:
    return {"eval/bias": float(jax.tree.leaves(agent.params.policy)[0].sum())}


def make_runs(path: Path, *seeds: int) -> list[Run]:
    return [
        Run(
            Identity(dataclasses.replace(CONFIG, seed=seed)),
            RunFolder(path / f"seed_{seed}"),
        )
        for seed in seeds
    ]


def train(path: Path, *seeds: int) -> list[list[dict[str, float]]]:
    runs = make_runs(path, *seeds)
    loop.train(LEARNER, runs, loop.Hooks(bias), Console())
    assert [len(run.folder.metrics()) for run in runs] == [ITERATIONS] * len(seeds)
    return [run.history.rows for run in runs]


def test_a_member_of_three_learns_as_it_does_alone(tmp_path: Path) -> None:
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


def test_a_member_begins_with_the_bits_that_it_has_alone() -> None:
    def numbers(state: object) -> list[np.ndarray]:
        keys = jax.dtypes.prng_key
        return [
            np.asarray(jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, keys) else x)
            for x in jax.tree.leaves(state)
        ]

    together = LEARNER.init(*SEEDS)
    for index, seed in enumerate(SEEDS):
        member, alone = (
            numbers(LEARNER.member(state, place))
            for state, place in ((together, index), (LEARNER.init(seed), 0))
        )
        assert all(map(np.array_equal, member, alone))


def test_one_of_them_can_be_gone_on_with_alone(tmp_path: Path) -> None:
    train(tmp_path, *SEEDS)
    folder = tmp_path / f"seed_{SEEDS[1]}"
    (folder / "config.yaml").touch()
    identity = Identity(dataclasses.replace(CONFIG, seed=SEEDS[1]))
    run = Run(identity, RunFolder.reopen(folder))
    loop.train(LEARNER, [run], loop.Hooks(bias), Console())
    assert len(run.history.rows) == ITERATIONS


def seeds(groups: list[list[Run]]) -> list[list[int]]:
    return [[run.config.seed for run in group] for group in groups]


def test_runs_take_turns_where_memory_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = make_runs(tmp_path, 0, 1, 2, 3, 4)
    needed = LEARNER.bytes_per_member()
    said: list[str] = []
    assert seeds(turns.turns(LEARNER, runs, said.append)) == [[0, 1, 2, 3, 4]]
    assert said == []
    monkeypatch.setattr(turns, "_free_bytes", lambda: 5.5 * needed)
    assert seeds(turns.turns(LEARNER, runs, said.append)) == [[0, 1, 2], [3, 4]]
    assert len(said) == 1 and said[0].startswith("the runs train in turns, 4 at once: each needs")


def test_runs_that_stand_elsewhere_do_not_wait_for_each_other(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, 0, 1, 2, 3, 4)
    last = ITERATIONS * SMALL.batch_size
    for run, steps in zip(runs, ((), (256, 512), (last,), (512, 768), ()), strict=True):
        for step in steps:
            (run.folder.checkpoints / str(step)).mkdir(parents=True)
    assert seeds(turns.turns(LEARNER, runs, print)) == [[2], [1, 3], [0, 4]]
