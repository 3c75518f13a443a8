"""The arithmetic of the MJX benchmark, its states, and what it says to bad input."""

from __future__ import annotations

import numpy as np
import pytest

import envs
from benchmarks import mjx_settings
from benchmarks.mjx_settings import Arguments, errors, main, make_states, settings_of


def test_errors_are_relative_and_a_broken_simulation_is_infinitely_wrong() -> None:
    expected = [np.zeros((4, 5, 2)), np.full((4, 5, 2), 9.0)]
    actual = [np.zeros((4, 5, 2)), np.full((4, 5, 2), 9.0)]
    actual[1][0, 0, 1] = 10.0  # 1 / (1 + 9), in one of four states, after the first step
    measured = errors(actual, expected)
    assert measured["1"]["median"] == 0.0
    assert measured["1"]["worst"] == pytest.approx(0.1)
    assert measured["5"]["worst"] == 0.0
    actual[0][:, 4] = np.nan
    assert errors(actual, expected)["5"]["worst"] == np.inf


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
    monkeypatch.setattr(mjx_settings, "settings_of", lambda env: settings_of(env)[:1])
    measured = mjx_settings.measure("half_cheetah", Arguments(states=4, repeats=1))
    [setting] = measured["settings"].values()
    assert setting["contacts"] == 8
    assert setting["speed"]["median"] == 1.0
    assert setting["errors"]["1"]["median"] < 1e-3


def test_bad_input_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "dog"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown --env 'dog'; known: all, ant")
