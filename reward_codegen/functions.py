"""The names of Python and of the admitted modules, and the attributes of values."""

import math
from collections.abc import Callable
from functools import reduce as fold
from typing import Any

import numpy as np

from reward_codegen import arrays
from reward_codegen.errors import NameNotAdmitted, ShapeError, VerificationError
from reward_codegen.machine import Machine
from reward_codegen.tables import (
    ARRAY_ARGUMENTS,
    CONSTANTS,
    DTYPES,
    EXCEPTIONS,
    FORMER_NAMES,
    KEYWORDS,
    LAX_FUNCTIONS,
    MATH_DOMAINS,
    MATH_FUNCTIONS,
    NN_FUNCTIONS,
    NN_SYNONYMS,
    SEQUENCE_FUNCTIONS,
)
from reward_codegen.values import (
    ABSENT,
    Array,
    Builtin,
    Choice,
    DictValue,
    DType,
    ExceptionType,
    ExceptionValue,
    Function,
    Kind,
    ListValue,
    Masked,
    Module,
    Record,
    RecordType,
    SetValue,
    Value,
    is_number,
    is_static_int,
    is_traced,
    kind_of,
)

Arguments = tuple[Value, ...]
Keywords = dict[str, Value]
Call = Callable[[Machine, Arguments, Keywords], Value]

# Library functions ------------------------------------------------------------------------------


def library_function(path: str, count: int | None = None) -> Builtin:
    """The admitted array function at `path`, as a value."""
    arrays_first = ARRAY_ARGUMENTS.get(path, 1) if count is None else count

    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        return call_library(machine, path, arrays_first, arguments, keywords)

    return Builtin(path, call)


def call_library(
    machine: Machine, path: str, count: int, arguments: Arguments, keywords: Keywords
) -> Value:
    """Call an array function whose first `count` arguments are arrays."""
    unknown = [name for name in keywords if name not in KEYWORDS]
    if unknown:
        raise NameNotAdmitted(f"the keyword argument `{unknown[0]}` of {path} is not admitted")
    arguments = tuple(machine.decide(argument) for argument in arguments)
    if arguments and isinstance(arguments[0], Masked):
        return _of_masked(machine, path, arguments, keywords)
    if path in _SPECIAL:
        return _SPECIAL[path](machine, arguments, keywords)
    if path in SEQUENCE_FUNCTIONS:
        parts = [machine.array(part) for part in machine.items(arguments[0])]
        machine.budget.elements(sum(int(np.size(p)) if not is_traced(p) else p.size for p in parts))
        return machine.apply(path, parts, *map(_setting(machine), arguments[1:]),
                             **_settings(machine, keywords))
    contents = [machine.array(argument) for argument in arguments[:count]]
    rest = [_setting(machine)(argument) for argument in arguments[count:]]
    named = {
        name: machine.array(value) if name in _ARRAY_KEYWORDS else _setting(machine)(value)
        for name, value in keywords.items()
    }
    return machine.apply(path, *contents, *rest, **named)


_ARRAY_KEYWORDS = frozenset(
    "a arr array x x1 x2 y m v weights fill_value left right a_min a_max min max xp fp".split()
)


def _setting(machine: Machine) -> Callable[[Value], Any]:
    """Converts an argument that is no array: an axis, a shape, a number type, a flag."""

    def convert_setting(value: Value) -> Any:
        value = machine.decide(value)
        if isinstance(value, DType):
            return np.dtype(value.name)
        if isinstance(value, ListValue | tuple):
            return tuple(convert_setting(item) for item in machine.items(value))
        if isinstance(value, Array):
            return value.read()
        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, bool | int | float | str) or is_traced(value):
            return value
        raise TypeError(f"{kind_of(value)} is not admitted as an argument here")

    return convert_setting


def _settings(machine: Machine, keywords: Keywords) -> dict[str, Any]:
    return {name: _setting(machine)(value) for name, value in keywords.items()}


def _shape(machine: Machine, value: Value) -> tuple[int, ...]:
    value = machine.decide(value)
    if isinstance(value, ListValue | tuple | Array):
        shape = tuple(machine.integer(n, "a shape") for n in machine.items(value))
    else:
        shape = (machine.integer(value, "a size"),)
    if any(n < 0 for n in shape):
        raise ValueError("negative dimensions are not allowed")
    machine.budget.elements(math.prod(shape))
    return shape


def _bind(arguments: Arguments, keywords: Keywords, *names: str) -> dict[str, Value]:
    """Positional and keyword arguments by name."""
    if len(arguments) > len(names):
        raise TypeError(f"at most {len(names)} arguments are admitted here")
    bound = dict(zip(names, arguments, strict=False))
    for name, value in keywords.items():
        if name in bound or name not in names:
            raise TypeError(f"unexpected argument {name!r}")
        bound[name] = value
    return bound


def _dtype(machine: Machine, value: Value) -> Any:
    value = machine.decide(value)
    if value is None:
        return None
    if isinstance(value, DType):
        return np.dtype(value.name)
    if isinstance(value, str) and value in DTYPES:
        return np.dtype(DTYPES[value].name)
    raise TypeError(f"{kind_of(value)} is not an admitted number type")


def _filled(value: float | None) -> Call:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        if value is None:
            bound = _bind(arguments, keywords, "shape", "fill_value", "dtype")
        else:
            bound = _bind(arguments, keywords, "shape", "dtype", "order")
        shape = _shape(machine, bound["shape"])
        dtype = _dtype(machine, bound.get("dtype"))
        if value is not None:
            return machine.wrap(np.full(shape, value, dtype or np.dtype(float)))
        content = machine.array(bound["fill_value"])
        result = machine.backend.apply("broadcast_to", content, shape)
        return machine.wrap(result if dtype is None else _cast(machine, result, dtype))

    return call


def _cast(machine: Machine, content: Any, dtype: Any) -> Any:
    return machine.backend.apply("astype", content, dtype)


def _array(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.array: always a copy."""
    bound = _bind(arguments, keywords, "object", "dtype", "copy", "ndmin")
    content = machine.array(bound["object"])
    dtype = _dtype(machine, bound.get("dtype"))
    if dtype is not None:
        content = _cast(machine, content, dtype)
    if bound.get("ndmin") and np.ndim(content) < bound["ndmin"]:
        content = machine.backend.apply("reshape", content, (1,) * bound["ndmin"])
    return machine.wrap(content)


def _asarray(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.asarray: the array itself, where it is one of that type."""
    bound = _bind(arguments, keywords, "object", "dtype", "copy")
    value = machine.decide(bound["object"])
    dtype = _dtype(machine, bound.get("dtype"))
    if isinstance(value, Array) and (dtype is None or dtype.kind == value.read().dtype.kind):
        return value
    return _array(machine, arguments, keywords)


def _arange(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    keywords = dict(keywords)
    dtype = _dtype(machine, keywords.pop("dtype", None))
    if keywords:
        names = ("start", "stop", "step")
        arguments = tuple(
            keywords.get(name, value)
            for name, value in zip(names, (*arguments, 0, None, 1)[:3], strict=True)
        )
    known = [machine.decide(value) for value in arguments]
    if any(is_traced(value) for value in known):
        raise ShapeError("the length of np.arange depends on the state; it must be known")
    if not all(is_number(value) for value in known):
        raise TypeError("np.arange takes numbers")
    start, stop, step = (0, known[0], 1) if len(known) == 1 else (*known, 1)[:3]
    machine.budget.elements(math.ceil(max((stop - start) / step, 0)))
    return machine.wrap(np.arange(start, stop, step, dtype=dtype))


def _spaced(path: str) -> Call:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        bound = _bind(arguments, keywords, "start", "stop", "num", "endpoint")
        count = machine.integer(bound.get("num", 50), "the length")
        machine.budget.elements(count)
        endpoint = bool(bound.get("endpoint", True))
        return machine.apply(
            path, machine.array(bound["start"]), machine.array(bound["stop"]), count,
            endpoint=endpoint,
        )

    return call


def _square(path: str) -> Call:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        bound = _bind(arguments, keywords, "n", "m", "k", "dtype")
        rows = machine.integer(bound["n"], "a size")
        columns = rows if bound.get("m") is None else machine.integer(bound["m"], "a size")
        machine.budget.elements(max(rows, 0) * max(columns, 0))
        offset = machine.integer(bound.get("k", 0), "an offset")
        dtype = _dtype(machine, bound.get("dtype")) or np.dtype(float)
        make = np.tri if path == "tri" else np.eye
        return machine.wrap(make(rows, columns, offset, dtype=dtype))

    return call


def _like(value: float | None) -> Call:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        names = ("a", "fill_value", "dtype", "shape") if value is None else ("a", "dtype", "shape")
        bound = _bind(arguments, keywords, *names)
        content = machine.array(bound["a"])
        dtype = _dtype(machine, bound.get("dtype")) or np.dtype(
            {"f": "float64", "i": "int64", "u": "int64", "b": "bool"}[_kind(content)]
        )
        if value is not None:
            return machine.wrap(np.full(np.shape(content), value, dtype))
        filling = machine.array(bound["fill_value"])
        filled = machine.backend.apply("broadcast_to", filling, np.shape(content))
        return machine.wrap(_cast(machine, filled, dtype))

    return call


def _kind(content: Any) -> str:
    """The kind of number that a content holds: f, i, u or b."""
    if isinstance(content, bool):
        return "b"
    if isinstance(content, int):
        return "i"
    return "f" if isinstance(content, float) else content.dtype.kind


def _clip(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.clip, under NumPy's and JAX's names for the bounds."""
    synonyms = {"min": "a_min", "max": "a_max", "x": "a", "arr": "a"}
    named = {synonyms.get(name, name): value for name, value in keywords.items()}
    bound = _bind(arguments, named, "a", "a_min", "a_max")
    low, high = (
        None if bound.get(name) is None else machine.array(bound[name])
        for name in ("a_min", "a_max")
    )
    content = machine.array(bound["a"])
    if low is not None:
        content = machine.backend.apply("maximum", content, low)
    if high is not None:
        content = machine.backend.apply("minimum", content, high)
    return machine.wrap(content)


def _where(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    names = ("condition", "x", "y")
    bound = _bind(arguments, keywords, *names)
    if len(bound) != 3:
        raise ShapeError(
            "np.where with a condition alone gives as many indices as there are hits; "
            "use np.where(condition, a, b)"
        )
    condition, then, other = (machine.array(bound[name]) for name in names)
    if not is_traced(condition) and np.ndim(condition) == 0:
        shape = np.broadcast_shapes(np.shape(then), np.shape(other))
        return machine.apply("broadcast_to", then if condition else other, shape)
    if np.ndim(condition) == np.ndim(then) == np.ndim(other) == 0:
        flag = condition if condition.dtype == bool else machine.backend.apply("!=", condition, 0)
        return machine.backend.select(flag, then, other)
    return machine.apply("where", condition, then, other)


def _np_select(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = _bind(arguments, keywords, "condlist", "choicelist", "default")
    result = bound.get("default", 0.0)
    pairs = list(
        zip(machine.items(bound["condlist"]), machine.items(bound["choicelist"]), strict=True)
    )
    for condition, choice in reversed(pairs):
        result = _where(machine, (condition, choice, result), {})
    return result


def _repeated(path: str) -> Call:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        content = machine.array(arguments[0])
        counts = _settings(machine, {str(i): v for i, v in enumerate(arguments[1:])} | keywords)
        for value in counts.values():
            if is_traced(value):
                raise ShapeError("how often to repeat must not depend on the state")
        times = next(iter(counts.values()))
        total = int(np.prod(np.abs(times))) if path == "tile" else int(np.sum(np.abs(times)))
        machine.budget.elements(max(total, 1) * max(int(np.size(np.empty(np.shape(content)))), 1))
        return machine.apply(path, content, *list(counts.values())[: len(arguments) - 1],
                             **_settings(machine, keywords))

    return call


def _broadcast_to(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = _bind(arguments, keywords, "array", "shape")
    return machine.apply(
        "broadcast_to", machine.array(bound["array"]), _shape(machine, bound["shape"])
    )


def _pad(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    settings = [_setting(machine)(argument) for argument in arguments[1:]]
    widths = settings[0] if settings else _setting(machine)(keywords["pad_width"])
    content = machine.array(arguments[0])
    machine.budget.elements(
        int(np.prod([n + 2 * int(np.max(np.abs(widths))) for n in np.shape(content)]))
    )
    return machine.apply("pad", content, *settings, **_settings(machine, keywords))


def _norm(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """The Euclidean norm of a vector, without what JAX adds for its gradient."""
    if len(arguments) == 1 and not keywords:
        content = machine.array(arguments[0])
        if np.ndim(content) == 1 and is_traced(content) and content.dtype.kind == "f":
            backend = machine.backend
            return backend.apply("sqrt", backend.apply("sum", backend.apply("*", content, content)))
    contents = [machine.array(argument) for argument in arguments[:1]]
    settings = [_setting(machine)(argument) for argument in arguments[1:]]
    return machine.apply("linalg.norm", *contents, *settings, **_settings(machine, keywords))


def _shape_of(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return tuple(np.shape(machine.array(arguments[0])))


def _ndim_of(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return int(np.ndim(machine.array(arguments[0])))


def _size_of(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return math.prod(np.shape(machine.array(arguments[0])))


def _meshgrid(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    contents = [machine.array(argument) for argument in arguments]
    machine.budget.elements(math.prod(int(np.prod(np.shape(part))) for part in contents))
    return machine.apply("meshgrid", *contents, **_settings(machine, keywords))


def _einsum(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    if not arguments or not isinstance(arguments[0], str):
        raise TypeError("np.einsum takes its subscripts as a string first")
    contents = [machine.array(argument) for argument in arguments[1:]]
    machine.budget.elements(math.prod(math.prod(np.shape(part)) for part in contents))
    return machine.apply("einsum", arguments[0], *contents)


def _vectorize(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.vectorize and jax.vmap of a function of the program: a call for each entry."""
    function = arguments[0]

    def call(machine: Machine, inner: Arguments, inner_keywords: Keywords) -> Value:
        columns = [
            machine.items(value) if isinstance(value, Array | ListValue | tuple) else None
            for value in inner
        ]
        lengths = {len(column) for column in columns if column is not None}
        if len(lengths) != 1:
            raise ValueError("the mapped arguments must have the same length")
        rows = [
            machine.invoke(
                function,
                tuple(
                    value if column is None else column[index]
                    for value, column in zip(inner, columns, strict=True)
                ),
                inner_keywords,
            )
            for index in range(lengths.pop())
        ]
        return machine.wrap(machine.array(machine.make_list(rows)))

    return Builtin("vectorized function", call)


def _scalar_check(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return is_number(machine.decide(arguments[0]))


_SPECIAL: dict[str, Call] = {
    "array": _array,
    "asarray": _asarray,
    "asanyarray": _asarray,
    "ascontiguousarray": _asarray,
    "zeros": _filled(0.0),
    "empty": _filled(0.0),
    "ones": _filled(1.0),
    "full": _filled(None),
    "zeros_like": _like(0.0),
    "empty_like": _like(0.0),
    "ones_like": _like(1.0),
    "full_like": _like(None),
    "arange": _arange,
    "linspace": _spaced("linspace"),
    "logspace": _spaced("logspace"),
    "geomspace": _spaced("geomspace"),
    "eye": _square("eye"),
    "identity": _square("eye"),
    "tri": _square("tri"),
    "clip": _clip,
    "where": _where,
    "select": _np_select,
    "tile": _repeated("tile"),
    "repeat": _repeated("repeat"),
    "broadcast_to": _broadcast_to,
    "pad": _pad,
    "linalg.norm": _norm,
    "shape": _shape_of,
    "ndim": _ndim_of,
    "size": _size_of,
    "meshgrid": _meshgrid,
    "einsum": _einsum,
    "vectorize": _vectorize,
    "isscalar": _scalar_check,
}

_MASKED_REDUCTIONS: dict[str, tuple[str, float]] = {
    # a reduction, and what the entries that are not selected count as
    "sum": ("sum", 0.0),
    "prod": ("prod", 1.0),
    "min": ("min", math.inf),
    "max": ("max", -math.inf),
    "amin": ("min", math.inf),
    "amax": ("max", -math.inf),
    "any": ("any", 0.0),
    "all": ("all", 1.0),
    "count_nonzero": ("count_nonzero", 0.0),
}


def _of_masked(
    machine: Machine, path: str, arguments: Arguments, keywords: Keywords
) -> Value:
    """A function of the entries that a traced mask selects."""
    value = arguments[0]
    backend = machine.backend
    if path == "size":
        return backend.apply("sum", value.mask)
    if path == "mean" and len(arguments) == 1 and not keywords:
        total = backend.apply("sum", backend.apply("where", value.mask, value.content, 0.0))
        return backend.apply("/", total, backend.apply("sum", value.mask))
    if path in _MASKED_REDUCTIONS and len(arguments) == 1 and not keywords:
        name, filling = _MASKED_REDUCTIONS[path]
        return backend.apply(name, backend.apply("where", value.mask, value.content, filling))
    if ARRAY_ARGUMENTS.get(path) in (1, 2) and not keywords and all(
        is_number(argument) for argument in arguments[1:]
    ) and np.shape(_known_result(path, value)) == np.shape(value.content):
        return Masked(backend.apply(path, value.content, *arguments[1:]), value.mask)
    machine.array(value)
    raise AssertionError("unreachable: a masked selection is no array")


_ENTRYWISE = frozenset(
    """
    abs absolute fabs sqrt cbrt square exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos
    arctan sinh cosh tanh sign floor ceil negative isnan isinf isfinite maximum minimum power
    add subtract multiply divide deg2rad rad2deg
    """.split()
)


def _known_result(path: str, value: Masked) -> Any:
    return value.content if path in _ENTRYWISE else 0.0


# Modules ----------------------------------------------------------------------------------------

MODULES = frozenset(
    """
    numpy numpy.linalg numpy.typing jax jax.numpy jax.numpy.linalg jax.lax jax.nn jax.typing math
    typing typing_extensions functools dataclasses collections collections.abc __future__
    jax.scipy jax.scipy.special operator itertools
    """.split()
)

_ARRAY_MODULES = frozenset({"numpy", "jax.numpy"})
_NUMPY_NAMES = frozenset(ARRAY_ARGUMENTS) | SEQUENCE_FUNCTIONS | frozenset(_SPECIAL)


def module_member(module: str, name: str) -> Value:
    """What `name` is in an admitted module.

    Raises:
        NameNotAdmitted: it is unknown or not admitted there.
    """
    value = _member(module, name)
    if value is None and (module, name) not in _NONE_MEMBERS:
        raise NameNotAdmitted(_why_not(module, name))
    return value


_NONE_MEMBERS = frozenset({("numpy", "newaxis"), ("jax.numpy", "newaxis")})


def _member(module: str, name: str) -> Value | None:
    if f"{module}.{name}" in MODULES:
        return Module(f"{module}.{name}")
    if module in _ARRAY_MODULES:
        name = FORMER_NAMES.get(name, name)
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in _NUMPY_NAMES:
            return library_function(name)
        if name in DTYPES:
            return DTYPES[name]
        if name == "math":
            return Module("math")
        return _ARRAY_MODULE_OTHERS.get(name)
    if module in ("numpy.linalg", "jax.numpy.linalg"):
        if f"linalg.{name}" in _NUMPY_NAMES:
            return library_function(f"linalg.{name}")
        return ExceptionType("LinAlgError") if name == "LinAlgError" else None
    if module == "math":
        return _math_member(name)
    if module == "jax.nn" and name in NN_FUNCTIONS:
        return library_function(NN_SYNONYMS.get(name, f"nn.{name}"), 1)
    if module == "jax.lax":
        if name in LAX_FUNCTIONS:
            path = LAX_FUNCTIONS[name]
            count = 3 if path == "lax.clamp" else ARRAY_ARGUMENTS.get(path, 1)
            return library_function(path, count)
        return _CONTROL.get(name)
    if module == "jax.scipy.special":
        names = {"expit": "nn.sigmoid", "logsumexp": "nn.logsumexp", "erf": "lax.erf"}
        return library_function(names[name], 1) if name in names else None
    if module in ("typing", "typing_extensions", "collections.abc", "numpy.typing", "jax.typing"):
        return Kind("NamedTuple") if name == "NamedTuple" else ABSENT
    if module == "__future__":
        return ABSENT
    return _OTHER_MODULES.get(f"{module}.{name}")


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
    return f"{module}.{name} is not admitted or does not exist"


def _math_member(name: str) -> Value | None:
    if name in ("pi", "e", "inf", "nan"):
        return CONSTANTS[name]
    if name == "tau":
        return math.tau
    if name in MATH_FUNCTIONS:
        return Builtin(f"math.{name}", _math_function(name))
    return _MATH_OTHERS.get(name)


def _math_function(name: str) -> Call:
    path = MATH_FUNCTIONS[name]
    count = 2 if name in ("atan2", "copysign", "fmod", "pow", "nextafter") else 1

    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        if keywords or len(arguments) != count:
            raise TypeError(f"math.{name} takes {count} argument{'s' if count > 1 else ''}")
        numbers = [_scalar(machine, argument) for argument in arguments]
        _math_domain(machine, name, numbers[0])
        if name in ("floor", "ceil", "trunc"):
            return _to_int(machine, machine.backend.apply(path, numbers[0]))
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


def _scalar(machine: Machine, value: Value) -> Any:
    """A single number, from a number or an array of one entry."""
    content = machine.array(value)
    if np.ndim(content) == 0:
        return content
    if np.size(np.empty(np.shape(content))) != 1:
        raise TypeError(f"a single number is needed, not an array of shape {np.shape(content)}")
    return machine.backend.apply("reshape", content, ())


def _math_log(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    numbers = [_scalar(machine, argument) for argument in arguments]
    _math_domain(machine, "log", numbers[0])
    result = machine.apply("log", numbers[0])
    if len(numbers) == 1:
        return result
    return machine.binary("/", result, machine.apply("log", numbers[1]))


def _math_hypot(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    squares = [machine.binary("**", argument, 2) for argument in arguments]
    return machine.apply("sqrt", fold(lambda a, b: machine.binary("+", a, b), squares, 0.0))


def _math_dist(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    first, second = (machine.wrap(machine.array(argument)) for argument in arguments)
    difference = machine.binary("-", first, second)
    return _norm(machine, (difference,), {})


def _math_isclose(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    relative = keywords.get("rel_tol", 1e-9)
    absolute = keywords.get("abs_tol", 0.0)
    a, b = (_scalar(machine, argument) for argument in arguments)
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


_MATH_OTHERS: dict[str, Value] = {
    "log": Builtin("math.log", _math_log),
    "hypot": Builtin("math.hypot", _math_hypot),
    "dist": Builtin("math.dist", _math_dist),
    "isclose": Builtin("math.isclose", _math_isclose),
    "factorial": _known_integers("math.factorial", math.factorial, 100),
    "comb": _known_integers("math.comb", math.comb, 500),
    "gcd": _known_integers("math.gcd", math.gcd, 2**64),
    "fsum": Builtin("math.fsum", lambda m, a, k: _sum(m, a, k)),
    "prod": Builtin("math.prod", lambda m, a, k: _product(m, a, k)),
}


# jax.lax's control flow: the same forks and loops as Python's own ---------------------------------


def _cond(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    condition, then, other, *operands = arguments
    truth = machine.truth(condition)

    def run(function: Value) -> Value:
        return machine.invoke(function, tuple(operands), {})

    if not is_traced(truth):
        return run(then if truth else other)
    return machine.branching.fork(truth, lambda: run(then), lambda: run(other))


def _lax_select(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return _where(machine, arguments, {})


def _switch(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    index, branches, *operands = arguments
    functions = machine.items(branches)
    last = len(functions) - 1

    def run(place: int) -> Value:
        chosen = functions[place]
        if place == last:
            return machine.invoke(chosen, tuple(operands), {})
        here = machine.truth(machine.binary("<=", index, place))
        if not is_traced(here):
            return machine.invoke(chosen, tuple(operands), {}) if here else run(place + 1)
        return machine.branching.fork(
            here, lambda: machine.invoke(chosen, tuple(operands), {}), lambda: run(place + 1)
        )

    return run(0)


def _fori_loop(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    low = machine.integer(arguments[0], "the lower bound of fori_loop")
    high = machine.integer(arguments[1], "the upper bound of fori_loop")
    value = arguments[3]
    for index in range(low, high):
        machine.budget.step()
        value = machine.invoke(arguments[2], (index, value), {})
    return value


def _scan(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = _bind(arguments, keywords, "f", "init", "xs", "length")
    carry, outputs = bound["init"], []
    xs = bound.get("xs")
    items = (None,) * machine.integer(bound["length"], "a length") if xs is None else (
        machine.items(xs)
    )
    for item in items:
        carry, output = machine.items(machine.invoke(bound["f"], (carry, item), {}))
        outputs.append(output)
    if any(output is None for output in outputs):
        return (carry, None)
    return (carry, machine.wrap(machine.array(machine.make_list(outputs))))


_CONTROL: dict[str, Value] = {
    "cond": Builtin("lax.cond", _cond),
    "select": Builtin("lax.select", _lax_select),
    "switch": Builtin("lax.switch", _switch),
    "fori_loop": Builtin("lax.fori_loop", _fori_loop),
    "scan": Builtin("lax.scan", _scan),
}


# Decorators, partial, records ---------------------------------------------------------------------


def _no_op_decorator(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """jax.jit: everything is compiled anyway."""
    if arguments:
        return arguments[0]
    return Builtin("jit", _no_op_decorator)


def _partial(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    function, *first = arguments

    def call(machine: Machine, inner: Arguments, inner_keywords: Keywords) -> Value:
        return machine.invoke(function, (*first, *inner), {**keywords, **inner_keywords})

    return Builtin("partial", call)


def _jit_partial(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    if isinstance(arguments[0], Builtin) and arguments[0].name == "jit":
        return Builtin("jit", _no_op_decorator)
    return _partial(machine, arguments, keywords)


def _reduce(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    function, iterable, *initial = arguments
    return fold(
        lambda a, b: machine.invoke(function, (a, b), {}), machine.items(iterable), *initial
    )


def _dataclass(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """The decorator; called with its options only, it says whether the class is frozen."""
    if arguments:
        return False
    frozen = bool(keywords.get("frozen", False))
    return Builtin("dataclass", lambda m, a, k: frozen) if keywords else frozen


def _field(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    if "default" in keywords:
        return keywords["default"]
    if "default_factory" in keywords:
        factory = keywords["default_factory"]
        return Builtin("default_factory", lambda m, a, k: m.invoke(factory, (), {}))
    raise TypeError("field() takes default or default_factory here")


def _namedtuple(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    name, fields = arguments[0], arguments[1]
    names = fields.replace(",", " ").split() if isinstance(fields, str) else machine.items(fields)
    if any(str(field).startswith("_") for field in names):
        raise NameNotAdmitted("the fields of a named tuple may not begin with an underscore")
    defaults: tuple[Value, ...] = ()
    if "defaults" in keywords:
        defaults = machine.items(keywords["defaults"])
    given = dict(zip(tuple(names)[len(names) - len(defaults) :], defaults, strict=True))
    return RecordType(str(name), tuple(str(n) for n in names), given, True)


_IDENTITY = Builtin("identity", lambda machine, arguments, keywords: arguments[0])
_JIT = Builtin("jit", _no_op_decorator)

_ARRAY_MODULE_OTHERS: dict[str, Value] = {
    "ndarray": Kind("ndarray"),
    "generic": Kind("generic"),
    "number": Kind("number"),
    "floating": Kind("floating"),
    "integer": Kind("integer"),
    "ArrayLike": ABSENT,
    "Array": Kind("ndarray"),
    "errstate": Builtin("errstate", lambda machine, arguments, keywords: ABSENT),
    "finfo": Builtin("finfo", lambda machine, arguments, keywords: _finfo(machine, arguments)),
}

_OTHER_MODULES: dict[str, Value] = {
    "jax.jit": _JIT,
    "jax.checkpoint": _JIT,
    "jax.vmap": Builtin("vmap", _vectorize),
    "jax.Array": Kind("ndarray"),
    "functools.partial": Builtin("partial", _jit_partial),
    "functools.reduce": Builtin("reduce", _reduce),
    "functools.lru_cache": _JIT,
    "functools.cache": _JIT,
    "functools.wraps": Builtin("wraps", lambda machine, arguments, keywords: _IDENTITY),
    "dataclasses.dataclass": Builtin("dataclass", _dataclass),
    "dataclasses.field": Builtin("field", _field),
    "collections.namedtuple": Builtin("namedtuple", _namedtuple),
    "collections.OrderedDict": Kind("dict"),
}


def _finfo(machine: Machine, arguments: Arguments) -> Value:
    info = np.finfo(_dtype(machine, arguments[0]))
    names = ("eps", "max", "min", "tiny")
    type_ = RecordType("finfo", names, {}, False)
    return machine.make_record(type_, tuple(float(getattr(info, name)) for name in names))


# Python's own functions ---------------------------------------------------------------------------


def builtin(name: str) -> Value | None:
    """One of Python's own names, None if it is unknown or not admitted."""
    return _BUILTINS.get(name)


def builtin_names() -> frozenset[str]:
    """Python's own names that are admitted."""
    return frozenset(_BUILTINS)


def _abs(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return machine.unary("abs", *arguments)


def _len(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    (value,) = map(machine.decide, arguments)
    if isinstance(value, Masked):
        return machine.backend.apply("sum", value.mask)
    if isinstance(value, Array):
        return value.shape[0]
    if isinstance(value, DictValue | SetValue | ListValue):
        return len(machine.content(value))
    if isinstance(value, range | str | tuple):
        return len(value)
    return len(machine.items(value))


def _extreme(operator: str) -> Call:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        values = arguments if len(arguments) > 1 else machine.items(arguments[0])
        key = keywords.get("key")
        if not values:
            if "default" in keywords:
                return keywords["default"]
            raise ValueError("the smallest or largest of nothing does not exist")
        best = values[0]
        for value in values[1:]:
            left, right = (
                (value, best)
                if key is None
                else (machine.invoke(key, (value,), {}), machine.invoke(key, (best,), {}))
            )
            better = machine.truth(machine.binary(operator, left, right))
            best = machine.merge(better, value, best) if is_traced(better) else (
                value if better else best
            )
        return best

    return call


def _sum(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    total = arguments[1] if len(arguments) > 1 else keywords.get("start", 0)
    value = machine.decide(arguments[0])
    if isinstance(value, Masked):
        return _of_masked(machine, "sum", (value,), {})
    for item in machine.items(value):
        # Nothing is added to the first: 0 + x is x.
        first = total is keywords.get("start", 0) and is_traced(item) and item.dtype != bool
        total = item if first and total == 0 else machine.binary("+", total, item)
    return total


def _product(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    items = machine.items(arguments[0])
    return fold(lambda a, b: machine.binary("*", a, b), items, keywords.get("start", 1))


def _any_all(stops: bool) -> Call:
    """any (which stops at a true item) and all (which stops at a false one)."""

    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        result: Value = not stops
        for item in machine.items(arguments[0]):
            truth = machine.truth(item)
            if not is_traced(truth):
                if bool(truth) == stops:
                    return stops
            elif stops:
                result = machine.merge(truth, True, result)
            else:
                result = machine.merge(truth, result, False)
        return result

    return call


def _range(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    value = range(*(machine.integer(a, "the length of this range") for a in arguments))
    machine.budget.elements(len(value), "a range")
    return value


def _enumerate(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = _bind(arguments, keywords, "iterable", "start")
    start = machine.integer(bound.get("start", 0), "the start")
    return tuple((start + i, item) for i, item in enumerate(machine.items(bound["iterable"])))


def _zip(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return tuple(zip(*(machine.items(a) for a in arguments), strict=bool(keywords.get("strict"))))


def _map(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    function, *iterables = arguments
    rows = zip(*(machine.items(iterable) for iterable in iterables), strict=False)
    return tuple(machine.invoke(function, row, {}) for row in rows)


def _filter(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    function, iterable = arguments
    kept = []
    for item in machine.items(iterable):
        truth = machine.truth(
            item if function is None else machine.invoke(function, (item,), {})
        )
        if is_traced(truth):
            raise ShapeError(
                "which items remain depends on the state, so their number is not known; "
                "use a sum with np.where"
            )
        if truth:
            kept.append(item)
    return tuple(kept)


def _sorted(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    items = machine.items(arguments[0])
    key = keywords.get("key")
    reverse = bool(keywords.get("reverse", False))
    keys = [item if key is None else machine.invoke(key, (item,), {}) for item in items]
    if any(is_traced(k) for k in keys):
        if key is not None or not items:
            raise ShapeError("sorting by a key that depends on the state is not admitted")
        content = machine.backend.apply("sort", machine.array(machine.make_list(items)))
        ordered = machine.items(machine.wrap(content))
        return machine.make_list(reversed(ordered) if reverse else ordered)
    order = sorted(range(len(items)), key=lambda i: keys[i], reverse=reverse)
    return machine.make_list(items[i] for i in order)


def _round(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = _bind(arguments, keywords, "number", "ndigits")
    number = machine.array(bound["number"])
    digits = bound.get("ndigits")
    if digits is None:
        rounded = machine.backend.apply("round", number)
        return _to_int(machine, rounded) if np.ndim(rounded) == 0 else machine.wrap(rounded)
    return machine.apply("round", number, machine.integer(digits, "the number of digits"))


def _pow(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    if len(arguments) != 2:
        raise TypeError("pow takes two numbers here")
    return machine.binary("**", *arguments)


def _divmod(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return (machine.binary("//", *arguments), machine.binary("%", *arguments))


def _reversed(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return tuple(reversed(machine.items(arguments[0])))


def _isinstance(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    value = machine.decide(arguments[0])
    types = arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
    return any(_is_instance(value, type_) for type_ in types)


def _is_instance(value: Value, type_: Value) -> bool:
    if isinstance(type_, RecordType):
        return isinstance(value, Record) and value.type is type_
    if isinstance(type_, DType):
        if isinstance(value, bool | np.bool_) or (is_traced(value) and value.dtype == bool):
            return type_.kind == "b" or (type_.kind == "i" and isinstance(value, bool))
        if not is_number(value):
            return False
        kind = _kind(value)
        return kind == type_.kind
    if isinstance(type_, Kind):
        match type_.name:
            case "ndarray":
                return isinstance(value, Array)
            case "list":
                return isinstance(value, ListValue)
            case "dict":
                return isinstance(value, DictValue)
            case "tuple":
                return isinstance(value, tuple)
            case "str":
                return isinstance(value, str)
            case "number" | "floating" | "generic" | "integer":
                return is_number(value) and not isinstance(value, bool | int | float)
    return False


def _print(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    note = "print does nothing in a reward"
    if note not in machine.notes:
        machine.notes.append(note)
    return None


def _callable(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return isinstance(arguments[0], Function | Builtin | RecordType | DType)


def as_text(value: Value) -> str:
    """A value in a message."""
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return str(value)
    if isinstance(value, ExceptionValue):
        return value.message
    if isinstance(value, tuple):
        return "(" + ", ".join(as_text(item) for item in value) + ")"
    return f"<{kind_of(value)}>"


def _to_int(machine: Machine, number: Any) -> Value:
    """Python's int(): toward zero; NaN and infinities fail."""
    if not is_traced(number):
        return int(number)
    if number.dtype.kind == "f":
        finite = machine.backend.apply("isfinite", number)
        machine.fail_where(machine.negate(finite), "ValueError", "NaN cannot be made an integer")
    return machine.backend.apply("astype", number, np.dtype("int32"))


def convert(
    machine: Machine,
    type_: DType | Kind | ExceptionType,
    arguments: Arguments,
    keywords: Keywords,
) -> Value:
    """Call a type: `float(x)`, `np.float32(x)`, `list(xs)`, `ValueError("...")`."""
    if isinstance(type_, ExceptionType):
        return ExceptionValue(type_, " ".join(as_text(argument) for argument in arguments))
    if isinstance(type_, DType):
        return _number(machine, type_, arguments)
    items = machine.items(arguments[0]) if arguments and type_.name != "str" else ()
    match type_.name:
        case "list":
            return machine.make_list(items)
        case "tuple":
            return tuple(items)
        case "set":
            return machine.make_set(machine.key(item) for item in items)
        case "str":
            return as_text(arguments[0]) if arguments else ""
        case "dict":
            if arguments and isinstance(arguments[0], DictValue):
                content = dict(machine.content(arguments[0]))
            else:
                pairs = [machine.items(pair) for pair in items]
                content = {machine.key(key): value for key, value in pairs}
            return machine.make_dict(content | keywords)
    raise NameNotAdmitted(f"calling {type_.name} is not admitted; use np.array")


def _number(machine: Machine, type_: DType, arguments: Arguments) -> Value:
    if not arguments:
        return {"f": 0.0, "i": 0, "u": 0, "b": False}[type_.kind]
    (value,) = map(machine.decide, arguments)
    if isinstance(value, str):
        if type_.kind == "f" and value.strip().lstrip("+-").lower() in ("inf", "infinity", "nan"):
            return float(value)
        if type_.python and len(value) < 40:
            return float(value) if type_.kind == "f" else int(value)
        raise ValueError("a string is not a number here")
    if type_.kind == "b":
        if type_.python or is_number(value):
            return machine.truth(value)
    if not type_.python:
        return machine.wrap(_cast(machine, machine.array(value), np.dtype(type_.name)))
    number = _scalar(machine, value)
    if type_.kind == "i":
        return _to_int(machine, number)
    if is_traced(number):
        return number if number.dtype.kind == "f" else _cast(machine, number, np.dtype(float))
    return number if isinstance(number, np.floating) else float(number)


_FLOAT = DType("float64", "f", python=True)
_INT = DType("int64", "i", python=True)
_BOOL = DType("bool", "b", 8, python=True)

_BUILTINS: dict[str, Value] = {
    **{name: ExceptionType(name) for name in EXCEPTIONS if name != "LinAlgError"},
    **{name: Kind(name) for name in ("list", "tuple", "dict", "set", "str", "object", "type")},
    **{
        name: Builtin(name, call)
        for name, call in {
            "abs": _abs,
            "all": _any_all(False),
            "any": _any_all(True),
            "callable": _callable,
            "divmod": _divmod,
            "enumerate": _enumerate,
            "filter": _filter,
            "isinstance": _isinstance,
            "len": _len,
            "map": _map,
            "max": _extreme(">"),
            "min": _extreme("<"),
            "pow": _pow,
            "print": _print,
            "range": _range,
            "reversed": _reversed,
            "round": _round,
            "sorted": _sorted,
            "sum": _sum,
            "zip": _zip,
        }.items()
    },
    "float": _FLOAT,
    "int": _INT,
    "bool": _BOOL,
    "frozenset": Kind("set"),
    "Ellipsis": Ellipsis,
    "__name__": "reward",
}


# Attributes and methods -----------------------------------------------------------------------------

_ARRAY_METHODS = frozenset(
    """
    sum prod mean std var min max any all argmin argmax ptp cumsum cumprod round clip dot repeat
    swapaxes take trace diagonal argsort
    """.split()
)
_ARRAY_OTHERS = frozenset(
    "copy flatten ravel reshape squeeze transpose astype item tolist fill sort conj".split()
)
_ARRAY_PROPERTIES = frozenset("shape size ndim T dtype at real flat".split())
_LIST_METHODS = frozenset("append extend insert pop index count reverse sort copy clear".split())
_DICT_METHODS = frozenset("get items keys values update setdefault pop copy".split())
_STRING_METHODS = frozenset(
    "format join lower upper strip startswith endswith replace split title".split()
)
_TUPLE_METHODS = frozenset({"index", "count"})
_SET_METHODS = frozenset({"add", "union", "intersection"})


def known_attributes() -> frozenset[str]:
    """All attributes that a value of some kind has."""
    return (
        _ARRAY_METHODS | _ARRAY_OTHERS | _ARRAY_PROPERTIES | _LIST_METHODS | _DICT_METHODS
        | _STRING_METHODS | _TUPLE_METHODS | _SET_METHODS | arrays.AT_METHODS
        | {"eps", "tiny", "args", "is_integer"}
    )  # fmt: skip


def attribute(machine: Machine, owner: Value, name: str) -> Value:
    """`owner.name`."""
    owner = machine.decide(owner)
    if isinstance(owner, Module):
        return module_member(owner.name, name)
    if name.startswith("_"):
        raise NameNotAdmitted("an attribute that begins with an underscore is not admitted")
    if isinstance(owner, Array) or is_number(owner) or isinstance(owner, Masked):
        return _of_array(machine, owner, name)
    if isinstance(owner, Record):
        if name in owner.type.fields:
            return machine.content(owner)[owner.type.fields.index(name)]
        if name in owner.type.constants:
            return owner.type.constants[name]
    if isinstance(owner, RecordType) and name in owner.constants:
        return owner.constants[name]
    if isinstance(owner, ListValue) and name in _LIST_METHODS:
        return Builtin(name, lambda m, a, k: _list_method(m, owner, name, a, k))
    if isinstance(owner, DictValue) and name in _DICT_METHODS:
        return Builtin(name, lambda m, a, k: _dict_method(m, owner, name, a, k))
    if isinstance(owner, str) and name in _STRING_METHODS:
        return Builtin(name, lambda m, a, k: _string_method(m, owner, name, a))
    if isinstance(owner, tuple) and name in _TUPLE_METHODS:
        return Builtin(name, lambda m, a, k: _tuple_method(m, owner, name, a))
    if isinstance(owner, SetValue) and name in _SET_METHODS:
        return Builtin(name, lambda m, a, k: _set_method(m, owner, name, a))
    if arrays.is_at_index(owner) and name in arrays.AT_METHODS:
        return Builtin(name, lambda m, a, k: arrays.at_method(m, owner, name, a))
    if owner is ABSENT:
        return ABSENT
    if isinstance(owner, ExceptionValue) and name == "args":
        return (owner.message,)
    raise AttributeError(f"{kind_of(owner)} has no attribute `{name}` here")


def _of_array(machine: Machine, owner: Value, name: str) -> Value:
    if name in _ARRAY_METHODS:
        path = name

        def call(m: Machine, arguments: Arguments, keywords: Keywords) -> Value:
            count = ARRAY_ARGUMENTS.get(path, 1)
            return call_library(m, path, count, (owner, *arguments), keywords)

        return Builtin(name, call)
    if isinstance(owner, Masked):
        if name == "size":
            return machine.backend.apply("sum", owner.mask)
        machine.array(owner)
    if name in _ARRAY_OTHERS:
        return Builtin(name, lambda m, a, k: _array_method(m, owner, name, a, k))
    content = machine.array(owner)
    match name:
        case "shape":
            return tuple(np.shape(content))
        case "size":
            return math.prod(np.shape(content))
        case "ndim":
            return int(np.ndim(content))
        case "T":
            return _transposed(machine, owner)
        case "dtype":
            kind = _kind(content)
            return DType({"f": "float64", "i": "int64", "u": "int64", "b": "bool"}[kind], kind)
        case "at" if isinstance(owner, Array):
            return arrays.at(owner)
        case "real":
            return owner
        case "flat":
            return _array_method(machine, owner, "ravel", (), {})
    raise AttributeError(f"{kind_of(owner)} has no attribute `{name}` here")


def _transposed(machine: Machine, owner: Value) -> Value:
    if not isinstance(owner, Array) or len(owner.shape) < 2:
        return owner
    transpose = machine.backend.apply
    return machine.view(
        owner,
        lambda base: transpose("transpose", base),
        lambda base, new: transpose("transpose", new),
    )


def _array_method(
    machine: Machine, owner: Value, name: str, arguments: Arguments, keywords: Keywords
) -> Value:
    content = machine.array(owner)
    match name:
        case "copy" | "conj":
            return machine.wrap(content)
        case "flatten":
            return machine.apply("reshape", content, (-1,))
        case "ravel":
            return _reshaped(machine, owner, (-1,))
        case "reshape":
            shape = keywords.get("shape", arguments[0] if len(arguments) == 1 else arguments)
            return _reshaped(machine, owner, shape)
        case "squeeze":
            axis = arguments[0] if arguments else keywords.get("axis")
            squeezed = np.squeeze(np.empty(np.shape(content)), axis)
            return _reshaped(machine, owner, squeezed.shape)
        case "transpose":
            if arguments:
                return call_library(machine, "transpose", 1, (owner, *arguments), keywords)
            return _transposed(machine, owner)
        case "astype":
            target = arguments[0] if arguments else keywords["dtype"]
            return machine.wrap(_cast(machine, content, _dtype(machine, target)))
        case "item":
            if arguments:
                return arrays.subscript(machine, owner, arguments[0])
            return _scalar(machine, owner)
        case "tolist":
            return _to_list(machine, owner)
        case "fill":
            machine.write(owner, machine.backend.apply("broadcast_to", machine.array(arguments[0]),
                                                       np.shape(content)))
        case "sort":
            machine.write(owner, machine.backend.apply("sort", content))
    return None


def _to_list(machine: Machine, value: Value) -> Value:
    if isinstance(value, Array):
        return machine.make_list(_to_list(machine, item) for item in machine.items(value))
    return value


def _reshaped(machine: Machine, owner: Value, shape: Value) -> Value:
    wanted: Any = _setting(machine)(shape)
    apply = machine.backend.apply
    if not isinstance(owner, Array):
        return machine.apply("reshape", owner, wanted)
    if np.reshape(np.empty(owner.shape), wanted).ndim == 0:
        return machine.apply("reshape", owner.read(), wanted)
    return machine.view(
        owner,
        lambda base: apply("reshape", base, wanted),
        lambda base, new: apply("reshape", new, base.shape),
    )


_SPECIAL |= {
    "ravel": lambda m, a, k: _array_method(m, _asarray(m, a[:1], {}), "ravel", (), {}),
    "reshape": lambda m, a, k: _array_method(m, _asarray(m, a[:1], {}), "reshape", a[1:], k),
    "squeeze": lambda m, a, k: _array_method(m, _asarray(m, a[:1], {}), "squeeze", a[1:], k),
}


def _list_method(
    machine: Machine, owner: ListValue, name: str, arguments: Arguments, keywords: Keywords
) -> Value:
    content = machine.content(owner)
    result: Value = None
    match name:
        case "append":
            content = (*content, arguments[0])
        case "extend":
            content = (*content, *machine.items(arguments[0]))
        case "insert":
            place = machine.integer(arguments[0], "a place in a list")
            content = (*content[:place], arguments[1], *content[place:])
        case "pop":
            place = machine.integer(arguments[0] if arguments else -1, "a place in a list")
            result = content[place]
            place %= len(content)
            content = (*content[:place], *content[place + 1 :])
        case "reverse":
            content = tuple(reversed(content))
        case "sort":
            content = machine.content(_sorted(machine, (owner,), keywords))
        case "clear":
            content = ()
        case "copy":
            return machine.make_list(content)
        case _:
            return _tuple_method(machine, content, name, arguments)
    machine.budget.elements(len(content), "a list")
    machine.write(owner, content)
    return result


def _tuple_method(
    machine: Machine, content: tuple[Value, ...], name: str, arguments: Arguments
) -> Value:
    hits = [machine.truth(machine.binary("==", item, arguments[0])) for item in content]
    if name == "count":
        return fold(lambda a, b: machine.binary("+", a, b), hits, 0)
    if any(is_traced(hit) for hit in hits):
        raise ShapeError("which item this is depends on the state; use np.argmin or np.argmax")
    if True not in hits:
        raise ValueError("the item is not in the list")
    return hits.index(True)


def _dict_method(
    machine: Machine, owner: DictValue, name: str, arguments: Arguments, keywords: Keywords
) -> Value:
    content = dict(machine.content(owner))
    match name:
        case "keys":
            return tuple(content)
        case "values":
            return tuple(content.values())
        case "items":
            return tuple(content.items())
        case "copy":
            return machine.make_dict(content)
        case "get":
            default = arguments[1] if len(arguments) > 1 else None
            return content.get(machine.key(arguments[0]), default)
        case "update":
            if arguments:
                content |= machine.content(arguments[0])
            machine.write(owner, content | keywords)
        case "setdefault":
            key = machine.key(arguments[0])
            if key not in content:
                content[key] = arguments[1] if len(arguments) > 1 else None
                machine.write(owner, content)
            return content[key]
        case "pop":
            key = machine.key(arguments[0])
            if key not in content and len(arguments) > 1:
                return arguments[1]
            result = content.pop(key)
            machine.write(owner, content)
            return result
    return None


def _string_method(machine: Machine, owner: str, name: str, arguments: Arguments) -> Value:
    if name == "format":
        return owner  # only ever seen in messages
    if name == "join":
        parts = [as_text(item) for item in machine.items(arguments[0])]
        machine.budget.elements(sum(map(len, parts)) + len(owner) * len(parts), "a string")
        return owner.join(parts)
    if not all(isinstance(argument, str | tuple) for argument in arguments):
        raise TypeError(f"str.{name} takes strings")
    if name == "replace":
        machine.budget.elements(len(owner) * max(len(arguments[1]), 1), "a string")
    result = getattr(owner, name)(*arguments)
    return machine.make_list(result) if isinstance(result, list) else result


def _set_method(machine: Machine, owner: SetValue, name: str, arguments: Arguments) -> Value:
    content = machine.content(owner)
    if name == "add":
        machine.write(owner, content | {machine.key(arguments[0])})
        return None
    others = {machine.key(item) for item in machine.items(arguments[0])}
    return machine.make_set(content | others if name == "union" else content & others)


_ = (Choice, VerificationError, is_static_int)  # TEMPORARY
