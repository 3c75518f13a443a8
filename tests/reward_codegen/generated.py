"""Random programs with every kind of control flow, whose arithmetic is exact in single precision.

Numbers are small multiples of 1/4, so that no comparison hangs on rounding: whatever the forms of a
program compute differently is a mistake in meaning, not in the last bit.
"""

import random

import numpy as np

STATE, ACTION = 6, 2
_NUMBERS = ("0.5", "1.0", "-1.5", "2", "0", "-0.25", "3")
_OPERATIONS = (
    *("+", "-", "half", "neg", "min", "max", "abs", "if", "call", "where", "clip", "floor", "sum"),
    *("bool", "count", "item", "default", "int", "mod", "entry", "method", "or", "first", "key"),
)
_VARIABLES = ("x", "y", "z", "n")
_ARRAYS = ("v[0]", "v[1]", "v[-1]", "v[1:]", "v", "w[1]", "d['v'][2]", "v[v > 1]", "row[0]")
_ERRORS = ("ValueError", "IndexError", "KeyError", "ZeroDivisionError")

PRELUDE = """\
    s, a = state, action
    x, y, z, n = float(s[0]), 0.5, 1.0, 0
    v = np.zeros(3)
    w = v
    d = {"v": v, "k": y, "xs": []}
    items = d["xs"]
    items.append(x)
    best = None
    m = np.ones((2, 2))
    row = m[1]
    box = Box(x)
    def grow(e):
        nonlocal n
        n = clamp(n + 1)
        return e + n
"""
RESULT = """\
    parts = [x, y, z, n, v[0] + v[1] - v[2], sum(items), d["k"], m.sum(), box.e, best or 0.25]
    return sum(clamp(part) * (i + 1) for i, part in enumerate(parts)) + len(items)
"""


def states(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """States and actions of such programs: multiples of 1/4."""
    generator = np.random.default_rng(5)
    rows = generator.integers(-8, 9, (count, STATE)) / 4
    return rows, generator.integers(-8, 9, (count, ACTION)) / 4


def program(seed: int) -> str:
    """The source of a program for states of STATE and actions of ACTION entries."""
    writer = _Writer(random.Random(seed))
    helper = [line.replace("helper(", "max(") for line in writer.block(1, "    ", False)]
    body = writer.block(3, "    ", False)
    lines = [
        "import numpy as np",
        "class Box:",
        "    def __init__(self, e):",
        "        self.e = clamp(e)",
        "    def add(self, e):",
        "        self.e = clamp(self.e + e)",
        "        return self.e",
        "def clamp(e):",
        "    return min(max(e, -8.0), 8.0)",
        "def helper(x, y):",
        "    state, action = [x, y, 0.5, x], [y]",
        PRELUDE.replace("s, a = state, action", "s, a = np.array(state), np.array(action)"),
        *helper,
        "    return clamp(x + v[0] + w[1] + len(items))",
        "def is_recovered(state):",
        "    return 1 if state[0] > 0 else 0",
        "def calculate_reward(state, action):",
        PRELUDE,
        *body,
        RESULT,
    ]
    return "\n".join(lines)


class _Writer:
    """Writes one program from random choices."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator
        self._loops = 0

    def choose(self, *options: str) -> str:
        return self._random.choice(options)

    def number(self, depth: int) -> str:
        if depth <= 0:
            entry = self.choose("s[0]", "s[1]", "s[2]", "s[3]", "s[-1]", "a[0]", "v[0]", "v[2]")
            attribute = self.choose("d['k']", "box.e", "m[1, 0]")
            return self.choose(
                entry, entry, self.choose(*_VARIABLES), self.choose(*_NUMBERS), attribute
            )
        left, right = (lambda: self.number(depth - 1)), (lambda: self.number(depth - 1))
        match self.choose(*_OPERATIONS):
            case "+" | "-" as operator:
                return f"({left()} {operator} {right()})"
            case "half":
                return f"0.5 * {left()}"
            case "neg":
                return f"(-clamp({left()}))"
            case "min" | "max" as name:
                return f"{name}({left()}, {right()})"
            case "abs":
                return f"abs(clamp({left()}))"
            case "if":
                return f"({left()} if {self.truth(depth - 1)} else {right()})"
            case "call":
                return f"{self.choose('helper', 'max')}({left()}, {right()})"
            case "where":
                return f"np.where({self.truth(0)}, {left()}, {right()})"
            case "clip":
                return f"np.clip({left()}, -2.0, 2.0)"
            case "floor":
                return f"({left()} // {self.choose('1', '2', '-1', '0.5')})"
            case "mod":
                return f"({left()} % {self.choose('1', '2', '-3', '0.75')})"
            case "int":
                return f"int({left()})"
            case "count":
                return f"(bool({self.truth(0)}) + ({self.truth(0)}) + (not {self.truth(0)}))"
            case "item":
                return f"[1.0, {left()}, 2.5][int({self.truth(0)}) + int({self.truth(0)})]"
            case "default":
                chosen = f"e for e in {self.choose('v', 's', 'items')} if e > {right()}"
                return f"{self.choose('max', 'min')}(({chosen}), default={left()})"
            case "first":
                return f"next((e for e in s if e > {right()}), {left()})"
            case "entry":
                return f"s[int({self.truth(0)}) - {self.choose('1', '2', '0')}]"
            case "method":
                return f"{self.choose('box.add', 'grow')}({left()})"
            case "or":
                return f"({left()} {self.choose('or', 'and')} {right()})"
            case "key":
                return f"{{'a': {left()}, 'b': {right()}}}['a' if {self.truth(0)} else 'b']"
            case "sum":
                return f"sum(e for e in (v if {self.truth(0)} else s) if e > {left()})"
        return f"(1.0 * ({self.truth(depth - 1)}))"

    def truth(self, depth: int) -> str:
        left, right = self.number(max(depth - 1, 0)), self.number(0)
        comparison = f"{left} {self.choose('<', '<=', '>', '>=', '==', '!=')} {right}"
        if depth <= 0:
            return comparison
        match self.choose("plain", "and", "or", "not", "chain", "any", "none", "in"):
            case "and" | "or" as word:
                return f"({comparison} {word} {self.truth(depth - 1)})"
            case "not":
                return f"(not {self.truth(depth - 1)})"
            case "chain":
                return f"({self.number(0)} < {left} <= {right})"
            case "any":
                return f"{self.choose('any', 'all')}(e > {right} for e in v)"
            case "none":
                return f"(best is None or best < {right})"
            case "in":
                return f"({self.number(0)} in [{left}, {right}])"
        return f"({comparison})"

    def block(self, depth: int, indent: str, in_loop: bool) -> list[str]:
        count = self._random.randint(1, 3)
        return [line for _ in range(count) for line in self.statement(depth, indent, in_loop)]

    def statement(self, depth: int, indent: str, in_loop: bool) -> list[str]:
        kinds = ["assign", "assign", "augment", "array", "list", "best", "simple"]
        if depth:
            kinds += ["if", "if", "elif", "for", "while", "try", "return", "raise"]
        if in_loop:
            kinds += ["leave", "leave"]
        kind = self.choose(*kinds)
        if kind in ("if", "elif", "for", "while", "try"):
            return getattr(self, f"_{kind}")(depth, indent, in_loop)
        return [indent + line for line in self._plain(kind)]

    def _plain(self, kind: str) -> list[str]:
        name = self.choose(*_VARIABLES)
        match kind:
            case "assign":
                return [f"{name} = clamp({self.number(2)})"]
            case "augment":
                name = self.choose(name, "d['k']", "box.e")
                return [f"{name} {self.choose('+=', '-=')} clamp({self.number(1)})"]
            case "array":
                target = self.choose(*_ARRAYS)
                operator = "+=" if target == "v" else self.choose("=", "+=", "-=")
                return [f"{target} {operator} clamp({self.number(1)})", "np.clip(v, -8, 8, out=v)"]
            case "list":
                return [f"items.append(clamp({self.number(1)}))"]
            case "best":
                value = self.number(1)
                return [f"if {self.truth(1)}:", f"    best = {self.choose(value, value, 'None')}"]
            case "simple":
                return [
                    self.choose(
                        "x, y = y, x",
                        "box.add(y)",
                        "d['k'] = clamp(x)",
                        "items = list(items)",
                        "row[:] = s[1]",
                        "v = v.copy()",
                        "n = len(items)",
                        "z = items.pop() if len(items) > 1 else z",
                        "items.sort()",
                        "y = sorted([x, y, z])[1]",
                    )
                ]
            case "return":
                return [f"if {self.truth(1)}:", f"    return {self.number(1)}"]
            case "raise":
                return [f"if {self.truth(2)}:", f"    raise {self.choose(*_ERRORS)}('no')"]
        return [f"if {self.truth(1)}:", f"    {self.choose('break', 'continue')}"]

    def _if(self, depth: int, indent: str, in_loop: bool) -> list[str]:
        inner = indent + "    "
        lines = [f"{indent}if {self.truth(2)}:", *self.block(depth - 1, inner, in_loop)]
        if self._random.random() < 0.5:
            lines += [f"{indent}else:", *self.block(depth - 1, inner, in_loop)]
        return lines

    def _elif(self, depth: int, indent: str, in_loop: bool) -> list[str]:
        inner = indent + "    "
        return [
            *(f"{indent}if {self.truth(1)}:", *self.block(depth - 1, inner, in_loop)),
            *(f"{indent}elif {self.truth(1)}:", *self.block(depth - 1, inner, in_loop)),
        ]

    def _for(self, depth: int, indent: str, in_loop: bool) -> list[str]:
        inner = indent + "    "
        what = self.choose("range(3)", "v", "s[:2]", "[x, y]", "items[:2]", "(e for e in s[1:3])")
        lines = [f"{indent}for z in {what}:", *self.block(depth - 1, inner, True)]
        if self._random.random() < 0.3:
            lines += [f"{indent}else:", *self.block(depth - 1, inner, in_loop)]
        return lines

    def _while(self, depth: int, indent: str, in_loop: bool) -> list[str]:
        inner = indent + "    "
        self._loops += 1
        count = f"k{self._loops}"
        test = self.choose(f"{self.truth(1)} and {count} < {self.choose('2', '3', '20')}", "True")
        leave = [f"{inner}if {count} > 3: break"] if test == "True" else []
        return [
            f"{indent}{count} = 0",
            f"{indent}while {test}:",
            f"{inner}{count} += 1",
            *leave,
            *self.block(depth - 1, inner, True),
        ]

    def _try(self, depth: int, indent: str, in_loop: bool) -> list[str]:
        inner = indent + "    "
        fault = self.choose(
            f"raise {self.choose(*_ERRORS)}('no')",
            f"y = 1 / int({self.number(0)})",
            f"y = items[int({self.number(0)})]",
            "y = {0: 0.5, 1: 1.5}[int(s[1])]",
        )
        caught = self.choose(*_ERRORS, "Exception", "(IndexError, ValueError)", "LookupError")
        lines = [
            f"{indent}try:",
            *self.block(depth - 1, inner, in_loop),
            f"{inner}if {self.truth(1)}:",
            f"{inner}    {fault}",
            *self.block(depth - 1, inner, in_loop),
            f"{indent}except {caught}:",
            *self.block(depth - 1, inner, in_loop),
        ]
        if self._random.random() < 0.2:
            lines += [f"{indent}else:", f"{inner}x = clamp(x + 1)"]
        if self._random.random() < 0.3:
            lines += [f"{indent}finally:", f"{inner}y = clamp(y + 1)"]
        return lines
