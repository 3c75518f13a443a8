"""The benchmark of rewards at its smallest, and what it says to bad input."""

import pytest

from benchmarks.reward_cost import main


def test_smallest_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--env hopper --num-envs 4 --calls 2 --repeats 2 --env-steps 1".split()
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "hopper" in shown and "by hand" in shown and "%" in shown


def test_an_unknown_robot_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "anti"]) == 2
    assert capsys.readouterr().err.startswith("no reward by hand for 'anti'; known: ant")
