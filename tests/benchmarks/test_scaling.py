"""The scaling benchmark's plot, and what it says to bad input."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from benchmarks.scaling import Arguments, Axis, axes, main, measure, plot
from lamour_jax.robot_settings import preset


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


def test_over_devices_the_work_is_spread_and_then_grows_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "devices", lambda: ["device"] * 4)
    arguments = Arguments(env="hopper", devices="1,4", device_envs=512, device_minibatch=1024)
    spread, grows = axes(arguments)[2:]
    assert spread.points == [(512, 64, 1), (512, 64, 4)]
    assert spread.minibatches == (1024, 1024)
    assert grows.points == [(512, 64, 1), (2048, 64, 4)]
    assert grows.minibatches == (1024, 4096)
    by_default = axes(Arguments(env="hopper", devices="1,4"))[2]
    assert set(by_default.minibatches) == {preset("hopper", "recovery").ppo.minibatch_size}


def test_smallest_measurement() -> None:
    arguments = Arguments(env="hopper", engine="mujoco", unroll_length=4, repeats=1)
    [point] = measure(Axis("environments", [4], [(4, 8, 1)], (8,)), arguments)
    assert (point["num_envs"], point["hidden_units"], point["devices"]) == (4, 8, 1)
    costs = point["seconds_per_1000_steps"]
    assert set(costs) == {"environment", "acting", "training"}
    assert all(cost["median"] > 0 for cost in costs.values())
    assert point["bytes_per_env"] > 0 and point["compile_seconds"] > 0


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
        (["--out", "/nowhere/at/all.json"], "the folder /nowhere/at does not exist"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ") and message in said and "\n" not in said
