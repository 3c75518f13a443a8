"""The admitted functions of `math`: of single numbers, and raising where NumPy gives NaN."""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

from reward_codegen.arguments import Arguments, Call, Keywords
from reward_codegen.array_functions import norm
from reward_codegen.conversions import scalar, to_int
from reward_codegen.machine import Machine
from reward_codegen.python_functions import product, sum_
from reward_codegen.tables import MATH_DOMAINS, MATH_FUNCTIONS
from reward_codegen.values import Builtin, Value


def _math_function(name: str) -> Call:
    path = MATH_FUNCTIONS[name]
    count = 2 if name in ("atan2", "copysign", "fmod", "pow", "nextafter") else 1

    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        if keywords or len(arguments) != count:
            raise TypeError(f"math.{name} takes {count} argument{'s' if count > 1 else ''}")
        numbers = [scalar(machine, argument) for argument in arguments]
        _math_domain(machine, name, numbers[0])
        if name in ("floor", "ceil", "trunc"):
            return to_int(machine, machine.backend.apply(path, numbers[0]))
        return machine.apply(path, *numbers)

    return call


def _math_domain(machine: Machine, name: str, number: Any) -> None:
    """`math` raises ValueError where NumPy would give NaN or an infinity."""
    if name not in MATH_DOMAINS:
        return
    low, high, open_ = MATH_DOMAINS[name]
    backend = machine.backend
    below = backend.apply("<=" if open_ else "<", number, low)
    outside = below
    if high != math.inf:
        above = backend.apply(">=" if open_ else ">", number, high)
        outside = backend.apply("logical_or", below, above)
    machine.fail_where(outside, "ValueError", f"math domain error in math.{name}")


def _math_log(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    numbers = [scalar(machine, argument) for argument in arguments]
    _math_domain(machine, "log", numbers[0])
    result = machine.apply("log", numbers[0])
    if len(numbers) == 1:
        return result
    return machine.binary("/", result, machine.apply("log", numbers[1]))


def _math_hypot(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    squares = [machine.binary("**", argument, 2) for argument in arguments]
    return machine.apply("sqrt", reduce(lambda a, b: machine.binary("+", a, b), squares, 0.0))


def _math_dist(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    first, second = (machine.wrap(machine.array(argument)) for argument in arguments)
    difference = machine.binary("-", first, second)
    return norm(machine, (difference,), {})


def _math_isclose(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    relative = keywords.get("rel_tol", 1e-9)
    absolute = keywords.get("abs_tol", 0.0)
    a, b = (scalar(machine, argument) for argument in arguments)
    backend = machine.backend
    size = backend.apply("maximum", backend.apply("abs", a), backend.apply("abs", b))
    bound = backend.apply("maximum", backend.apply("*", relative, size), absolute)
    return backend.apply("<=", backend.apply("abs", backend.apply("-", a, b)), bound)


def _known_integers(name: str, function: Callable[..., int], limit: int) -> Builtin:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        numbers = [machine.integer(argument, f"the argument of {name}") for argument in arguments]
        if any(abs(number) > limit for number in numbers):
            machine.budget.integer_bits(10**9)
        return function(*numbers)

    return Builtin(name, call)


MEMBERS: dict[str, Value] = {
    "pi": math.pi,
    "e": math.e,
    "tau": math.tau,
    "inf": math.inf,
    "nan": math.nan,
    **{name: Builtin(f"math.{name}", _math_function(name)) for name in MATH_FUNCTIONS},
    "log": Builtin("math.log", _math_log),
    "hypot": Builtin("math.hypot", _math_hypot),
    "dist": Builtin("math.dist", _math_dist),
    "isclose": Builtin("math.isclose", _math_isclose),
    "factorial": _known_integers("math.factorial", math.factorial, 100),
    "comb": _known_integers("math.comb", math.comb, 500),
    "gcd": _known_integers("math.gcd", math.gcd, 2**64),
    "fsum": Builtin("math.fsum", sum_),
    "prod": Builtin("math.prod", product),
}
