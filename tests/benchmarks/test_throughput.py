"""The throughput benchmark at its smallest, its arithmetic, and what it says to bad input."""

from __future__ import annotations

import csv
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from benchmarks import results, rival_worker, rivals
from benchmarks.options import sizes
from benchmarks.subjects import Subject, make_workload, take_turns
from benchmarks.throughput import ALIKE, COMPARISONS, main, rows
from lamour_jax.errors import UserError
from lamour_jax.ppo.networks import ACTIVATIONS


def test_smallest_measurement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "throughput.csv"
    arguments = ["--env", "hopper", "--engine", "mujoco", "--num-envs", "4"]
    arguments += ["--unroll-length", "8", "--repeats", "2", "--compare", "rollout,engine"]
    assert main([*arguments, "--out", str(out)]) == 0
    measured = {row["subject"]: row for row in csv.DictReader(out.open(newline=""))}
    assert list(measured) == [*("environment", "acting", "training", "reward", "rollout", "engine")]
    for name, row in measured.items():
        assert (row["robot"], row["num_envs"], row["engine"]) == ("hopper", "4", "mujoco")
        assert 0 < float(row["low"]) <= float(row["steps_per_second"]) <= float(row["high"]), name
        assert (row["compile_seconds"] == "") == (name == "rollout")
        assert row["command"] == f"python -m benchmarks.throughput {' '.join(arguments)}"
        assert all(row[fact] for fact in results.FACTS)
    memory = {name: float(row["bytes_per_env"] or 0) for name, row in measured.items()}
    # The hopper's state: 6 positions, 6 velocities, 6 accelerations, in float32; and its row.
    assert 4 * 18 <= memory["engine"] < memory["training"]
    assert float(measured["training"]["training_over_this"]) == 1.0
    assert 0 < float(measured["reward"]["training_over_this"]) < 1
    assert float(measured["rollout"]["alike_over_this"]) > 0
    shown = capsys.readouterr().out
    for part in ("+ learning", "mujoco.rollout", "like for like", str(out)):
        assert part in shown
    # As a run has it; accelerators left to themselves multiply in less.
    assert jax.config.values["jax_default_matmul_precision"] == "float32"


def test_sizes() -> None:
    assert sizes("--num-envs", "256,1024,256") == [256, 1024]


def test_ratios_are_taken_turn_by_turn() -> None:
    # The machine slows down fourfold half-way: rates spread, the ratio does not.
    other = Subject("rollout", 1, lambda: None, rates=[400.0, 100.0, 100.0])
    training = Subject("training", 1, lambda: None, rates=[200.0, 50.0, 50.0])
    result = rows([training, other], training)
    over = [result["rollout"][name] for name in ("training_over_this", "over_low", "over_high")]
    assert over == [0.5, 0.5, 0.5]
    assert result["rollout"]["alike_over_this"] is None  # the engine alone was not measured
    rates = [result["training"][name] for name in ("steps_per_second", "low", "high")]
    assert rates == [50.0, 50.0, 125.0]


def test_like_for_like() -> None:
    rates = {"training": 20.0, "environment": 40.0, "engine": 60.0}
    rates |= {"envpool": 80.0, "mjx": 30.0, "brax": 5.0}
    measured = [Subject(name, 1, lambda: None, rates=[rate]) for name, rate in rates.items()]
    result = rows(measured, measured[0])
    alike = {name: row["alike_over_this"] for name, row in result.items()}
    assert [alike[name] for name in ("envpool", "mjx", "brax")] == [0.5, 2.0, 4.0]
    assert alike["engine"] is alike["training"] is None
    assert set(ALIKE) == set(COMPARISONS) - {"engine"}


def test_all_take_their_turn_and_each_is_first_once() -> None:
    calls: list[str] = []
    measured = [Subject(name, 1, lambda name=name: calls.append(name)) for name in "abc"]
    take_turns(measured, repeats=3)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert [len(subject.rates) for subject in measured] == [3, 3, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "dog"], "unknown --env 'dog'; known: all, ant, half_cheetah, hopper, "),
        (["--engine", "bullet"], "unknown --engine 'bullet'; known: auto, mujoco, mjx, mjx-warp"),
        (["--compare", "ray"], "unknown --compare 'ray'; known: rollout, engine, mjx, "),
        (["--num-envs", "0"], "--num-envs must be numbers of at least 1 as in 256,1024, not '0'"),
        (["--num-envs", "many"], "not 'many'"),
        (["--repeats", "-1"], "--repeats must be at least 1, not -1"),
        (["--out", "/nowhere/at/all.csv"], "the folder /nowhere/at does not exist"),
        (["--compare", "brax"], "make it by: python -m benchmarks.rivals"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("LAMOUR_COMPARE_VENV", str(tmp_path / "none"))
    assert main(arguments) == 2
    captured = capsys.readouterr().err.strip()
    assert captured.startswith("error: ")
    assert message in captured
    assert "\n" not in captured


def test_brax_is_told_all_that_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(rivals, "_remote", lambda name, **settings: told.update(settings))
    rivals.brax_ppo(make_workload("hopper", "mujoco", num_envs=2, unroll_length=8))
    parts = (rival_worker.brax_ppo, rival_worker._brax_env)
    asked = set(re.findall(r'settings\["(\w+)"\]', "".join(map(inspect.getsource, parts))))
    assert asked == set(told)
    assert json.loads(json.dumps(told))["precision"] == "float32"
    # The worker has not our networks, and takes activations by name from JAX.
    for name, activation in ACTIVATIONS.items():
        assert getattr(jax.nn, name)(-0.5) == activation(-0.5)


def test_a_rival_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    # This Python stands in for the comparison's, and lacks the rival.
    monkeypatch.setattr(rivals, "python", lambda: Path(sys.executable))
    workload = make_workload("hopper", "mujoco", num_envs=2, unroll_length=8)
    with pytest.raises(UserError, match="--compare envpool failed: .*"):
        rivals.envpool(workload)
