"""How commands end when they are interrupted, and when the physics fails."""

from __future__ import annotations

import threading
from collections.abc import Callable

import jax
import numpy as np
import pytest

from envs.physics import host_call
from envs.physics.mujoco_engine import PhysicsError
from lamour_jax.endings import ends_cleanly


def inside_a_program(action: Callable[[], None]) -> None:
    """Does something on the host from inside a compiled program."""

    def act(results: list[np.ndarray], arguments: list[np.ndarray]) -> None:
        action()

    host_call.register("acting", act)
    shape = (jax.ShapeDtypeStruct((), np.float32),)
    jax.block_until_ready(jax.jit(lambda: host_call.call("acting", shape))())


def failing(error: Exception) -> None:
    """Raises from inside a compiled program."""

    def fail() -> None:
        raise error

    inside_a_program(fail)


@pytest.mark.parametrize("inside", [True, False])
def test_an_interrupt_is_no_traceback(
    inside: bool, ctrl_c: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    @ends_cleanly
    def main(argv: list[str] | None) -> int:
        if inside:
            inside_a_program(ctrl_c)
        ctrl_c()
        return 0

    assert main([]) == 130
    assert "goes on by: python -m lamour_jax.train --resume RUN" in capsys.readouterr().err


def test_failed_physics_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    @ends_cleanly
    def main(argv: list[str] | None) -> int:
        failing(PhysicsError("environment 2 of the 64 on its device: out of memory"))
        return 0

    assert main([]) == 1
    said = capsys.readouterr().err
    assert said == "error: MuJoCo failed in environment 2 of the 64 on its device: out of memory\n"


def test_other_errors_are_bugs() -> None:
    @ends_cleanly
    def main(argv: list[str] | None) -> int:
        failing(ValueError("a bug"))
        return 0

    with pytest.raises(jax.errors.JaxRuntimeError, match="ValueError: a bug"):
        main([])


def test_a_command_may_run_in_a_thread() -> None:
    statuses: list[int] = []
    command = ends_cleanly(lambda argv: 7)
    thread = threading.Thread(target=lambda: statuses.append(command([])))
    thread.start()
    thread.join()
    assert statuses == [7]
