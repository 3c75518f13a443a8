"""A finished run measured again, and what the command says where there is none."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest

from envs.robots.half_cheetah.robot import HalfCheetah
from lamour_jax import train
from lamour_jax.evaluate import main
from lamour_jax.robot_settings import preset


@pytest.fixture
def unmeasured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that says it is finished; nothing may be built from it."""

    def begin(*_: object, **__: object) -> None:
        raise AssertionError("the evaluation began")

    monkeypatch.setattr("lamour_jax.evaluate.Evaluator", begin)
    run = tmp_path / "run"
    run.mkdir()
    config = dataclasses.replace(preset("half_cheetah", "recovery"), seed=3)
    (run / "config.yaml").write_text(config.to_yaml())
    (run / "result.json").write_text('{"engine": "mujoco"}')
    return run


def error(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start", "sideways"], "unknown --start 'sideways'; known: ordinary"),
        (["--engine", "bullet"], "unknown --engine 'bullet'; known: auto, mujoco, mjx"),
        (["--episodes", "0"], "--episodes must be at least 1, not 0"),
        (["--seed", "-1"], "--seed must be at least 0, not -1"),
        (["--out", "/nowhere/at/all.json"], "the folder /nowhere/at does not exist"),
        (["--out", "episode.gif"], "must end in .json"),
        ([], "policy.npz does not exist"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], message: str, unmeasured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error(capsys, unmeasured, *arguments)
    assert not (unmeasured / "evaluations").exists()


def test_there_is_no_run(
    unmeasured: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "no run in" in error(capsys, tmp_path)
    assert "no run in" in error(capsys, tmp_path / "nowhere")
    assert "no run in" in error(capsys, unmeasured / "config.yaml")


def test_unfinished_run(unmeasured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (unmeasured / "result.json").unlink()
    said = error(capsys, unmeasured)
    assert "is not finished" in said
    assert f"--resume {unmeasured}" in said


def test_run_of_another_format(unmeasured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = unmeasured / "config.yaml"
    config.write_text(config.read_text().replace("format_version: 3", "format_version: 7"))
    assert "format version 7; this release reads 3" in error(capsys, unmeasured)


def test_results_are_not_overwritten(
    unmeasured: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.json").write_text("{}")
    assert "exists already" in error(capsys, unmeasured, "--out", tmp_path / "mine.json")


TINY = (
    *("--engine", "mujoco", "--num-envs", "8", "--steps", "256", "--seed", "2"),
    *("--set", "ppo.unroll_length=32", "--set", "ppo.minibatch_size=64", "--set", "ppo.epochs=1"),
    *("--set", "evaluation.during_training=1", "--set", "evaluation.episodes=3"),
    *("--set", "evaluation.episodes_during_training=2"),
)


@pytest.mark.slow
def test_finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HalfCheetah, "episode_length", 60)
    run = tmp_path / "run"

    def measured(*arguments: str) -> dict[str, Any]:
        file = tmp_path / "again.json"
        file.unlink(missing_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            assert main([str(run), "--out", str(file), *arguments]) == 0
        content: dict[str, Any] = json.loads(file.read_text())
        return content

    with contextlib.redirect_stdout(io.StringIO()):
        assert train.main([*TINY, "--out", str(run)]) == 0
    result = json.loads((run / "result.json").read_text())
    evaluations = result["evaluations"]
    assert "ood-wide" in evaluations

    # The run's own settings give the run's own numbers.
    again = measured("--engine", "mujoco")
    assert {name: again[name] for name in evaluations["ood"]} == evaluations["ood"]
    assert (again["engine"], again["trained_in"], again["start"]) == ("mujoco", "mujoco", "ood")
    ordinary = measured("--engine", "mujoco", "--start", "ordinary")
    assert ordinary["retention"] == result["retention"]
    sampled = measured("--engine", "mujoco", "--sampled")
    assert sampled["return"] == evaluations["ood, sampled"]["return"]

    # Another engine, another number of episodes, the place where results go by themselves.
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([str(run), "--engine", "mjx", "--episodes", "2", "--start", "ood-wide"]) == 0
    other = json.loads((run / "evaluations" / "ood-wide-mjx.json").read_text())
    assert (other["engine"], other["episodes"], other["start"]) == ("mjx", 2, "ood-wide")
