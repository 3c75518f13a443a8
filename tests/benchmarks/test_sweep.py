"""The sweep: what it tries, what it prefers, what it refuses."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from benchmarks.grid import GridFolder, GridRun
from benchmarks.records import read_record
from benchmarks.recovery import Plan
from benchmarks.sweep import SEED, Arguments, best, candidates, main, make_plan
from lamour_jax.methods import METHODS
from lamour_jax.robot_settings import preset
from tests.benchmarks.made_up import write_run


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_tried_over_the_numbers_that_it_has(method: str) -> None:
    tried = candidates(preset("hopper", "recovery", method))
    assert list(tried)[:3] == ["preset", "explore-half", "explore-double"]
    assert ("aux-triple" in tried) == (method not in ("env", "zero"))
    assert ("consol-tenth" in tried) == (method in ("lamour", "sero"))


def test_all_runs_are_equally_long_and_differ_in_what_is_tried() -> None:
    plan = make_plan(Arguments(envs="hopper", methods="sero", share=0.1, set=("ppo.clip=0.1",)))
    whole = preset("hopper", "recovery", "sero")
    configs = {name.rpartition("/")[2]: config for name, config in plan.configs.items()}
    assert {config.steps for config in configs.values()} == {round(0.1 * whole.steps)}
    assert {config.seed for config in configs.values()} == {SEED}
    assert {config.ppo.clip for config in configs.values()} == {0.1}
    assert configs["preset"].objective == whole.objective
    assert configs["aux-triple"].objective.aux_coef == 3 * whole.objective.aux_coef
    start, end = whole.ppo.explore_std
    assert configs["explore-half"].ppo.explore_std == (start / 2, end)
    run = next(run for run in plan.trainings if run.folder.name == "aux-triple")
    assert run.name == "hopper/sero/aux-triple"
    command = " ".join(plan.command_line(run, resumed=False))
    assert "--out runs/sweep/hopper/sero/aux-triple" in command
    assert "--set ppo.clip=0.1 --set objective.aux_coef=30" in command


@pytest.mark.parametrize(("share", "annealing"), [(0.5, 0.8), (0.25, 1.0)])
def test_noise_narrows_over_as_many_steps_as_in_the_whole_training(
    share: float, annealing: float
) -> None:
    assert preset("walker2d", "recovery").ppo.annealing == 0.4
    plan = make_plan(Arguments(envs="walker2d", methods="lamour", share=share))
    assert {config.ppo.annealing for config in plan.configs.values()} == {annealing}


def test_the_best_recovers_latest_and_keeps_most(tmp_path: Path) -> None:
    made = {
        "preset": ([0.0, 0.0, 0.9, 0.9], 0.98),
        "early": ([1.0, 1.0, 0.5, 0.5], 0.98),
        "hardly-better": ([0.0, 0.0, 0.91, 0.92], 0.99),
    }
    runs = {name: GridRun("ant", "lamour", SEED, tmp_path / name) for name in made}
    for name, (rates, retention) in made.items():
        write_run(runs[name], rates, retention)
    records = [read_record(run) for run in runs.values()]
    assert best(records).run is runs["preset"]
    retained = GridRun("ant", "lamour", SEED, tmp_path / "retained")
    write_run(retained, [0.0, 0.0, 0.9, 0.9], 1.2)
    write_run(forgets := GridRun("ant", "lamour", SEED, tmp_path / "forgets"), [0.9] * 4, 0.5)
    assert best([*records, read_record(retained)]).run is runs["preset"]
    assert best([read_record(forgets), *records]).run is runs["preset"]
    unfinished = read_record(GridRun("ant", "lamour", SEED, tmp_path / "nothing"))
    assert best([unfinished, read_record(forgets)]).run is forgets


def test_where_none_comes_back_the_preset_stays(tmp_path: Path) -> None:
    runs = [GridRun("ant", "env", SEED, tmp_path / name) for name in ("preset", "explore-half")]
    for run, retention in zip(runs, (0.4, 0.8), strict=True):
        write_run(run, [0.0, 0.0], retention)
    assert best([read_record(run) for run in runs]).run is runs[0]


def remember(plan: Plan, out: Path) -> None:
    """Leaves the folder as a call that trained the runs of `plan` would."""
    folder = GridFolder(out)
    folder.agree(plan.recorded())
    folder.note({"command": "sweep"})
    folder.close()


def test_a_finished_sweep_is_not_repeated_and_is_written_down(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    arguments = ["--envs", "ant", "--methods", "zero", "--out", str(out)]
    plan = make_plan(Arguments(envs="ant", methods="zero", out=out))
    remember(plan, out)
    for run in plan.trainings:
        rates = [0.0, 0.3] if run.folder.name == "explore-double" else [0.0, None]
        write_run(run, rates, retention=None if rates[1] is None else 0.9)
    assert main(arguments) == 0
    rows = list(csv.DictReader((out / "sweep.csv").open()))
    assert [row["candidate"] for row in rows if row["best"]] == ["explore-double"]
    assert rows[2]["late_recovery_rate"] == "0.30" and rows[0]["retention"] == ""
    assert math.isclose(float(rows[2]["retention"]), 0.9)
    # A later call with another robot keeps what is there.
    later = make_plan(Arguments(envs="hopper", methods="env", out=out))
    remember(later, out)
    for run in later.trainings:
        write_run(run, [1.0, 1.0])
    assert main(["--envs", "hopper", "--methods", "env", "--out", str(out)]) == 0
    assert [row["robot"] for row in csv.DictReader((out / "sweep.csv").open())] == (
        ["ant"] * 3 + ["hopper"] * 3
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--share", "0"], "--share must be above 0 and at most 1, not 0"),
        (["--share", "1.5"], "--share must be above 0 and at most 1, not 1.5"),
        (["--envs", "dog"], "unknown --envs 'dog'; known: all, ant"),
        (["--methods", "sac"], "unknown --methods 'sac'; known: all, lamour"),
        (["--jobs", "0"], "--jobs must be at least 1, not 0"),
        (["--set", "ppo.clip=x"], "ppo.clip"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--out", str(tmp_path / "sweep")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "sweep").exists()
