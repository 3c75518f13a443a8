"""Python as models write it, one idiom a case, against Python itself."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from .agreement import (
    IS_RECOVERED,
    assert_same,
    by_jax,
    by_python,
    by_reference,
    compiled,
    ordinary,
)

STATE, ACTION = 9, 4
HEAD = """
import functools
import itertools
import math
import operator
from collections import namedtuple
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import NamedTuple, Optional, Tuple

import numpy as np
"""

HEAD_JAX = """
import functools
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax, nn
"""


def idioms(file: str) -> dict[str, str]:
    """The cases of a data file, each under a line `=== name`."""
    text = (Path(__file__).parent / "data" / file).read_text(encoding="utf-8")
    cases = text.removeprefix("=== ").split("\n=== ")
    return dict(case.split("\n", 1) for case in cases)


NUMPY = idioms("idioms.txt")
JAX = idioms("idioms_jax.txt")


@pytest.mark.parametrize("name", NUMPY)
def test_it_means_what_it_means_in_python(name: str) -> None:
    source = HEAD + IS_RECOVERED + NUMPY[name]
    states, actions = ordinary(1, 40, STATE), ordinary(2, 40, ACTION)
    program = compiled(source, STATE, ACTION)
    expected = by_python(source, states, actions)
    assert_same(by_reference(program, states, actions), expected, rtol=1e-7)
    assert_same(by_jax(program, states, actions), expected)


@pytest.mark.parametrize("name", JAX)
def test_it_means_what_it_means_in_jax(name: str) -> None:
    source = HEAD_JAX + IS_RECOVERED + JAX[name]
    states, actions = ordinary(1, 40, STATE), ordinary(2, 40, ACTION)
    program = compiled(source, STATE, ACTION)
    rewards, recovered = by_jax(program, states, actions)
    assert_same((rewards, recovered), by_reference(program, states, actions))
    expected = by_python(source, states[:3], actions[:3], jnp.asarray)
    assert_same((rewards[:3], recovered[:3]), expected)


def test_the_callers_arrays_stay_as_they_are() -> None:
    reward = "def calculate_reward(state, action):\n    state[0] = 5.0\n    return state[0]\n"
    program = compiled(IS_RECOVERED + reward, STATE, ACTION)
    state, action = np.ones(STATE), np.ones(ACTION)
    assert float(program.calculate_reward(state, action)) == 5.0
    assert state[0] == 1.0
