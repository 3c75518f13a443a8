"""Runs a graph: by NumPy, in any precision, and as operations of JAX in single precision."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from reward_codegen.budget import MAX_LOOP_ITERATIONS
from reward_codegen.language.functions import JAX_FORMS, NUMPY_FORMS
from reward_codegen.language.graph import Node
from reward_codegen.language.primitives import PRIMITIVES, quiet


def needed(results: Sequence[Node], known: Mapping[Node, Any]) -> list[Node]:
    """All nodes that the results depend on, operands first; none behind those that are known."""
    found: set[Node] = set()
    pending = [node for node in results if node not in known]
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending.extend(arg for arg in node.args if arg not in known)
    return sorted(found, key=lambda node: node.serial)


class Loop:
    """The body of a rolled loop.

    Attributes:
        places: what goes round: first whether the lane goes on, then its values.
        results: the same after one iteration.
        outer: nodes from outside of the loop that the body reads.
        count: the number of values that go round.
    """

    def __init__(self, places: list[Node], results: list[Node], outer: list[Node]) -> None:
        self.places = places
        self.results = results
        self.outer = outer


# NumPy -------------------------------------------------------------------------------------------


def by_numpy(
    results: Sequence[Node], inputs: Mapping[str, np.ndarray], dtype: Any = np.float64
) -> list[Any]:
    """The values of nodes for known inputs, in double or single precision."""
    values: dict[Node, Any] = {}
    with quiet():
        _run_numpy(values, results, inputs, dtype)
    return [values[node] for node in results]


def _run_numpy(
    values: dict[Node, Any], results: Sequence[Node], inputs: Mapping[str, Any], dtype: Any
) -> None:
    for node in needed(results, values):
        args = [values[arg] for arg in node.args]
        value = _numpy_value(node, args, inputs, dtype)
        if node.op == "const" and not node.is_bool and dtype is np.float32:
            value = _single(value)
        elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f":
            value = value.astype(dtype)
        values[node] = value


def _numpy_value(node: Node, args: list[Any], inputs: Mapping[str, Any], dtype: Any) -> Any:
    match node.op:
        case "const":
            return node.data
        case "input":
            return inputs[node.data]
        case "take":
            return args[0].reshape(-1)[node.data]
        case "gather":
            places = np.nan_to_num(np.asarray(args[1], float)).astype(np.int64)
            return args[0].reshape(-1)[np.clip(places, 0, args[0].size - 1)]
        case "select":
            return np.where(*args)
        case "stack":
            return np.array(args).reshape(node.shape)
        case "join":
            return np.concatenate([np.reshape(arg, -1) for arg in args])
        case "item":
            return args[0][node.data]
        case "loop":
            return _numpy_loop(node.data, args, inputs, dtype)
        case "library":
            name, template = node.data
            result = NUMPY_FORMS.get(name) or resolve(np, name)
            positional, keywords = fill(template, args)
            return _as_results(result(*positional, **keywords), bool if node.is_bool else dtype)
    return PRIMITIVES[node.op].numpy(*args)


def _numpy_loop(loop: Loop, args: list[Any], inputs: Mapping[str, Any], dtype: Any) -> list[Any]:
    count = len(loop.places)
    outer = dict(zip(loop.outer, args[count:], strict=True))
    state = args[:count]
    for _ in range(MAX_LOOP_ITERATIONS):
        if not state[0]:
            break
        values = {**outer, **dict(zip(loop.places, state, strict=True))}
        _run_numpy(values, loop.results, inputs, dtype)
        state = [values[result] for result in loop.results]
    return state


def _as_results(value: Any, dtype: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_as_results(part, dtype) for part in value]
    return np.asarray(value).astype(dtype)


def resolve(root: Any, path: str) -> Callable[..., Any]:
    """The function at a dotted path below a module."""
    for part in path.split("."):
        root = getattr(root, part)
    return root


def fill(template: Any, args: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments from a template and the operands."""
    positional, keywords = template
    return (
        [_filled(part, args) for part in positional],
        {name: _filled(part, args) for name, part in keywords},
    )


def _filled(part: Any, args: Sequence[Any]) -> Any:
    kind, content = part
    if kind == "node":
        return args[content]
    if kind == "list":
        return [_filled(item, args) for item in content]
    return content


# JAX ---------------------------------------------------------------------------------------------


def by_jax(results: Sequence[Node], inputs: Mapping[str, jax.Array]) -> list[Any]:
    """The values of nodes as operations of JAX."""
    values: dict[Node, Any] = {}
    _run_jax(values, results, inputs)
    return [values[node] for node in results]


def _run_jax(
    values: dict[Node, Any], results: Sequence[Node], inputs: Mapping[str, jax.Array]
) -> None:
    for node in needed(results, values):
        values[node] = _jax_value(node, [values[arg] for arg in node.args], inputs)


def _jax_value(node: Node, args: list[Any], inputs: Mapping[str, jax.Array]) -> Any:
    match node.op:
        case "const":
            return node.data if node.is_bool else _single(node.data)
        case "input":
            return inputs[node.data]
        case "take":
            return _jax_take(args[0], node.data)
        case "gather":
            flat = jnp.reshape(jnp.asarray(args[0]), -1)
            return flat.at[args[1].astype(jnp.int32)].get(mode="clip")
        case "select":
            condition, then, other = (jnp.broadcast_to(arg, node.shape) for arg in args)
            return lax.select(condition, then, other)
        case "stack":
            dtype = bool if node.is_bool else np.float32
            parts = [lax.reshape(jnp.asarray(arg, dtype), (1,)) for arg in args]
            return _shaped(lax.concatenate(parts, 0), node.shape)
        case "join":
            return lax.concatenate([_shaped(jnp.asarray(a), (a.size,)) for a in args], 0)
        case "item":
            return args[0][node.data]
        case "loop":
            return _jax_loop(node.data, args, inputs)
        case "library":
            name, template = node.data
            function = JAX_FORMS.get(name) or resolve(jnp, name)
            positional, keywords = fill(template, [jnp.asarray(arg) for arg in args])
            return _jax_results(function(*positional, **keywords), node)
    if (
        any(np.shape(arg) not in ((), node.shape) for arg in args)
        or (
            node.shape != ()
            and any(np.shape(a) == () and not isinstance(a, np.ndarray) for a in args)
        )
        or (node.shape != () and all(np.shape(arg) == () for arg in args))
    ):
        args = [jnp.broadcast_to(arg, node.shape) for arg in args]
    return PRIMITIVES[node.op].jax(*args)


def _single(data: np.ndarray) -> np.ndarray:
    """A constant in single precision; what is finite stays finite."""
    largest = float(np.finfo(np.float32).max)
    return np.where(np.isfinite(data), np.clip(data, -largest, largest), data).astype(np.float32)


def _jax_results(value: Any, node: Node) -> Any:
    if isinstance(value, tuple | list):
        return [jnp.asarray(part).astype(jnp.float32) for part in value]
    return jnp.asarray(value).astype(bool if node.is_bool else jnp.float32)


def _jax_loop(loop: Loop, args: list[Any], inputs: Mapping[str, jax.Array]) -> list[Any]:
    count = len(loop.places)
    outer = dict(zip(loop.outer, args[count:], strict=True))

    def typed(value: Any, place: Node) -> Any:
        return jnp.asarray(value, bool if place.is_bool else jnp.float32)

    def goes_on(carry: Any) -> Any:
        return carry[1][0] & (carry[0] < MAX_LOOP_ITERATIONS)

    def step(carry: Any) -> Any:
        number, state = carry
        values = {**outer, **dict(zip(loop.places, state, strict=True))}
        _run_jax(values, loop.results, inputs)
        pairs = zip(loop.results, loop.places, strict=True)
        return number + 1, [typed(values[result], place) for result, place in pairs]

    start = [typed(arg, place) for arg, place in zip(args[:count], loop.places, strict=True)]
    return list(lax.while_loop(goes_on, step, (jnp.int32(0), start))[1])


def _shaped(array: Any, shape: tuple[int, ...]) -> Any:
    return array if array.shape == shape else lax.reshape(array, shape)


def _jax_take(array: Any, index: np.ndarray) -> Any:
    """Known entries: as a slice, a transpose or a broadcast where they are one."""
    array = jnp.asarray(array)
    flat_index = index.reshape(-1)
    size = flat_index.size
    if size == 0:
        return jnp.zeros(index.shape, array.dtype)
    step = int(flat_index[1] - flat_index[0]) if size > 1 else 1
    if step > 0 and (np.diff(flat_index) == step).all():
        start, stop = int(flat_index[0]), int(flat_index[-1]) + 1
        flat = _shaped(array, (array.size,))
        if (start, stop, step) != (0, array.size, 1):
            flat = lax.slice(flat, (start,), (stop,), None if step == 1 else (step,))
        if index.shape == () and flat.shape == (1,):
            return lax.squeeze(flat, (0,))
        return _shaped(flat, index.shape)
    if (flat_index == flat_index[0]).all():
        return jnp.broadcast_to(_jax_take(array, flat_index[0]), index.shape)
    for axis, length in enumerate(index.shape):
        first = index.take([0], axis)
        if length > 1 and (index == first).all():
            part = _jax_take(array, first)
            return jnp.broadcast_to(part, index.shape)
    if (
        index.ndim == array.ndim == 2
        and index.shape == array.shape[::-1]
        and ((index.T.reshape(-1) == np.arange(size)).all())
    ):
        return lax.transpose(array, (1, 0))
    if step < 0 and (np.diff(flat_index) == step).all():
        return _shaped(lax.rev(_jax_take(array, flat_index[::-1]), (0,)), index.shape)
    return _shaped(array, (array.size,))[index]
