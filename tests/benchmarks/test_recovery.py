"""The command: what its arguments mean, what it refuses, and the smallest grid there is."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.grid import GridProgress, GridRun, all_runs
from benchmarks.recovery import METHODS, Arguments, Plan, main, make_plan
from lamour_jax.policies import originals
from tests.benchmarks.made_up import BUDGET, write_run

TINY = (
    *("--set", "ppo.num_envs=8", "--set", "ppo.unroll_length=32", "--steps", "512"),
    *("--set", "ppo.minibatch_size=64", "--set", "ppo.epochs=1"),
    *("--set", "evaluation.episodes=2", "--set", "evaluation.during_training=2"),
    *("--set", "evaluation.episodes_during_training=2"),
)


OUT = Path("out")


def grid(plan: Plan) -> tuple[list[str], list[str], list[int]]:
    """Returns robots, methods and seeds of a plan, in its order."""
    runs = plan.trainings
    envs, methods, seeds = ([getattr(r, name) for r in runs] for name in ("env", "method", "seed"))
    return list(dict.fromkeys(envs)), list(dict.fromkeys(methods)), list(dict.fromkeys(seeds))


def test_all_is_every_robot_with_an_original_policy_five_times() -> None:
    # SeRO, of all methods, starts from one that was trained with dropout.
    robots = originals.names(dropout=True)
    assert grid(make_plan(Arguments(), OUT)) == (robots, list(METHODS), [0, 1, 2, 3, 4])
    assert grid(make_plan(Arguments(methods="lamour"), OUT))[0] == originals.names()


def test_a_robot_without_an_original_policy_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, missing = tmp_path / "grid", tmp_path / "policy.npz"
    assert main(["--envs", "ant", "--out", str(out), "--set", f"policy={missing}"]) == 2
    assert str(missing) in capsys.readouterr().err
    # As if the ant's had not been trained yet.
    monkeypatch.setattr(originals, "_shipped_file", lambda env, dropout: tmp_path / "none")
    assert main(["--envs", "ant", "--methods", "sero", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no original policy trained with dropout ships for 'ant'")
    assert not out.exists()


def test_a_plan_touches_no_device() -> None:
    """What this process took of an accelerator would be missing in the runs."""
    code = "import benchmarks.recovery as b; b.make_plan(b.Arguments(), b.Path('out'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "JAX_PLATFORMS": "there_is_none"},  # using a device fails
    )
    assert done.returncode == 0, done.stderr


def test_chosen_robots_methods_seeds_and_settings() -> None:
    arguments = Arguments(
        envs="hopper, ant", methods="zero", seeds="3,7", steps=640_000, set=("ppo.clip=0.1",)
    )
    plan = make_plan(arguments, OUT)
    assert grid(plan) == (["hopper", "ant"], ["zero"], [3, 7])
    config = plan.configs["ant/zero"]
    assert (config.steps, config.ppo.clip, config.method) == (640_000, 0.1, "zero")
    assert "seed" not in plan.recorded()["ant/zero"]
    run = GridRun("ant", "zero", 7, OUT / "ant" / "zero" / "seed_7")
    assert plan.steps()[run] == config.iterations * config.ppo.batch_size
    command = plan.command_line(run, resumed=False)
    assert command[1:3] == ["-m", "lamour_jax.train"]
    joined = " ".join(command)
    for part in ("--env ant", "--method zero", "--seed 7", "--out out", "--steps 640000"):
        assert part in joined
    assert "--set ppo.clip=0.1" in joined
    assert plan.command_line(run, resumed=True)[3:] == ["--resume", str(run.folder)]


def test_quick_is_a_default_that_the_command_line_overrides() -> None:
    quick = make_plan(Arguments(quick=True), OUT)
    [robot], methods, seeds = grid(quick)
    assert methods == list(METHODS) and len(seeds) < 5
    other = make_plan(Arguments(quick=True, envs="hopper", seeds="1", steps=4096), OUT)
    assert (grid(other)[0], grid(other)[2]) == (["hopper"], [0])
    assert other.configs["hopper/zero"].steps == 4096
    full = make_plan(Arguments(envs=robot), OUT)
    assert quick.configs[f"{robot}/zero"].steps < full.configs[f"{robot}/zero"].steps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--envs", "dog"], "unknown --envs 'dog'; known: all, ant, half_cheetah, hopper"),
        (["--envs", "ant,"], "unknown --envs ''; known: all, ant"),
        (["--methods", "lamour,sac"], "unknown --methods 'sac'; known: all, lamour"),
        (["--seeds", "x"], "unknown --seeds 'x'; known: how many (5: seeds 0 to 4), or which"),
        (["--seeds", "0"], "unknown --seeds '0'; known: how many"),
        (["--seeds", "3,-1"], "unknown --seeds '3,-1'; known: how many"),
        (["--start", "sideways"], "unknown --start 'sideways'; known: ordinary"),
        (["--engine", "bullet"], "unknown --engine 'bullet'; known: auto, mujoco, mjx"),
        (["--jobs", "0"], "--jobs must be at least 1, not 0"),
        (["--steps", "5"], "--steps 5 is smaller than one iteration"),
        (["--set", "sped=1"], "unknown setting sped"),
        (["--set", "seed=1"], "--set seed=1: choose by --envs, --methods and --seeds"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*arguments, "--out", str(tmp_path / "grid")]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert message in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_report_without_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in all_runs(tmp_path, ["ant"], ["lamour"], [0]):
        write_run(run, [0.5, 0.95])
    (tmp_path / "grid.json").write_text(
        json.dumps({"format_version": 1, "configs": {}, "invocations": []})
    )
    arguments = ["--envs", "ant", "--methods", "lamour,zero", "--seeds", "1", "--report-only"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert "2 runs" in capsys.readouterr().out
    with (tmp_path / "results.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["finished", "unfinished"]
    assert "lamour" in (tmp_path / "index.html").read_text()


def test_time_left(tmp_path: Path) -> None:
    done, running, waiting = all_runs(tmp_path, ["ant"], ["lamour"], [0, 1, 2])
    write_run(done, [0.95], seconds=100.0)
    shown = Console(file=io.StringIO(), width=200)
    progress = GridProgress(
        shown, [done, running, waiting], dict.fromkeys((done, running, waiting), BUDGET), jobs=1
    )
    # A finished run of this robot took 100 s.
    assert progress.seconds_left([]) == pytest.approx(200.0)
    progress.begins(running, resumed=False)
    running.folder.mkdir()
    (running.folder / "metrics.jsonl").write_text(json.dumps({"env_steps": BUDGET / 2}) + "\n")
    assert progress.seconds_left([running]) == pytest.approx(150.0)
    progress.failed(running, "out of [memory]")
    assert progress.seconds_left([]) == pytest.approx(100.0)
    progress.tick([])
    assert "out of [memory]" in shown.file.getvalue()  # type: ignore[attr-defined]


def test_nothing_is_known_of_the_time_left_at_first(tmp_path: Path) -> None:
    runs = all_runs(tmp_path, ["ant"], ["lamour"], [0])
    progress = GridProgress(Console(file=io.StringIO()), runs, {runs[0]: 100}, jobs=1)
    assert progress.seconds_left([]) is None


@pytest.mark.slow
def test_smallest_grid(tmp_path: Path) -> None:
    """One run of the real training, called as a user calls it."""
    out = tmp_path / "grid"
    command = [sys.executable, "-m", "benchmarks.recovery", "--quick", "--out", str(out)]
    command += ["--methods", "zero", "--seeds", "1", "--engine", "mujoco", *TINY]
    root = Path(__file__).parents[2]
    first = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "1 to do" in first.stdout
    results = sorted(out.glob("half_cheetah/*/seed_*/result.json"))
    assert len(results) == 1
    page = (out / "index.html").read_text()
    assert "1 of 1 runs are finished" in page
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished"]
    assert {row["reward_source"] for row in rows} == {"library/half_cheetah"}

    times = [file.stat().st_mtime_ns for file in results]
    again = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert again.returncode == 0, again.stderr
    assert "1 finished, 0 to do" in again.stdout
    assert [file.stat().st_mtime_ns for file in results] == times

    other = subprocess.run(
        [*command, "--set", "ppo.clip=0.1"], capture_output=True, text=True, check=False, cwd=root
    )
    assert other.returncode == 2
    assert "was made with other settings" in other.stderr
    assert "ppo.clip = 0.2, not 0.1" in other.stderr
