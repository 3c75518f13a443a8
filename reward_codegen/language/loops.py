"""`while`: unrolled as long as its condition is known and a little longer, then one rolled loop.

What the body changes goes round in the rolled loop; the ways out of the body (break, return,
raise) become flags, with their values, and are taken when the loop has ended. Lanes that would go
on beyond the bound fail.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from reward_codegen.budget import MAX_LOOP_ITERATIONS, UNROLLED_ITERATIONS
from reward_codegen.errors import BudgetExceeded, ShapeError
from reward_codegen.language.compute import Loop
from reward_codegen.language.core import Exit
from reward_codegen.language.graph import Node, Truth
from reward_codegen.language.paths import Path
from reward_codegen.language.values import (
    SERIALS,
    UNDEFINED,
    Array,
    Buffer,
    Choice,
    DictCell,
    Frame,
    Instance,
    ListCell,
    Machine,
    Num,
    Value,
)

_MAX_TRIALS = 6  # until what goes round no longer changes
_UNROLLED_INSIDE = 2  # rounds of a loop within a loop
_KINDS = "bif"


def while_loop(
    m: Machine,
    test: Callable[[], Truth],
    body: Callable[[], None],
    orelse: Callable[[], None],
    node: ast.AST,
) -> None:
    """Run `body` as long as `test` holds, in each lane for itself."""
    entry, start = m.here, len(m.exits)
    traced = rounds = 0
    alive = True
    forever = isinstance(node, ast.While) and isinstance(node.test, ast.Constant)
    m.speculative += 1
    m.while_depth += 1
    try:
        while alive:
            truth = m.settle(test())
            if truth is False:
                break
            if isinstance(truth, Node):
                traced += 1
                ended = m.graph.not_(truth)
                assert isinstance(ended, Node)
                m.exits.append(Exit("done", (*m.here.full, ended), None))
                m.path = m.here.assume(truth)
            rounds += 1
            if rounds > UNROLLED_ITERATIONS + MAX_LOOP_ITERATIONS:
                raise BudgetExceeded(f"this loop takes more than {rounds - 1:,} iterations")
            if traced > (UNROLLED_ITERATIONS if m.while_depth == 1 else _UNROLLED_INSIDE):
                _rolled(m, test, body, node)
                break
            before = len(m.exits)
            alive = m.iteration(body)
            traced += forever and len(m.exits) > before
    finally:
        m.speculative -= 1
        m.while_depth -= 1
    m.count_rounds(node, rounds)
    done = m.take_exits(start, "done")
    if done:
        alive = True
        m.path = m.after(entry, m.exits[start:])
    m.end_loop(entry, start, alive, orelse)


@dataclass
class _Trial:
    """What one round of the body has done.

    Attributes:
        goes_on: whether the lane goes on.
        exits: those that have left, each with the shape and the nodes of its value.
        failed: those that have failed.
        changed: shape and nodes of what has changed, by owner and name.
    """

    goes_on: Truth
    exits: list[tuple[Exit, Any, list[Node]]]
    failed: Truth
    changed: dict[Any, tuple[Any, list[Node]]]


def _rolled(m: Machine, test: Callable[[], Truth], body: Callable[[], None], node: ast.AST) -> None:
    """The rest of a loop, whose first condition has been assumed."""
    path = m.here
    m.loop_level += 1
    shapes: dict[Any, Any] = {}
    for _ in range(_MAX_TRIALS):
        places = {key: _placeholders(m, shape) for key, shape in shapes.items()}
        trial = _round(m, test, body, path, shapes, places)
        found = {}
        for key, (shape, _) in trial.changed.items():
            before = shapes[key] if key in shapes else _flatten(m, _content(*key))[0]
            found[key] = _join(before, shape)
        if found == shapes:
            break
        shapes = found
    else:
        raise ShapeError("the variables of this loop change their kind at every iteration")
    m.loop_level -= 1
    m.path = path
    _emit(m, path, shapes, places, trial, node)


def _round(
    m: Machine,
    test: Callable[[], Truth],
    body: Callable[[], None],
    path: Path,
    shapes: dict[Any, Any],
    places: dict[Any, list[Node]],
) -> _Trial:
    """One round on placeholders; everything is put back afterwards."""
    journal, failed, start, mark = m.journal, m.failed, len(m.exits), next(SERIALS)
    failures, endless = list(m.failures), list(m.endless)
    before = {key: _raw(*key) for key in shapes}
    m.journal, m.failed = [], False
    try:
        m.path = Path((), (), path.facts)
        for key, shape in shapes.items():
            _put_back(key, _rebuild(m, shape, iter(places[key])))
        alive = m.iteration(body)
        goes_on: Truth = False
        more: list[Truth] = []
        if alive and m.arm(lambda: more.append(test())):
            goes_on = m.graph.and_(m.mask(m.here.full), more[0])
        m.path = Path((), (), path.facts)
        keys = dict.fromkeys((*shapes, *((owner, name) for owner, name, _ in m.journal)))
        changed = {}
        for key in keys:
            if key[0].serial < mark:
                changed[key] = _flatten(m, _content(*key))
        exits = []
        for exit_ in m.exits[start:]:
            value = None if exit_.kind == "raise" else exit_.value
            exits.append((exit_, *_flatten(m, value)))
        return _Trial(goes_on, exits, m.failed, changed)
    finally:
        for owner, name, old in reversed(m.journal or []):
            _put_back((owner, name), old)
        for key, old in before.items():
            _put_back(key, old)
        del m.exits[start:]
        m.journal, m.failed = journal, failed
        m.failures, m.endless = failures, endless


def _raw(owner: Any, name: Any) -> Any:
    """What is put back: a variable, or the content of a cell."""
    return owner.variables.get(name, UNDEFINED) if isinstance(owner, Frame) else owner.content


def _content(owner: Any, name: Any) -> Value:
    if isinstance(owner, Frame):
        return owner.variables.get(name, UNDEFINED)
    return owner


def _put_back(key: Any, value: Value) -> None:
    owner, name = key
    if isinstance(owner, Frame):
        owner.variables[name] = value
    else:
        owner.content = value.content if isinstance(value, type(owner)) else value


def _flatten(m: Machine, value: Value) -> tuple[Any, list[Node]]:
    """The shape of a value, and the nodes in it."""
    m.budget.step()
    value = m.look(value)
    number = m.number(value) if not isinstance(value, Array) else None
    if number is not None:
        numpy = m.settle(number.numpy)
        if isinstance(numpy, Node):
            numpy = True
        return ("number", number.kind, numpy), [number.node]
    if isinstance(value, Choice):
        value = m.array(value)
    if isinstance(value, Buffer):
        content = value.content
        node = content if isinstance(content, Node) else m.graph.constant(content)
        return ("buffer", node.shape, value.dtype.kind), [node]
    if isinstance(value, Array):
        shape = ("array", value.shape, value.dtype.str, value.buffer.fixed)
        return shape, [m.node_of(value)]
    if isinstance(value, tuple):
        return _flat_items(m, "tuple", value)
    if isinstance(value, ListCell):
        if any(m.settle(present) is not True for present, _ in value.content):
            raise ShapeError("a list whose length depends on the state changes in a long loop")
        return _flat_items(m, "list", [item for _, item in value.content])
    if isinstance(value, Instance):
        parts = _flat_items(m, "instance", list(value.content.values()))
        return (*parts[0], tuple(value.content)), parts[1]
    if isinstance(value, DictCell):
        if any(m.settle(present) is not True for present, _ in value.content.values()):
            raise ShapeError("a dict whose keys depend on the state changes in a long loop")
        parts = _flat_items(m, "dict", [item for _, item in value.content.values()])
        return (*parts[0], tuple(value.content)), parts[1]
    if value is None or isinstance(value, str):
        return ("same", value), []
    raise ShapeError(
        "a loop whose length depends on the state may change numbers, arrays, lists, dicts and "
        "the fields of objects only"
    )


def _flat_items(m: Machine, what: str, items: Any) -> tuple[Any, list[Node]]:
    parts = [_flatten(m, item) for item in items]
    return (what, tuple(shape for shape, _ in parts)), [n for _, nodes in parts for n in nodes]


def _join(first: Any, second: Any) -> Any:
    """A shape that holds both."""
    if first == second:
        return first
    if first[0] == second[0] == "number":
        kind = (
            max(first[1], second[1], key=_KINDS.index) if "f" not in (first[1], second[1]) else "f"
        )
        return ("number", kind, first[2] or second[2])
    same = first[0] == second[0] and first[0] in ("tuple", "list", "dict", "instance")
    if same and len(first[1]) == len(second[1]) and first[2:] == second[2:]:
        parts = zip(first[1], second[1], strict=True)
        return (first[0], tuple(_join(a, b) for a, b in parts), *first[2:])
    raise ShapeError("a variable changes its kind or shape from one iteration to the next")


def _placeholders(m: Machine, shape: Any) -> list[Node]:
    match shape[0]:
        case "number":
            return [m.graph.placeholder((), shape[1] == "b", m.loop_level)]
        case "buffer":
            return [m.graph.placeholder(shape[1], shape[2] == "b", m.loop_level)]
        case "array":
            return [m.graph.placeholder(shape[1], "b1" in shape[2], m.loop_level)]
        case "same":
            return []
    return [node for part in shape[1] for node in _placeholders(m, part)]


def _rebuild(m: Machine, shape: Any, nodes: Iterator[Node]) -> Value:
    """A value of a shape from its nodes; what belongs to a cell as the cell holds it."""
    match shape[0]:
        case "number":
            return Num(next(nodes), shape[1], shape[2])
        case "buffer":
            return next(nodes)
        case "array":
            return m.make_array(next(nodes), np.dtype(shape[2]), shape[3])
        case "same":
            return shape[1]
    items = [_rebuild(m, part, nodes) for part in shape[1]]
    match shape[0]:
        case "tuple":
            return tuple(items)
        case "list":
            return m.make_list(items)
        case "dict":
            return m.make_dict({k: (True, v) for k, v in zip(shape[2], items, strict=True)})
    return dict(zip(shape[2], items, strict=True))


def _emit(
    m: Machine,
    path: Path,
    shapes: dict[Any, Any],
    places: dict[Any, list[Node]],
    trial: _Trial,
    node: ast.AST,
) -> None:
    """The loop as a node, and what follows from its results."""
    graph, level = m.graph, m.loop_level + 1

    def as_node(truth: Truth) -> Node:
        return truth if isinstance(truth, Node) else graph.constant(truth)

    inputs: list[Node] = []
    holders: list[Node] = []
    outputs: list[Node] = []

    def carry(start: Node, place: Node, result: Node) -> int:
        if place.is_bool:
            start, result = graph.truth(start), graph.truth(result)
        else:
            start, result = graph.real(start), graph.real(result)
        inputs.append(start)
        holders.append(place)
        outputs.append(result)
        return len(inputs) - 1

    active = m.mask(path.full)
    first = graph.placeholder((), True, level)
    carry(as_node(active), first, as_node(trial.goes_on))
    where = {}
    for key in shapes:
        start = _flatten(m, _content(*key))[1]
        new = trial.changed[key][1]
        triples = zip(start, places[key], new, strict=True)
        where[key] = [carry(*triple) for triple in triples]
    flags, values = [], []
    for exit_, shape, parts in trial.exits:
        flag = as_node(m.mask(exit_.full))
        flags.append(carry(graph.constant(False), graph.placeholder((), True, level), flag))
        at = [
            carry(
                graph.constant(np.zeros(part.shape, bool if part.is_bool else float)),
                graph.placeholder(part.shape, part.is_bool, level),
                part,
            )
            for part in parts
        ]
        values.append((shape, at))
    failed = carry(graph.constant(False), graph.placeholder((), True, level), as_node(trial.failed))
    outer = _outer(outputs, set(holders), level)
    loop = graph.fresh("loop", (*inputs, *outer), Loop(holders, outputs, outer), ())

    def item(place: int) -> Node:
        return graph.item(loop, place, holders[place].shape, holders[place].is_bool)

    for key, shape in shapes.items():
        new = _rebuild(m, shape, iter([item(place) for place in where[key]]))
        old = _content(*key)
        owner, name = key
        if isinstance(owner, Frame):
            if m.journal is not None:
                m.journal.append((owner, name, old))
            owner.variables[name] = m.merge(active, new, old)
        else:
            m.write(owner, getattr(new, "content", new))
    left = []
    for (exit_, _, _), place, (shape, at) in zip(trial.exits, flags, values, strict=True):
        value = exit_.value if exit_.kind == "raise" else _rebuild(m, shape, iter(map(item, at)))
        left.append(Exit(exit_.kind, (*path.full, item(place)), value, exit_.scope))
    m.exits += left
    m.path = m.after(path, left)
    m.failed = graph.or_(graph.or_(m.failed, item(failed)), item(0))
    m.failures += [(item(failed), "an exception in a loop"), (item(0), "a loop did not end")]
    m.endless.append((getattr(node, "lineno", 0), item(0)))


def _outer(results: list[Node], places: set[Node], level: int) -> list[Node]:
    """The nodes from outside of the loop that its body reads."""
    found: dict[Node, None] = {}
    seen: set[Node] = set()
    pending = list(results)
    while pending:
        node = pending.pop()
        if node in places or node in seen:
            continue
        seen.add(node)
        if node.level < level and node.op != "const":
            found[node] = None
        else:
            pending.extend(node.args)
    return list(found)
