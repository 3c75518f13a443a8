"""The admitted functions of NumPy (and `jax.numpy`): what stands here, with these keywords."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from reward_codegen.errors import NameNotAdmitted, ShapeError
from reward_codegen.language.compute import resolve
from reward_codegen.language.core import known
from reward_codegen.language.functions import NUMPY_FORMS
from reward_codegen.language.graph import Node
from reward_codegen.language.operators import BOOL, DTYPE_OF_KIND, FLOAT, INTEGER
from reward_codegen.language.values import (
    Array,
    Builtin,
    ListCell,
    Machine,
    Num,
    ProgramError,
    Selection,
    Type,
    Value,
    is_known_number,
    kind_of,
)

# Functions of single entries, and the operation of the graph that they are.
UFUNCS: Final[dict[str, str]] = {
    **{name: name for name in """
        sqrt cbrt square exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan sinh
        cosh tanh arcsinh arccosh arctanh sign floor ceil trunc rint isnan isinf isfinite signbit
        arctan2 hypot copysign logaddexp logaddexp2 heaviside fmod fmax fmin""".split()},
    "abs": "abs", "absolute": "abs", "fabs": "abs", "negative": "neg",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "atan2": "arctan2",
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div",
    "floor_divide": "floordiv", "mod": "mod", "remainder": "mod", "power": "pow", "pow": "pow",
    "float_power": "pow", "maximum": "max", "minimum": "min",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "equal": "eq",
    "not_equal": "ne", "logical_and": "and", "logical_or": "or", "logical_xor": "xor",
    "logical_not": "not", "bitwise_and": "bitand", "bitwise_or": "bitor", "bitwise_xor": "bitxor",
}  # fmt: skip
_ON_TRUTHS: Final = {
    "add": "or", "mul": "and", "max": "or", "min": "and", "bitand": "and", "bitor": "or",
    "bitxor": "xor", "fmax": "or", "fmin": "and",
}  # fmt: skip

# Functions of whole arrays that NumPy and JAX have both: their parameters, arrays with a star.
LIBRARY: Final[dict[str, str]] = {
    "sum": "a* axis dtype out keepdims initial* where*",
    "prod": "a* axis dtype out keepdims initial* where*",
    "max": "a* axis out keepdims initial* where*",
    "min": "a* axis out keepdims initial* where*",
    "mean": "a* axis dtype out keepdims where*",
    "std": "a* axis dtype out ddof keepdims",
    "var": "a* axis dtype out ddof keepdims",
    "any": "a* axis out keepdims", "all": "a* axis out keepdims",
    "argmax": "a* axis", "argmin": "a* axis",
    "median": "a* axis", "ptp": "a* axis", "count_nonzero": "a* axis",
    "cumsum": "a* axis", "cumprod": "a* axis",
    "nansum": "a* axis", "nanmean": "a* axis", "nanmax": "a* axis", "nanmin": "a* axis",
    "nanstd": "a* axis", "nanvar": "a* axis", "nanprod": "a* axis", "nanmedian": "a* axis",
    "average": "a* axis weights*", "percentile": "a* q* axis", "quantile": "a* q* axis",
    "diff": "a* n axis", "ediff1d": "ary*", "gradient": "f*", "trapezoid": "y* x* dx axis",
    "sort": "a* axis kind", "argsort": "a* axis kind", "trace": "a* offset axis1 axis2",
    "dot": "a* b*", "vdot": "a* b*", "inner": "a* b*", "outer": "a* b*", "matmul": "a* b*",
    "vecdot": "a* b*", "tensordot": "a* b* axes", "kron": "a* b*",
    "cross": "a* b* axisa axisb axisc axis",
    "convolve": "a* v* mode", "correlate": "a* v* mode", "interp": "x* xp* fp* left* right*",
    "searchsorted": "a* v* side", "digitize": "x* bins* right", "polyval": "p* x*",
    "isin": "element* test_elements* assume_unique invert", "unwrap": "p* discont axis",
    "isclose": "a* b* rtol atol equal_nan", "allclose": "a* b* rtol atol equal_nan",
    "array_equal": "a1* a2*", "sinc": "x*", "i0": "x*",
    "linalg.det": "a*", "linalg.inv": "a*", "linalg.pinv": "a*", "linalg.solve": "a* b*",
    "linalg.matrix_power": "a* n", "linalg.eigvalsh": "a*", "linalg.cholesky": "a*",
    "linalg.norm": "x* ord axis keepdims", "corrcoef": "x* y*", "cov": "m* y*",
    "nn.softmax": "x* axis", "nn.logsumexp": "a* axis keepdims",
}  # fmt: skip
_OTHER_NAMES: Final = {
    "amax": "max", "amin": "min", "trapz": "trapezoid", "in1d": "isin", "round_": "round",
    "concat": "concatenate", "permute_dims": "transpose", "row_stack": "vstack", "fix": "trunc",
}  # fmt: skip
_PRODUCTS: Final = frozenset(
    "dot vdot inner outer matmul vecdot tensordot kron convolve correlate isin searchsorted "
    "digitize interp".split()
)
_EMPTY_FAILS: Final = frozenset({"max", "min", "argmax", "argmin"})
_SINGULAR: Final = frozenset({"linalg.inv", "linalg.solve", "linalg.cholesky"})

# Functions that move entries about: views where NumPy gives a view, else copies.
MOVES: Final[dict[str, str]] = {
    "reshape": "a shape", "ravel": "a", "squeeze": "a axis", "expand_dims": "a axis",
    "transpose": "a axes", "swapaxes": "a axis1 axis2", "moveaxis": "a source destination",
    "rollaxis": "a axis start", "flip": "m axis", "fliplr": "m", "flipud": "m", "rot90": "m k axes",
    "roll": "a shift axis", "tile": "A reps", "repeat": "a repeats axis",
    "broadcast_to": "array shape", "diagonal": "a offset axis1 axis2", "matrix_transpose": "x",
    "split": "ary indices_or_sections axis", "array_split": "ary indices_or_sections axis",
    "hsplit": "ary indices_or_sections", "vsplit": "ary indices_or_sections",
    "delete": "arr obj axis", "atleast_1d": "a", "atleast_2d": "a", "atleast_3d": "a",
}  # fmt: skip
# Functions that move entries and fill up with zeros.
_FILLED: Final[dict[str, str]] = {
    "diag": "v k", "diagflat": "v k", "triu": "m k", "tril": "m k", "pad": "array pad_width mode",
}  # fmt: skip
# Functions that put several arrays together.
JOINS: Final[dict[str, str]] = {
    "concatenate": "arrays axis", "stack": "arrays axis", "hstack": "tup", "vstack": "tup",
    "column_stack": "tup", "dstack": "tup",
}  # fmt: skip

Call = Callable[[Machine, tuple[Value, ...], dict[str, Value]], Value]


# Arguments ----------------------------------------------------------------------------------------


def bind(
    name: str, names: Sequence[str], args: tuple[Value, ...], keywords: dict[str, Value]
) -> dict[str, Value]:
    """Arguments by the names of a row; an unknown keyword is refused."""
    if len(args) > len(names):
        raise ShapeError(f"{name} takes at most {len(names)} arguments here ({', '.join(names)})")
    bound = dict(zip(names, args, strict=False))
    for key, value in keywords.items():
        if key not in names:
            raise NameNotAdmitted(
                f"the keyword {key} of {name} is not admitted; it takes {', '.join(names)}"
            )
        if key in bound:
            raise ProgramError("TypeError", f"{name} got two values for {key!r}")
        bound[key] = value
    return bound


def needs(name: str, bound: dict[str, Value], *names: str) -> None:
    """Refuse a call that lacks arguments."""
    for wanted in names:
        if wanted not in bound:
            raise ProgramError("TypeError", f"{name} misses argument {wanted!r}")


def setting(m: Machine, value: Value, what: str = "this argument") -> Any:
    """An argument that must be known, as NumPy takes it."""
    value = m.look(value)
    if isinstance(value, Type):
        return number_type(m, value)
    if value is None or value is Ellipsis or isinstance(value, str | bool | float | np.generic):
        return value
    if isinstance(value, tuple | ListCell | range):
        return tuple(setting(m, item, what) for item in m.items(value))
    if isinstance(value, Array):
        content = m.known_array(value)
        if content is not None:
            return tuple(content.tolist()) if content.ndim == 1 else content.tolist()
    return m.integer(value, what)


_DTYPES: Final = {
    "float": FLOAT, "int": INTEGER, "bool": BOOL, "float64": FLOAT, "float32": np.dtype("f4"),
    "int64": INTEGER, "int32": np.dtype("i4"), "bool_": BOOL,
}  # fmt: skip


def number_type(m: Machine, value: Value) -> np.dtype:
    """The dtype that a type or a string names."""
    value = m.look(value)
    name = value.name if isinstance(value, Type) else value
    if isinstance(value, str):
        name = {"f8": "float64", "f4": "float32", "i8": "int64", "i4": "int32", "?": "bool"}.get(
            value.lstrip("<="), value
        )
    if isinstance(name, str) and name in _DTYPES:
        return _DTYPES[name]
    raise NameNotAdmitted(
        f"{name if isinstance(name, str) else kind_of(value)} as a number type is not admitted; "
        "use float, int or bool"
    )


def cast(m: Machine, value: Value, dtype: np.dtype) -> Value:
    """`value.astype(dtype)`."""
    value = m.array(value)
    if isinstance(value, Selection):
        return Selection(m.cast_node(value.node, dtype), value.mask, dtype)
    fixed = isinstance(value, Array) and value.buffer.fixed
    content = m.known_array(value) if isinstance(value, Array) else value
    if content is not None and not isinstance(content, Num):
        return m.of_known(known(lambda: np.asarray(content).astype(dtype)[()]), fixed)
    node, kind = m.operand(value)
    if dtype.kind in "iu" and DTYPE_OF_KIND.get(kind, kind).kind not in "iub":
        node = m.cast_node(node, dtype)
    elif dtype.kind == "b":
        node = m.graph.truth(node)
    if isinstance(value, Array):
        return m.make_array(m.cast_node(node, dtype), dtype, fixed)
    return m.of_node(node, dtype)


def as_array(m: Machine, value: Value) -> Array:
    """A value as an array, a number as one without dimensions."""
    value = m.array(value)
    if isinstance(value, Selection):
        raise ShapeError(
            "the number of entries selected by this mask depends on the state; use np.where, or "
            "reduce the selection by sum, mean, max, min, any or all"
        )
    if isinstance(value, Array):
        return value
    node, kind = m.operand(value)
    dtype = DTYPE_OF_KIND.get(kind, kind)
    content = np.asarray(value) if is_known_number(value) else m.cast_node(node, dtype)
    return m.make_array(content, dtype)


# Entry by entry -----------------------------------------------------------------------------------


@cache
def _ufunc_dtype(name: str, *kinds: Any) -> np.dtype | None:
    operands = [
        np.ones(1, kind) if isinstance(kind, np.dtype) else {"f": 1.0, "i": 1, "b": True}[kind]
        for kind in kinds
    ]
    try:
        return np.asarray(getattr(np, name)(*operands)).dtype
    except TypeError:
        return None


def ufunc(name: str) -> Call:
    """A function of single entries."""
    arity = getattr(np, name).nin

    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        bound = bind(name, ["x", "y", "out", "where"][2 - arity :] if arity == 2 else
                     ["x", "out", "where"], args, {
            {"x1": "x", "x2": "y"}.get(k, k): v for k, v in keywords.items()})  # fmt: skip
        operands = [m.array(bound[key]) for key in ("x", "y") if key in bound]
        if len(operands) != arity:
            raise ProgramError("TypeError", f"{name} takes {arity} arguments, not {len(operands)}")
        if any(isinstance(value, Selection) for value in operands):
            return _ufunc_of_selection(m, name, operands)
        result = _ufunc_value(m, name, operands)
        if "where" in bound:
            out = bound.get("out")
            if out is None:
                raise ShapeError(
                    "entries that `where` leaves out have no value without `out`; use np.where"
                )
            result = where(m, (bound["where"], result, out), {})
        return into(m, result, bound.get("out"))

    return call


def into(m: Machine, result: Value, out: Value) -> Value:
    """A result, written into `out` if there is one."""
    out = m.look(out)
    if out is None:
        if isinstance(result, Array) and result.shape == ():
            return m.of_node(m.node_of(result), result.dtype)
        return result
    if not isinstance(out, Array):
        raise ProgramError("TypeError", "return arrays must be of ArrayType")
    array = as_array(m, result)
    if array.shape != out.shape:
        raise ProgramError(
            "ValueError", f"a result of shape {array.shape} does not fit `out` of shape {out.shape}"
        )
    if not np.can_cast(array.dtype, out.dtype, "same_kind"):
        raise ProgramError("UFuncTypeError", "a float result does not fit into integers")
    m.assign_whole(out, array)
    return out


def _ufunc_value(m: Machine, name: str, operands: list[Value]) -> Value:
    fixed = any(isinstance(v, Array) and v.buffer.fixed for v in operands)
    contents = [m.known_array(v) if isinstance(v, Array) else v for v in operands]
    shapes = [v.shape if isinstance(v, Array) else () for v in operands]
    m.budget.elements(math.prod(known(np.broadcast_shapes, *shapes)))
    if not any(content is None or isinstance(content, Num) for content in contents):
        return m.of_known(known(getattr(np, name), *contents), fixed)
    pairs = [m.operand(value) for value in operands]
    node, dtype = _ufunc_node(m, name, pairs)
    return m.of_node(node, dtype, fixed)


def _ufunc_node(m: Machine, name: str, pairs: list[tuple[Node, Any]]) -> tuple[Node, np.dtype]:
    graph, op = m.graph, UFUNCS[name]
    dtype = _ufunc_dtype(name, *(kind for _, kind in pairs))
    if dtype is None:
        raise ProgramError("TypeError", f"np.{name} is not defined for these types")
    if dtype.kind not in "fib" or (dtype.itemsize < 4 and dtype.kind != "b"):
        raise ShapeError(f"np.{name} gives {dtype} here, which is not admitted; use floats")
    nodes = [node for node, _ in pairs]
    kinds = [DTYPE_OF_KIND.get(kind, kind).kind for _, kind in pairs]
    if op in ("and", "or", "xor", "not"):
        return graph.apply(op, *(graph.truth(node) for node in nodes)), BOOL
    if dtype.kind == "b" and all(kind == "b" for kind in kinds) and op in _ON_TRUTHS:
        return graph.apply(_ON_TRUTHS[op], *nodes), BOOL
    if dtype.kind == "b" and op in ("eq", "ne") and kinds == ["b", "b"]:
        node = graph.apply("xor", *nodes)
        return (node if op == "ne" else graph.apply("not", node)), BOOL
    if dtype.kind == "i" and op in ("floor", "ceil", "trunc", "rint"):
        return nodes[0], dtype
    node = graph.apply(op, *nodes)
    if dtype.kind == "i" and op in ("floordiv", "mod", "fmod"):
        zero = graph.apply("eq", nodes[1], graph.constant(0.0))
        node = graph.select(zero, graph.constant(0.0), node)
    if dtype.kind == "b" and not node.is_bool:
        node = graph.truth(node)
    if dtype.kind == "i" and op == "pow":
        m.fail_where(
            m.any_of(graph.apply("lt", nodes[1], graph.constant(0.0))), "ValueError",
            "integers to negative integer powers are not allowed",
        )  # fmt: skip
    return node, dtype


def _ufunc_of_selection(m: Machine, name: str, operands: list[Value]) -> Value:
    masks = {id(v.mask): v.mask for v in operands if isinstance(v, Selection)}
    if len(masks) > 1 or any(isinstance(v, Array) for v in operands):
        raise ShapeError("selections by different masks cannot be combined; use np.where")
    pairs = [(v.node, v.dtype) if isinstance(v, Selection) else m.operand(v) for v in operands]
    node, dtype = _ufunc_node(m, name, pairs)
    return Selection(node, next(iter(masks.values())), dtype)


# Whole arrays -------------------------------------------------------------------------------------


def library(name: str) -> Call:
    """A function of `LIBRARY`."""
    spec = LIBRARY[name].split()
    names = [part.rstrip("*") for part in spec]
    arrays = {part.rstrip("*") for part in spec if part.endswith("*")}
    first = [part.rstrip("*") for part in spec if part.endswith("*")]
    required = {"average": 1, "trapezoid": 1, "corrcoef": 1, "cov": 1, "interp": 3}.get(name)
    if required is None:
        optional = ("initial", "where", "left", "right")
        required = sum(part not in optional for part in first)

    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        bound = bind(name, names, args, keywords)
        needs(name, bound, *first[:required])
        out, dtype = bound.pop("out", None), bound.pop("dtype", None)
        given: dict[str, Any] = {}
        for key, value in bound.items():
            if key == "kind":
                if m.look(value) not in (None, "stable", "quicksort"):
                    raise NameNotAdmitted("of the kinds of sorting, 'stable' and 'quicksort' are")
                given[key] = m.look(value)
            elif key not in arrays:
                given[key] = setting(m, value, f"the argument {key}")
            elif m.look(value) is not None:
                given[key] = m.array(value)
        if any(isinstance(value, Selection) for value in given.values()):
            return of_selection(m, name, given)
        result = _library_value(m, name, given, arrays)
        if dtype is not None:
            result = cast(m, result, number_type(m, dtype))
        return result if out is None else into(m, result, out)

    return call


def _library_value(m: Machine, name: str, given: dict[str, Any], arrays: set[str]) -> Value:
    operands = {k: v for k, v in given.items() if k in arrays}
    fixed = any(isinstance(v, Array) and v.buffer.fixed for v in operands.values())
    sizes = [v.index.size for v in operands.values() if isinstance(v, Array)]
    _limit(m, name, given, sizes)
    contents = {k: m.known_array(v) if isinstance(v, Array) else v for k, v in given.items()}
    numpy_form = NUMPY_FORMS.get(name) or resolve(np, name)
    if all(contents[k] is not None and not isinstance(v, Num) for k, v in operands.items()):
        return m.of_known(_called(numpy_form, contents), fixed)
    if name == "linalg.norm":
        _check_norm(given)
    positional: list[Any] = []
    nodes: list[Node] = []
    witnesses: dict[str, Any] = {}
    for key, value in given.items():
        if key not in operands:
            positional.append((key, ("static", value)))
            witnesses[key] = value
            continue
        node, kind = m.operand(value)
        witnesses[key] = _witness(name, key, node.shape, kind, contents.get(key))
        if key != "where" and name not in ("any", "all", "count_nonzero"):
            node = m.graph.real(node)
        elif key == "where" or node.is_bool or name in ("any", "all"):
            node = m.graph.truth(node)
        positional.append((key, ("node", len(nodes))))
        nodes.append(node)
    result = _called(numpy_form, witnesses)
    if isinstance(result, tuple | list):
        raise ShapeError(f"np.{name} with several results is not admitted here")
    array = np.asarray(result)
    m.budget.elements(array.size)
    first = [part for key, part in positional if key not in _KEYWORD_ONLY]
    rest = tuple((key, part) for key, part in positional if key in _KEYWORD_ONLY)
    node = m.graph.library(
        name, (tuple(first), rest), tuple(nodes), array.shape, array.dtype == bool
    )
    if name in _SINGULAR:
        _check_singular(m, node, nodes)
    return m.of_node(node, array.dtype, fixed)


_KEYWORD_ONLY: Final = frozenset(
    "axis keepdims initial where ddof ord axes mode left right side weights assume_unique invert "
    "rtol atol equal_nan axisa axisb axisc offset axis1 axis2 n dx discont kind".split()
)


def _called(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    """Call a function of NumPy with values, positional where the parameter is an operand."""
    first = [value for key, value in given.items() if key not in _KEYWORD_ONLY]
    rest = {key: value for key, value in given.items() if key in _KEYWORD_ONLY}
    return known(function, *first, **rest)


def _witness(name: str, key: str, shape: tuple[int, ...], kind: Any, content: Any) -> Any:
    """A value of the right type and shape, to learn NumPy's type and shape of the result."""
    if isinstance(content, np.ndarray):
        return content
    if not isinstance(kind, np.dtype):
        return {"f": 1.0, "i": 1, "b": True}[kind]
    if name.startswith("linalg.") and len(shape) >= 2 and shape[-1] == shape[-2]:
        return np.broadcast_to(np.eye(shape[-1]), shape).astype(kind)
    if key in ("q",):
        return np.full(shape, 0.5)
    witness = np.ones(shape, kind)
    return witness if shape else witness[()]


def _limit(m: Machine, name: str, given: dict[str, Any], sizes: list[int]) -> None:
    """Refuse what would take too much time or memory, before NumPy or JAX begins."""
    total = sum(sizes)
    axes = given.get("axes", 0)
    if isinstance(axes, int) and abs(axes) > 16:
        raise ShapeError("more than 16 axes are not admitted")
    if name in _PRODUCTS:
        total = math.prod(size for size in sizes if size)
        if name in ("outer", "kron", "tensordot"):
            m.budget.elements(total if name != "tensordot" else 0)
    if name.startswith("linalg.") and name != "linalg.norm":
        total = max([round(size**1.5) for size in sizes], default=1) * 50
        if name == "linalg.matrix_power":
            power = abs(int(given.get("n", 1)))
            total *= max(power.bit_length(), 1)
            if power > 1000:
                raise ShapeError("a matrix power above 1,000 is not admitted")
    m.budget.work(total)


def _check_norm(given: dict[str, Any]) -> None:
    order, x = given.get("ord"), given["x"]
    if isinstance(order, str) and order not in ("fro",):
        raise NameNotAdmitted(f"the norm {order!r} is not admitted")
    two = isinstance(x, Array) and len(x.shape) == 2 and given.get("axis") is None
    if two and order in (2, -2):
        raise NameNotAdmitted("the spectral norm of a matrix is not admitted; use 'fro'")


def _check_singular(m: Machine, node: Node, operands: list[Node]) -> None:
    graph = m.graph
    bad = m.any_of(graph.apply("not", graph.apply("isfinite", node)))
    for operand in operands:
        whole = graph.apply("isfinite", operand)
        bad = graph.and_(bad, graph.not_(m.any_of(graph.apply("not", whole))))
    m.fail_where(bad, "LinAlgError", "Singular matrix")


def of_selection(m: Machine, name: str, given: dict[str, Any]) -> Value:
    """A reduction of the entries that a mask selects."""
    graph = m.graph
    value = next(iter(given.values()))
    filling = {
        "sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf, "any": 0.0, "all": 1.0,
        "count_nonzero": 0.0, "mean": 0.0, "linalg.norm": 0.0,
    }  # fmt: skip
    if name not in filling or not isinstance(value, Selection) or len(given) > 1:
        raise ShapeError(
            "the number of entries selected by this mask depends on the state; use np.where, or "
            "reduce the selection by sum, mean, max, min, any or all"
        )
    node = value.node
    if name in ("any", "all"):
        node = graph.select(value.mask, graph.truth(node), graph.constant(name == "all"))
    else:
        node = graph.select(value.mask, graph.real(node), graph.constant(filling[name]))
    template = ((("node", 0),), ())
    reduced = {"mean": "sum", "count_nonzero": "sum"}.get(name, name)
    if name == "count_nonzero":
        node = graph.real(graph.truth(node))
    is_bool = name in ("any", "all")
    result = graph.library(reduced, template, (node,), (), is_bool)
    dtype = BOOL if is_bool else value.dtype
    if (
        name in ("sum", "prod", "count_nonzero") and value.dtype.kind == "b"
    ) or name == "count_nonzero":
        dtype = INTEGER
    if name in ("mean", "linalg.norm"):
        dtype = FLOAT
    if name == "mean":
        count = graph.library("sum", template, (graph.real(value.mask),), (), False)
        result = graph.apply("div", result, count)
    if name in _EMPTY_FAILS:
        m.fail_where(
            graph.not_(m.any_of(value.mask)), "ValueError",
            f"the {name} of nothing does not exist",
        )  # fmt: skip
    return m.of_node(result, dtype)


# Moving entries -----------------------------------------------------------------------------------


def moved(name: str) -> Call:
    """A function of `MOVES`: NumPy's own, on the places of the entries."""
    names = MOVES[name].split()
    function = getattr(np, name)

    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        bound = bind(name, names, args, keywords)
        needs(name, bound, names[0])
        value = m.array(bound.pop(names[0]))
        if isinstance(value, Selection) and name in ("ravel",):
            return value
        given = {key: setting(m, part, f"the argument {key}") for key, part in bound.items()}
        array = as_array(m, value)
        _limit_move(m, name, array, given)
        if not given and name == "transpose":
            given = {}
        index = known(function, array.index, **given)
        if isinstance(index, list | tuple):
            parts = [_moved(m, array, part, name) for part in index]
            return m.make_list(parts) if isinstance(index, list) else tuple(parts)
        return _moved(m, array, index, name)

    return call


def _moved(m: Machine, array: Array, index: np.ndarray, name: str) -> Value:
    m.budget.elements(index.size)
    if np.shares_memory(index, array.index) and index.shape != ():
        readonly = array.readonly or name in ("broadcast_to", "diagonal")
        return Array(array.buffer, index, readonly)
    content = array.buffer.content
    fixed = array.buffer.fixed
    if not isinstance(content, Node):
        return m.make_array(content.reshape(-1)[index], array.dtype, fixed)
    return m.make_array(m.graph.take(content, np.asarray(index)), array.dtype, fixed)


def _limit_move(m: Machine, name: str, array: Array, given: dict[str, Any]) -> None:
    def product(value: Any) -> int:
        parts = value if isinstance(value, tuple) else (value,)
        return math.prod(max(abs(int(part)), 1) for part in parts if part is not None)

    if name == "tile":
        m.budget.elements(array.index.size * product(given.get("reps", 1)))
    elif name == "repeat":
        repeats = given.get("repeats", 1)
        times = max(repeats, default=0) if isinstance(repeats, tuple) else int(repeats)
        m.budget.elements(array.index.size * max(times, 1))
    elif name == "broadcast_to":
        m.budget.elements(product(given.get("shape", ())))
    elif name in ("split", "array_split", "hsplit", "vsplit"):
        parts = given.get("indices_or_sections", 1)
        count = len(parts) if isinstance(parts, tuple) else int(parts)
        m.budget.elements(count, "a list of arrays")
        m.budget.work(count * 50)


def filled(name: str) -> Call:
    """A function that moves entries and fills up with zeros."""
    names = _FILLED[name].split()

    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        bound = bind(name, names, args, keywords)
        needs(name, bound, names[0])
        array = as_array(m, bound.pop(names[0]))
        given = {key: setting(m, part, f"the argument {key}") for key, part in bound.items()}
        size = array.index.size
        if name == "pad":
            if given.get("mode", "constant") not in ("constant", "edge", "reflect", "wrap"):
                raise NameNotAdmitted(
                    "of the modes of np.pad, constant, edge, reflect and wrap are"
                )
            widths = np.sum(np.abs(np.asarray(given.get("pad_width", 0), dtype=object)))
            m.budget.elements((size + int(widths)) * (1 + int(widths) * (array.index.ndim - 1)))
        else:
            m.budget.elements(
                (size + abs(int(given.get("k", 0) or 0))) ** 2
                if array.index.ndim == 1 or name == "diagflat"
                else size
            )
        places = np.arange(1, size + 1).reshape(array.shape)
        index = np.asarray(known(getattr(np, name), places, **given))
        joined = m.graph.join([m.graph.constant(np.zeros(1)), m.graph.real(m.node_of(array))])
        node = m.graph.take(joined, index)
        return m.of_node(m.cast_node(node, array.dtype), array.dtype, array.buffer.fixed)

    return call


def joined(name: str) -> Call:
    """A function of `JOINS`: NumPy's own, on the places of the entries."""
    names = JOINS[name].split()

    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        bound = bind(name, names, args, keywords)
        needs(name, bound, names[0])
        items = m.items(bound.pop(names[0]))
        given = {key: setting(m, part, f"the argument {key}") for key, part in bound.items()}
        return put_together(m, getattr(np, name), [as_array(m, item) for item in items], given)

    return call


def put_together(
    m: Machine, function: Callable[..., Any], arrays: list[Array], given: dict[str, Any]
) -> Value:
    """Several arrays in one, as a function of NumPy places them."""
    m.budget.elements(sum(array.index.size for array in arrays))
    m.budget.work(50 * len(arrays))
    places, nodes, start = [], [], 0
    for array in arrays:
        size = array.index.size
        places.append(np.arange(start, start + size).reshape(array.shape))
        nodes.append(m.node_of(array))
        start += size
    index = known(function, places, **given)
    dtype = np.result_type(*(array.dtype for array in arrays)) if arrays else FLOAT
    fixed = any(array.buffer.fixed for array in arrays)
    node = m.graph.take(m.graph.join(nodes), index)
    return m.make_array(m.cast_node(node, dtype), dtype, fixed)


# Making arrays ------------------------------------------------------------------------------------


def _array(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("array", ["object", "dtype", "copy", "ndmin"], args, keywords)
    needs("array", bound, "object")
    return converted(
        m, bound["object"], bound.get("dtype"), setting(m, bound.get("ndmin", 0)), True
    )


def _asarray(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("asarray", ["a", "dtype"], args, keywords)
    needs("asarray", bound, "a")
    return converted(m, bound["a"], bound.get("dtype"), 0, False)


def converted(m: Machine, value: Value, dtype: Value, ndmin: int, copy: bool) -> Value:
    """np.array and np.asarray."""
    value = m.array(value)
    wanted = None if m.look(dtype) is None else number_type(m, dtype)
    if isinstance(value, Selection):
        return value if wanted is None else cast(m, value, wanted)
    array = as_array(m, value)
    if wanted is not None and array.dtype != wanted:
        result = cast(m, array, wanted)
        array = as_array(m, result)
    elif copy and array is value:
        array = copied(m, array)
    if ndmin > 16:
        raise ShapeError("an array of more than 16 dimensions is not admitted")
    if ndmin > len(array.shape):
        return Array(
            array.buffer, array.index.reshape((1,) * (ndmin - len(array.shape)) + array.shape)
        )
    return array


def copied(m: Machine, array: Array) -> Array:
    """A copy of an array."""
    content = m.known_array(array)
    new = m.node_of(array) if content is None else content.copy()
    return m.make_array(new, array.dtype, array.buffer.fixed)


def _shape(m: Machine, value: Value) -> tuple[int, ...]:
    shape = setting(m, value, "a shape")
    shape = shape if isinstance(shape, tuple) else (shape,)
    for length in shape:
        if not isinstance(length, int | np.integer) or isinstance(length, bool):
            raise ProgramError("TypeError", "a shape must be of integers")
        if length < 0:
            raise ProgramError("ValueError", "negative dimensions are not allowed")
    if len(shape) > 16:
        raise ShapeError("an array of more than 16 dimensions is not admitted")
    m.budget.elements(math.prod(int(length) for length in shape))
    return shape


def _filled_with(name: str, number: float) -> Call:
    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        bound = bind(name, ["shape", "dtype"], args, keywords)
        needs(name, bound, "shape")
        dtype = FLOAT if m.look(bound.get("dtype")) is None else number_type(m, bound["dtype"])
        return m.make_array(np.full(_shape(m, bound["shape"]), number, dtype), dtype)

    return call


def _full(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("full", ["shape", "fill_value", "dtype"], args, keywords)
    needs("full", bound, "shape", "fill_value")
    value = as_array(m, bound["fill_value"])
    dtype = value.dtype if m.look(bound.get("dtype")) is None else number_type(m, bound["dtype"])
    return _spread(m, value, _shape(m, bound["shape"]), dtype)


def _spread(m: Machine, value: Array, shape: tuple[int, ...], dtype: np.dtype) -> Value:
    index = known(np.broadcast_to, np.arange(value.index.size).reshape(value.shape), shape)
    node = m.graph.take(m.node_of(value), np.ascontiguousarray(index))
    if DTYPE_OF_KIND.get(value.dtype.kind) != dtype:
        node = m.cast_node(node, dtype)
    return m.make_array(node, dtype)


def _like(name: str, number: float | None) -> Call:
    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        names = ["a", "dtype"] if number is not None else ["a", "fill_value", "dtype"]
        bound = bind(name, names, args, keywords)
        needs(name, bound, *names[:-1])
        array = as_array(m, bound["a"])
        dtype = (
            array.dtype if m.look(bound.get("dtype")) is None else number_type(m, bound["dtype"])
        )
        if number is None:
            return _spread(m, as_array(m, bound["fill_value"]), array.shape, dtype)
        return m.make_array(np.full(array.shape, number, dtype), dtype)

    return call


def _known_maker(name: str, names: str) -> Call:
    """arange, linspace, eye: of known numbers, or (linspace) between numbers of the state."""

    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        bound = bind(name, names.split(), args, keywords)
        values = {k: m.look(v) for k, v in bound.items()}
        if name == "linspace" and any(
            m.plain_number(values.get(k)) is not None and isinstance(values.get(k), Num)
            for k in ("start", "stop")
        ):
            return _traced_linspace(m, values)
        given = {k: setting(m, v, f"the argument {k}") for k, v in values.items()}
        _limit_maker(m, name, given)
        positional = list(names.split())[: len(args)]
        rest = {k: v for k, v in given.items() if k not in positional}
        return m.of_known(known(getattr(np, name), *(given[k] for k in positional), **rest))

    return call


def _limit_maker(m: Machine, name: str, given: dict[str, Any]) -> None:
    numbers = {k: v for k, v in given.items() if isinstance(v, int | float | np.number)}
    if name == "arange":
        start, stop = numbers.get("start", 0), numbers.get("stop")
        if stop is None:
            start, stop = 0, start
        step = numbers.get("step", 1) or 1
        length = (stop - start) / step
        m.budget.elements(int(min(max(length, 0), 1e12)) if math.isfinite(length) else 10**12)
    elif name in ("eye", "identity", "tri"):
        rows = int(numbers.get("N", numbers.get("n", 1)))
        m.budget.elements(rows * int(numbers.get("M", rows)))
    else:
        ends = [len(end) for end in given.values() if isinstance(end, tuple | list)]
        m.budget.elements(int(numbers.get("num", 50)) * max(ends, default=1))


def _traced_linspace(m: Machine, values: dict[str, Value]) -> Value:
    num = m.integer(values.get("num", 50), "the number of points")
    end = setting(m, values.get("endpoint", True))
    if set(values) - {"start", "stop", "num", "endpoint"}:
        raise NameNotAdmitted("np.linspace of the state takes start, stop, num and endpoint")
    m.budget.elements(num)
    steps = m.make_array(known(np.linspace, 0.0, 1.0, num, endpoint=end), FLOAT)
    span = m.binary("-", values["stop"], values["start"])
    return m.binary("+", values["start"], m.binary("*", steps, span))


# Choosing -----------------------------------------------------------------------------------------


def where(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    """np.where with three arguments."""
    bound = bind("where", ["condition", "x", "y"], args, keywords)
    if len(bound) == 1:
        condition = m.array(bound["condition"])
        content = m.known_array(condition) if isinstance(condition, Array) else None
        if content is not None:
            return m.of_known(known(np.where, content))
        raise ShapeError(
            "np.where with a condition alone gives as many indices as there are hits; "
            "use np.where(condition, a, b)"
        )
    needs("where", bound, "condition", "x", "y")
    condition, then, other = (m.array(bound[key]) for key in ("condition", "x", "y"))
    if any(isinstance(v, Selection) for v in (condition, then, other)):
        raise ShapeError("a selection by a mask has no fixed size; use the whole arrays")
    fixed = any(isinstance(v, Array) and v.buffer.fixed for v in (condition, then, other))
    nodes = [m.operand(value) for value in (condition, then, other)]
    shape = known(np.broadcast_shapes, *(node.shape for node, _ in nodes))
    m.budget.elements(math.prod(shape))
    dtype = _where_dtype(nodes[1][1], nodes[2][1])
    test = m.graph.truth(nodes[0][0])
    chosen = m.graph.select(m.settle(test) if test.shape == () else test, nodes[1][0], nodes[2][0])
    if chosen.shape != shape:
        index = np.broadcast_to(np.arange(chosen.size).reshape(chosen.shape), shape)
        chosen = m.graph.take(chosen, np.ascontiguousarray(index))
    if chosen.is_bool and dtype.kind != "b":
        chosen = m.graph.real(chosen)
    return m.make_array(chosen, dtype, fixed)


@cache
def _where_dtype(first: Any, second: Any) -> np.dtype:
    witnesses = [
        np.ones(1, kind) if isinstance(kind, np.dtype) else {"f": 1.0, "i": 1, "b": True}[kind]
        for kind in (first, second)
    ]
    return np.where(True, *witnesses).dtype


def clip(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    """np.clip."""
    renamed = {{"min": "a_min", "max": "a_max"}.get(k, k): v for k, v in keywords.items()}
    bound = bind("clip", ["a", "a_min", "a_max", "out"], args, renamed)
    needs("clip", bound, "a")
    value = bound["a"]
    for key, name in (("a_min", "maximum"), ("a_max", "minimum")):
        if m.look(bound.get(key)) is not None:
            value = ufunc(name)(m, (value, bound[key]), {})
    if value is bound["a"]:
        value = m.array(value)
    return into(m, value, bound.get("out")) if "out" in bound else value


def _select(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("select", ["condlist", "choicelist", "default"], args, keywords)
    needs("select", bound, "condlist", "choicelist")
    conditions, choices = m.items(bound["condlist"]), m.items(bound["choicelist"])
    if len(conditions) != len(choices) or not conditions:
        raise ProgramError("ValueError", "list of cases must be same length as list of conditions")
    for condition in conditions:
        value = m.array(condition)
        kind = m.operand(value)[1]
        if DTYPE_OF_KIND.get(kind, kind).kind != "b":
            raise ProgramError("TypeError", "the conditions of np.select must be truths")
    result = bound.get("default", 0)
    for condition, choice in reversed(list(zip(conditions, choices, strict=True))):
        result = where(m, (condition, choice, result), {})
    return result


def _choose(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("choose", ["a", "choices"], args, keywords)
    needs("choose", bound, "a", "choices")
    choices = m.items(bound["choices"])
    index = m.array(bound["a"])
    if isinstance(index, Array) and index.shape != ():
        raise ShapeError("np.choose of an array of places is not admitted; use np.select")
    number = m.number(index)
    assert number is not None
    dtype = np.result_type(*(as_array(m, choice).dtype for choice in choices))
    result = m.getitem(m.make_list(choices), Num(number.node, "i", False))
    return cast(m, result, dtype)


def _piecewise(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("piecewise", ["x", "condlist", "funclist"], args, keywords)
    needs("piecewise", bound, "x", "condlist", "funclist")
    x = as_array(m, bound["x"])
    conditions = m.items(bound["condlist"])
    functions = m.items(bound["funclist"])
    if len(functions) not in (len(conditions), len(conditions) + 1):
        raise ProgramError("ValueError", "with n conditions, n or n + 1 functions are expected")

    def valued(function: Value) -> Value:
        number = m.plain_number(m.look(function))
        return function if number is not None else m.call(function, (x,), {})

    result: Value = 0.0
    if len(functions) > len(conditions):
        result = valued(functions[-1])
    for condition, function in zip(conditions, functions, strict=False):
        result = where(m, (condition, valued(function), result), {})
    return cast(m, result, x.dtype)


def vectorize(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    """np.vectorize: a function over the entries of its arguments."""
    bound = bind("vectorize", ["pyfunc", "otypes"], args, keywords)
    needs("vectorize", bound, "pyfunc")
    function = bound["pyfunc"]
    wanted = None
    if "otypes" in bound:
        wanted = number_type(m, m.items(bound["otypes"])[0])

    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        if keywords:
            raise NameNotAdmitted("a vectorized function takes positional arguments only")
        arrays = [as_array(m, arg) for arg in args]
        shape = known(np.broadcast_shapes, *(array.shape for array in arrays))
        m.budget.elements(math.prod(shape), "a list")
        if math.prod(shape) == 0:
            raise ProgramError("ValueError", "a vectorized function needs entries")
        flat = []
        for array in arrays:
            index = np.broadcast_to(array.index, shape).reshape(-1)
            flat.append([m.part(Array(array.buffer, index), k) for k in range(len(index))])
        strict, m.strict_kinds = m.strict_kinds, wanted is None
        try:
            results = [m.call(function, entries, {}) for entries in zip(*flat, strict=True)]
        finally:
            m.strict_kinds = strict
        numbers = [m.number(result) for result in results]
        if any(number is None for number in numbers):
            raise ShapeError("a vectorized function must return a number")
        if wanted is None and len({n.kind for n in numbers if n is not None}) > 1:
            raise ShapeError("a vectorized function must return floats only, or integers only")
        result = as_array(m, m.make_list(results))
        if wanted is not None:
            result = as_array(m, cast(m, result, wanted))
        reshaped = Array(result.buffer, result.index.reshape(shape))
        return reshaped if shape else m.part(reshaped, ())

    return Builtin("vectorized", call)


# Others -------------------------------------------------------------------------------------------


def around(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    """np.round."""
    bound = bind("round", ["a", "decimals"], args, keywords)
    needs("round", bound, "a")
    decimals = m.integer(bound.get("decimals", 0), "the number of decimals")
    value = m.array(bound["a"])
    content = m.known_array(value) if isinstance(value, Array) else value
    if content is not None and not isinstance(content, Num | Selection):
        return m.of_known(known(np.round, content, decimals))
    if abs(decimals) > 30:
        raise ShapeError("more than 30 decimals are not admitted")
    kind: Any
    node, kind = (value.node, value.dtype) if isinstance(value, Selection) else m.operand(value)
    dtype = DTYPE_OF_KIND.get(kind, kind)
    if dtype.kind == "b":
        raise ShapeError("np.round of truths is not admitted")
    factor = m.graph.constant(10.0 ** abs(decimals))
    if dtype.kind == "f" or decimals < 0:
        up, down = ("mul", "div") if decimals >= 0 else ("div", "mul")
        if decimals == 0:
            node = m.graph.apply("rint", node)
        else:
            node = m.graph.apply(
                down, m.graph.apply("rint", m.graph.apply(up, node, factor)), factor
            )
    if isinstance(value, Selection):
        return Selection(node, value.mask, dtype)
    return m.of_node(node, dtype, isinstance(value, Array) and value.buffer.fixed)


def _nan_to_num(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("nan_to_num", ["x", "copy", "nan", "posinf", "neginf"], args, keywords)
    needs("nan_to_num", bound, "x")
    if m.look(bound.get("copy", True)) is not True:
        raise NameNotAdmitted("the keyword copy of nan_to_num is not admitted")
    value = m.array(bound["x"])
    node, kind = m.operand(value)
    dtype = DTYPE_OF_KIND.get(kind, kind)
    if dtype.kind != "f":
        return value
    graph = m.graph
    largest = float(np.finfo(np.float64).max)
    replaced = node
    for key, op, default in (
        ("posinf", "gt", largest), ("neginf", "lt", -largest), ("nan", "isnan", 0.0)
    ):  # fmt: skip
        number = m.look(bound.get(key))
        limit = graph.constant(3.4e38 if op == "gt" else -3.4e38)
        test = graph.apply("isinf", node)
        if op == "isnan":
            test = graph.apply("isnan", node)
        else:
            test = graph.apply("and", test, graph.apply(op, node, limit))
        new = graph.constant(default) if number is None else m.operand(m.array(number))[0]
        replaced = graph.select(test, new, replaced)
    fixed = isinstance(value, Array) and value.buffer.fixed
    return m.of_node(replaced, dtype, fixed)


def _angle(name: str, factor: float) -> Call:
    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        bound = bind(name, ["x"], args, keywords)
        needs(name, bound, "x")
        value = m.array(bound["x"])
        content = m.known_array(value) if isinstance(value, Array) else value
        if content is not None and not isinstance(content, Num | Selection):
            return m.of_known(known(getattr(np, name), content))
        if m.plain_number(value) is not None:
            value = cast(m, value, FLOAT)
        return m.binary("*", value, factor)

    return call


def _einsum(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    if keywords or not args or not isinstance(m.look(args[0]), str):
        raise NameNotAdmitted("np.einsum is admitted with a string and arrays only")
    subscripts = m.look(args[0])
    arrays = [as_array(m, arg) for arg in args[1:]]
    letters: dict[str, int] = {}
    terms = subscripts.replace(" ", "").split("->")[0].split(",")
    for term, array in zip(terms, arrays, strict=False):
        letters.update(zip(term.replace(".", ""), array.shape, strict=False))
    m.budget.work(math.prod(letters.values()))
    witness = np.asarray(known(np.einsum, subscripts, *(np.ones(a.shape, a.dtype) for a in arrays)))
    m.budget.elements(witness.size)
    nodes = [m.graph.real(m.node_of(array)) for array in arrays]
    template = ((("static", subscripts), *(("node", k) for k in range(len(nodes)))), ())
    if all(node.op == "const" for node in nodes):
        return m.of_known(known(np.einsum, subscripts, *(m.known_array(a) for a in arrays)))
    node = m.graph.library("einsum", template, tuple(nodes), witness.shape, False)
    return m.of_node(node, witness.dtype)


def _shape_facts(name: str) -> Call:
    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        bound = bind(name, ["a", "axis"] if name == "size" else ["a"], args, keywords)
        needs(name, bound, "a")
        value = m.array(bound["a"])
        if isinstance(value, Selection) and name == "size":
            return m.count([(p, None) for p, _ in m.settled(value)])
        shape = as_array(m, value).shape
        if name == "size" and bound.get("axis") is not None:
            return known(lambda: shape[m.integer(bound["axis"], "an axis")])
        return {"shape": shape, "ndim": len(shape), "size": math.prod(shape)}[name]

    return call


def _isscalar(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("isscalar", ["element"], args, keywords)
    return m.plain_number(m.look(bound["element"])) is not None or isinstance(args[0], str)


def _copy(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("copy", ["a"], args, keywords)
    return converted(m, bound["a"], None, 0, True)


def _append(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("append", ["arr", "values", "axis"], args, keywords)
    needs("append", bound, "arr", "values")
    arrays = [as_array(m, bound["arr"]), as_array(m, bound["values"])]
    axis = setting(m, bound.get("axis"))
    if axis is None:
        arrays = [Array(a.buffer, a.index.reshape(-1)) for a in arrays]
    return put_together(m, np.concatenate, arrays, {"axis": axis or 0})


def _take(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("take", ["a", "indices", "axis"], args, keywords)
    needs("take", bound, "a", "indices")
    array = as_array(m, bound["a"])
    axis = setting(m, bound.get("axis"))
    if axis is None:
        array = Array(array.buffer, array.index.reshape(-1))
    elif axis != 0:
        raise ShapeError("np.take along another axis than the first is not admitted; index instead")
    return m.part(array, as_array(m, bound["indices"]))


def _fill_diagonal(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("fill_diagonal", ["a", "val"], args, keywords)
    array = m.look(bound["a"])
    if (
        not isinstance(array, Array)
        or len(array.shape) != 2
        or m.plain_number(m.look(bound["val"])) is None
    ):
        raise ShapeError("np.fill_diagonal is admitted for a matrix and a number")
    for k in range(min(array.shape)):
        m.setitem(array, (k, k), bound["val"])
    return None


def _meshgrid(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("meshgrid", ["indexing"], (), keywords)
    indexing = setting(m, bound.get("indexing", "xy"))
    arrays = [as_array(m, arg) for arg in args]
    m.budget.elements(math.prod(max(a.index.size, 1) for a in arrays))
    places = known(np.meshgrid, *(np.arange(a.index.size) for a in arrays), indexing=indexing)
    pairs = zip(arrays, places, strict=True)
    return tuple(m.make_array(m.graph.take(m.node_of(a), i), a.dtype) for a, i in pairs)


def _ix(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    if keywords:
        raise NameNotAdmitted("np.ix_ takes no keywords")
    arrays = [as_array(m, arg) for arg in args]
    m.budget.elements(math.prod(a.index.size for a in arrays))
    parts = [m.known_array(array) for array in arrays]
    if any(part is None for part in parts):
        raise ShapeError("the places of np.ix_ must be known")
    return m.of_known(known(np.ix_, *parts))


def _fromiter(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("fromiter", ["iter", "dtype"], args, keywords)
    needs("fromiter", bound, "iter", "dtype")
    return converted(m, m.make_list(m.items(bound["iter"])), bound["dtype"], 0, False)


def _unique(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("unique", ["ar"], args, keywords)
    content = m.known_array(as_array(m, bound["ar"]))
    if content is None:
        raise ShapeError("how many different entries there are depends on the state")
    return m.of_known(known(np.unique, content))


def _lstsq(name: str, reason: str) -> Call:
    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        raise NameNotAdmitted(f"np.{name} is not admitted: {reason}")

    return call


def _svd(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    bound = bind("linalg.svd", ["a", "full_matrices", "compute_uv"], args, keywords)
    needs("linalg.svd", bound, "a")
    if m.look(bound.get("compute_uv", True)) is not False:
        raise NameNotAdmitted(
            "np.linalg.svd is admitted with compute_uv=False, for the singular values only"
        )
    array = as_array(m, bound["a"])
    content = m.known_array(array)
    if content is not None:
        m.budget.work(round(content.size**1.5) * 50)
        return m.of_known(known(np.linalg.svd, content, compute_uv=False))
    m.budget.work(round(array.index.size**1.5) * 50)
    shape = known(np.linalg.svd, np.ones(array.shape), compute_uv=False).shape
    template = ((("node", 0),), (("compute_uv", ("static", False)),))
    node = m.graph.library("linalg.svd", template, (m.graph.real(m.node_of(array)),), shape, False)
    return m.of_node(node, FLOAT)


def _context(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    from reward_codegen.language.values import CONTEXT

    allowed = {"all", "divide", "over", "under", "invalid", "precision", "suppress", "linewidth"}
    for key, value in keywords.items():
        if key not in allowed:
            raise NameNotAdmitted(f"the keyword {key} is not admitted here")
        if m.look(value) in ("raise", "call"):
            raise NameNotAdmitted("floating-point errors that raise are not admitted")
    return CONTEXT


def _finfo(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    info = np.finfo(number_type(m, args[0]) if args else FLOAT)
    names = ("eps", "max", "min", "tiny", "smallest_normal", "resolution")
    return m.record("finfo", {name: getattr(info, name) for name in names})


def _iinfo(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    info = np.iinfo(number_type(m, args[0]))
    return m.record("iinfo", {"max": int(info.max), "min": int(info.min)})


def _issubdtype(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
    kind = number_type(m, args[0]).kind
    wanted = m.look(args[1])
    groups = {"generic": "fiub", "number": "fiu", "floating": "f", "integer": "iu"}
    if isinstance(wanted, Type) and wanted.name in groups:
        return kind in groups[wanted.name]
    return kind == number_type(m, wanted).kind


def ufunc_method(name: str, method: str) -> Builtin:
    """np.add.reduce and its like."""
    reductions = {
        "add": ("sum", "cumsum"), "multiply": ("prod", "cumprod"), "maximum": ("max", None),
        "minimum": ("min", None), "logical_and": ("all", None), "logical_or": ("any", None),
    }  # fmt: skip
    reduction, accumulation = reductions.get(name, (None, None))
    path = {"reduce": reduction, "accumulate": accumulation, "outer": name}.get(method)
    if path is None or (method == "outer" and getattr(np, name).nin != 2):
        raise NameNotAdmitted(f"np.{name} has no admitted method `{method}`; write a loop")

    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        if method != "outer":
            bound = bind(f"{name}.{method}", ["array", "axis"], args, keywords)
            return library(path)(m, (bound["array"],), {"axis": bound.get("axis", 0)})
        bind(f"{name}.outer", ["A", "B"], args, keywords)
        left, right = (as_array(m, arg) for arg in args)
        shape = left.shape + (1,) * len(right.shape)
        m.budget.elements(left.index.size * right.index.size)
        return ufunc(path)(m, (Array(left.buffer, left.index.reshape(shape)), right), {})

    return Builtin(f"{name}.{method}", call)


def indexer(name: str, parts: Value) -> Call:
    """np.r_[...] and np.c_[...]."""

    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        items = args[0] if isinstance(args[0], tuple) else (args[0],)
        arrays = []
        for item in items:
            item = m.look(item)
            if isinstance(item, str):
                raise NameNotAdmitted(f"np.{name} with a string is not admitted")
            if isinstance(item, slice):
                bounds = [setting(m, part) for part in (item.start, item.stop, item.step)]
                given = {"start": bounds[0] or 0, "stop": bounds[1], "step": bounds[2] or 1}
                if any(isinstance(part, complex) for part in bounds) or bounds[1] is None:
                    raise ShapeError(f"a slice of np.{name} needs a stop")
                _limit_maker(m, "arange", given)
                arrays.append(m.of_known(known(np.arange, *given.values())))
            else:
                array = as_array(m, item)
                arrays.append(Array(array.buffer, np.atleast_1d(array.index)))
        function = np.concatenate if name == "r_" else np.column_stack
        return put_together(m, function, arrays, {})

    return call


MAKERS: Final[dict[str, str]] = {
    "arange": "start stop step dtype", "linspace": "start stop num endpoint retstep dtype",
    "logspace": "start stop num endpoint base", "geomspace": "start stop num endpoint",
    "eye": "N M k", "identity": "n", "tri": "N M k",
}  # fmt: skip
SPECIAL: Final[dict[str, tuple[str, Call]]] = {
    "array": ("object dtype copy ndmin", _array), "asarray": ("a dtype", _asarray),
    "asanyarray": ("a dtype", _asarray), "ascontiguousarray": ("a dtype", _asarray),
    "zeros": ("shape dtype", _filled_with("zeros", 0.0)),
    "ones": ("shape dtype", _filled_with("ones", 1.0)),
    "empty": ("shape dtype", _filled_with("empty", 0.0)), "full": ("shape fill_value dtype", _full),
    "zeros_like": ("a dtype", _like("zeros_like", 0.0)),
    "ones_like": ("a dtype", _like("ones_like", 1.0)),
    "empty_like": ("a dtype", _like("empty_like", 0.0)),
    "full_like": ("a fill_value dtype", _like("full_like", None)),
    "where": ("condition x y", where), "clip": ("a a_min a_max out min max", clip),
    "select": ("condlist choicelist default", _select), "choose": ("a choices", _choose),
    "piecewise": ("x condlist funclist", _piecewise), "vectorize": ("pyfunc otypes", vectorize),
    "round": ("a decimals", around), "around": ("a decimals", around),
    "nan_to_num": ("x nan posinf neginf", _nan_to_num),
    "deg2rad": ("x", _angle("deg2rad", math.pi / 180)),
    "radians": ("x", _angle("radians", math.pi / 180)),
    "rad2deg": ("x", _angle("rad2deg", 180 / math.pi)),
    "degrees": ("x", _angle("degrees", 180 / math.pi)),
    "einsum": ("subscripts operands", _einsum), "shape": ("a", _shape_facts("shape")),
    "ndim": ("a", _shape_facts("ndim")), "size": ("a axis", _shape_facts("size")),
    "isscalar": ("element", _isscalar), "copy": ("a", _copy),
    "append": ("arr values axis", _append), "take": ("a indices axis", _take),
    "fill_diagonal": ("a val", _fill_diagonal), "meshgrid": ("arrays indexing", _meshgrid),
    "ix_": ("arrays", _ix), "fromiter": ("iter dtype", _fromiter), "unique": ("ar", _unique),
    "linalg.svd": ("a full_matrices compute_uv", _svd),
    "errstate": ("all divide over under invalid", _context),
    "seterr": ("all divide over under invalid", _context),
    "set_printoptions": ("precision suppress linewidth", _context),
    "finfo": ("dtype", _finfo), "iinfo": ("dtype", _iinfo),
    "issubdtype": ("arg1 arg2", _issubdtype),
}  # fmt: skip


def functions() -> dict[str, Builtin]:
    """All functions of NumPy that are admitted, by their path below `numpy`."""
    calls: dict[str, Call] = {name: ufunc(name) for name in UFUNCS}
    calls |= {name: library(name) for name in LIBRARY}
    calls |= {name: moved(name) for name in MOVES}
    calls |= {name: filled(name) for name in _FILLED}
    calls |= {name: joined(name) for name in JOINS}
    calls |= {name: _known_maker(name, names) for name, names in MAKERS.items()}
    calls |= {name: call for name, (_, call) in SPECIAL.items()}
    found = {name: Builtin(name, call) for name, call in calls.items()}
    return found | {other: found[name] for other, name in _OTHER_NAMES.items()}


def signatures() -> dict[str, str]:
    """The parameters of each function, for the page of the documentation."""
    found = {name: " ".join(["x"] * getattr(np, name).nin) + " out where" for name in UFUNCS}
    found |= {name: spec.replace("*", "") for name, spec in LIBRARY.items()}
    found |= MOVES | _FILLED | JOINS | MAKERS
    found |= {name: spec for name, (spec, _) in SPECIAL.items()}
    return found | {other: found[name] for other, name in _OTHER_NAMES.items()}
