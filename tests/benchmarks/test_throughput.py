"""The throughput benchmark at its smallest, its arithmetic, and what it says to bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.throughput import Subject, main, summary


def test_smallest_measurement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "throughput.json"
    arguments = ["--env", "hopper", "--engine", "mujoco", "--num-envs", "4"]
    arguments += ["--unroll-length", "8", "--repeats", "2", "--out", str(out)]
    assert main(arguments) == 0
    report = json.loads(out.read_text())
    assert {"command", "date", "machine", "device", "versions", "arguments"} <= set(report)
    subjects = report["robots"]["hopper"]
    assert list(subjects) == ["rollout", "mjx", "engine (mujoco)", "engine + policy", "training"]
    for name, row in subjects.items():
        assert 0 < row["slowest"] <= row["steps_per_second"] <= row["fastest"], name
        assert len(row["rates"]) == 2
        assert (row["compile_seconds"] is None) == (name == "rollout")
    # The hopper's state: 6 positions, 6 velocities, 6 accelerations, in float32; and its row.
    assert subjects["engine (mujoco)"]["bytes_per_env"] >= 4 * 18
    assert subjects["mjx"]["bytes_per_env"] > subjects["engine (mujoco)"]["bytes_per_env"]
    shown = capsys.readouterr().out
    assert all(name in shown for name in subjects)
    assert str(out) in shown


def test_ratios_are_taken_repeat_by_repeat() -> None:
    # The machine slows down fourfold half-way: rates spread, the ratio does not.
    reference = Subject("rollout", 1, lambda: None, rates=[400.0, 100.0, 100.0])
    ours = Subject("training", 1, lambda: None, rates=[200.0, 50.0, 50.0])
    rows = summary([reference, ours])
    assert rows["rollout"]["ratio"] == 1.0
    assert rows["training"]["ratio"] == 0.5
    assert rows["training"]["steps_per_second"] == 50.0
    assert (rows["training"]["slowest"], rows["training"]["fastest"]) == (50.0, 200.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "dog"], "unknown --env 'dog'; known: ant, half_cheetah, hopper, "),
        (["--engine", "bullet"], "unknown --engine 'bullet'; known: auto, mujoco, mjx, mjx-warp"),
        (["--baselines", "brax"], "unknown --baselines 'brax'; known: rollout, mjx, mjx-default"),
        (["--num-envs", "0"], "--num-envs must be at least 1, not 0"),
        (["--repeats", "-1"], "--repeats must be at least 1, not -1"),
        (["--out", "/nowhere/at/all.json"], "the folder /nowhere/at does not exist"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr().err.strip()
    assert captured.startswith("error: ")
    assert message in captured
    assert "\n" not in captured
