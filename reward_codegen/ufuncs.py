"""The methods of NumPy's functions of single entries: np.add.reduce and its like."""

import numpy as np

from reward_codegen.arguments import Arguments, Keywords
from reward_codegen.array_functions import call_library
from reward_codegen.machine import Machine
from reward_codegen.values import Builtin, Value

# A function, and what its `reduce` and `accumulate` are called on their own.
_REDUCTIONS = {
    "add": ("sum", "cumsum"),
    "multiply": ("prod", "cumprod"),
    "maximum": ("max", None),
    "minimum": ("min", None),
    "logical_and": ("all", None),
    "logical_or": ("any", None),
}
UFUNC_METHODS = frozenset({"reduce", "accumulate", "outer"})


def ufunc_method(function: str, method: str) -> Builtin:
    """The method of a function, by both their names.

    Raises:
        AttributeError: it is not admitted.
    """
    reduction, accumulation = _REDUCTIONS.get(function, (None, None))
    path = {"reduce": reduction, "accumulate": accumulation, "outer": function}[method]
    if path is None:
        raise AttributeError(f"np.{function} has no admitted method `{method}`; write a loop")

    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        if method != "outer":
            axis = {} if len(arguments) > 1 else {"axis": 0}
            return call_library(machine, path, 1, arguments, axis | keywords)
        left, right = (machine.array(argument) for argument in arguments)
        column = machine.backend.apply("reshape", left, np.shape(left) + (1,) * np.ndim(right))
        return call_library(machine, path, 2, (machine.wrap(column), machine.wrap(right)), keywords)

    return Builtin(f"{function}.{method}", call)
