"""A program on NumPy, with ordinary branching: the yardstick for its JAX form."""

from typing import Any

import numpy as np

from reward_codegen.backend import NumPyBackend
from reward_codegen.errors import ShapeError
from reward_codegen.evaluator import Evaluator
from reward_codegen.syntax import Program, parse
from reward_codegen.values import Array, Choice, Value, is_number, is_traced, kind_of

# The results for a state that the program raises an exception for.
FAILED_RECOVERED = 0
FAILED_REWARD = -100.0


class Reference:
    """The NumPy form of a program.

    Attributes:
        failure: why the last call failed, None if it did not.
        endless_loop: the line of the loop that did not end in some call, None if all did.
    """

    def __init__(self, program: Program) -> None:
        self._evaluator = Evaluator(program, NumPyBackend, strict=False)
        self.failure: str | None = None

    @classmethod
    def from_source(cls, source: str) -> "Reference":
        """The reference of a program's source, as in `RewardProgram.source`."""
        return cls(parse(source))

    @property
    def endless_loop(self) -> int | None:
        return self._evaluator.machine.endless_loop

    def is_recovered(self, state: np.ndarray) -> float:
        """1 where the original task can be taken up again, else 0."""
        return self._call("is_recovered", FAILED_RECOVERED, state)

    def calculate_reward(self, state: np.ndarray, action: np.ndarray) -> float:
        """The recovery reward."""
        return self._call("calculate_reward", FAILED_REWARD, state, action)

    def _call(self, name: str, fallback: float, *arguments: np.ndarray) -> float:
        copies = [np.array(argument, np.float64) for argument in arguments]
        value, failed = self._evaluator.call_function(name, *copies)
        self.failure = self._evaluator.machine.failure if failed else None
        return fallback if failed else float(returned_number(name, value))


def returned_number(name: str, value: Value) -> Any:
    """The number that one of the two functions returned.

    Raises:
        ShapeError: it is no single number.
    """
    if isinstance(value, Array) and value.read().size == 1:
        content = value.read()
        return content.reshape(()) if is_traced(content) else content.reshape(-1)[0]
    if is_number(value):
        return value
    if value is None or (isinstance(value, Choice) and None in (value.then, value.other)):
        raise ShapeError(
            f"{name} does not return a value on every path; end it with `return` and a number"
        )
    wanted = "0 or 1" if name == "is_recovered" else "a single float"
    raise ShapeError(f"{name} returns {kind_of(value)}; it must return {wanted}")
