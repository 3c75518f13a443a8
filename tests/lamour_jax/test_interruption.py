"""What signals do, wherever the main thread is. Each case is a small process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from lamour_jax import interruption

SCRIPT = """
import hashlib, importlib.util, sys, time

# By its path: the package would import JAX and MuJoCo first.
spec = importlib.util.spec_from_file_location("interruption", sys.argv[2])
interruption = importlib.util.module_from_spec(spec)
spec.loader.exec_module(interruption)

def long_call():
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # C code, which no handler interrupts

def wait():
    time.sleep(60)

def iterations():
    with interruption.deferred():
        while not interruption.requested():
            time.sleep(0.01)
        time.sleep(0.5)
        print("saved", flush=True)

def long_iteration():
    with interruption.deferred():
        long_call()

try:
    with interruption.handled(lambda: "to go on: ..."):
        print("begun", flush=True)
        globals()[sys.argv[1]]()
except interruption.Interrupted as interrupted:
    print(interrupted, flush=True)
    sys.exit(interrupted.status)
"""


def run(work: str, *signals: signal.Signals) -> tuple[int, str, str, float]:
    """Sends `signals`, 0.2 s apart; returns exit status, output, errors, seconds it took to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, work, interruption.__file__],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    for index, number in enumerate(signals):
        time.sleep(0.2 if index else 0.05)
        process.send_signal(number)
    begin = time.monotonic()
    said, errors = process.communicate(timeout=50)
    return process.returncode, said, errors, time.monotonic() - begin


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_where_nothing_is_to_be_saved_it_stops(number: signal.Signals, status: int) -> None:
    found, said, errors, _ = run("wait", number)
    assert (found, said, errors) == (status, f"interrupted by {number.name}\n", "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_iteration_is_finished_and_saved(number: signal.Signals, status: int) -> None:
    found, said, errors, _ = run("iterations", number)
    assert (found, said) == (status, f"saved\ninterrupted by {number.name}\n")
    assert f"{number.name}: finishing this iteration and saving" in errors


def test_a_second_sigterm_changes_nothing() -> None:
    found, said, _, _ = run("iterations", signal.SIGTERM, signal.SIGTERM)
    assert (found, said) == (143, "saved\ninterrupted by SIGTERM\n")


def test_a_second_ctrl_c_stops_at_once_even_in_a_long_call() -> None:
    found, said, errors, seconds = run("long_iteration", signal.SIGINT, signal.SIGINT)
    assert (found, said) == (130, "")
    assert "stopped at once; to go on: ..." in errors
    assert seconds < 20.0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_long_call_in_which_nothing_is_to_be_saved_is_ended(
    number: signal.Signals, status: int
) -> None:
    found, said, errors, _ = run("long_call", number)
    assert (found, said) == (status, "")
    assert "interrupted; to go on: ..." in errors


def test_handlers_are_put_back() -> None:
    def interrupt() -> None:
        with interruption.handled(lambda: ""), interruption.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            assert interruption.requested() is signal.SIGTERM

    before = [signal.getsignal(number) for number in interruption.SIGNALS]
    with pytest.raises(interruption.Interrupted):
        interrupt()
    assert [signal.getsignal(number) for number in interruption.SIGNALS] == before
    assert interruption.requested() is None
