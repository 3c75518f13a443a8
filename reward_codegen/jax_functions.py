"""The admitted functions of jax, jax.lax and jax.nn.

Control flow written as functions takes the same forks and loops as Python's own.
"""

from reward_codegen.arguments import Arguments, Keywords, bind_arguments
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
}
NN_MEMBERS: dict[str, Value] = {
    name: library_function(NN_SYNONYMS.get(name, f"nn.{name}"), 1) for name in NN_FUNCTIONS
}
SPECIAL_MEMBERS: dict[str, Value] = {
    "expit": library_function("nn.sigmoid", 1),
    "logsumexp": library_function("nn.logsumexp", 1),
    "erf": library_function("lax.erf", 1),
}
