"""The admitted modules and what they hold."""

import itertools
import math
from typing import Any, Final

import numpy as np

from reward_codegen.errors import BudgetExceeded, NameNotAdmitted
from reward_codegen.language import classes, jax_table, numpy_table, python_table
from reward_codegen.language.core import known
from reward_codegen.language.numpy_table import bind, needs
from reward_codegen.language.values import (
    CONTEXT,
    UNDEFINED,
    Array,
    Builtin,
    Class,
    DictCell,
    ExceptionType,
    Factory,
    Instance,
    ListCell,
    Machine,
    Module,
    ProgramError,
    Type,
    Value,
)

Args = tuple[Value, ...]
Keywords = dict[str, Value]
LOGGING: Final = frozenset(
    "debug info warning error critical exception log basicConfig getLogger setLevel".split()
)
_OUTSIDE = "a reward may not touch files, processes, the network or the interpreter; leave it out"
_IMPURE = "{} is not admitted, because a reward must depend on its arguments only; leave it out"
_REASONS: Final = {
    **dict.fromkeys(
        "os sys subprocess socket shutil pathlib io builtins importlib ctypes pickle marshal "
        "tempfile threading multiprocessing asyncio signal urllib requests http ftplib inspect gc "
        "code pty platform glob json csv webbrowser weakref atexit".split(),
        _OUTSIDE,
    ),
    **dict.fromkeys(("random", "secrets", "uuid"), _IMPURE.format("randomness")),
    **dict.fromkeys(("time", "datetime", "timeit"), _IMPURE.format("time")),
    "types": "it is not admitted; use a dict, a named tuple or a dataclass",
    "scipy": "of scipy, the class spatial.transform.Rotation is admitted; write the rest with "
    "numpy, as in `up = 1 - 2 * (x * x + y * y)` for the height of a rotated axis",
    "transforms3d": "it is not admitted; write the rotation with numpy",
    "torch": "torch is not admitted; write the reward for numpy or jax.numpy alone",
}


class Logger:
    """logging.getLogger()."""


def check(name: str) -> None:
    """Refuse a module that is not admitted."""
    if name not in MODULES:
        reason = _REASONS.get(name.split(".", 1)[0])
        raise NameNotAdmitted(
            reason
            or f"the module {name} is not admitted; write the reward for numpy or jax.numpy alone"
        )


def member(module: str, name: str) -> Value:
    """A member of a module.

    Raises:
        NameNotAdmitted: it is unknown or not admitted.
    """
    check(module)
    full = f"{module}.{name}"
    if full in MODULES:
        return Module(full)
    if name in _MEMBERS.get(module, {}):
        return _MEMBERS[module][name]
    if module in _TYPING:
        return Type("object") if name not in _TYPING_MEMBERS else _TYPING_MEMBERS[name]
    if module in ("numpy", "jax") and name == "random":
        raise NameNotAdmitted(_IMPURE.format("randomness"))
    reason = _MEMBER_REASONS.get(name, "")
    raise NameNotAdmitted(f"{full} is not admitted or does not exist{reason}")


_MEMBER_REASONS: Final = {
    **dict.fromkeys(
        ("nonzero", "argwhere", "flatnonzero", "extract", "compress"),
        ": its size depends on the values; use np.where(condition, a, b)",
    ),
    "defaultdict": "; use a dict and its method `get` or `setdefault`",
    "SimpleNamespace": "; use a dict, a named tuple or a dataclass",
    "eigh": ": the signs of eigenvectors are not defined; use eigvalsh",
    "eig": ": the order of eigenvalues is not defined; use eigvalsh",
    "qr": ": the signs of its factors are not defined",
    "lstsq": "; use np.linalg.pinv or solve",
    "clamp": "; use np.clip",
}


# functools, itertools, operator, copy -------------------------------------------------------------


def _partial(m: Machine, args: Args, keywords: Keywords) -> Value:
    function, *first = args

    def call(m: Machine, later: Args, named: Keywords) -> Value:
        return m.call(function, (*first, *later), {**keywords, **named})

    return Builtin("partial", call)


def _reduce(m: Machine, args: Args, keywords: Keywords) -> Value:
    if keywords or not 2 <= len(args) <= 3:
        raise ProgramError("TypeError", "reduce takes a function, items and a start")
    items = m.items(args[1])
    if len(args) == 3:
        items = [args[2], *items]
    if not items:
        raise ProgramError("TypeError", "reduce() of empty iterable with no initial value")
    result = items[0]
    for item in items[1:]:
        result = m.call(args[0], (result, item), {})
    return result


def _accumulate(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("accumulate", ["iterable", "func", "initial"], args, keywords)
    function = m.look(bound.get("func")) or _operator("+")
    initial = m.look(bound.get("initial"))
    sums = [] if initial is None else [initial]
    for item in m.items(bound["iterable"]):
        sums.append(m.call(function, (sums[-1], item), {}) if sums else item)
    return python_table.iterator(m, [(True, item) for item in sums])


_ITERTOOLS: Final[dict[str, tuple[str, ...]]] = {
    "chain": (), "combinations": (), "islice": (), "pairwise": (), "permutations": (),
    "product": ("repeat",), "zip_longest": ("fillvalue",),
}  # fmt: skip


def _combined(name: str) -> Builtin:
    """A function of itertools over iterables whose lengths are known."""

    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        for key in keywords:
            if key not in _ITERTOOLS[name]:
                raise NameNotAdmitted(f"the keyword {key} of itertools.{name} is not admitted")
        given: list[Any] = []
        for arg in args:
            arg = m.look(arg)
            if arg is None or isinstance(arg, int):
                if isinstance(arg, int) and abs(arg) > 1000:
                    raise BudgetExceeded(f"the numbers given to {name} are too large")
                given.append(arg)
            else:
                given.append(m.items(arg))
        settings = {key: m.integer(v, key) if key == "repeat" else v for key, v in keywords.items()}
        if settings.get("repeat", 1) > 100:
            raise BudgetExceeded("the numbers given to product are too large")
        chosen = name in ("combinations", "permutations") and len(given) > 1
        if chosen and given[1] is not None and given[1] > 100:
            raise BudgetExceeded(f"the numbers given to {name} are too large")
        found = []
        for item in known(getattr(itertools, name), *given, **settings):
            m.budget.step(len(item) if isinstance(item, tuple) else 1)
            found.append((True, item))
            m.budget.elements(len(found), "an iterator")
        return python_table.iterator(m, found)

    return Builtin(f"itertools.{name}", call)


def _operator(symbol: str) -> Builtin:
    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        left, right = python_table._exactly("an operator", args, keywords, 2)
        return m.binary(symbol, left, right)

    return Builtin(symbol, call)


def _itemgetter(m: Machine, args: Args, keywords: Keywords) -> Value:
    (index,) = python_table._exactly("itemgetter", args, keywords, 1)
    return Builtin("itemgetter", lambda m, a, k: m.getitem(a[0], index))


def _copy(deep: bool) -> Builtin:
    def copy(m: Machine, value: Value, top: bool = True) -> Value:
        m.budget.step()
        value = m.look(value)
        if not top and not deep:
            return value
        if isinstance(value, Array):
            return numpy_table.copied(m, value)
        if isinstance(value, ListCell):
            return m.list_of(tuple((p, copy(m, item, False)) for p, item in value.content))
        if isinstance(value, DictCell):
            items = value.content.items()
            return m.make_dict({k: (p, copy(m, v, False)) for k, (p, v) in items})
        if isinstance(value, tuple):
            return tuple(copy(m, item, False) for item in value) if deep else value
        if isinstance(value, Instance) and value.type.kind != "enum":
            content = {k: copy(m, v, False) for k, v in value.content.items()}
            return Instance(value.type, content, m.birth(), m.in_module)
        return value

    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        (value,) = python_table._exactly("copy", args, keywords, 1)
        return copy(m, value)

    return Builtin("deepcopy" if deep else "copy", call)


# dataclasses, collections, enum, logging ----------------------------------------------------------


def _dataclass(m: Machine, args: Args, keywords: Keywords) -> Value:
    allowed = {"frozen", "eq", "slots", "kw_only", "repr", "order"}
    for key, value in keywords.items():
        if key not in allowed or (key in ("kw_only", "order") and m.look(value) is not False):
            raise NameNotAdmitted(f"the keyword {key} of dataclass is not admitted")

    def decorate(m: Machine, args: Args, _: Keywords) -> Value:
        class_ = args[0]
        if not isinstance(class_, Class):
            raise ProgramError("TypeError", "dataclass decorates classes")
        class_.kind = "data"
        class_.frozen = m.look(keywords.get("frozen", False)) is True
        class_.equal = m.look(keywords.get("eq", True)) is True
        return class_

    return decorate(m, args, {}) if args else Builtin("dataclass", decorate)


def _field(m: Machine, args: Args, keywords: Keywords) -> Value:
    for key in keywords:
        if key not in ("default", "default_factory", "repr"):
            raise NameNotAdmitted(f"the keyword {key} of field is not admitted")
    if "default_factory" in keywords:
        return Factory(keywords["default_factory"])
    return keywords.get("default", UNDEFINED)


def _replace(m: Machine, args: Args, keywords: Keywords) -> Value:
    (instance,) = python_table._exactly("replace", args, {}, 1)
    if not isinstance(instance, Instance) or instance.type.kind != "data":
        raise ProgramError("TypeError", "replace() should be called on dataclass instances")
    content = {name: instance.content[name] for name in instance.type.fields}
    return classes.instantiate(m, instance.type, (), {**content, **keywords})


def _asdict(m: Machine, args: Args, keywords: Keywords) -> Value:
    (instance,) = python_table._exactly("asdict", args, keywords, 1)
    if not isinstance(instance, Instance) or instance.type.kind != "data":
        raise ProgramError("TypeError", "asdict() should be called on dataclass instances")
    return classes.as_dict(m, instance)


def _namedtuple(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("namedtuple", ["typename", "field_names", "defaults"], args, keywords)
    needs("namedtuple", bound, "typename", "field_names")
    names = m.look(bound["field_names"])
    if isinstance(names, str):
        fields = tuple(names.replace(",", " ").split())
    else:
        fields = tuple(m.look(name) for name in m.items(names))
    if not all(isinstance(f, str) and f.isidentifier() and not f.startswith("_") for f in fields):
        raise ProgramError("ValueError", "field names must be plain identifiers")
    defaults = m.items(bound["defaults"]) if m.look(bound.get("defaults")) is not None else []
    class_ = Class(str(m.look(bound["typename"])), fields=fields, kind="tuple", frozen=True)
    class_.defaults = dict(zip(fields[len(fields) - len(defaults) :], defaults, strict=True))
    return class_


def _auto(m: Machine, args: Args, keywords: Keywords) -> Value:
    return classes.AUTO


def _logger(m: Machine, args: Args, keywords: Keywords) -> Value:
    return Logger()


def _cast(m: Machine, args: Args, keywords: Keywords) -> Value:
    return python_table._exactly("cast", args, keywords, 2)[1]


def _wraps(m: Machine, args: Args, keywords: Keywords) -> Value:
    return Builtin("wraps", lambda m, a, k: a[0])


def _context(m: Machine, args: Args, keywords: Keywords) -> Value:
    return CONTEXT


# The modules --------------------------------------------------------------------------------------

_FUNCTIONS: Final = numpy_table.functions()
_CONSTANTS: Final[dict[str, Value]] = {
    "pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan, "newaxis": None,
    "euler_gamma": float(np.euler_gamma),
}  # fmt: skip
_TYPES: Final[dict[str, Value]] = {
    **{name: Type(name) for name in
       ("float64", "float32", "int64", "int32", "bool_", "generic", "number", "floating",
        "integer")},
    "bool": Type("bool_"), "double": Type("float64"), "int_": Type("int64"),
    "ndarray": Type("ndarray"),
    "intp": Type("int64"), "long": Type("int64"), "single": Type("float32"),
    "Array": Type("ndarray"),
}  # fmt: skip
_PLAIN: Final = {name: f for name, f in _FUNCTIONS.items() if "." not in name}
_LINALG: Final = {
    name.removeprefix("linalg."): f for name, f in _FUNCTIONS.items() if name.startswith("linalg.")
} | {name: _FUNCTIONS[name] for name in ("cross", "outer", "matmul", "vecdot", "tensordot", "trace",
                                        "diagonal", "matrix_transpose")}  # fmt: skip
_NOT_IN_JAX: Final = frozenset(
    "fill_diagonal fromiter errstate seterr set_printoptions ediff1d".split()
)


def _jax_where(builtin: Builtin) -> Builtin:
    return jax_table.jnp(builtin)


_MEMBERS: Final[dict[str, dict[str, Value]]] = {
    "numpy": {
        **_CONSTANTS, **_TYPES, **_PLAIN,
        "s_": Instance(Class("s_"), {}, frozenset(), True),
        "r_": Instance(Class("r_"), {}, frozenset(), True),
        "c_": Instance(Class("c_"), {}, frozenset(), True),
    },
    "jax.numpy": {
        **_CONSTANTS, **_TYPES,
        **{name: _jax_where(f) for name, f in _PLAIN.items() if name not in _NOT_IN_JAX},
        "s_": Instance(Class("s_"), {}, frozenset(), True),
        "r_": Instance(Class("r_"), {}, frozenset(), True),
        "c_": Instance(Class("c_"), {}, frozenset(), True),
    },
    "numpy.linalg": {
        **_LINALG,
        "LinAlgError": ExceptionType("LinAlgError", python_table.EXCEPTIONS["LinAlgError"]),
    },
    "jax.numpy.linalg": {name: jax_table.jnp(f) for name, f in _LINALG.items()},
    **jax_table.members(_FUNCTIONS),
    "math": python_table.MATH,
    "functools": {
        "partial": Builtin("partial", _partial), "reduce": Builtin("reduce", _reduce),
        "wraps": Builtin("wraps", _wraps), "cache": jax_table.JIT, "lru_cache": jax_table.JIT,
    },
    "itertools": {name: _combined(name) for name in _ITERTOOLS}
    | {"accumulate": Builtin("itertools.accumulate", _accumulate)},
    "operator": {
        name: _operator(symbol)
        for name, symbol in {
            "add": "+", "sub": "-", "mul": "*", "truediv": "/", "mod": "%", "pow": "**",
            "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
        }.items()
    } | {"itemgetter": Builtin("itemgetter", _itemgetter)},
    "copy": {"copy": _copy(False), "deepcopy": _copy(True)},
    "dataclasses": {
        "dataclass": Builtin("dataclass", _dataclass), "field": Builtin("field", _field),
        "replace": Builtin("replace", _replace), "asdict": Builtin("asdict", _asdict),
    },
    "collections": {"namedtuple": Builtin("namedtuple", _namedtuple), "OrderedDict": Type("dict")},
    "enum": {"Enum": Type("Enum"), "IntEnum": Type("IntEnum"), "auto": Builtin("auto", _auto)},
    "logging": {
        **{name: Builtin("no-op", python_table.no_op("logging"))
           for name in LOGGING if name != "getLogger"},
        "getLogger": Builtin("getLogger", _logger), "DEBUG": 10, "INFO": 20, "WARNING": 30,
        "ERROR": 40,
    },
    "warnings": {
        **{name: Builtin("no-op", python_table.no_op("warnings"))
           for name in ("warn", "filterwarnings", "simplefilter")},
        "catch_warnings": Builtin("catch_warnings", _context),
    },
    "numbers": {"Number": Type("Number"), "Real": Type("Real")},
    "scipy": {}, "scipy.spatial": {}, "scipy.spatial.transform": {"Rotation": Type("Rotation")},
}  # fmt: skip
_TYPING_MEMBERS: Final[dict[str, Value]] = {
    "NamedTuple": Type("NamedTuple"), "TypedDict": Type("TypedDict"),
    "cast": Builtin("cast", _cast), "TYPE_CHECKING": False,
}  # fmt: skip
_TYPING: Final = frozenset(
    "typing typing_extensions collections.abc numpy.typing jax.typing __future__ jaxtyping "
    "chex".split()
)
MODULES: Final = frozenset(_MEMBERS) | _TYPING


def contents() -> dict[str, list[str]]:
    """The names that each module holds."""
    return {name: sorted(held) for name, held in _MEMBERS.items()}


def member_names() -> frozenset[str]:
    """All names that some module holds, and those of modules within modules."""
    names = {name for members in _MEMBERS.values() for name in members}
    return frozenset(names | {part for module in MODULES for part in module.split(".")})
