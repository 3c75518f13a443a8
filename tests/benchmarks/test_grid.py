"""The grid's running, with processes that only pretend to train."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from benchmarks.grid import (
    GridFolder,
    GridRun,
    GridRunner,
    Observer,
    all_runs,
    share_of_accelerators,
)
from lamour_jax.errors import UserError

# Writes what a training would; what its seed says decides how it goes.
PRETENDER = """
import json, os, sys, time
from pathlib import Path
env, method, seed, folder, resumed = sys.argv[1:]
folder = Path(folder)
seed = int(seed)
with open(folder.parent / "begun", "a") as begun:
    print(env, method, seed, "on" if resumed == "True" else "new", file=begun)
if seed == 1:
    print("Traceback (most recent call last):")
    sys.exit("MemoryError: out of [memory]")
if seed == 2 and resumed == "True":
    print("error: it cannot be continued", file=sys.stderr)
    sys.exit(2)
if seed == 3:
    os.kill(os.getpid(), 9)
folder.mkdir(exist_ok=True)
(folder / "config.yaml").write_text("")
if seed == 4:
    time.sleep(600)
if seed == 5:
    sys.exit(0)
(folder / "cores").write_text(str(len(os.sched_getaffinity(0))))
result = {"env": env, "method": method, "seed": seed, "evaluations": {}}
(folder / "result.json").write_text(json.dumps(result))
"""


class Notes(Observer):
    """An observer that remembers, and that can stop the grid."""

    def __init__(self, interrupt_when_running: int | None = None) -> None:
        self.events: list[tuple[str, str]] = []
        self._interrupt_when_running = interrupt_when_running

    def begins(self, run: GridRun, *, resumed: bool) -> None:
        self.events.append(("resumed" if resumed else "begins", run.name))

    def finished(self, run: GridRun) -> None:
        self.events.append(("finished", run.name))

    def failed(self, run: GridRun, reason: str) -> None:
        self.events.append(("failed", run.name))

    def moved(self, run: GridRun, to: Path) -> None:
        self.events.append(("moved", to.name))

    def tick(self, running: list[GridRun]) -> None:
        started = [run for run in running if (run.folder / "config.yaml").exists()]
        if len(started) == self._interrupt_when_running:
            os.kill(os.getpid(), signal.SIGTERM)


def command_line(run: GridRun, resumed: bool) -> list[str]:
    words = (run.env, run.method, str(run.seed), str(run.folder), str(resumed))
    return [sys.executable, "-S", "-c", PRETENDER, *words]


def run_grid(
    path: Path,
    runs: list[GridRun],
    notes: Notes | None = None,
    jobs: int = 1,
) -> tuple[dict[str, str], Notes]:
    notes = notes or Notes()
    folder = GridFolder(path)
    with contextlib.closing(folder):
        folder.note({"command": "grid"})
        runner = GridRunner(command_line, notes, jobs, folder.lock_descriptor)
        todo = [run for run in runs if run.result() is None]
        failures = runner.run(todo)
    return {run.name: reason for run, reason in failures.items()}, notes


def begun(run: GridRun) -> list[str]:
    return (run.folder.parent / "begun").read_text().splitlines()


def test_first_seeds_come_first(tmp_path: Path) -> None:
    runs = all_runs(tmp_path, ["ant", "hopper"], ["env", "zero"], [0, 3])
    assert [run.name for run in runs[:5]] == [
        "ant/env/seed_0",
        "ant/zero/seed_0",
        "hopper/env/seed_0",
        "hopper/zero/seed_0",
        "ant/env/seed_3",
    ]
    assert runs[0].folder == tmp_path / "ant" / "env" / "seed_0"


def test_finished_runs_are_not_repeated(tmp_path: Path) -> None:
    runs = all_runs(tmp_path, ["ant"], ["env", "zero"], [0])
    failures, notes = run_grid(tmp_path, runs)
    assert failures == {}
    assert notes.events == [
        ("begins", "ant/env/seed_0"),
        ("finished", "ant/env/seed_0"),
        ("begins", "ant/zero/seed_0"),
        ("finished", "ant/zero/seed_0"),
    ]
    _, again = run_grid(tmp_path, runs)
    assert again.events == []


def test_a_failed_run_is_said_and_the_grid_goes_on(tmp_path: Path) -> None:
    runs = all_runs(tmp_path, ["ant"], ["env"], [1, 3, 5, 0])
    failures, notes = run_grid(tmp_path, runs)
    assert failures == {
        "ant/env/seed_1": "MemoryError: out of [memory]",
        "ant/env/seed_3": "ended by SIGKILL",
        "ant/env/seed_5": "it ended without a result",
    }
    assert notes.events[-1] == ("finished", "ant/env/seed_0")
    assert "Traceback" in runs[0].log.read_text()


def test_a_broken_run_is_continued(tmp_path: Path) -> None:
    (run,) = all_runs(tmp_path, ["ant"], ["env"], [0])
    run.folder.mkdir(parents=True)
    (run.folder / "config.yaml").write_text("")
    (run.folder / "result.json").write_text('{"env": "ant", ')
    failures, notes = run_grid(tmp_path / "elsewhere", [run])
    assert failures == {}
    assert notes.events[0] == ("resumed", run.name)
    assert begun(run) == ["ant env 0 on"]


def test_a_run_that_cannot_be_continued_is_moved_aside(tmp_path: Path) -> None:
    (run,) = all_runs(tmp_path, ["ant"], ["env"], [2])
    run.folder.mkdir(parents=True)
    (run.folder / "config.yaml").write_text("mine")
    failures, notes = run_grid(tmp_path / "elsewhere", [run])
    assert failures == {}
    assert [kind for kind, _ in notes.events] == ["resumed", "moved", "begins", "finished"]
    assert begun(run) == ["ant env 2 on", "ant env 2 new"]
    assert (run.folder.with_name("seed_2.broken-1") / "config.yaml").read_text() == "mine"


def test_a_folder_without_settings_is_moved_aside(tmp_path: Path) -> None:
    (run,) = all_runs(tmp_path, ["ant"], ["env"], [0])
    for name in ("seed_0", "seed_0.broken-1"):
        run.folder.with_name(name).mkdir(parents=True)
    (run.folder / "notes.txt").write_text("mine")
    run_grid(tmp_path / "elsewhere", [run])
    assert (run.folder.with_name("seed_0.broken-2") / "notes.txt").read_text() == "mine"
    assert begun(run) == ["ant env 0 new"]


def test_a_result_of_another_run_does_not_count(tmp_path: Path) -> None:
    (run,) = all_runs(tmp_path, ["ant"], ["env"], [0])
    run.folder.mkdir(parents=True)
    result = {"env": "ant", "method": "zero", "seed": 0, "evaluations": {}}
    (run.folder / "result.json").write_text(json.dumps(result))
    assert run.result() is None


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be chosen here")
def test_jobs_share_the_cores(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    runs = all_runs(tmp_path, ["ant"], ["env", "zero"], [0])
    run_grid(tmp_path, runs, jobs=2)
    given = [int((run.folder / "cores").read_text()) for run in runs]
    assert sum(given) == max(cores, 2)
    assert len(os.sched_getaffinity(0)) == cores


def test_jobs_share_the_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(jobs: int, devices: list[str]) -> list[tuple[str | None, str | None]]:
        found = [share_of_accelerators(slot, jobs, devices) for slot in range(jobs)]
        names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION")
        return [(settings.get(names[0]), settings.get(names[1])) for settings in found]

    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    assert of(1, ["0", "1"]) == [(None, None)]
    assert of(2, ["0", "1", "2", "3"]) == [("0,2", None), ("1,3", None)]
    assert of(4, ["2", "5"]) == [("2", "0.450"), ("5", "0.450")] * 2
    assert of(3, ["0", "1"]) == [("0", "0.450"), ("1", "0.450"), ("0", "0.450")]
    # No NVIDIA GPU that is known of: whatever there is.
    assert of(2, []) == [(None, "0.450")] * 2
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.1")
    assert of(2, ["0"]) == [("0", None)] * 2


def test_stopping_ends_the_children(tmp_path: Path) -> None:
    runs = all_runs(tmp_path, ["ant"], ["env", "zero"], [4])
    notes = Notes(interrupt_when_running=2)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_grid(tmp_path, runs, notes, jobs=2)
    assert time.monotonic() - begin < 500
    assert [kind for kind, _ in notes.events] == ["begins", "begins"]
    # Children hold the folder's lock as well: had one been left, this would be refused.
    GridFolder(tmp_path).close()


def test_one_grid_at_a_time(tmp_path: Path) -> None:
    holds_it = GridFolder(tmp_path / "grid")
    with (
        contextlib.closing(holds_it),
        pytest.raises(UserError, match="another process is running the grid"),
    ):
        GridFolder(tmp_path / "grid")


def agree(path: Path, configs: dict[str, dict[str, object]]) -> None:
    folder = GridFolder(path)
    with contextlib.closing(folder):
        folder.agree(configs)
        folder.note({"command": "the first command"})


def test_other_settings_are_refused(tmp_path: Path) -> None:
    agree(tmp_path, {"ant/env": {"steps": 100, "ppo": {"clip": 0.2, "epochs": 8}}})
    # More robots and methods may come.
    agree(tmp_path, {"ant/zero": {"steps": 100}})
    with pytest.raises(UserError, match="was made with other settings") as refusal:
        agree(tmp_path, {"ant/env": {"steps": 100, "ppo": {"clip": 0.1, "epochs": 9}}})
    message = str(refusal.value)
    assert "ant/env had ppo.clip = 0.2, not 0.1 (and 1 more)" in message
    assert "go on by: the first command" in message


def test_folders_that_are_no_grid_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="not empty and holds no grid"):
        GridFolder(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        GridFolder(tmp_path / "file")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format_version": 99}', "has format version 99; this release reads 1"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format_version": 1}', "is damaged"),
    ],
)
def test_grids_of_another_format_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text(content)
    with pytest.raises(UserError, match=message):
        GridFolder(tmp_path)


def test_earlier_runs_are_found(tmp_path: Path) -> None:
    agree(tmp_path, {"ant/env": {}, "ant/zero": {}})
    for name in ("env/seed_3", "env/seed_3.broken-1", "zero/seed_0", "sero/seed_0"):
        (tmp_path / "ant" / name).mkdir(parents=True)
    folder = GridFolder(tmp_path)
    with contextlib.closing(folder):
        found = sorted(folder.runs(), key=folder.place)
    assert [run.name for run in found] == ["ant/env/seed_3", "ant/zero/seed_0"]
