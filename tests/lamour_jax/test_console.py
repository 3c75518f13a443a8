"""What is printed for the person at the terminal, for a log, and for another program."""

from __future__ import annotations

import io
import json
import math
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import lamour_jax.console as module
import lamour_jax.train as command
from lamour_jax.compilation import Compilation
from lamour_jax.config import RunConfig
from lamour_jax.console import Console, JsonConsole, QuietConsole
from lamour_jax.progress import LineProgress, Pace, duration, loss_facts
from lamour_jax.run.folder import RunFolder
from lamour_jax.train import main


def compile_for(seconds: float) -> None:
    """Has JAX trace a new function for this long."""

    @jax.jit
    def slow(x: jax.Array) -> jax.Array:
        time.sleep(seconds)
        return x + seconds

    slow(jnp.float32(0.0))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONG", 0.05)


def test_compiling_is_measured() -> None:
    with Compilation() as compilation:
        compile_for(0.2)
        assert 0.2 <= compilation.seconds < 5.0
        once = compilation.seconds
        time.sleep(0.4)
        assert compilation.running() == 0.0
    compile_for(0.1)
    assert compilation.seconds == once, "it listens no longer"


def test_compiling_that_fails_ends(impatient: None) -> None:
    @jax.jit
    def fails(x: jax.Array) -> jax.Array:
        raise ValueError("no")

    with Compilation() as compilation:
        with pytest.raises(ValueError, match="no"):
            fails(jnp.float32(0.0))
        time.sleep(0.4)
        assert compilation.running() == 0.0


def test_a_log_says_that_it_compiles_and_for_how_long(
    impatient: None, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console()
    with console.stage("Training [1]"), console.progress(1000) as progress:
        compile_for(0.4)
        for steps in range(10, 1001, 10):
            progress.update(steps, 5.0 * (steps > 10), {"return": f"{steps}"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "▸ Training [1]"
    assert lines[1] == "  compiling ..."
    assert lines[2].startswith("  compiled in ")
    assert lines[3] == "    1 %  10 steps  return 10", "no speed and no time left yet"
    # One line every 5 %.
    assert [line.split()[0] for line in lines[4:-1]] == [str(n) for n in range(5, 101, 5)]
    assert lines[-2].endswith("0 s left  return 1000")
    assert lines[-1].startswith("  ✓ ")
    assert lines[-1].endswith(" s of it compiling")


def test_a_terminal_has_a_bar(
    impatient: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    console = Console()
    with console.stage("Training"), console.progress(1000) as progress:
        compile_for(0.6)
        progress.update(1000, 5000.0, {"return": "7"})
    out = capsys.readouterr().out
    assert "compiling ... " in out
    assert "━" in out
    assert "1,000 steps  5,000/s  0 s left" in out


def test_a_stage_that_fails_is_not_ticked(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with pytest.raises(RuntimeError), console.stage("Reward"):
        raise RuntimeError
    assert "✓" not in capsys.readouterr().out


def test_time_left_is_measured_since_the_first_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = Pace(total=1000)
    # A run that goes on after 500 steps, without a speed yet.
    assert math.isnan(pace.seconds_left(600, 0.0))
    now += 10.0
    assert pace.seconds_left(700, 0.0) == 30.0


def test_a_long_run_is_heard_of_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    progress = LineProgress(said.append, Pace(1_000_000), Compilation())
    progress.update(1000, 1.0, {})
    progress.update(2000, 1.0, {})
    assert len(said) == 2
    monkeypatch.setattr(progress, "_last", time.monotonic() - LineProgress.INTERVAL - 1)
    progress.update(3000, 1.0, {})
    assert len(said) == 3


def test_losses_and_durations() -> None:
    assert loss_facts({"training/value_loss": 0.12345, "eval/return": 3.0}) == {
        "value loss": "0.123"
    }
    assert (duration(59.6), duration(3600.0)) == ("60 s", "1:00:00")


def use(console: Console) -> None:
    """What a run does with a console."""
    console.announce(
        {"env": "ant", "seed": 1, "folder": "runs/a", "device": "cpu", "engine": "mujoco"}
        | {"precision": "float32", "versions": {"jax": "1"}}
    )
    with console.stage("Training"), console.progress(100) as progress:
        console.say("  a word")
        progress.update(100, 5.0, {"return": "7"}, {"eval/return": 7.0, "x/y": math.nan})
    console.table("Title", ["start", "rate"], [["ood", "0.50"]])
    console.conclude("Everything is in runs/a")
    console.result({"recovery_rate": 0.5}, Path("runs/a"))


def test_a_log_begins_with_where_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    use(Console())
    assert capsys.readouterr().out.splitlines()[:3] == [
        "ant, seed 1, in runs/a",
        "cpu; engine mujoco; float32",
        "jax 1",
    ]


def test_quiet_prints_what_came_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    use(QuietConsole())
    out = capsys.readouterr().out
    assert out.startswith("Title")
    assert "0.50" in out
    assert out.endswith("Everything is in runs/a\n")
    assert "Training" not in out
    assert "a word" not in out


def test_json_is_one_object_a_line() -> None:
    stream = io.StringIO()
    use(JsonConsole(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    names = [event["event"] for event in events]
    assert names == ["start", "stage", "message", "progress", "stage", "message", "result"]
    assert events[3]["metrics"] == {"eval/return": 7.0, "x/y": None}
    assert (events[3]["env_steps"], events[3]["total_steps"]) == (100, 100)
    assert (events[1]["state"], events[4]["state"]) == ("begin", "end")
    assert events[-1]["result"] == {"recovery_rate": 0.5}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for training; prints past the console as well."""

    def begin(configs: list[RunConfig], folders: list[RunFolder], console: Console) -> None:
        print("from somewhere else")
        console.say("a word")
        console.conclude("the end")

    monkeypatch.setattr(command, "run_stage", begin)


def test_json_on_the_command_line(
    run: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", "--seed", "3", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    events = [json.loads(line) for line in said.out.splitlines()]
    assert [event["event"] for event in events] == ["start", "message", "message"]
    assert said.err == "from somewhere else\n"
    start = events[0]
    assert (start["env"], start["seed"], start["folder"]) == (
        "half_cheetah",
        3,
        str(tmp_path / "run"),
    )
    assert {"device", "engine", "precision"} <= set(start)
    assert {"python", "jax", "mujoco"} <= set(start["versions"])


def test_quiet_on_the_command_line(
    run: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--quiet", "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out == "from somewhere else\nthe end\n"
    assert main(["--quiet", "--json", "--out", str(tmp_path / "other")]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: choose one of --quiet and --json\n")


def test_it_says_where_it_runs(
    run: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--engine", "mujoco", "--out", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"half_cheetah, seed 0, in {tmp_path / 'run'}"
    assert "engine mujoco; float32" in lines[1]
    assert "python 3." in lines[2]
    assert ", mujoco " in lines[2]


def test_a_silent_cpu_is_refused(
    run: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if jax.default_backend() != "cpu":
        pytest.skip("this machine has an accelerator")
    out = tmp_path / "run"
    assert main(["--require-accelerator", "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: --require-accelerator: JAX found no GPU or TPU")
    assert len(said.err.splitlines()) == 1
    assert not out.exists()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert main(["--require-accelerator", "--engine", "mujoco", "--out", str(out)]) == 0
