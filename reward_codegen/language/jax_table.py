"""The admitted functions of `jax`, `jax.lax`, `jax.nn` and `jax.scipy.special`."""

from typing import Any, Final

import numpy as np

from reward_codegen.errors import NameNotAdmitted, ShapeError
from reward_codegen.language import loops, numpy_table
from reward_codegen.language.graph import Node
from reward_codegen.language.numpy_table import bind, needs
from reward_codegen.language.operators import FLOAT
from reward_codegen.language.values import (
    Array,
    Builtin,
    Machine,
    ProgramError,
    Type,
    Value,
    is_known_number,
)

Args = tuple[Value, ...]
Keywords = dict[str, Value]
AT_METHODS: Final = frozenset("set add multiply divide min max get".split())


class At:
    """x.at and x.at[...]."""

    def __init__(self, array: Array, index: Value) -> None:
        self.array = array
        self.index = index


def at_method(at: At, name: str) -> Builtin:
    """x.at[...].set(value) and its like."""
    if name not in AT_METHODS:
        raise NameNotAdmitted(f"the method {name} of x.at is not admitted")

    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        if name == "get":
            bind("at.get", [], args, keywords)
            return m.getitem(at.array, at.index)
        bound = bind(f"at.{name}", ["values"], args, keywords)
        needs(f"at.{name}", bound, "values")
        value = bound["values"]
        old = m.getitem(at.array, at.index) if name != "set" else None
        if name in ("add", "multiply", "divide"):
            _check_once(m, at)
            value = m.binary({"add": "+", "multiply": "*", "divide": "/"}[name], old, value)
        elif name in ("min", "max"):
            _check_once(m, at)
            value = numpy_table.ufunc({"min": "minimum", "max": "maximum"}[name])(
                m, (old, value), {}
            )
        copy = numpy_table.copied(m, at.array)
        copy.buffer.fixed = False
        m.setitem(copy, at.index, value)
        copy.buffer.fixed = True
        return copy

    return Builtin("at_method", call)


def _check_once(m: Machine, at: At) -> None:
    """JAX adds twice where an index stands twice, unlike NumPy's +=."""
    parts = m._parts(at.index)
    if any(
        isinstance(p, np.ndarray) and p.dtype != bool and p.size != np.unique(p).size for p in parts
    ):
        raise ShapeError("an index that stands twice in x.at[...] is not admitted")


def _cond(m: Machine, args: Args, keywords: Keywords) -> Value:
    if keywords or len(args) < 3:
        raise NameNotAdmitted("lax.cond takes a condition, two functions and operands")
    condition, then, other, *operands = args
    run = tuple(operands)
    return m.branch(
        m.truth(condition), lambda: m.call(then, run, {}), lambda: m.call(other, run, {})
    )


def _select(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("lax.select", ["pred", "on_true", "on_false"], args, keywords)
    return numpy_table.where(m, (bound["pred"], bound["on_true"], bound["on_false"]), {})


def _switch(m: Machine, args: Args, keywords: Keywords) -> Value:
    if keywords or len(args) < 2:
        raise NameNotAdmitted("lax.switch takes an index, functions and operands")
    index, branches, *operands = args
    functions = m.items(branches)

    def run(place: int) -> Value:
        if place == len(functions) - 1:
            return m.call(functions[place], tuple(operands), {})
        here = m.truth(m.binary("<=", index, place))
        return m.branch(
            here, lambda: m.call(functions[place], tuple(operands), {}), lambda: run(place + 1)
        )

    return run(0)


def _fori_loop(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("lax.fori_loop", ["lower", "upper", "body_fun", "init_val"], args, keywords)
    needs("lax.fori_loop", bound, "lower", "upper", "body_fun", "init_val")
    low = m.integer(bound["lower"], "the lower bound of fori_loop")
    high = m.integer(bound["upper"], "the upper bound of fori_loop")
    value = bound["init_val"]
    m.budget.elements(max(high - low, 0), "a range")
    for index in range(low, high):
        m.budget.step()
        value = m.call(bound["body_fun"], (index, value), {})
    return value


def _while_loop(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("lax.while_loop", ["cond_fun", "body_fun", "init_val"], args, keywords)
    needs("lax.while_loop", bound, "cond_fun", "body_fun", "init_val")
    carry = m.make_list([bound["init_val"]])

    def test() -> Any:
        return m.truth(m.call(bound["cond_fun"], (m.getitem(carry, 0),), {}))

    def body() -> None:
        m.setitem(carry, 0, m.call(bound["body_fun"], (m.getitem(carry, 0),), {}))

    assert m.at is not None
    loops.while_loop(m, test, body, lambda: None, m.at)
    return m.getitem(carry, 0)


def _scan(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("lax.scan", ["f", "init", "xs", "length"], args, keywords)
    needs("lax.scan", bound, "f", "init")
    carry, outputs = bound["init"], []
    xs = m.look(bound.get("xs"))
    if xs is None:
        length = m.integer(bound.get("length"), "a length")
        m.budget.elements(max(length, 0), "a range")
        rows: Any = (None,) * length
    elif isinstance(xs, tuple):
        columns = [m.items(part) for part in xs]
        rows = list(zip(*columns, strict=True))
    else:
        rows = m.items(xs)
    for item in rows:
        m.budget.step()
        pair = m.items(m.call(bound["f"], (carry, item), {}))
        if len(pair) != 2:
            raise ProgramError("TypeError", "the function of lax.scan returns a pair")
        carry = pair[0]
        outputs.append(pair[1])
    if any(output is None for output in outputs):
        return (carry, None)
    return (carry, fixed(m, numpy_table.as_array(m, m.make_list(outputs))))


def fixed(m: Machine, value: Value) -> Value:
    """An array as JAX gives it: it cannot be changed in place."""
    if isinstance(value, Array) and not value.buffer.fixed:
        copy = numpy_table.copied(m, value)
        copy.buffer.fixed = True
        return copy
    if isinstance(value, tuple):
        return tuple(fixed(m, part) for part in value)
    return value


def jnp(builtin: Builtin) -> Builtin:
    """A function of NumPy under its name in `jax.numpy`."""

    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        return fixed(m, builtin.call(m, args, keywords))

    return Builtin(builtin.name, call)


def _jit(m: Machine, args: Args, keywords: Keywords) -> Value:
    """jax.jit: everything is compiled anyway."""
    for key in keywords:
        if key not in ("static_argnums", "static_argnames", "inline", "maxsize"):
            raise NameNotAdmitted(f"the keyword {key} of this decorator is not admitted")
    return args[0] if args and not is_known_number(args[0]) else Builtin("jit", _jit)


JIT: Final = Builtin("jit", _jit)


def _vmap(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("jax.vmap", ["fun"], args, keywords)
    needs("jax.vmap", bound, "fun")
    function = bound["fun"]

    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        if keywords:
            raise NameNotAdmitted("a mapped function takes positional arguments only")
        columns = [m.items(arg) for arg in args]
        results = [m.call(function, row, {}) for row in zip(*columns, strict=True)]
        return fixed(m, numpy_table.as_array(m, m.make_list(results)))

    return Builtin("vmapped", call)


def _map(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("lax.map", ["f", "xs"], args, keywords)
    return _vmap(m, (bound["f"],), {}).call(m, (bound["xs"],), {})


def _one_hot(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("nn.one_hot", ["x", "num_classes"], args, keywords)
    count = m.integer(bound["num_classes"], "the number of classes")
    m.budget.elements(max(count, 0))
    array = numpy_table.as_array(m, bound["x"])
    column = Array(array.buffer, array.index.reshape((*array.shape, 1)))
    equal = m.binary("==", column, m.make_array(np.arange(count), np.dtype(int)))
    return fixed(m, numpy_table.cast(m, equal, FLOAT))


def _entrywise(name: str, parameters: str = "x") -> Builtin:
    """A function of `jax.nn` or `jax.lax` made of the operations of the graph."""

    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        bound = bind(name, parameters.split(), args, keywords)
        needs(name, bound, "x")
        value = m.array(bound["x"])
        node, _ = m.operand(value)
        others = {key: m.operand(m.array(part))[0] for key, part in bound.items() if key != "x"}
        return m.of_node(
            _FORMS[name](m, m.graph.real(node), **others), FLOAT, isinstance(value, Array)
        )

    return Builtin(name, call)


def _ops(m: Machine) -> Any:
    def op(name: str, *values: Any) -> Node:
        nodes = [v if isinstance(v, Node) else m.graph.constant(float(v)) for v in values]
        return m.graph.apply(name, *nodes)

    return op


def _elu(m: Machine, x: Node, alpha: Any = 1.0) -> Node:
    op = _ops(m)
    below = op("mul", alpha, op("expm1", op("min", x, 0.0)))
    return m.graph.select(op("gt", x, 0.0), x, below)


def _leaky_relu(m: Machine, x: Node, negative_slope: Any = 0.01) -> Node:
    op = _ops(m)
    return m.graph.select(op("ge", x, 0.0), x, op("mul", negative_slope, x))


def _gelu(m: Machine, x: Node) -> Node:
    op = _ops(m)
    cube = op("mul", 0.044715, op("pow", x, 3.0))
    inner = op("mul", float(np.sqrt(2.0 / np.pi)), op("add", x, cube))
    return op("mul", op("mul", 0.5, x), op("add", 1.0, op("tanh", inner)))


_FORMS: Final[dict[str, Any]] = {
    "relu": lambda m, x: _ops(m)("max", x, 0.0),
    "relu6": lambda m, x: _ops(m)("min", _ops(m)("max", x, 0.0), 6.0),
    "sigmoid": lambda m, x: _ops(m)("sigmoid", x),
    "hard_sigmoid": lambda m, x: _ops(m)(
        "div", _ops(m)("min", _ops(m)("max", _ops(m)("add", x, 3.0), 0.0), 6.0), 6.0
    ),
    "hard_tanh": lambda m, x: _ops(m)("min", _ops(m)("max", x, -1.0), 1.0),
    "softplus": lambda m, x: _ops(m)("logaddexp", x, 0.0),
    "log_sigmoid": lambda m, x: _ops(m)("neg", _ops(m)("logaddexp", _ops(m)("neg", x), 0.0)),
    "soft_sign": lambda m, x: _ops(m)("div", x, _ops(m)("add", _ops(m)("abs", x), 1.0)),
    "silu": lambda m, x: _ops(m)("mul", x, _ops(m)("sigmoid", x)),
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "rsqrt": lambda m, x: _ops(m)("div", 1.0, _ops(m)("sqrt", x)),
    "erf": lambda m, x: _ops(m)("erf", x),
    "stop_gradient": lambda m, x: x,
}


def _clamp(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("lax.clamp", ["min", "x", "max"], args, keywords)
    needs("lax.clamp", bound, "min", "x", "max")
    return numpy_table.clip(m, (bound["x"], bound["min"], bound["max"]), {})


def _integer_pow(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("lax.integer_pow", ["x", "y"], args, keywords)
    return m.binary("**", bound["x"], m.integer(bound["y"], "the power"))


# A function of lax and the function of NumPy that it is.
_LAX_NAMES: Final = {
    "abs": "abs", "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide",
    "rem": "fmod", "pow": "power", "max": "maximum", "min": "minimum", "neg": "negative",
    "sign": "sign", "sqrt": "sqrt", "cbrt": "cbrt", "square": "square", "exp": "exp",
    "expm1": "expm1", "log": "log", "log1p": "log1p", "sin": "sin", "cos": "cos", "tan": "tan",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "tanh": "tanh",
    "sinh": "sinh", "cosh": "cosh", "floor": "floor", "ceil": "ceil", "is_finite": "isfinite",
    "eq": "equal", "ne": "not_equal", "gt": "greater", "ge": "greater_equal", "lt": "less",
    "le": "less_equal", "dot": "dot", "cumsum": "cumsum", "cumprod": "cumprod",
    "expand_dims": "expand_dims", "reshape": "reshape",
}  # fmt: skip


def members(numpy: dict[str, Builtin]) -> dict[str, dict[str, Value]]:
    """The members of each module of JAX."""
    nn = {
        name: _entrywise(name, {"elu": "x alpha", "leaky_relu": "x negative_slope"}.get(name, "x"))
        for name in _FORMS if name not in ("rsqrt", "erf", "stop_gradient")
    }  # fmt: skip
    nn |= {"swish": nn["silu"], "tanh": jnp(numpy["tanh"]), "one_hot": Builtin("one_hot", _one_hot)}
    nn |= {"softmax": jnp(numpy["nn.softmax"]), "logsumexp": jnp(numpy["nn.logsumexp"])}
    lax: dict[str, Value] = {name: jnp(numpy[path]) for name, path in _LAX_NAMES.items()}
    lax |= {name: _entrywise(name) for name in ("rsqrt", "erf", "stop_gradient")}
    lax |= {
        "logistic": nn["sigmoid"], "cond": Builtin("cond", _cond),
        "select": Builtin("select", _select), "switch": Builtin("switch", _switch),
        "fori_loop": Builtin("fori_loop", _fori_loop), "scan": Builtin("scan", _scan),
        "while_loop": Builtin("while_loop", _while_loop), "map": Builtin("lax.map", _map),
        "clamp": Builtin("clamp", _clamp), "integer_pow": Builtin("integer_pow", _integer_pow),
    }  # fmt: skip
    return {
        "jax": {
            "jit": JIT, "checkpoint": JIT, "vmap": Builtin("vmap", _vmap),
            "Array": Type("ndarray"),
        },
        "jax.lax": lax,
        "jax.nn": nn,
        "jax.scipy": {},
        "jax.scipy.special": {
            "expit": nn["sigmoid"], "logsumexp": nn["logsumexp"], "erf": lax["erf"],
        },
    }  # fmt: skip
