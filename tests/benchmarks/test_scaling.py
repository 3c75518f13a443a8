"""The scaling benchmark's plot, and what it says to bad input."""

from __future__ import annotations

import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from benchmarks import scaling
from benchmarks.scaling import Arguments, Point, axes, main, measure, plot
from benchmarks.subjects import Subject
from lamour_jax.robot_settings import preset


def test_plot(tmp_path: Path) -> None:
    chosen = axes(Arguments(num_envs="16,64", hidden="32,64"))
    assert {axis: [point.value for point in points] for axis, points in chosen.items()} == {
        "environments": [16, 64],
        "hidden units": [32, 64],
    }
    cost = {
        f"{part}_{kind}": milliseconds
        for part in ("environment", "acting", "training")
        for kind, milliseconds in (("low", 10.0), ("ms", 20.0), ("high", 30.0))
    }
    about = {"robot": "hopper", "engine": "mujoco", **cost}
    rows = [
        {"axis": axis, "value": point.value, **about}
        for axis, points in chosen.items()
        for point in points
    ]
    plot(rows, tmp_path / "scaling.png")
    with Image.open(tmp_path / "scaling.png") as picture:
        assert np.asarray(picture).std() > 0


def test_over_devices_the_work_is_spread_and_then_grows_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "devices", lambda: ["device"] * 4)
    arguments = Arguments(env="hopper", devices="1,4", device_envs=512, device_minibatch=1024)
    _, _, spread, grows = axes(arguments).values()
    assert spread == [Point(1, 512, 64, 1, 1024), Point(4, 512, 64, 4, 1024)]
    assert grows == [Point(1, 512, 64, 1, 1024), Point(4, 2048, 64, 4, 4096)]
    by_default = axes(Arguments(env="hopper", devices="1,4"))["devices"]
    usual = preset("hopper", "recovery").ppo.minibatch_size
    assert {point.minibatch for point in by_default} == {usual}


def test_costs_are_the_inverse_of_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is timed is throughput's, which is measured in its own test.
    parts = ("environment", "acting", "training")
    made = [Subject(part, 10, lambda: time.sleep(0.01), 1.5, 64.0) for part in parts]
    monkeypatch.setattr(scaling, "_parts", lambda point, arguments: made)
    [row] = measure("environments", [Point(4, 4, 8)], Arguments(env="hopper", repeats=1))
    assert (row["num_envs"], row["hidden_units"], row["devices"]) == (4, 8, 1)
    assert all(row[f"{part}_ms"] >= 1000 for part in parts)  # 10 steps in 10 ms
    assert (row["bytes_per_env"], row["compile_seconds"]) == (64.0, 1.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "dog"], "unknown --env 'dog'; known: ant, "),
        (["--devices", "none"], "--devices must be numbers of at least 1"),
        (["--devices", "1,99"], "--devices 99: there are only"),
        (["--devices", "1", "--device-envs", "0"], "--device-envs must be at least 1, not 0"),
        (["--devices", "1", "--device-minibatch", "-1"], "--device-minibatch must be at least 1"),
        (["--hidden", "wide"], "--hidden must be numbers of at least 1"),
        (["--repeats", "0"], "--repeats must be at least 1, not 0"),
        (["--out", "/nowhere/at/all.csv"], "the folder /nowhere/at does not exist"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ") and message in said and "\n" not in said
