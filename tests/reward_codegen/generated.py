"""Random programs with every kind of control flow, whose arithmetic is exact in single precision.

Numbers are small multiples of 1/4, so that no comparison hangs on rounding: whatever the forms of a
program compute differently is a mistake in control flow, not in the last bit.
"""

from collections.abc import Callable

from hypothesis import strategies as st

STATE, ACTION = 6, 2
_NUMBERS = ("0.5", "1.0", "-1.5", "2", "0", "-0.25", "3")
_OPERATIONS = (
    *("+", "-", "half", "neg", "min", "max", "abs"),
    *("if", "call", "where", "clip", "floor", "sum", "bool"),
)
_VARIABLES = ("x", "y", "z", "n")


class _Writer:
    """Writes one program from hypothesis' choices."""

    def __init__(self, draw: Callable) -> None:
        self._draw = draw
        self._loops = 0

    def choose(self, *options: object) -> object:
        return self._draw(st.sampled_from(options))

    def number(self, depth: int) -> str:
        if depth == 0:
            entry = self.choose("s[0]", "s[1]", "s[2]", "s[3]", "s[-1]", "a[0]", "v[0]", "v[2]")
            return str(self.choose(entry, self.choose(*_VARIABLES), self.choose(*_NUMBERS)))
        left, right = (lambda: self.number(depth - 1)), (lambda: self.number(depth - 1))
        match self.choose(*_OPERATIONS):
            case "+" | "-" as operator:
                return f"({left()} {operator} {right()})"
            case "half":
                return f"0.5 * {left()}"
            case "neg":
                return f"(-{left()})"
            case "min" | "max" as name:
                return f"{name}({left()}, {right()})"
            case "abs":
                return f"abs({left()})"
            case "if":
                return f"({left()} if {self.truth(depth - 1)} else {right()})"
            case "call":
                return f"helper({left()}, {right()})"
            case "where":
                return f"np.where({self.truth(0)}, {left()}, {right()})"
            case "clip":
                return f"np.clip({left()}, -2.0, 2.0)"
            case "floor":
                return f"({left()} // 1)"
            case "sum":
                return f"sum(e for e in (v if {self.truth(0)} else s) if e > {left()})"
        return f"(1.0 * ({self.truth(depth - 1)}))"

    def truth(self, depth: int) -> str:
        left, right = self.number(max(depth - 1, 0)), self.number(0)
        comparison = f"{left} {self.choose('<', '<=', '>', '>=', '==', '!=')} {right}"
        if depth <= 0:
            return comparison
        match self.choose("plain", "and", "or", "not", "chain", "any"):
            case "and" | "or" as word:
                return f"({comparison} {word} {self.truth(depth - 1)})"
            case "not":
                return f"not {self.truth(depth - 1)}"
            case "chain":
                return f"{self.number(0)} < {left} <= {right}"
            case "any":
                return f"{self.choose('any', 'all')}(e > {right} for e in v)"
        return comparison

    def block(self, depth: int, indent: str, in_loop: bool) -> list[str]:
        count = self._draw(st.integers(1, 3))
        return [line for _ in range(count) for line in self.statement(depth, indent, in_loop)]

    def statement(self, depth: int, indent: str, in_loop: bool) -> list[str]:
        inner = indent + "    "
        kinds = ["assign", "assign", "augment", "array", "list"]
        if depth:
            kinds += ["if", "if", "elif", "for", "while", "try"]
            kinds += ["return"]
        if in_loop:
            kinds += ["break", "continue"]
        name = self.choose(*_VARIABLES)
        match self.choose(*kinds):
            case "assign":
                return [f"{indent}{name} = clamp({self.number(2)})"]
            case "augment":
                return [f"{indent}{name} {self.choose('+=', '-=')} clamp({self.number(1)})"]
            case "array":
                target = self.choose("v[0]", "v[1]", "v[-1]", "v[1:]", "v", "w[1]")
                operator = "+=" if target == "v" else self.choose("=", "+=", "-=")
                return [f"{indent}{target} {operator} clamp({self.number(1)})"]
            case "list":
                return [f"{indent}items.append(clamp({self.number(1)}))"]
            case "return":
                return [f"{indent}if {self.truth(1)}:", f"{inner}return {self.number(1)}"]
            case "break" | "continue" as word:
                return [f"{indent}if {self.truth(1)}:", f"{inner}{word}"]
            case "if":
                lines = [f"{indent}if {self.truth(2)}:", *self.block(depth - 1, inner, in_loop)]
                if self._draw(st.booleans()):
                    lines += [f"{indent}else:", *self.block(depth - 1, inner, in_loop)]
                return lines
            case "elif":
                return [
                    f"{indent}if {self.truth(1)}:",
                    *self.block(depth - 1, inner, in_loop),
                    f"{indent}elif {self.truth(1)}:",
                    *self.block(depth - 1, inner, in_loop),
                ]
            case "for":
                what = self.choose("range(3)", "v", "s[:2]", "[x, y]", "items[:2]")
                lines = [f"{indent}for z in {what}:", *self.block(depth - 1, inner, True)]
                if self._draw(st.booleans()):
                    lines += [f"{indent}else:", *self.block(depth - 1, inner, in_loop)]
                return lines
            case "while":
                self._loops += 1
                count = f"k{self._loops}"
                bound = self.choose("2", "3", "20")
                test = self.choose(f"{self.truth(1)} and {count} < {bound}", f"{count} < 2")
                return [
                    f"{indent}{count} = 0",
                    f"{indent}while {test}:",
                    f"{inner}{count} += 1",
                    *self.block(depth - 1, inner, True),
                ]
        return [
            f"{indent}try:",
            *self.block(depth - 1, inner, in_loop),
            f"{inner}if {self.truth(1)}:",
            f"{inner}    raise {self.choose('ValueError', 'IndexError')}('no')",
            *self.block(depth - 1, inner, in_loop),
            f"{indent}except {self.choose('ValueError', 'Exception', '(IndexError, ValueError)')}:",
            *self.block(depth - 1, inner, in_loop),
        ]


@st.composite
def programs(draw: Callable) -> str:
    """The source of a program for states of STATE and actions of ACTION entries."""
    writer = _Writer(draw)
    helper = writer.block(1, "    ", False)
    body = writer.block(3, "    ", False)
    prelude = [
        "    s, a = state, action",
        "    x, y, z, n = s[0], 0.5, 1.0, 0",
        "    v = np.zeros(3)",
        "    w = v",
        "    items = [x]",
    ]
    lines = [
        "import numpy as np",
        "def clamp(e):",
        "    return min(max(e, -8.0), 8.0)",
        "def helper(x, y):",
        "    s, a, z, n = [x, y, 0.5, x], [y], 1.0, 2",
        "    v = np.ones(3) * x",
        "    w = v.copy()",
        "    items = [y]",
        *[line.replace("helper(", "max(") for line in helper],
        "    return x + v[0] + w[1] + len(items)",
        "def is_recovered(state):",
        "    return 1 if state[0] > 0 else 0",
        "def calculate_reward(state, action):",
        *prelude,
        *body,
        "    return clamp(x) + clamp(y) + clamp(z) + clamp(n) + clamp(v[0] + v[1] - v[2]) + "
        "clamp(sum(items)) + len(items)",
    ]
    return "\n".join(lines) + "\n"
