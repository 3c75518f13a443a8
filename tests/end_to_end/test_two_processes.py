"""Two processes on loopback train as one: killed, gone on with, and equal to a single process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ITERATIONS, BATCH = 40, 128
ORIGINAL = (
    *("--stage", "original", "--steps", str(ITERATIONS * BATCH)),
    *("--set", "ppo.hidden_sizes=[8]"),
)
RECOVERY = ("--reward", "library", "--steps", str(3 * BATCH))
TINY = (
    *("--env", "hopper", "--engine", "mujoco", "--num-envs", "8", "--log", "none"),
    *("--set", "ppo.unroll_length=16", "--set", "ppo.minibatch_size=64", "--set", "ppo.epochs=1"),
    *("--set", f"checkpoints.every_steps={BATCH}"),
    *("--set", "evaluation.episodes=2", "--set", "evaluation.episodes_during_training=2"),
    *("--set", "evaluation.during_training=1"),
)


def begin(out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lamour_jax.train", *TINY, "--out", str(out), *more]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, **pipes)


def begin_two(out: Path, *more: str) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    together = ("--coordinator", coordinator, "--num-processes", "2", *more)
    return [begin(out, *together, "--process-id", str(index)) for index in (0, 1)]


def rows(out: Path) -> list[dict[str, float]]:
    file = out / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def wait_for_rows(out: Path, count: int, processes: list[subprocess.Popen[str]]) -> None:
    while len(rows(out)) < count:
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.slow
def test_two_processes_are_killed_and_end_as_one_that_was_not(tmp_path: Path) -> None:
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    single = begin(whole, *ORIGINAL)
    assert single.wait(timeout=300) == 0, single.communicate()

    killed = begin_two(shared, *ORIGINAL)
    wait_for_rows(shared, ITERATIONS // 4, killed)
    for process in killed:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    stopped = begin_two(shared, *ORIGINAL, "--auto-resume")
    wait_for_rows(shared, ITERATIONS // 2, stopped)
    stopped[1].send_signal(signal.SIGTERM)  # one is told to stop, and both do
    for process in stopped:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 143, said
        assert "to go on: python -m lamour_jax.train --resume" in said
    assert ITERATIONS // 2 <= len(rows(shared)) < ITERATIONS

    last = begin_two(shared, *ORIGINAL, "--auto-resume")
    said = [process.communicate(timeout=300) for process in last]
    assert [process.returncode for process in last] == [0, 0], said
    assert "goes on after" in said[0][0]
    assert "Original task" in said[0][0] and "Original task" not in said[1][0], "one speaks"

    found, expected = rows(shared), rows(whole)
    assert len(found) == len(expected) == ITERATIONS
    for name in ("env_steps", "reward/mean", "training/value_loss", "training/approx_kl"):
        values = ([row[name] for row in run] for run in (found, expected))
        np.testing.assert_allclose(*values, rtol=1e-2, atol=1e-4, err_msg=name)
    policies = [np.load(run / "policy.npz", allow_pickle=False) for run in (shared, whole)]
    for name in policies[0].files:
        if policies[0][name].dtype.kind == "f":
            np.testing.assert_allclose(*(p[name] for p in policies), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_processes_teach_to_recover(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    two = begin_two(shared, *RECOVERY)
    said = [process.communicate(timeout=600) for process in two]
    assert [process.returncode for process in two] == [0, 0], said
    assert "reward code from library/hopper" in said[0][0]
    assert "hopper" not in said[1][0], "one speaks"
    assert json.loads((shared / "result.json").read_text())["env_steps"] == 3 * BATCH
    assert len(rows(shared)) == 3
    for process in (0, 1):
        wrote = list((shared / "checkpoints").glob(f"*/state/ocdbt.process_{process}"))
        assert wrote, "each process writes its share of the checkpoints"


def test_processes_that_do_not_belong_together_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    from lamour_jax.train import main

    for words, said in {
        ("--num-processes", "2"): "--coordinator HOST:PORT, --num-processes and --process-id",
        ("--coordinator", "here", "--num-processes", "2", "--process-id", "0"): "not 'here'",
        ("--coordinator", "a:1", "--num-processes", "2", "--process-id", "2"): "must be 0 to 1",
        ("--devices", "3"): "--devices 3: there are only",
    }.items():
        assert main([*TINY, *ORIGINAL, *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and said in error and error.count("\n") == 1
