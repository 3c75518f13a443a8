"""The admitted modules and what is in them."""

import itertools
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from reward_codegen import array_functions, jax_functions, math_functions, record_types
from reward_codegen.arguments import Arguments, Keywords, number_type
from reward_codegen.errors import BudgetExceeded, NameNotAdmitted
from reward_codegen.machine import Machine
from reward_codegen.tables import CONSTANTS, DTYPES, FORMER_NAMES, words
from reward_codegen.values import (
    ABSENT,
    Array,
    Builtin,
    DictValue,
    DType,
    ExceptionType,
    Kind,
    ListValue,
    Module,
    RecordType,
    Value,
)


def module_member(module: str, name: str) -> Value:
    """What `name` is in an admitted module.

    Raises:
        NameNotAdmitted: it is unknown or not admitted there.
    """
    if f"{module}.{name}" in MODULES:
        return Module(f"{module}.{name}")
    if module in _TYPING:
        return _TYPING_MEMBERS.get(name, ABSENT)
    members = _MEMBERS.get(module, {})
    if name not in members:
        raise NameNotAdmitted(_why_not(module, name))
    return members[name]


def member_names() -> frozenset[str]:
    """The names of everything that is in an admitted module."""
    return frozenset().union(*_MEMBERS.values())


def _why_not(module: str, name: str) -> str:
    if module in ("numpy", "jax") and name == "random":
        return (
            "randomness is not admitted, because a reward must depend on its arguments only; "
            "leave it out"
        )
    if name in ("nonzero", "argwhere", "flatnonzero", "unique", "compress", "extract"):
        return (
            f"{module}.{name} gives a result whose size depends on the values; "
            "use np.where(condition, a, b) or a sum over a mask"
        )
    if name in _INSTEAD:
        return f"{module}.{name} is not admitted; {_INSTEAD[name]}"
    return f"{module}.{name} is not admitted or does not exist"


_INSTEAD = {
    **dict.fromkeys(words("defaultdict Counter"), "use a dict and its method `get`"),
    "deque": "use a list",
    "ChainMap": "use a dict",
    **dict.fromkeys(words("repeat count cycle"), "loop over a range or a list"),
    **dict.fromkeys(words("itemgetter attrgetter methodcaller"), "use a lambda"),
    "apply_along_axis": "use the argument `axis` of a function, as in np.sum(x, axis=1)",
    **dict.fromkeys(words("matrix bmat"), "use np.array"),
    **dict.fromkeys(words("save savetxt load loadtxt fromfile"), "a reward may not touch files"),
}


# functools, itertools, operator, copy ------------------------------------------------------------


def _partial(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    function, *first = arguments
    if function is jax_functions.JIT:  # functools.partial(jax.jit, static_argnums=...)
        return function

    def call(machine: Machine, inner: Arguments, inner_keywords: Keywords) -> Value:
        return machine.invoke(function, (*first, *inner), {**keywords, **inner_keywords})

    return Builtin("partial", call)


def _reduce(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    function, iterable, *initial = arguments
    return reduce(
        lambda a, b: machine.invoke(function, (a, b), {}), machine.items(iterable), *initial
    )


def _identity(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return arguments[0]


def _cast(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """typing.cast"""
    return arguments[1]


def _accumulate(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    items = machine.items(arguments[0])
    function = arguments[1] if len(arguments) > 1 else keywords.get("func", _operator("+"))
    initial = keywords.get("initial")
    sums = [initial] if initial is not None else []
    for item in items:
        sums.append(machine.invoke(function, (sums[-1], item), {}) if sums else item)
    return tuple(sums)


def _wraps(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return Builtin("wraps", _identity)


def _combined(function: Callable[..., Any]) -> Builtin:
    """A function of itertools over iterables whose lengths are known."""

    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        known = [
            argument if isinstance(argument, int) else machine.items(argument)
            for argument in arguments
        ]
        settings = {name: machine.integer(value, name) for name, value in keywords.items()}
        if any(isinstance(n, int) and n > 100 for n in (*known, *settings.values())):
            raise BudgetExceeded(f"the numbers given to {function.__name__} are too large")
        items = []
        for item in function(*known, **settings):
            machine.budget.step()
            items.append(item)
        machine.budget.elements(len(items), "an iterator")
        return tuple(items)

    return Builtin(f"itertools.{function.__name__}", call)


def _operator(symbol: str) -> Builtin:
    return Builtin(symbol, lambda machine, arguments, keywords: machine.binary(symbol, *arguments))


def _copy(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """copy.copy and copy.deepcopy."""
    machine.budget.step()
    value = machine.decide(arguments[0])
    if isinstance(value, Array):
        return machine.wrap(value.read())
    if isinstance(value, ListValue):
        return machine.make_list(_copy(machine, (item,), {}) for item in machine.content(value))
    if isinstance(value, DictValue):
        content = machine.content(value)
        return machine.make_dict({key: _copy(machine, (v,), {}) for key, v in content.items()})
    return value


def _errstate(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.errstate: floating-point warnings are never given."""
    return ABSENT


def _issubdtype(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    kind = number_type(machine, arguments[0]).kind
    wanted = arguments[1]
    if isinstance(wanted, DType):
        return kind == wanted.kind
    names = {"generic": "fiub", "number": "fiu", "floating": "f", "integer": "iu"}
    return isinstance(wanted, Kind) and kind in names.get(wanted.name, "")


def _finfo(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    info = np.finfo(number_type(machine, arguments[0]))
    names = ("eps", "max", "min", "tiny")
    type_ = RecordType("finfo", names, {}, False)
    return machine.make_record(type_, tuple(float(getattr(info, name)) for name in names))


_ARRAY_MODULE: dict[str, Value] = {
    **CONSTANTS,
    **DTYPES,
    **array_functions.MEMBERS,
    **{former: array_functions.MEMBERS[name] for former, name in FORMER_NAMES.items()},
    "ndarray": Kind("ndarray"),
    "Array": Kind("ndarray"),
    **{name: Kind(name) for name in ("generic", "number", "floating", "integer")},
    "errstate": Builtin("errstate", _errstate),
    "seterr": Builtin("seterr", _errstate),
    "set_printoptions": Builtin("set_printoptions", _errstate),
    "issubdtype": Builtin("issubdtype", _issubdtype),
    "finfo": Builtin("finfo", _finfo),
}

_MEMBERS: dict[str, dict[str, Value]] = {
    "numpy": _ARRAY_MODULE,
    "jax.numpy": _ARRAY_MODULE,
    "numpy.linalg": {
        **array_functions.LINALG_MEMBERS,
        "LinAlgError": ExceptionType("LinAlgError"),
    },
    "jax.numpy.linalg": array_functions.LINALG_MEMBERS,
    "jax": jax_functions.JAX_MEMBERS,
    "jax.lax": jax_functions.LAX_MEMBERS,
    "jax.nn": jax_functions.NN_MEMBERS,
    "jax.scipy": {},
    "jax.scipy.special": jax_functions.SPECIAL_MEMBERS,
    "math": math_functions.MEMBERS,
    "functools": {
        "partial": Builtin("partial", _partial),
        "reduce": Builtin("reduce", _reduce),
        "wraps": Builtin("wraps", _wraps),
        "cache": jax_functions.JIT,
        "lru_cache": jax_functions.JIT,
    },
    "itertools": {
        function.__name__: _combined(function)
        for function in (
            itertools.chain, itertools.combinations, itertools.islice, itertools.pairwise,
            itertools.permutations, itertools.product,
        )
    }
    | {"accumulate": Builtin("itertools.accumulate", _accumulate)},
    "operator": {
        name: _operator(symbol)
        for name, symbol in {
            "add": "+", "sub": "-", "mul": "*", "truediv": "/", "mod": "%", "pow": "**",
            "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
        }.items()
    },
    "copy": {"copy": Builtin("copy", _copy), "deepcopy": Builtin("deepcopy", _copy)},
    "dataclasses": record_types.DATACLASSES_MEMBERS,
    "collections": {"namedtuple": record_types.NAMEDTUPLE, "OrderedDict": Kind("dict")},
}  # fmt: skip
_TYPING_MEMBERS: dict[str, Value] = {
    "NamedTuple": Kind("NamedTuple"),
    "TypedDict": Kind("TypedDict"),
    "cast": Builtin("cast", _cast),
}
_TYPING = frozenset(
    words(
        """
        typing typing_extensions collections.abc numpy.typing jax.typing __future__ jaxtyping chex
        """
    )
)
MODULES = frozenset(_MEMBERS) | _TYPING
