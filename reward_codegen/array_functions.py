"""The admitted functions of numpy and jax.numpy."""

import math

import numpy as np

from reward_codegen import arrays
from reward_codegen.arguments import (
    Arguments,
    Call,
    Keywords,
    bind_arguments,
    cast,
    number_kind,
    number_type,
    setting,
    settings,
    shape_argument,
)
from reward_codegen.errors import NameNotAdmitted, ShapeError
from reward_codegen.machine import Machine
from reward_codegen.tables import ARRAY_ARGUMENTS, ENTRYWISE, KEYWORDS, SEQUENCE_FUNCTIONS, words
from reward_codegen.values import (
    Array,
    Builtin,
    Indexable,
    ListValue,
    Masked,
    Value,
    is_number,
    is_traced,
)


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
    admitted = KEYWORDS | {"out"} if path in ENTRYWISE and machine.in_place else KEYWORDS
    unknown = [name for name in keywords if name not in admitted]
    if unknown:
        raise NameNotAdmitted(f"the keyword argument `{unknown[0]}` of {path} is not admitted")
    if path in ENTRYWISE and not keywords.keys().isdisjoint(("out", "where")):
        return _into(machine, path, count, arguments, dict(keywords))
    arguments = tuple(machine.decide(argument) for argument in arguments)
    if arguments and path not in SEQUENCE_FUNCTIONS:
        arguments = (machine.selection(arguments[0]), *arguments[1:])
    if arguments and isinstance(arguments[0], Masked):
        return of_masked(machine, path, arguments, keywords)
    if path in _SPECIAL:
        return _SPECIAL[path](machine, arguments, keywords)
    if path in SEQUENCE_FUNCTIONS:
        parts = [machine.array(part) for part in machine.items(arguments[0])]
        machine.budget.elements(sum(math.prod(np.shape(part)) for part in parts))
        return machine.apply(
            path, parts, *map(setting(machine), arguments[1:]), **settings(machine, keywords)
        )
    contents = [machine.array(argument) for argument in arguments[:count]]
    rest = [setting(machine)(argument) for argument in arguments[count:]]
    named = {
        name: machine.array(value) if name in _ARRAY_KEYWORDS else setting(machine)(value)
        for name, value in keywords.items()
    }
    return machine.apply(path, *contents, *rest, **named)


def _into(
    machine: Machine, path: str, count: int, arguments: Arguments, keywords: dict[str, Value]
) -> Value:
    """A function of single entries with `out` (where to write) and `where` (which entries)."""
    out = machine.decide(keywords.pop("out", None))
    mask = keywords.pop("where", True)
    result = call_library(machine, path, count, arguments, keywords)
    if mask is not True:
        if out is None:
            raise ShapeError(
                "the entries that `where` leaves out have no value without `out`; "
                "use np.where(condition, a, b)"
            )
        result = where(machine, (mask, result, out), {})
    if not isinstance(out, Array):
        return result
    arrays.assign(machine, out, Ellipsis, result)
    return out


_MAX_DIMENSIONS = 32
_MAX_DIGITS = 30


_ARRAY_KEYWORDS = frozenset(
    words("a arr array x x1 x2 y m v weights fill_value left right a_min a_max min max xp fp")
)


def _filled(value: float | None) -> Call:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        if value is None:
            bound = bind_arguments(arguments, keywords, "shape", "fill_value", "dtype")
        else:
            bound = bind_arguments(arguments, keywords, "shape", "dtype", "order")
        shape = shape_argument(machine, bound["shape"])
        dtype = number_type(machine, bound.get("dtype"))
        if value is not None:
            return machine.wrap(np.full(shape, value, dtype or np.dtype(float)))
        content = machine.array(bound["fill_value"])
        result = machine.backend.apply("broadcast_to", content, shape)
        return machine.wrap(result if dtype is None else cast(machine, result, dtype))

    return call


def _array(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.array: always a copy."""
    bound = bind_arguments(arguments, keywords, "object", "dtype", "copy", "ndmin")
    content = machine.array(bound["object"])
    dtype = number_type(machine, bound.get("dtype"))
    if dtype is not None:
        content = cast(machine, content, dtype)
    missing = machine.integer(bound.get("ndmin", 0), "ndmin") - np.ndim(content)
    if missing > _MAX_DIMENSIONS:
        raise ShapeError(f"an array of more than {_MAX_DIMENSIONS} dimensions is too large")
    if missing > 0:
        shape = (1,) * missing + np.shape(content)
        content = machine.backend.apply("reshape", content, shape)
    return machine.wrap(content)


def _diff(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.diff, which takes as many steps as `n` says even when nothing is left."""
    bound = bind_arguments(arguments, keywords, "a", "n", "axis", "prepend", "append")
    content = machine.array(bound.pop("a"))
    times = machine.integer(bound.pop("n", 1), "n")
    most = max((*np.shape(content), 1)) + 1
    return machine.apply("diff", content, min(times, most), **settings(machine, bound))


def rounded(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.round, and round(x, digits)."""
    bound = bind_arguments(arguments, keywords, "a", "decimals")
    digits = machine.integer(bound.get("decimals", 0), "the number of digits")
    if abs(digits) > _MAX_DIGITS:
        raise ValueError(f"more than {_MAX_DIGITS} digits cannot be rounded to")
    return machine.apply("round", machine.array(bound["a"]), digits)


def _asarray(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.asarray: the array itself, where it is one of that type."""
    bound = bind_arguments(arguments, keywords, "object", "dtype", "copy")
    value = machine.decide(bound["object"])
    dtype = number_type(machine, bound.get("dtype"))
    if isinstance(value, Array) and (dtype is None or dtype.kind == value.read().dtype.kind):
        return value
    return _array(machine, arguments, keywords)


def _arange(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    keywords = dict(keywords)
    dtype = number_type(machine, keywords.pop("dtype", None))
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
        bound = bind_arguments(arguments, keywords, "start", "stop", "num", "endpoint")
        count = machine.integer(bound.get("num", 50), "the length")
        machine.budget.elements(count)
        endpoint = bool(bound.get("endpoint", True))
        return machine.apply(
            path,
            machine.array(bound["start"]),
            machine.array(bound["stop"]),
            count,
            endpoint=endpoint,
        )

    return call


def _square(path: str) -> Call:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        bound = bind_arguments(arguments, keywords, "n", "m", "k", "dtype")
        rows = machine.integer(bound["n"], "a size")
        columns = rows if bound.get("m") is None else machine.integer(bound["m"], "a size")
        machine.budget.elements(max(rows, 0) * max(columns, 0))
        offset = machine.integer(bound.get("k", 0), "an offset")
        dtype = number_type(machine, bound.get("dtype")) or np.dtype(float)
        make = np.tri if path == "tri" else np.eye
        return machine.wrap(make(rows, columns, offset, dtype=dtype))

    return call


def _like(value: float | None) -> Call:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        names = ("a", "fill_value", "dtype", "shape") if value is None else ("a", "dtype", "shape")
        bound = bind_arguments(arguments, keywords, *names)
        content = machine.array(bound["a"])
        dtype = number_type(machine, bound.get("dtype")) or np.dtype(
            {"f": "float64", "i": "int64", "u": "int64", "b": "bool"}[number_kind(content)]
        )
        if value is not None:
            return machine.wrap(np.full(np.shape(content), value, dtype))
        filling = machine.array(bound["fill_value"])
        filled = machine.backend.apply("broadcast_to", filling, np.shape(content))
        return machine.wrap(cast(machine, filled, dtype))

    return call


def _clip(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.clip, under NumPy's and JAX's names for the bounds."""
    synonyms = {"min": "a_min", "max": "a_max", "x": "a", "arr": "a"}
    named = {synonyms.get(name, name): value for name, value in keywords.items()}
    bound = bind_arguments(arguments, named, "a", "a_min", "a_max")
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


def where(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    names = ("condition", "x", "y")
    bound = bind_arguments(arguments, keywords, *names)
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
    bound = bind_arguments(arguments, keywords, "condlist", "choicelist", "default")
    result = bound.get("default", 0.0)
    pairs = list(
        zip(machine.items(bound["condlist"]), machine.items(bound["choicelist"]), strict=True)
    )
    for condition, choice in reversed(pairs):
        result = where(machine, (condition, choice, result), {})
    return result


def _piecewise(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.piecewise: of several conditions that hold, the last counts."""
    x, conditions, functions, *others = arguments
    x = machine.decide(x)
    flags = machine.decide(conditions)
    single = is_number(flags) or (isinstance(flags, Array) and flags.shape == np.shape(x))
    chosen = (flags,) if single else machine.items(flags)
    values = machine.items(functions)
    if len(values) not in (len(chosen), len(chosen) + 1):
        raise ValueError(
            f"np.piecewise has {len(values)} functions for {len(chosen)} conditions; "
            "there must be as many, or one more"
        )

    def value_of(function: Value) -> Value:
        known = is_number(function) or isinstance(function, Array)
        return function if known else machine.invoke(function, (x, *others), keywords)

    result = value_of(values[-1]) if len(values) > len(chosen) else 0.0
    for flag, function in zip(chosen, values, strict=False):
        result = where(machine, (flag, value_of(function), result), {})
    shape = np.shape(machine.array(x))
    return machine.apply("broadcast_to", machine.array(result), shape) if shape else result


def _fromiter(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return _array(machine, arguments[:2], {n: v for n, v in keywords.items() if n == "dtype"})


def _joined_parts(machine: Machine, index: Value) -> list[Value]:
    """What stands in the brackets of np.r_ and np.c_."""
    parts: list[Value] = []
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, slice):
            bounds = (part.start or 0, part.stop, part.step or 1)
            parts.append(_arange(machine, bounds, {}))
        elif isinstance(part, str):
            raise TypeError("strings in np.r_ and np.c_ are not admitted; use np.concatenate")
        else:
            parts.append(machine.apply("atleast_1d", machine.array(part)))
    return parts


def _np_r(machine: Machine, index: Value) -> Value:
    return call_library(machine, "concatenate", 0, (tuple(_joined_parts(machine, index)),), {})


def _np_c(machine: Machine, index: Value) -> Value:
    return call_library(machine, "column_stack", 0, (tuple(_joined_parts(machine, index)),), {})


def _ix(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    contents = [machine.array(argument) for argument in arguments]
    if any(is_traced(content) for content in contents):
        raise ShapeError("the indices of np.ix_ depend on the state; they must be known")
    return tuple(machine.wrap(content) for content in np.ix_(*contents))


def _repeated(path: str) -> Call:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        content = machine.array(arguments[0])
        counts = settings(machine, {str(i): v for i, v in enumerate(arguments[1:])} | keywords)
        for value in counts.values():
            if is_traced(value):
                raise ShapeError("how often to repeat must not depend on the state")
        times = next(iter(counts.values()))
        total = int(np.prod(np.abs(times))) if path == "tile" else int(np.sum(np.abs(times)))
        machine.budget.elements(max(total, 1) * max(math.prod(np.shape(content)), 1))
        return machine.apply(
            path,
            content,
            *list(counts.values())[: len(arguments) - 1],
            **settings(machine, keywords),
        )

    return call


def _polyval(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.polyval by Horner's rule, as NumPy does it."""
    bound = bind_arguments(arguments, keywords, "p", "x")
    x = machine.array(bound["x"])
    result: Value = machine.binary("*", 0.0, machine.wrap(x))
    for coefficient in machine.items(bound["p"]):
        result = machine.binary("+", machine.binary("*", result, machine.wrap(x)), coefficient)
    return result


def _take(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """np.take: indexing along one axis."""
    bound = bind_arguments(arguments, keywords, "a", "indices", "axis")
    array = machine.wrap(machine.array(bound["a"]))
    axis = bound.get("axis")
    if axis is None:
        array, axis = arrays.reshaped(machine, array, (-1,)), 0
    before = machine.integer(axis, "the axis") % max(len(array.shape), 1)
    indices = machine.wrap(machine.array(bound["indices"]))
    return arrays.subscript(machine, array, (*[slice(None)] * before, indices))


def _broadcast_to(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = bind_arguments(arguments, keywords, "array", "shape")
    return machine.apply(
        "broadcast_to", machine.array(bound["array"]), shape_argument(machine, bound["shape"])
    )


def _pad(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    rest = [setting(machine)(argument) for argument in arguments[1:]]
    widths = rest[0] if rest else setting(machine)(keywords["pad_width"])
    content = machine.array(arguments[0])
    machine.budget.elements(
        int(np.prod([n + 2 * int(np.max(np.abs(widths))) for n in np.shape(content)]))
    )
    return machine.apply("pad", content, *rest, **settings(machine, keywords))


def norm(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """The Euclidean norm of a vector, without what JAX adds for its gradient."""
    content = machine.array(arguments[0])
    plain = len(arguments) == 1 and not keywords
    if plain and is_traced(content) and content.ndim == 1 and content.dtype.kind == "f":
        backend = machine.backend
        return backend.apply("sqrt", backend.apply("sum", backend.apply("*", content, content)))
    rest = [setting(machine)(argument) for argument in arguments[1:]]
    return machine.apply("linalg.norm", content, *rest, **settings(machine, keywords))


def _shape_of(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return tuple(np.shape(machine.array(arguments[0])))


def _ndim_of(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return int(np.ndim(machine.array(arguments[0])))


def _size_of(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return math.prod(np.shape(machine.array(arguments[0])))


def _meshgrid(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    contents = [machine.array(argument) for argument in arguments]
    machine.budget.elements(math.prod(int(np.prod(np.shape(part))) for part in contents))
    return machine.apply("meshgrid", *contents, **settings(machine, keywords))


def _einsum(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    if not arguments or not isinstance(arguments[0], str):
        raise TypeError("np.einsum takes its subscripts as a string first")
    contents = [machine.array(argument) for argument in arguments[1:]]
    machine.budget.elements(math.prod(math.prod(np.shape(part)) for part in contents))
    return machine.apply("einsum", arguments[0], *contents)


def vectorize(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
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


def _ravel(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return arrays.reshaped(machine, _asarray(machine, arguments[:1], {}), (-1,))


def _reshape(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    named = {"newshape": "shape"}
    keywords = {named.get(name, name): value for name, value in keywords.items()}
    bound = bind_arguments(arguments, keywords, "a", "shape")
    array = _asarray(machine, (bound["a"],), {})
    return arrays.reshaped(machine, array, setting(machine)(bound["shape"]))


def _squeeze(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = bind_arguments(arguments, keywords, "a", "axis")
    return arrays.squeezed(machine, _asarray(machine, (bound["a"],), {}), bound.get("axis"))


def _scalar_check(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return is_number(machine.decide(arguments[0]))


_SPECIAL: dict[str, Call] = {
    "array": _array,
    "asarray": _asarray,
    "asanyarray": _asarray,
    "ascontiguousarray": _asarray,
    "diff": _diff,
    "round": rounded,
    "around": rounded,
    "polyval": _polyval,
    "take": _take,
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
    "where": where,
    "select": _np_select,
    "piecewise": _piecewise,
    "fromiter": _fromiter,
    "ix_": _ix,
    "tile": _repeated("tile"),
    "repeat": _repeated("repeat"),
    "broadcast_to": _broadcast_to,
    "pad": _pad,
    "linalg.norm": norm,
    "shape": _shape_of,
    "ndim": _ndim_of,
    "size": _size_of,
    "meshgrid": _meshgrid,
    "einsum": _einsum,
    "vectorize": vectorize,
    "isscalar": _scalar_check,
    "ravel": _ravel,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "copy": _array,
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


def of_masked(machine: Machine, path: str, arguments: Arguments, keywords: Keywords) -> Value:
    """A function of the entries that a traced mask selects."""
    value = arguments[0]
    backend = machine.backend
    if path in ("array", "asarray"):
        return value
    if path == "size":
        return backend.apply("sum", value.mask)
    if path == "mean" and len(arguments) == 1 and not keywords:
        total = backend.apply("sum", backend.apply("where", value.mask, value.content, 0.0))
        return backend.apply("/", total, backend.apply("sum", value.mask))
    if path in _MASKED_REDUCTIONS and len(arguments) == 1 and not keywords:
        name, filling = _MASKED_REDUCTIONS[path]
        return backend.apply(name, backend.apply("where", value.mask, value.content, filling))
    if (
        ARRAY_ARGUMENTS.get(path) in (1, 2)
        and not keywords
        and all(is_number(argument) for argument in arguments[1:])
        and path in ENTRYWISE
    ):
        return Masked(backend.apply(path, value.content, *arguments[1:]), value.mask)
    return machine.array(value)  # which refuses it, with the reason


MEMBERS: dict[str, Value] = {
    name: library_function(name)
    for name in (*ARRAY_ARGUMENTS, *SEQUENCE_FUNCTIONS, *_SPECIAL)
    if "." not in name
} | {"r_": Indexable("r_", _np_r), "c_": Indexable("c_", _np_c)}
LINALG_MEMBERS: dict[str, Value] = {
    name.removeprefix("linalg."): library_function(name)
    for name in (*ARRAY_ARGUMENTS, *SEQUENCE_FUNCTIONS, *_SPECIAL)
    if name.startswith("linalg.")
}
