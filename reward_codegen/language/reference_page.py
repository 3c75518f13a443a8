"""Writes the page of the documentation that lists what reward code may use.

python -m reward_codegen.language.reference_page > docs/reward_language.md
"""

import textwrap

from reward_codegen import budget
from reward_codegen.language import (
    classes,
    jax_table,
    methods,
    modules,
    numpy_table,
    python_table,
    rotation,
)
from reward_codegen.language.values import Builtin, ExceptionType, Type

_HEAD = f"""\
# The language of reward code

Reward code is interpreted, never executed. What stands on this page has the exact meaning that
Python and NumPy give it; anything else is refused with its line, its name and, where there is one,
a way to write it. The page is generated from the tables of the interpreter.

A statement is evaluated once, for all states at once: a branch that depends on the state is
computed and selected, a loop of known length is unrolled, a `while` that depends on the state is
unrolled {budget.UNROLLED_ITERATIONS} times and then rolled into one loop of at most
{budget.MAX_LOOP_ITERATIONS:,} iterations. Where Python would raise an exception for a state, the
matching `except` takes it, or the state counts as not recovered and its reward as -100.

Numbers of the state are computed in single precision. A program whose reward differs from double
precision on ordinary states is refused, as are constants beyond 1e-38 to 1e38 in arithmetic with
the state.

## Statements

`def` (defaults, `*args`, `**kwargs`, keyword-only, decorators of `jax` and `functools`), `lambda`,
`class`, assignments of all kinds, `if`, `for`, `while`, `break`, `continue`, `else` of loops,
`match`, `try` with `except`, `else` and `finally` (without `return`, `break`, `continue` or `raise`
in it), `raise`, `assert`, `with np.errstate(...)`, `del` of names and items, `import`,
comprehensions and generator expressions, `nonlocal`. Not admitted: `global`, `yield`, `async`,
complex numbers and bytes.

Strings that depend on the state are admitted in messages and as a choice between known strings.
Lists whose length depends on the state (a comprehension with a test, `append` in a branch, a
selection `x[x > 0]`) may be indexed, iterated over, summed, counted and compared with nothing.

A function may end with `return reward, {{"name": term}}`: the terms are then at hand by name in
`RewardProgram.terms`.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, _python(), _values(), _numpy(), _others(), _limits()]
    return "\n".join(parts)


def _words(names: object) -> str:
    text = ", ".join(f"`{name}`" for name in sorted(names))  # type: ignore[call-overload]
    return textwrap.fill(text, 98, break_long_words=False, break_on_hyphens=False) + "\n"


def _python() -> str:
    found = python_table.BUILTINS.items()
    functions = [name for name, value in found if isinstance(value, Builtin)]
    types = [name for name, value in found if isinstance(value, Type)]
    exceptions = [name for name, value in found if isinstance(value, ExceptionType)]
    return (
        f"## Python\n\nFunctions: {_words(functions)}\nTypes: {_words(types)}\n"
        f"Exceptions: {_words(exceptions)}\n"
        f"`math`: {_words(python_table.MATH)}"
    )


def _values() -> str:
    rows = {
        "Arrays and scalars of NumPy": methods.ARRAY_FUNCTIONS
        | methods.ARRAY_METHODS | methods.ARRAY_FACTS,
        "Lists": methods.LIST_METHODS, "Tuples": methods.TUPLE_METHODS,
        "Dicts": methods.DICT_METHODS, "Sets": methods.SET_METHODS,
        "Strings": methods.STRING_METHODS, "Named tuples": methods.RECORD_METHODS,
        "Methods of classes with two underscores": classes.METHODS,
        "`x.at[...]` of JAX": jax_table.AT_METHODS,
    }  # fmt: skip
    lines = [f"{what}: {_words(names)}" for what, names in rows.items()]
    return "## Attributes and methods\n\n" + "\n".join(lines)


def _numpy() -> str:
    lines = ["## NumPy", "", "Each function with the arguments that it takes here; `jax.numpy` has",
             "the same, without changes in place.", "",
             "| function | arguments |", "| --- | --- |"]  # fmt: skip
    for name, names in sorted(numpy_table.signatures().items()):
        if not name.startswith("nn."):
            lines.append(f"| `{name}` | {', '.join(f'`{part}`' for part in names.split())} |")
    lines += ["",
              "`np.add.reduce` and its like (`reduce`, `accumulate`, `outer`), `np.r_`, `np.c_`",
              "and `np.s_`; masks in reading and writing; views as NumPy has them.",
              ""]  # fmt: skip
    return "\n".join(lines)


def _others() -> str:
    lines = ["## Other modules", ""]
    for name, held in modules.contents().items():
        if held and name not in ("numpy", "jax.numpy", "math", "jax.numpy.linalg", "numpy.linalg"):
            lines.append(f"`{name}`: {_words(held)}")
    for what, table in (("made by", rotation.MAKERS), ("with the methods", rotation.METHODS)):
        rows = [f"`{name}({', '.join(names.split())})`" for name, names in table.items()]
        text = f"`Rotation` {what} {', '.join(rows)}."
        lines.append(textwrap.fill(text, 98, break_long_words=False, break_on_hyphens=False) + "\n")
    lines.append("`logging`, `warnings` and `print` do nothing. Names of `typing` mean nothing.\n")
    return "\n".join(lines)


def _limits() -> str:
    rows = {
        "characters of the source": budget.MAX_SOURCE_CHARACTERS,
        "tokens of the source": budget.MAX_TOKENS,
        "nesting of brackets, blocks and expressions": budget.MAX_NESTING,
        "nesting of calls": budget.MAX_CALL_DEPTH,
        "steps of interpretation": budget.MAX_STEPS,
        "operations of the compiled program": budget.MAX_OPERATIONS,
        "array entries computed while compiling": budget.MAX_WORK,
        "entries of an array, characters of a string": budget.MAX_ELEMENTS,
        "items of a list, dict or range": budget.MAX_ITEMS,
        "bits of a known integer": budget.MAX_INTEGER_BITS,
    }
    lines = ["## Limits", "", "| | at most |", "| --- | --- |"]
    lines += [f"| {what} | {most:,} |" for what, most in rows.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
