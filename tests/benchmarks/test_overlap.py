"""The overlap benchmark at its smallest, and what it says to bad input."""

from __future__ import annotations

import pytest

from benchmarks.overlap import Arguments, main, measure


def test_smallest_measurement() -> None:
    found = measure("hopper", Arguments(num_envs=4, unroll_length=8, repeats=1))
    assert sum(found.shares) == pytest.approx(1.0)
    assert min(found.shares) >= 0.0 and found.bound > 0.0
    assert found.gain["median"] > 0.0


def test_bad_input_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--repeats", "0"]) == 2
    assert "must be at least 1" in capsys.readouterr().err
