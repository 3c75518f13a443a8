"""`--auto-resume`: the same command again goes on, and says when there is nothing left to do."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lamour_jax.train as command
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.run.folder import RunFolder
from lamour_jax.train import main

Hook = Callable[[RunConfig], None]


class Runs:
    """Stands in for training: writes settings, calls `hook`, writes a result."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.hook: Hook = lambda config: None

    def __call__(self, config: RunConfig, folder: RunFolder, console: Console) -> dict[str, Any]:
        self.begun.append(config.seed)
        # As a real run does, with what it has found out for itself.
        settings = config.to_yaml().replace("engine: auto", "engine: mujoco")
        folder.write_text("config.yaml", settings)
        self.hook(config)
        folder.write_json("result.json", {})
        return {}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    runs = Runs()

    def together(configs: list[RunConfig], folders: list[RunFolder], console: Console) -> None:
        for config, folder in zip(configs, folders, strict=True):
            runs(config, folder, console)

    monkeypatch.setattr(command, "run_stage", together)
    return runs


def interrupt(number: signal.Signals, seed: int) -> Hook:
    def hook(config: RunConfig) -> None:
        if config.seed == seed:
            os.kill(os.getpid(), number)

    return hook


def nothing(config: RunConfig) -> None:
    pass


def test_it_begins_goes_on_and_ends(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["--auto-resume", "--out", str(out)]
    runs.hook = interrupt(signal.SIGTERM, 0)
    assert main(words) == 143
    said = capsys.readouterr().err
    assert said == (
        f"interrupted by SIGTERM; to go on: python -m lamour_jax.train --resume {out}\n"
    )
    runs.hook = nothing
    assert main(words) == 0
    assert runs.begun == [0, 0]
    assert main(words) == 0
    assert runs.begun == [0, 0]
    assert f"The run in {out} is already finished" in capsys.readouterr().out


def test_several_seeds(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["--seeds", "3", "--out", str(out)]
    runs.hook = interrupt(signal.SIGINT, 1)
    assert main(words) == 130
    said = capsys.readouterr().err
    assert said == (
        "interrupted by SIGINT; to go on: python -m lamour_jax.train --seeds 3 "
        f"--out {out} --auto-resume\n"
    )
    runs.hook = nothing
    assert runs.begun == [0, 1]
    assert main([*words, "--auto-resume"]) == 0
    assert runs.begun == [0, 1, 1, 2]
    assert main([*words, "--auto-resume"]) == 0
    assert runs.begun == [0, 1, 1, 2]
    assert capsys.readouterr().out.count("is already finished") == 4


def error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    return said


def test_other_settings_are_refused(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["--out", out]) == 0
    before = (tmp_path / "out" / "config.yaml").read_text()
    said = error(capsys, "--auto-resume", "--out", out, "--set", "ppo.horizon=0.5")
    assert f"the run in {out} has other settings: ppo.horizon is 4.975" in said
    assert "and 0.5 here" in said
    assert (tmp_path / "out" / "config.yaml").read_text() == before
    # How often it is saved decides nothing.
    assert main(["--auto-resume", "--out", out, "--set", "checkpoints.every_steps=5000"]) == 0


def test_it_needs_a_folder_that_stays_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert "give one by --out" in error(capsys, "--auto-resume")


def test_a_folder_of_something_else_is_left_alone(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").touch()
    assert "is not empty" in error(capsys, "--auto-resume", "--out", str(tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_was_interrupted_before_its_settings_begins_again(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "generation").mkdir()
    (tmp_path / ".reward.py.partial").touch()
    assert main(["--auto-resume", "--out", str(tmp_path)]) == 0
    assert runs.begun == [0]


def test_interrupted_before_anything_was_trained(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(command, "run_stage", begin)
    assert main(["--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "interrupted by SIGINT; nothing was trained yet\n"


def test_a_full_disk_is_one_line(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(config: RunConfig) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/metrics.jsonl")

    runs.hook = full
    said = error(capsys, "--out", str(tmp_path / "out"))
    assert "out/metrics.jsonl: No space left on device; to go on: python -m" in said
