"""scipy.spatial.transform.Rotation: the conversions of single rotations that reward code uses.

A rotation is a unit quaternion (x, y, z, w), as in scipy.
"""

import itertools
import math
from typing import Any, Final

import numpy as np

from reward_codegen.errors import NameNotAdmitted, ShapeError
from reward_codegen.language.graph import Node
from reward_codegen.language.numpy_table import as_array, bind, needs, setting
from reward_codegen.language.operators import FLOAT
from reward_codegen.language.values import Builtin, Machine, ProgramError, Value

Quaternion = tuple[Node, Node, Node, Node]
MAKERS: Final = {
    "from_quat": "quat scalar_first", "from_euler": "seq angles degrees", "from_matrix": "matrix",
    "from_rotvec": "rotvec degrees", "identity": "",
}  # fmt: skip
METHODS: Final = {
    "as_quat": "canonical scalar_first", "as_euler": "seq degrees", "as_matrix": "",
    "as_rotvec": "degrees", "apply": "vectors inverse", "inv": "", "magnitude": "",
}  # fmt: skip


class Rotation:
    """A rotation as a value of the program."""

    def __init__(self, quaternion: Quaternion) -> None:
        self.quaternion = quaternion


class _Scalars:
    """Arithmetic on nodes."""

    def __init__(self, m: Machine) -> None:
        self.m = m

    def __call__(self, op: str, *values: Any) -> Node:
        graph = self.m.graph
        nodes = [v if isinstance(v, Node) else graph.constant(float(v)) for v in values]
        return graph.apply(op, *nodes)

    def total(self, *values: Node) -> Node:
        result = values[0]
        for value in values[1:]:
            result = self("add", result, value)
        return result

    def dot(self, a: Any, b: Any) -> Node:
        return self.total(*(self("mul", x, y) for x, y in zip(a, b, strict=True)))

    def select(self, condition: Node, then: Any, other: Any) -> Node:
        graph = self.m.graph
        nodes = [v if isinstance(v, Node) else graph.constant(float(v)) for v in (then, other)]
        return graph.select(condition, *nodes)


def entries(m: Machine, value: Value, count: int, what: str) -> list[Node]:
    """The entries of a vector of known length."""
    array = as_array(m, value)
    if array.shape != (count,):
        raise ShapeError(
            f"{what} has shape {array.shape}; a single one of {count} entries is admitted"
        )
    node = m.graph.real(m.node_of(array))
    return [m.graph.take(node, np.asarray(k)) for k in range(count)]


def _vector(m: Machine, nodes: Any, shape: tuple[int, ...] | None = None) -> Value:
    flat = list(nodes)
    return m.make_array(m.graph.stack(flat, shape or (len(flat),)), FLOAT)


def _flag(m: Machine, bound: dict[str, Value], name: str) -> bool:
    value = setting(m, bound.get(name, False))
    if not isinstance(value, bool):
        raise ShapeError(f"{name} must be True or False")
    return value


def make(name: str) -> Builtin:
    """Rotation.from_quat(...) and its like."""

    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        names = MAKERS[name].split()
        bound = bind(f"Rotation.{name}", names, args, keywords)
        if names:
            needs(f"Rotation.{name}", bound, *names[: 2 if name == "from_euler" else 1])
        s = _Scalars(m)
        if name == "identity":
            one, zero = m.graph.constant(1.0), m.graph.constant(0.0)
            return Rotation((zero, zero, zero, one))
        if name == "from_quat":
            if len(args) > 1:
                raise ProgramError("TypeError", "from_quat() takes 1 positional argument")
            q = entries(m, bound["quat"], 4, "a quaternion")
            return _normal(m, s, (*q[1:], q[0]) if _flag(m, bound, "scalar_first") else tuple(q))
        if name == "from_euler":
            return _from_euler(m, s, bound)
        if name == "from_rotvec":
            return _from_rotvec(m, s, bound)
        raise NameNotAdmitted(
            "Rotation.from_matrix is not admitted; use the entries of the matrix themselves"
        )

    return Builtin(f"Rotation.{name}", call)


def _normal(m: Machine, s: _Scalars, q: Any) -> Rotation:
    length = s("sqrt", s.dot(q, q))
    zero = m.graph.known(s("eq", length, 0.0))
    m.fail_where(zero, "ValueError", "Found zero norm quaternions in `quat`.")
    return Rotation(tuple(s("div", part, length) for part in q))  # type: ignore[arg-type]


def _sequence(m: Machine, value: Value) -> tuple[str, bool]:
    seq = m.look(value)
    if not isinstance(seq, str):
        raise ShapeError("the axes of Euler angles must be a known string, as 'xyz'")
    if not 1 <= len(seq) <= 3 or not (set(seq) <= set("xyz") or set(seq) <= set("XYZ")):
        raise ProgramError("ValueError", f"the axes {seq!r} are no sequence of xyz or of XYZ")
    if any(a == b for a, b in itertools.pairwise(seq)):
        raise ProgramError("ValueError", "consecutive axes must differ")
    return seq.lower(), seq.isupper()


def _product(s: _Scalars, p: Any, q: Any) -> Quaternion:
    px, py, pz, pw = p
    qx, qy, qz, qw = q

    def part(*terms: tuple[int, Node, Node]) -> Node:
        result: Node | None = None
        for sign, a, b in terms:
            term = s("mul", a, b)
            result = term if result is None else s("add" if sign > 0 else "sub", result, term)
        assert result is not None
        return result

    return (
        part((1, pw, qx), (1, px, qw), (1, py, qz), (-1, pz, qy)),
        part((1, pw, qy), (-1, px, qz), (1, py, qw), (1, pz, qx)),
        part((1, pw, qz), (1, px, qy), (-1, py, qx), (1, pz, qw)),
        part((1, pw, qw), (-1, px, qx), (-1, py, qy), (-1, pz, qz)),
    )


def _from_euler(m: Machine, s: _Scalars, bound: dict[str, Value]) -> Rotation:
    axes, intrinsic = _sequence(m, bound["seq"])
    value = m.array(bound["angles"])
    if m.plain_number(value) is not None:
        value = m.make_list([value])
    angles = entries(m, value, len(axes), "the Euler angles")
    if _flag(m, bound, "degrees"):
        angles = [s("mul", angle, math.pi / 180) for angle in angles]
    result: Quaternion | None = None
    for axis, angle in zip(axes, angles, strict=True):
        half = s("mul", angle, 0.5)
        zero = m.graph.constant(0.0)
        parts = [zero, zero, zero, s("cos", half)]
        parts["xyz".index(axis)] = s("sin", half)
        if result is None:
            result = tuple(parts)
        else:
            result = _product(s, result, parts) if intrinsic else _product(s, parts, result)
    assert result is not None
    return Rotation(result)


def _from_rotvec(m: Machine, s: _Scalars, bound: dict[str, Value]) -> Rotation:
    v = entries(m, bound["rotvec"], 3, "a rotation vector")
    if _flag(m, bound, "degrees"):
        v = [s("mul", part, math.pi / 180) for part in v]
    angle = s("sqrt", s.dot(v, v))
    small = s("le", angle, 1e-3)
    square = s("square", angle)
    series = s("sub", 0.5, s("mul", square, 1.0 / 48.0))
    safe = s.select(small, 1.0, angle)
    scale = s.select(small, series, s("div", s("sin", s("mul", safe, 0.5)), safe))
    parts = [s("mul", part, scale) for part in v]
    return Rotation((*parts, s("cos", s("mul", angle, 0.5))))  # type: ignore[arg-type]


def method(rotation: Rotation, name: str) -> Builtin:
    """A method of a rotation."""

    def call(m: Machine, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        bound = bind(f"Rotation.{name}", METHODS[name].split(), args, keywords)
        s = _Scalars(m)
        q = rotation.quaternion
        match name:
            case "as_quat":
                return _as_quat(m, s, q, bound)
            case "as_matrix":
                return _vector(m, [x for row in _matrix(s, q) for x in row], (3, 3))
            case "inv":
                return Rotation((*(s("neg", part) for part in q[:3]), q[3]))  # type: ignore[arg-type]
            case "magnitude":
                return m.of_node(_angle(s, q), FLOAT)
            case "apply":
                return _apply(m, s, q, bound)
            case "as_rotvec":
                return _as_rotvec(m, s, q, bound)
        return _as_euler(m, s, q, bound)

    return Builtin(f"Rotation.{name}", call)


def compose(m: Machine, left: Rotation, right: Rotation) -> Rotation:
    """`left * right`."""
    return Rotation(_product(_Scalars(m), left.quaternion, right.quaternion))


def _as_quat(m: Machine, s: _Scalars, q: Quaternion, bound: dict[str, Value]) -> Value:
    if _flag(m, bound, "canonical"):
        x, y, z, w = q
        graph = m.graph

        def negative(place: int) -> Node:
            value = (w, x, y, z)[place]
            below = s("lt", value, 0.0)
            if place == 3:
                return below
            return graph.select(s("eq", value, 0.0), negative(place + 1), below)

        flip = negative(0)
        q = tuple(graph.select(flip, s("neg", part), part) for part in q)
    return _vector(m, (q[3], *q[:3]) if _flag(m, bound, "scalar_first") else q)


def _angle(s: _Scalars, q: Quaternion) -> Node:
    length = s("sqrt", s.dot(q[:3], q[:3]))
    return s("mul", 2.0, s("arctan2", length, s("abs", q[3])))


def _matrix(s: _Scalars, q: Quaternion) -> list[list[Node]]:
    x, y, z, w = q
    xx, yy, zz, ww = (s("square", part) for part in q)
    xy, zw, xz, yw, yz, xw = (
        s("mul", a, b) for a, b in ((x, y), (z, w), (x, z), (y, w), (y, z), (x, w))
    )

    def twice(op: str, a: Node, b: Node) -> Node:
        return s("mul", 2.0, s(op, a, b))

    def diagonal(a: Node, b: Node, c: Node) -> Node:
        return s("add", s("sub", s("sub", a, b), c), ww)

    return [
        [diagonal(xx, yy, zz), twice("sub", xy, zw), twice("add", xz, yw)],
        [twice("add", xy, zw), diagonal(yy, xx, zz), twice("sub", yz, xw)],
        [twice("sub", xz, yw), twice("add", yz, xw), diagonal(zz, xx, yy)],
    ]


def _apply(m: Machine, s: _Scalars, q: Quaternion, bound: dict[str, Value]) -> Value:
    needs("Rotation.apply", bound, "vectors")
    v = entries(m, bound["vectors"], 3, "the vector")
    rows = _matrix(s, q)
    if _flag(m, bound, "inverse"):
        rows = [list(column) for column in zip(*rows, strict=True)]
    return _vector(m, [s.dot(row, v) for row in rows])


def _as_rotvec(m: Machine, s: _Scalars, q: Quaternion, bound: dict[str, Value]) -> Value:
    flip = s("lt", q[3], 0.0)
    q = tuple(m.graph.select(flip, s("neg", p), p) for p in q)
    angle = _angle(s, q)
    small = s("le", angle, 1e-3)
    series = s("add", 2.0, s("div", s("square", angle), 12.0))
    safe = s.select(small, 1.0, angle)
    scale = s.select(small, series, s("div", safe, s("sin", s("mul", safe, 0.5))))
    factor = 180 / math.pi if _flag(m, bound, "degrees") else 1.0
    return _vector(m, [s("mul", s("mul", part, scale), factor) for part in q[:3]])


def _as_euler(m: Machine, s: _Scalars, q: Quaternion, bound: dict[str, Value]) -> Value:
    """The algorithm of scipy: Bernardes and Viollet, 2022."""
    needs("Rotation.as_euler", bound, "seq")
    axes, intrinsic = _sequence(m, bound["seq"])
    if len(axes) != 3:
        raise ProgramError("ValueError", f"Expected 3 axes, got {axes}.")
    seq = axes[::-1] if intrinsic else axes
    i, j, k = ("xyz".index(axis) for axis in seq)
    symmetric = i == k
    if symmetric:
        k = 3 - i - j
    sign = (i - j) * (j - k) * (k - i) // 2
    if symmetric:
        a, b, c = q[3], q[i], q[j]
        d = s("mul", q[k], float(sign))
    else:
        signed = s("mul", q[k], float(sign))
        scaled = s("mul", q[i], float(1))
        a, b = s("sub", q[3], q[j]), s("add", scaled, signed)
        c, d = s("add", q[j], q[3]), s("sub", signed, q[i])
    middle = s("mul", 2.0, s("arctan2", _hypot(s, c, d), _hypot(s, a, b)))
    half_sum, half_difference = s("arctan2", b, a), s("arctan2", d, c)
    low = s("le", s("abs", middle), 1e-7)
    high = s("le", s("abs", s("sub", middle, math.pi)), 1e-7)
    locked = m.graph.apply("or", low, high)
    first, third = s("sub", half_sum, half_difference), s("add", half_sum, half_difference)
    # Locked: the third angle of the sequence as it is written is zero.
    twice_sum = s("mul", 2.0, half_sum)
    twice_difference = s("mul", 2.0 if intrinsic else -2.0, half_difference)
    free = s.select(low, twice_sum, twice_difference)
    if intrinsic:
        first, third = s.select(locked, 0.0, first), s.select(locked, free, third)
    else:
        first, third = s.select(locked, free, first), s.select(locked, 0.0, third)
    if not symmetric:
        third = s("mul", third, float(sign))
        middle = s("sub", middle, math.pi / 2)
    angles = [_wrapped(s, part) for part in (first, middle, third)]
    if intrinsic:
        angles = angles[::-1]
    factor = 180 / math.pi if _flag(m, bound, "degrees") else 1.0
    return _vector(m, [s("mul", angle, factor) for angle in angles])


def _hypot(s: _Scalars, a: Node, b: Node) -> Node:
    return s("hypot", a, b)


def _wrapped(s: _Scalars, angle: Node) -> Node:
    high = s.select(s("gt", angle, math.pi), s("sub", angle, 2 * math.pi), angle)
    return s.select(s("lt", angle, -math.pi), s("add", angle, 2 * math.pi), high)
