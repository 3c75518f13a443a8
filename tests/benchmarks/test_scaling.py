"""The scaling benchmark's plot, and what it says to bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.scaling import Arguments, axes, main, plot


def test_plot(tmp_path: Path) -> None:
    chosen = axes(Arguments(num_envs="16,64", hidden="32,64"))
    assert [axis.points for axis in chosen] == [
        [(16, 64, 1), (64, 64, 1)],
        [(64, 32, 1), (64, 64, 1)],
    ]
    cost = {"low": 0.01, "median": 0.02, "high": 0.03}
    points = [
        {"seconds_per_1000_steps": dict.fromkeys(("environment", "acting", "training"), cost)}
    ] * 2
    report = {
        "axes": {axis.name: points for axis in chosen},
        "arguments": {"env": "hopper"},
        "engine": "mujoco",
        "device": "cpu",
    }
    plot(report, chosen, tmp_path / "scaling.png")
    with Image.open(tmp_path / "scaling.png") as picture:
        assert np.asarray(picture).std() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "dog"], "unknown --env 'dog'; known: ant, "),
        (["--devices", "none"], "--devices must be numbers of at least 1"),
        (["--devices", "1,99"], "--devices 99: there are only"),
        (["--hidden", "wide"], "--hidden must be numbers of at least 1"),
        (["--repeats", "0"], "--repeats must be at least 1, not 0"),
        (["--out", "/nowhere/at/all.json"], "the folder /nowhere/at does not exist"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ") and message in said and "\n" not in said
