"""A run that was interrupted ends as if it had not been."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamour_jax import interruption
from lamour_jax.config import FORMAT_VERSION, CheckpointConfig, RunConfig
from lamour_jax.errors import UserError
from lamour_jax.robot_settings import preset
from lamour_jax.run.folder import RunFolder
from lamour_jax.run.loop import Hooks
from lamour_jax.run.record import Run
from lamour_jax.train import main
from tests.lamour_jax import killed_run
from tests.lamour_jax.probes import SMALL, Probe, make_learner, plus_or_minus_one, train_run
from tests.lamour_jax.test_checkpoints import plain

ITERATIONS = 6
CONFIG = RunConfig(steps=ITERATIONS * SMALL.batch_size, ppo=SMALL)
LEARNER = make_learner(
    Probe(reward=lambda obs, action: obs * action, start=plus_or_minus_one), iterations=ITERATIONS
)


class Interrupted(Exception):
    """Stands in for a power cut."""


def unmeasured(run: Run, agent: Any) -> dict[str, float]:
    return {"eval/nothing": math.nan}


def train(folder: RunFolder, interrupt_at: int | None = None) -> tuple[Any, list[dict[str, float]]]:
    """Trains with an evaluation after each iteration; returns state and metrics."""
    iterations = 0

    def facts(latest: dict[str, float]) -> dict[str, str]:
        nonlocal iterations
        iterations += 1
        if iterations == interrupt_at:
            raise Interrupted
        return {}

    return train_run(LEARNER, CONFIG, folder, Hooks(unmeasured, facts=facts))


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: repr(v) for k, v in row.items() if "second" not in k} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[dict[str, float]]]:
    return train(RunFolder(tmp_path_factory.mktemp("runs") / "whole"))


@pytest.mark.parametrize("interrupt_at", [1, 4])
def test_training_goes_on_bit_by_bit(
    interrupt_at: int, whole: tuple[Any, list[dict[str, float]]], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(Interrupted):
        train(folder, interrupt_at)
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"env_steps": 99999, "wall')
    state, rows = train(folder)
    for ours, theirs in zip(plain(state), plain(whole[0]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert without_times(rows) == without_times(whole[1])
    assert without_times(folder.metrics()) == without_times(whole[1])
    seconds = [row["wall_seconds"] for row in rows]
    assert seconds == sorted(seconds)
    # Nothing is left to do, and nothing changes.
    again, _ = train(folder)
    for ours, theirs in zip(plain(again), plain(state), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_between_evaluations(
    number: signal.Signals,
    whole: tuple[Any, list[dict[str, float]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = dataclasses.replace(
        CONFIG, evaluation=dataclasses.replace(CONFIG.evaluation, during_training=1)
    )
    folder = RunFolder(tmp_path / "run")

    def interrupt(latest: dict[str, float]) -> dict[str, str]:
        if latest["env_steps"] == 2 * SMALL.batch_size:
            os.kill(os.getpid(), number)
        return {}

    def interrupted() -> None:
        with interruption.handled(lambda: ""):
            train_run(LEARNER, config, folder, Hooks(unmeasured, facts=interrupt))

    with pytest.raises(interruption.Interrupted) as raised:
        interrupted()
    assert raised.value.status == 128 + number
    # The signal came when the second iteration had just ended: the third was finished.
    assert [row["env_steps"] for row in folder.metrics()] == [
        (n + 1) * SMALL.batch_size for n in range(3)
    ]
    state, rows = train_run(LEARNER, config, folder, Hooks(unmeasured))
    assert len(rows) == ITERATIONS
    for ours, theirs in zip(plain(state), plain(whole[0]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_checkpoints_by_steps_and_by_minutes(tmp_path: Path) -> None:
    for name, every, expected in (
        ("steps", CheckpointConfig(2 * SMALL.batch_size, 0.0, 9), [2, 4, 6]),
        ("minutes", CheckpointConfig(0, 1e-9, 9), [1, 2, 3, 4, 5, 6]),
        ("neither", CheckpointConfig(0, 0.0, 9), [6]),
    ):
        config = dataclasses.replace(
            CONFIG,
            checkpoints=every,
            evaluation=dataclasses.replace(CONFIG.evaluation, during_training=1),
        )
        train_run(LEARNER, config, RunFolder(tmp_path / name))
        found = sorted(int(e.name) for e in (tmp_path / name / "checkpoints").iterdir())
        assert found == [n * SMALL.batch_size for n in expected]


def test_the_best_agent_is_kept(tmp_path: Path) -> None:
    scores = iter([0.2, 0.9, 0.5, 0.9, 0.1, math.nan])
    kept = []
    hooks = Hooks(
        lambda run, agent: {"eval/recovery_rate": next(scores)},
        lambda run, agent, row: kept.append(row["eval/recovery_rate"]),
    )
    train_run(LEARNER, CONFIG, RunFolder(tmp_path / "run"), hooks)
    assert kept == [0.2, 0.9, 0.9]
    found = sorted(int(e.name) for e in (tmp_path / "run" / "checkpoints").iterdir())
    assert found == [n * SMALL.batch_size for n in (4, 5, 6)]


def newest(folder: RunFolder) -> Path:
    steps = [e for e in (folder.path / "checkpoints").iterdir() if e.name.isdigit()]
    return max(steps, key=lambda entry: int(entry.name))


def damage(checkpoint: Path) -> None:
    for file in checkpoint.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def test_a_damaged_checkpoint_is_passed_over(
    whole: tuple[Any, list[dict[str, float]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(Interrupted):
        train(folder, 5)
    damage(newest(folder))
    capsys.readouterr()
    state, rows = train(folder)
    said = capsys.readouterr().out
    assert f"the checkpoint after {5 * SMALL.batch_size:,} steps is damaged" in said
    assert f"goes on after {4 * SMALL.batch_size:,} steps" in said
    assert without_times(rows) == without_times(whole[1])
    for ours, theirs in zip(plain(state), plain(whole[0]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_a_good_checkpoint_it_says_so(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(Interrupted):
        train(folder, 5)
    for checkpoint in list((folder.path / "checkpoints").iterdir()):
        damage(checkpoint)
    with pytest.raises(UserError, match="none of the checkpoints in .* can be gone on from"):
        train(folder)


def resume(capsys: pytest.CaptureFixture[str], path: Path, *more: str) -> str:
    assert main(["--resume", str(path), *more]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    return said


def test_nothing_to_go_on_with(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "no run in" in resume(capsys, tmp_path)
    assert "no run in" in resume(capsys, tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "no run in" in resume(capsys, tmp_path / "file")
    (tmp_path / "config.yaml").write_text(CONFIG.to_yaml())
    (tmp_path / "result.json").write_text("{}")
    assert "is already finished" in resume(capsys, tmp_path)


def test_resume_takes_no_other_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "leave the other options out" in resume(capsys, tmp_path, "--steps", "5000")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("format_version: 3", "format_version: 99"), "format version 99; this release reads 3"),
        (("format_version: 3\n", ""), "no format version; this release reads 3"),
        (("engine:", "motor:"), "unknown setting motor"),
        (("  clip:", "  clap:"), "unknown setting ppo.clap; did you mean ppo.clip"),
        (("seed: 0\n", ""), "missing setting seed"),
        (("seed: 0", "seed: none"), "seed must be an integer"),
        (("env: ", "}{"), "damaged"),
    ],
)
def test_settings_of_another_format(
    change: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = CONFIG.to_yaml()
    assert change[0] in text
    (tmp_path / "config.yaml").write_text(text.replace(*change, 1))
    said = resume(capsys, tmp_path)
    assert f"the run in {tmp_path} cannot be read: config.yaml: " in said
    assert message in said


@pytest.mark.parametrize("stage", ["recovery", "original"])
def test_settings_are_read_as_written(stage: Any) -> None:
    for env in ("ant", "half_cheetah", "hopper", "walker2d"):
        config = preset(env, stage)
        assert RunConfig.from_yaml(config.to_yaml()) == config
    assert f"format_version: {FORMAT_VERSION}" in CONFIG.to_yaml()


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("whole", "killed")}

    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", killed_run.__name__, str(folders["killed"])]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def rows_written() -> int:
        file = folders["killed"] / "metrics.jsonl"
        return len(file.read_text().splitlines()) if file.exists() else 0

    digest = killed_run.run(folders["whole"])
    chance = random.Random(time.time_ns())
    for quarter in (1, 2, 3):
        process = begin()
        while rows_written() < quarter * killed_run.ITERATIONS // 4:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = begin()
    assert last.communicate(timeout=600)[0].splitlines()[-1] == digest
    assert last.returncode == 0
    rows = [RunFolder.reopen(folders[name]).metrics() for name in ("whole", "killed")]
    assert without_times(rows[0]) == without_times(rows[1])
    assert len(rows[0]) == killed_run.ITERATIONS


TINY = (
    *("--engine", "mujoco", "--num-envs", "8", "--steps", "1024"),
    *("--set", "ppo.unroll_length=32", "--set", "ppo.minibatch_size=64"),
    *("--set", "evaluation.during_training=4", "--set", "evaluation.episodes=2"),
    *("--set", "evaluation.episodes_during_training=2"),
)


@pytest.mark.slow
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*TINY, "--out", str(tmp_path / "whole")]) == 0
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "lamour_jax.train", *TINY, "--out", str(killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not list((killed / "checkpoints").glob("[0-9]*[0-9]")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "result.json").exists()
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["--resume", str(killed)]) == 0

    policies = [(tmp_path / name / "policy.npz").read_bytes() for name in ("whole", "killed")]
    assert policies[0] == policies[1]
    results = [
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "killed")
    ]
    for result in results:
        assert result.pop("wall_seconds") > 0.0
        assert result.pop("env_steps_per_second") > 0.0
    assert results[0] == results[1]
    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "killed")
    ]
    assert without_times(rows[0]) == without_times(rows[1])
