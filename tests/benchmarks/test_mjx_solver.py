"""The arithmetic of the MJX benchmark, its states, and what it says to bad input."""

from __future__ import annotations

import numpy as np
import pytest

import envs
from benchmarks import mjx_solver
from benchmarks.mjx_solver import Arguments, errors, main, make_states, settings_of


def test_errors_are_relative_and_a_broken_simulation_is_infinitely_wrong() -> None:
    expected = [np.zeros((4, 5, 2)), np.full((4, 5, 2), 9.0)]
    actual = [np.zeros((4, 5, 2)), np.full((4, 5, 2), 9.0)]
    actual[1][0, 0, 1] = 10.0  # 1 / (1 + 9), in one of four states, after the first step
    measured = errors(actual, expected)
    assert measured["error_1_median"] == 0.0
    assert measured["error_1_worst"] == pytest.approx(0.1)
    assert measured["error_5_worst"] == 0.0
    actual[0][:, 4] = np.nan
    assert errors(actual, expected)["error_5_worst"] == np.inf


def test_states_and_settings() -> None:
    env = envs.load("hopper", start="ood", engine="mujoco")
    qpos, qvel = make_states(env, 20)
    assert (qpos.shape, qvel.shape) == ((20, env.model.nq), (20, env.model.nv))
    assert len(np.unique(qpos, axis=0)) == 20
    settings = settings_of(env)
    assert settings[0].name == "8 / 4 / all"
    assert len({setting.name for setting in settings}) == len(settings)


@pytest.mark.slow
def test_smallest_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each setting is a program of its own, which takes a while to compile.
    monkeypatch.setattr(mjx_solver, "settings_of", lambda env: settings_of(env)[:1])
    measured = mjx_solver.measure("half_cheetah", Arguments(states=4, repeats=1))
    [row] = measured
    assert row["contacts"] == 8
    assert (row["speed"], row["in_use"]) == (1.0, "yes")
    assert row["error_1_median"] < 1e-3


def test_bad_input_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "dog"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown --env 'dog'; known: all, ant")
