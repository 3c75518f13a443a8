"""What programs of these tests compute in CPython, and what their compiled forms compute.

Only programs that stand in the tests are ever run by Python; a user's reply never is.

    python -m tests.reward_codegen.python_itself [FILE ...] [--generated COUNT] [--seed SEED]

prints what becomes of each case, or of so many generated programs.
"""

import argparse
import contextlib
import io
import random
import re
import sys
import textwrap
import types
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from reward_codegen import RewardCodeError, RewardProgram, compile_reward
from reward_codegen.reference import Reference

from . import generated

STATE, ACTION = 27, 8
STATES = 100
_LARGEST = 1e37
CASES = Path(__file__).parent / "cases"
HEAD = """
import functools
import itertools
import math
import operator
import numpy as np

def is_recovered(state):
    return 1 if state[0] > 0.3 else 0
"""


@dataclass(frozen=True)
class Case:
    """One program; `expected` is agrees, refused, or either."""

    name: str
    source: str
    expected: str = "agrees"


def cases() -> list[Case]:
    """All cases: whole programs, and bodies of `calculate_reward` in text files."""
    expected = dict(
        line.split(": ")[:2] for line in (CASES / "expected.txt").read_text().splitlines() if line
    )
    found = []
    for path in sorted(CASES.glob("*/*.py")):
        name = f"{path.parent.name}/{path.stem}"
        found.append(Case(name, path.read_text(), expected.pop(name, "agrees")))
    for path in sorted(CASES.glob("*/*.txt")):
        sections = path.read_text().removeprefix("=== ").split("\n=== ")
        for title, body in (section.split("\n", 1) for section in sections):
            name = f"{path.stem}/{title}"
            found.append(Case(name, _whole(body), expected.pop(name, "agrees")))
    assert not expected, f"no such cases: {sorted(expected)}"
    return found


def _whole(body: str) -> str:
    """The program of a case's body; what follows a line of dashes stands before the functions."""
    body, _, module = body.partition("\n---\n")
    inner = textwrap.indent(body.strip("\n"), "    ")
    function = f"def calculate_reward(state, action):\n    s, a = state, action\n{inner}\n"
    return f"{HEAD}\n{module}\n{function}"


def states(count: int = STATES, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """States and actions like an ant's; numbers that single precision holds."""
    generator = np.random.default_rng(seed)
    some = generator.normal(scale=0.8, size=(count, STATE))
    some[:, 0] = generator.uniform(-0.1, 1.2, count)
    some[:, 1:5] /= np.linalg.norm(some[:, 1:5], axis=1, keepdims=True)
    some[0, 5:] = 0.0
    some[1, 5:] = np.round(some[1, 5:] * 2) / 2
    actions = generator.uniform(-1, 1, (count, ACTION))
    return some.astype(np.float32).astype(float), actions.astype(np.float32).astype(float)


def python_rewards(source: str, rows: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Rewards and recoveries, (count, 2), by CPython; what a raised exception is worth."""
    found = []
    with (
        np.errstate(all="ignore"),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        module = types.ModuleType("reward_of_a_test")
        sys.modules[module.__name__] = module  # dataclasses look here for their annotations
        namespace = vars(module)
        exec(compile(source, "case", "exec"), namespace)
        for row, action in zip(rows, actions, strict=True):
            found.append([_reward(namespace, row, action), _recovered(namespace, row)])
    return np.array(found, float)


def _reward(namespace: dict, row: np.ndarray, action: np.ndarray) -> float:
    try:
        value = namespace["calculate_reward"](row.copy(), action.copy())
        value = value[0] if isinstance(value, tuple) else value
        if isinstance(value, complex | str):
            return -100.0
        return float(value)
    except Exception:
        return -100.0


def _recovered(namespace: dict, row: np.ndarray) -> float:
    try:
        return float(int(namespace["is_recovered"](row.copy())))
    except Exception:
        return 0.0


def compiled_rewards(program: RewardProgram, rows: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The same by the compiled program, jitted and vmapped."""

    def both(row: jax.Array, action: jax.Array) -> jax.Array:
        recovered = program.is_recovered(row).astype(jnp.float32)
        return jnp.stack([program.calculate_reward(row, action), recovered])

    return np.asarray(jax.jit(jax.vmap(both))(jnp.asarray(rows), jnp.asarray(actions)), float)


def reference_rewards(program: RewardProgram, rows: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The same by the interpreter on NumPy, in double precision."""
    reference = Reference(program.outcomes)
    return np.array(
        [
            [reference.calculate_reward(row, action), reference.is_recovered(row)]
            for row, action in zip(rows, actions, strict=True)
        ]
    )


def differences(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The states on which two results differ; beyond single precision, all numbers are alike."""
    found, expected = (np.clip(values, -_LARGEST, _LARGEST) for values in (found, expected))
    close = np.isclose(found, expected, rtol=2e-3, atol=2e-3, equal_nan=True)
    return np.flatnonzero(~close.all(axis=1))


def _on_a_threshold(source: str, found: np.ndarray, row: np.ndarray, action: np.ndarray) -> bool:
    """Whether Python gives the same a hair beside this state."""
    near = row + np.random.default_rng(0).normal(scale=1e-6, size=(16, row.size))
    again = python_rewards(source, near, np.repeat(action[None], 16, axis=0))
    return len(differences(again, found[None])) != len(again)


def outcome(source: str, rows: np.ndarray, actions: np.ndarray, few: int = 10) -> str:
    """What becomes of a program: `agrees`, `refused: ...` or `WRONG: ...`.

    The compiled form is compared on all states, the reference on the first few.
    """
    sizes = {"state_size": rows.shape[1], "action_size": actions.shape[1]}
    try:
        program = compile_reward(source, **sizes)
    except RewardCodeError as error:
        return f"refused: {type(error).__name__}: {error}"
    expected = python_rewards(source, rows, actions)
    found = {
        "jax": compiled_rewards(program, rows, actions),
        "the reference": reference_rewards(program, rows[:few], actions[:few]),
    }
    for form, values in found.items():
        apart = differences(values, expected[: len(values)])
        wrong = [
            k
            for k in apart[:20]
            if len(apart) > len(values) // 4
            or not _on_a_threshold(source, values[k], rows[k], actions[k])
        ]
        if wrong:
            k = wrong[0]
            return (
                f"WRONG: {form} gives {values[k].round(4).tolist()}, Python "
                f"{expected[k].round(4).tolist()} for state {k} (of {len(apart)})"
            )
    return "agrees"


def fits(case: Case, result: str) -> bool:
    """Whether an outcome is as expected; what Python can run in no state may always be refused."""
    kind = result.split(":", maxsplit=1)[0]
    if case.expected in ("either", kind):
        return kind in ("agrees", "refused")
    if kind != "refused":
        return False
    rows, actions = generated.states(10) if "generated" in case.name else states(10)
    return bool((python_rewards(case.source, rows, actions)[:, 0] == -100.0).all())


def main() -> None:
    """The report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--match", default="", help="a pattern of cases' names")
    parser.add_argument("--all", action="store_true", help="also what is as expected")
    parser.add_argument("--generated", type=int, default=0, metavar="COUNT")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--show", action="store_true", help="also the source of what is wrong")
    chosen = parser.parse_args()
    some = [Case(path.name, path.read_text()) for path in chosen.files] or cases()
    rows, actions = states()
    if chosen.generated:
        print(f"seed {chosen.seed}")
        seeds = range(chosen.seed, chosen.seed + chosen.generated)
        some = [Case(f"generated {seed}", generated.program(seed)) for seed in seeds]
        rows, actions = generated.states()
    counts: Counter[str] = Counter()
    for case in some:
        if not re.search(chosen.match, case.name):
            continue
        try:
            result = outcome(case.source, rows, actions)
        except Exception as error:
            result = f"CRASH: {type(error).__name__}: {str(error)[:300]}"
        counts[result.split(":")[0]] += 1
        if chosen.all or not fits(case, result):
            print(f"{case.name}: expected {case.expected}, {result}", flush=True)
            if chosen.show:
                print(case.source, flush=True)
    print(dict(counts))


if __name__ == "__main__":
    main()
