"""The admitted functions of jax, jax.lax and jax.nn.

Control flow written as functions takes the same forks and loops as Python's own.
"""

import numpy as np

from reward_codegen.arguments import Arguments, Keywords, bind_arguments, cast
from reward_codegen.array_functions import library_function, vectorize, where
from reward_codegen.machine import Machine
from reward_codegen.tables import ARRAY_ARGUMENTS, LAX_FUNCTIONS, NN_FUNCTIONS, NN_SYNONYMS
from reward_codegen.values import Builtin, Kind, Value, is_traced


def _cond(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    condition, then, other, *operands = arguments
    truth = machine.truth(condition)

    def run(function: Value) -> Value:
        return machine.invoke(function, tuple(operands), {})

    if not is_traced(truth):
        return run(then if truth else other)
    return machine.branching.fork(truth, lambda: run(then), lambda: run(other))


def _lax_select(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return where(machine, arguments, {})


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


def _while_loop(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = bind_arguments(arguments, keywords, "cond_fun", "body_fun", "init_val")
    carry = machine.new_cell(bound["init_val"])

    def condition() -> Value:
        return machine.truth(machine.invoke(bound["cond_fun"], (carry.content,), {}))

    def body() -> None:
        machine.write(carry, machine.invoke(bound["body_fun"], (carry.content,), {}))

    machine.loop(condition, body)
    return carry.content


def _map(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    function, *columns = arguments
    return vectorize(machine, (function,), {}).call(machine, tuple(columns), keywords)


def _one_hot(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = bind_arguments(arguments, keywords, "x", "num_classes", "dtype")
    count = machine.integer(bound["num_classes"], "the number of classes")
    machine.budget.elements(count)
    x = machine.array(bound["x"])
    column = machine.backend.apply("reshape", x, (*np.shape(x), 1))
    equal = machine.backend.apply("==", column, np.arange(count))
    return machine.wrap(cast(machine, equal, np.dtype(float)))


def _scan(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = bind_arguments(arguments, keywords, "f", "init", "xs", "length")
    carry, outputs = bound["init"], []
    xs = bound.get("xs")
    items = (
        (None,) * machine.integer(bound["length"], "a length")
        if xs is None
        else (machine.items(xs))
    )
    for item in items:
        carry, output = machine.items(machine.invoke(bound["f"], (carry, item), {}))
        outputs.append(output)
    if any(output is None for output in outputs):
        return (carry, None)
    return (carry, machine.wrap(machine.array(machine.make_list(outputs))))


def _no_op_decorator(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """jax.jit: everything is compiled anyway."""
    if arguments:
        return arguments[0]
    return Builtin("jit", _no_op_decorator)


JIT = Builtin("jit", _no_op_decorator)


JAX_MEMBERS: dict[str, Value] = {
    "jit": JIT,
    "checkpoint": JIT,
    "vmap": Builtin("vmap", vectorize),
    "Array": Kind("ndarray"),
}
LAX_MEMBERS: dict[str, Value] = {
    **{
        name: library_function(path, 3 if path == "lax.clamp" else ARRAY_ARGUMENTS.get(path, 1))
        for name, path in LAX_FUNCTIONS.items()
    },
    "cond": Builtin("lax.cond", _cond),
    "select": Builtin("lax.select", _lax_select),
    "switch": Builtin("lax.switch", _switch),
    "fori_loop": Builtin("lax.fori_loop", _fori_loop),
    "scan": Builtin("lax.scan", _scan),
    "while_loop": Builtin("lax.while_loop", _while_loop),
    "map": Builtin("lax.map", _map),
}
NN_MEMBERS: dict[str, Value] = {
    **{name: library_function(NN_SYNONYMS.get(name, f"nn.{name}"), 1) for name in NN_FUNCTIONS},
    "one_hot": Builtin("nn.one_hot", _one_hot),
}
SPECIAL_MEMBERS: dict[str, Value] = {
    "expit": library_function("nn.sigmoid", 1),
    "logsumexp": library_function("nn.logsumexp", 1),
    "erf": library_function("lax.erf", 1),
}
