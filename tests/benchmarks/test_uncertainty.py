"""SeRO's uncertainty along a recovery."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.uncertainty import along_recoveries, main


def test_uncertainty_falls_only_at_the_end() -> None:
    moments, ordinary = along_recoveries("hopper")
    assert moments.shape == (12,)
    assert ((moments > 0.0) & (moments < 1.0)).all()
    assert moments[:6].min() > moments[-1]
    assert ordinary < np.median(moments)


def test_unknown_robot(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--envs", "dog"]) == 2
    assert capsys.readouterr().err.startswith("error: no recoveries of 'dog' ship; known: ant, ")
