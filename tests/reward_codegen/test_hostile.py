"""Hostile texts are compiled or refused, within limits and without an effect."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reward_codegen import RewardCodeError, safely
from reward_codegen.errors import BudgetExceeded, NameNotAdmitted

from .hostile import HEAD, texts

ROOT = Path(__file__).parents[2]
CPU_SECONDS = 5.0
MEBIBYTES = 800


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (1500 * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (150, 151))


def test_hostile_texts_cost_little_and_have_no_effect(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.reward_codegen.hostile"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        preexec_fn=_limit,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    assert run.returncode == 0, (lines[-1:], run.stderr[-500:])
    assert len(lines) == len(list(texts()))
    bad = [
        line
        for line in lines
        if len(line) < 4
        or float(line[1]) > CPU_SECONDS
        or float(line[2]) > MEBIBYTES
        or not line[3].startswith(("compiled", "refused"))
    ]
    assert not bad
    assert not list(tmp_path.iterdir())


def test_text_is_compiled_in_a_child_first() -> None:
    program = safely.compile_safely(HEAD + "    return -1.0", state_size=27, action_size=8)
    assert float(program.calculate_reward([0.0] * 27, [0.0] * 8)) == -1.0
    with pytest.raises(NameNotAdmitted, match="Line 9: `nothing`") as caught:
        safely.compile_safely(HEAD + "    return nothing", state_size=27, action_size=8)
    assert caught.value.line == 9 and caught.value.text == "nothing"
    with pytest.raises(ValueError, match="at least 1"):
        safely.compile_safely(HEAD + "    return -1.0", state_size=0, action_size=8)


ENDED = {
    "time": ("while True: pass", f"more than {safely.CPU_SECONDS} s of processor time"),
    "memory": ("x = bytearray(2 * 2**30)", "more than 768 MiB of memory"),
    "signal": ("os.kill(os.getpid(), signal.SIGSEGV)", r"ends the process.*SIGSEGV"),
    "mistake": ("1 / 0", "the compiler fails on this program .ZeroDivisionError"),
}


@pytest.mark.parametrize("what", ENDED)
def test_what_the_compiler_overlooks_ends_the_child(
    what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A compiler that does what no compiler may do stands in the child's place."""
    work, message = ENDED[what]
    (tmp_path / "child.py").write_text(
        "import os, signal\nfrom reward_codegen import safely\n"
        f"def compile_reward(*_, **__):\n    {work}\n"
        "safely.compile_reward = compile_reward\nsafely.main()\n"
    )
    monkeypatch.setattr(safely, "CHILD", [str(tmp_path / "child.py")])
    start = time.monotonic()
    with pytest.raises(RewardCodeError, match=message) as caught:
        safely.compile_safely(HEAD + "    return -1.0", state_size=27, action_size=8)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 30.0


def test_a_child_that_never_answers_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "child.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(safely, "CHILD", [str(tmp_path / "child.py")])
    monkeypatch.setattr(safely, "WALL_SECONDS", 0.5)
    with pytest.raises(BudgetExceeded, match="more than 0.5 s to compile"):
        safely.compile_safely(HEAD + "    return -1.0", state_size=27, action_size=8)


def test_a_child_that_does_not_start_is_no_fault_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(safely, "CHILD", ["-m", "reward_codegen.no_such_module"])
    with pytest.raises(RuntimeError, match="does not start"):
        safely.compile_safely(HEAD + "    return -1.0", state_size=27, action_size=8)
