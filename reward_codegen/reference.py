"""A program in double precision, by NumPy: the yardstick for its form in single precision."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from reward_codegen.language.compute import by_numpy
from reward_codegen.language.outcome import Outcome


class Reference:
    """The NumPy form of a program.

    Attributes:
        failure: why the last call failed, None if it did not.
        endless_loop: the line of a loop that did not end in some call, None if all did.
    """

    def __init__(self, outcomes: Mapping[str, Outcome]) -> None:
        self._outcomes = outcomes
        self.failure: str | None = None
        self.endless_loop: int | None = None

    def is_recovered(self, state: np.ndarray, dtype: Any = np.float64) -> float:
        """1 where the original task can be taken up again, else 0."""
        return self._call(self._outcomes["is_recovered"], dtype, state=state)

    def calculate_reward(
        self, state: np.ndarray, action: np.ndarray, dtype: Any = np.float64
    ) -> float:
        """The recovery reward."""
        return self._call(self._outcomes["calculate_reward"], dtype, state=state, action=action)

    def _call(self, outcome: Outcome, dtype: Any, **arguments: np.ndarray) -> float:
        inputs = {name: np.asarray(value, dtype) for name, value in arguments.items()}
        flags = [where for where, _ in outcome.failures] + [where for _, where in outcome.endless]
        result, *values = by_numpy([outcome.result, *flags], inputs, dtype)
        failed = values[: len(outcome.failures)]
        told = [text for (_, text), value in zip(outcome.failures, failed, strict=True) if value]
        self.failure = told[0] if told else None
        for (line, _), value in zip(outcome.endless, values[len(failed) :], strict=True):
            if value:
                self.endless_loop = line
        return float(result)
