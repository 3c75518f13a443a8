"""What the benchmark of starts has trained; its training, minutes long, is not run here."""

from __future__ import annotations

from pathlib import Path

import pytest
import tyro

from benchmarks.cold_start import Arguments, main, options
from lamour_jax import policies, train


@pytest.mark.parametrize("name", policies.names())
def test_two_iterations_of_which_the_second_is_evaluated(name: str, tmp_path: Path) -> None:
    given = options(Arguments(env=name, evaluation_episodes=4), tmp_path / "run")
    config = train.resolve(tyro.cli(train.Arguments, args=given))
    assert (config.env, config.iterations) == (name, 2)
    # Of several, the first could be due after the first iteration.
    assert config.evaluation.during_training == 1
    assert config.evaluation.episodes == 4


def test_bad_input_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "dog"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown --env 'dog'; known: ant")
