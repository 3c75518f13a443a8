"""What a function of a program computes: its result and failures as nodes of a graph."""

from dataclasses import dataclass, field

from reward_codegen.errors import ShapeError, VerificationError
from reward_codegen.language.graph import Graph, Node, Truth
from reward_codegen.language.interpreter import Interpreter, returned_number
from reward_codegen.language.parse import Program
from reward_codegen.language.values import NOTHING, Choice, DictCell, ProgramError, Value, kind_of

PARAMETERS = {"is_recovered": ("state",), "calculate_reward": ("state", "action")}
# The results for a state that the program raises an exception for.
FAILED_RECOVERED = 0
FAILED_REWARD = -100.0
_FALLBACK = {"is_recovered": float(FAILED_RECOVERED), "calculate_reward": FAILED_REWARD}


@dataclass(frozen=True)
class Outcome:
    """The result of a function of a program.

    Attributes:
        result: its number; the fixed one where the program raises.
        failures: where it raises, and what.
        endless: lines of loops that did not end, and where.
        terms: the named terms that it returns beside the number; NaN where it names none.
        interpreter: the evaluation that has found it.
    """

    result: Node
    failures: tuple[tuple[Node, str], ...]
    endless: tuple[tuple[int, Node], ...]
    terms: dict[str, Node]
    interpreter: Interpreter = field(repr=False)


def interpret(program: Program, name: str, sizes: dict[str, int]) -> Outcome:
    """Interpret one of the two functions.

    Args:
        program: an admitted program.
        name: the function.
        sizes: the number of entries of `state` and `action`.

    Raises:
        RewardCodeError: something it does is not admitted.
    """
    m = Interpreter(program, sizes)
    value = m.run(name, PARAMETERS[name])
    if value is NOTHING or m.failed is True:
        raise VerificationError(f"{name} fails for every state")
    terms: dict[str, Node] = {}
    if name == "calculate_reward":
        value, terms = m._guarded(lambda: _split(m, value))
    number = m._guarded(lambda: returned_number(m, name, value))
    if number is None:
        _refuse(name, value)
    graph = m.graph
    result = _where_failed(graph, m.failed, _FALLBACK[name], graph.real(number.node))
    nan = float("nan")
    return Outcome(
        result,
        tuple((_node(graph, where), text) for where, text in m.failures),
        tuple((line, _node(graph, where)) for line, where in m.endless),
        {key: _where_failed(graph, m.failed, nan, node) for key, node in terms.items()},
        m,
    )


def _node(graph: Graph, truth: Truth) -> Node:
    return truth if isinstance(truth, Node) else graph.constant(truth)


def _where_failed(graph: Graph, failed: Truth, fallback: float, node: Node) -> Node:
    return graph.select(failed, graph.constant(fallback), node)


def _split(m: Interpreter, value: Value) -> tuple[Value, dict[str, Node]]:
    """A returned pair of a number and a dict of terms; a plain number has no terms."""
    value = m.look(value)
    if isinstance(value, Choice):
        then, first = _split(m, value.then)
        other, second = _split(m, value.other)
        nan = m.graph.constant(float("nan"))
        terms = {
            key: m.graph.select(value.condition, first.get(key, nan), second.get(key, nan))
            for key in dict.fromkeys((*first, *second))
        }
        return m.merge(value.condition, then, other), terms
    if not (isinstance(value, tuple) and len(value) == 2):
        return value, {}
    pair = m.look(value[1])
    if isinstance(pair, Choice):
        _, terms = _split(m, Choice(pair.condition, (0.0, pair.then), (0.0, pair.other)))
        return value[0], terms
    if not isinstance(pair, DictCell):
        return value, {}
    return value[0], _terms(m, pair)


def _terms(m: Interpreter, named: DictCell) -> dict[str, Node]:
    graph, found = m.graph, {}
    for key, (present, value) in named.content.items():
        try:
            number = returned_number(m, "a term", value)
        except ProgramError:
            number = None
        if number is None:
            m.notes.append(f"the term {key!r} is left out: it is no single number")
            continue
        node = graph.select(present, graph.real(number.node), graph.constant(float("nan")))
        found[str(key)] = node
    return found


def _refuse(name: str, value: Value) -> None:
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, Choice):
            parts += [part.then, part.other]
        elif part is None:
            raise ShapeError(
                f"{name} does not return a value on every path; end it with `return` and a number"
            )
    wanted = "0 or 1" if name == "is_recovered" else "a single float"
    raise ShapeError(f"{name} returns {kind_of(value)}; it must return {wanted}")
