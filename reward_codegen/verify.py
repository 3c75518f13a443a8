"""Would training on this program lead anywhere? Asked on states of the environment, beforehand.

A program that compiles may still be worthless: a test that is always 1, a reward that falls as the
robot gets up, a penalty on actions that drowns everything else. Each check states what it found
in numbers, as a sentence that can be sent back to the model.
"""

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from reward_codegen.errors import RewardCodeError
from reward_codegen.language.parse import bound_names, parse
from reward_codegen.program import RewardProgram, compile_source
from reward_codegen.reference import Reference

MOST = 0.5  # of the original policy's states: fewer recognised as recovered is an error
NEARLY_ALL = 0.9  # fewer is a warning
RISING = 0.5  # a rank correlation along the recoveries below this is a warning
LARGEST_PENALTY = 0.5  # of the reward's spread: an action penalty above this is an error
LARGE_PENALTY = 0.2  # above this, a warning
TOLERANCE = 1e-4  # relative, between single and double precision
ROUNDING = 1e-5  # relative; states this near to a threshold may fall on either side of it
COMPARED = 60  # probes that the NumPy reference is evaluated on


@dataclass(frozen=True)
class Probes:
    """States and actions of the environment that a program is tried on.

    Attributes:
        ood: states at out-of-distribution starts, `(n, state_size)`.
        original: states that the original policy visits in its ordinary task, `(m, state_size)`.
        between: paths of `k` states, each from an out-of-distribution state (index 0) to a
            recovered one (the last), interpolated, `(p, k, state_size)`.
        extreme: states far outside of anything ordinary, `(e, state_size)`; may be empty.
        actions: actions in -1..1, `(a, action_size)`.
        recorded: the same as `between` of recoveries that happened, `(r, j, state_size)`; None if
            there are none.
    """

    ood: np.ndarray
    original: np.ndarray
    between: np.ndarray
    extreme: np.ndarray
    actions: np.ndarray
    recorded: np.ndarray | None = None

    def check(self, state_size: int, action_size: int) -> None:
        """Check the shapes.

        Raises:
            ValueError: one does not fit.
        """
        least = {"ood": (1,), "original": (1,), "between": (1, 2), "extreme": (0,), "actions": (1,)}
        if self.recorded is not None:
            least["recorded"] = (1, 2)
        for name, counts in least.items():
            size = action_size if name == "actions" else state_size
            found = getattr(self, name).shape
            if (
                len(found) != len(counts) + 1
                or found[-1] != size
                or any(map(operator.lt, found, counts))
            ):
                wanted = ", ".join([*(f"{count} or more" for count in counts), str(size)])
                raise ValueError(f"probes.{name} has shape {found}, not ({wanted})")


@dataclass(frozen=True)
class Finding:
    """Something wrong with a program, in one or two sentences with numbers.

    Attributes:
        check: the check's name: finite, negative, recovered, rising, penalty, agreement.
        severity: an error means that training on the program is pointless.
        message: fit to be sent back to the model.
    """

    check: str
    severity: Literal["error", "warning"]
    message: str


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes:
        findings: errors first.
        numbers: what was measured, by name.
    """

    findings: tuple[Finding, ...]
    numbers: dict[str, float]

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def score(self) -> float:
        """For choosing among programs, higher is better; one with an error is below any without.

        The mean rank correlation along the recoveries, plus the share of the original policy's
        states that count as recovered, less the share of the action penalty; between -2 and 2,
        and 10 less for each error.
        """
        numbers = self.numbers
        quality = (
            numbers["rank_correlation"] + numbers["original_recovered"] - numbers["action_share"]
        )
        return quality - 10.0 * sum(finding.severity == "error" for finding in self.findings)

    def text(self) -> str:
        """A few lines for a person: the verdict, the findings, the numbers."""
        lines = ["passed" if self.passed else "failed"]
        lines += [f"{found.severity}: {found.check}: {found.message}" for found in self.findings]
        lines += [f"{name}: {value:.4g}" for name, value in self.numbers.items()]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The same for a file; a number that is not finite becomes None."""
        return {
            "passed": self.passed,
            "score": self.score,
            "findings": [vars(finding) for finding in self.findings],
            "numbers": {
                name: value if math.isfinite(value) else None
                for name, value in self.numbers.items()
            },
        }


def verify(program: RewardProgram, probes: Probes) -> Report:
    """Try a program on states of its environment.

    Raises:
        ValueError: the probes do not have the program's sizes.
    """
    probes.check(program.state_size, program.action_size)
    values = _Values(program, probes)
    findings: list[Finding] = []
    numbers: dict[str, float] = {}
    for check in (_finite, _negative, _recovered, _rising, _rising_as_recorded, _penalty):
        findings += check(values, numbers)
    findings += _agreement(program, values, numbers)
    findings.sort(key=lambda finding: finding.severity)
    return Report(tuple(findings), numbers)


def shifted(program: RewardProgram, by: float) -> RewardProgram:
    """The same program with its reward lowered by a constant, in its source too.

    States that the program raises an exception for keep their fixed reward.

    Args:
        program: what to lower.
        by: how much lower, 0 or more.
    """
    taken = bound_names(parse(program.source).tree)
    name = next(n for n in _names("reward_before_shift") if n not in taken)
    lines = (
        program.source.rstrip("\n"),
        "",
        "",
        f"{name} = calculate_reward",
        "",
        "",
        "def calculate_reward(state, action):",
        f'    """The reward above, lowered by {by:g}."""',
        f"    return {name}(state, action) - {by:g}",
        "",
    )
    lowered = compile_source(
        "\n".join(lines), state_size=program.state_size, action_size=program.action_size
    )
    note = f"the reward was lowered by {by:g}, so that it is always negative"
    return replace(lowered, notes=(*program.notes, note))


def negative(program: RewardProgram, report: Report) -> RewardProgram:
    """The program, its reward lowered to below 0 on all probes where it is not."""
    largest = report.numbers.get("largest_reward", -math.inf)
    if not 0.0 <= largest < math.inf:
        return program
    margin = max(0.01, 0.01 * largest)
    return shifted(program, math.ceil(100.0 * (largest + margin)) / 100.0)


def _names(stem: str) -> Iterator[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}_{number}"
        number += 1


class _Values:
    """Both functions on all probes, computed in one batch each.

    Attributes:
        states, actions: the ordinary probes (out of distribution, original, between), with the
            actions in turn.
        ordinary, ood, original, between, extreme: rewards there.
        along: rewards without action along the paths, `(p, k)`.
        along_recorded: the same along the recorded ones, `(r, j)`; None if there are none.
        by_action: rewards of a few states with each action, `(few, a)`.
        without_action: rewards of the same states with the zero action, `(few,)`.
        ood_recovered, original_recovered, between_recovered: whether `is_recovered` is not 0.
    """

    def __init__(self, program: RewardProgram, probes: Probes) -> None:
        paths, steps, size = probes.between.shape
        on_paths = probes.between.reshape(-1, size)
        few = np.concatenate([probes.ood[:8], on_paths[:: max(len(on_paths) // 24, 1)]])
        self.states = np.concatenate([probes.ood, probes.original, on_paths])
        self.actions = _in_turn(probes.actions, len(self.states))
        idle = np.zeros((1, program.action_size))
        grid = np.concatenate([probes.actions, idle])
        batches = [
            (self.states, self.actions),
            (probes.extreme, _in_turn(probes.actions, len(probes.extreme))),
            (on_paths, _in_turn(idle, len(on_paths))),
            (np.repeat(few, len(grid), axis=0), np.tile(grid, (len(few), 1))),
        ]
        if probes.recorded is not None:
            recorded = probes.recorded.reshape(-1, size)
            batches.append((recorded, _in_turn(idle, len(recorded))))
        states, actions = (
            jnp.asarray(np.concatenate(parts), jnp.float32) for parts in zip(*batches, strict=True)
        )
        rewards = np.asarray(jax.jit(jax.vmap(program.calculate_reward))(states, actions), float)
        ends = np.cumsum([len(part) for part, _ in batches])[:-1]
        self.ordinary, self.extreme, along, by_action, *rest = np.split(rewards, ends)
        self.along_recorded: np.ndarray | None = None
        if probes.recorded is not None:
            self.along_recorded = rest[0].reshape(probes.recorded.shape[:2])
        self.along = along.reshape(paths, steps)
        *every, self.without_action = by_action.reshape(len(few), len(grid)).T
        self.by_action = np.stack(every, axis=1)

        groups = np.cumsum([len(probes.ood), len(probes.original)])
        self.ood, self.original, self.between = np.split(self.ordinary, groups)
        tested = jax.jit(jax.vmap(program.is_recovered))(jnp.asarray(self.states, jnp.float32))
        self.ood_recovered, self.original_recovered, self.between_recovered = np.split(
            np.asarray(tested) != 0, groups
        )


def _in_turn(actions: np.ndarray, count: int) -> np.ndarray:
    return actions[np.arange(count) % len(actions)]


# The checks -------------------------------------------------------------------------------------


def _finite(values: _Values, numbers: dict[str, float]) -> Iterator[Finding]:
    groups = {
        "out-of-distribution starts": values.ood,
        "states that the original policy visits": values.original,
        "states between the two": values.between,
    }
    for what, rewards in groups.items():
        bad = int((~np.isfinite(rewards)).sum())
        if bad:
            yield Finding(
                "finite",
                "error",
                f"calculate_reward gives NaN or an infinity on {bad} of {len(rewards)} {what}; "
                "guard divisions, logarithms, roots and arc functions with np.clip or np.maximum.",
            )
    numbers["finite"] = float(np.isfinite(values.ordinary).mean())
    if len(values.extreme):
        numbers["extreme_finite"] = float(np.isfinite(values.extreme).mean())
        bad = int((~np.isfinite(values.extreme)).sum())
        if bad:
            yield Finding(
                "finite",
                "warning",
                f"calculate_reward gives NaN or an infinity on {bad} of {len(values.extreme)} "
                "extreme states; return a fixed negative reward where "
                "np.isfinite(state) does not hold, and clip what can grow without bound.",
            )


def _negative(values: _Values, numbers: dict[str, float]) -> Iterator[Finding]:
    finite = values.ordinary[np.isfinite(values.ordinary)]
    numbers["largest_reward"] = float(finite.max()) if len(finite) else math.nan
    numbers["negative"] = float((finite < 0.0).mean()) if len(finite) else 0.0
    wrong = int((finite >= 0.0).sum())
    if wrong:
        yield Finding(
            "negative",
            "error",
            f"The reward must always be negative, but it is 0 or more on {wrong} of {len(finite)} "
            f"states, up to {finite.max():.4g}; subtract a constant larger than that.",
        )


def _recovered(values: _Values, numbers: dict[str, float]) -> Iterator[Finding]:
    ood, original = values.ood_recovered, values.original_recovered
    numbers["ood_recovered"] = float(ood.mean())
    numbers["original_recovered"] = float(original.mean())
    everything = np.concatenate([ood, original, values.between_recovered])
    if everything.all() or not everything.any():
        yield Finding(
            "recovered",
            "error",
            f"is_recovered returns {int(everything[0])} for all {len(everything)} states, "
            "out-of-distribution starts and ordinary running alike; it must tell the two apart.",
        )
        return
    if ood.any():
        yield Finding(
            "recovered",
            "error",
            f"is_recovered returns 1 for {ood.sum()} of {len(ood)} out-of-distribution starts, "
            "where it must return 0; make the criteria on position and orientation stricter.",
        )
    share = original.mean()
    if share < NEARLY_ALL:
        yield Finding(
            "recovered",
            "error" if share < MOST else "warning",
            f"is_recovered returns 1 for only {share:.0%} of {len(original)} states that the "
            "original policy visits while it does its task; make the criteria less strict, and "
            "leave velocities out of them.",
        )


def _rising(values: _Values, numbers: dict[str, float]) -> Iterator[Finding]:
    """Rank correlation of the reward, without actions, with the place along each recovery."""
    ranks = np.array([_rank_correlation(path) for path in values.along])
    start, end = (_mean(values.along[:, place]) for place in (0, -1))
    mean = float(ranks.mean())
    numbers["rank_correlation"] = mean
    numbers["lowest_rank_correlation"] = float(ranks.min())
    numbers["reward_ood"] = _mean(values.ood)
    numbers["reward_original"] = _mean(values.original)
    told = f"from {start:.4g} at the start to {end:.4g} at the end, rank correlation {mean:.2f}"
    if np.unique(values.along).size == 1:
        yield Finding(
            "rising",
            "error",
            f"The reward is {start:.4g} all the way from the out-of-distribution start to "
            "recovery; make it depend on how far position and orientation are from recovered ones.",
        )
    elif mean <= 0.0 or not end > start:
        yield Finding(
            "rising",
            "error",
            f"The reward does not rise on the way to recovery ({told}); check the signs of its "
            "terms and which entries of the state they read.",
        )
    elif mean < RISING:
        yield Finding(
            "rising",
            "warning",
            f"The reward hardly rises on the way to recovery ({told}); make it rise steadily as "
            "position and orientation near the recovered ones.",
        )


def _rising_as_recorded(values: _Values, numbers: dict[str, float]) -> Iterator[Finding]:
    """The same on recoveries that happened: these need not rise all the way."""
    along = values.along_recorded
    if along is None:
        return
    mean = float(np.mean([_rank_correlation(path) for path in along]))
    start, end = (_mean(along[:, place]) for place in (0, -1))
    numbers["rank_correlation_recorded"] = mean
    if mean <= 0.0 or not end > start:
        yield Finding(
            "rising",
            "error" if mean <= 0.0 and not end > start else "warning",
            f"Along {len(along)} recoveries that a trained robot made, the reward does not rise "
            f"(from {start:.4g} at the start to {end:.4g} at the end, rank correlation "
            f"{mean:.2f}); check what it pays for on the way.",
        )


def _rank_correlation(rewards: np.ndarray) -> float:
    """Spearman's coefficient of the rewards with their order; 0 if they are all the same."""
    if not np.isfinite(rewards).all():
        return 0.0
    _, group, counts = np.unique(rewards, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group]  # equal rewards share their mean rank
    if len(counts) == 1:
        return 0.0
    return float(np.corrcoef(ranks, np.arange(len(rewards)))[0, 1])


def _penalty(values: _Values, numbers: dict[str, float]) -> Iterator[Finding]:
    """How much of the reward's spread comes from the action."""
    by_action = np.column_stack([values.by_action, values.without_action])
    changed, raised = (_mean(np.ptp(part, axis=1)) for part in (by_action, values.along))
    total = changed + raised
    share = changed / total if total > 0.0 else 0.0  # nothing is finite, or all is constant
    numbers["action_share"] = share
    told = f"the action changes it by {changed:.4g}, the way to recovery by {raised:.4g}"
    if share > LARGE_PENALTY:
        yield Finding(
            "penalty",
            "error" if share > LARGEST_PENALTY else "warning",
            f"The action's part of the reward is too large: {told}; scale the action penalty down "
            "and divide it by the action's size.",
        )
    paid = values.by_action > values.without_action[:, None] + 1e-6 * (1.0 + total)
    if paid.any():
        yield Finding(
            "penalty",
            "warning",
            f"For {paid.mean():.0%} of the actions tried the reward is higher than without any "
            "action; the action penalty should lower it.",
        )


def _agreement(
    program: RewardProgram, values: _Values, numbers: dict[str, float]
) -> Iterator[Finding]:
    """The compiled program against its NumPy reference."""
    states, rewards = values.states, values.ordinary
    places = np.unique(np.linspace(0, len(states) - 1, COMPARED).astype(int))
    reference = Reference(program.outcomes)
    apart = on_threshold = raised = 0
    failure = ""
    try:
        for place in places:
            state, action = (
                np.asarray(part[place], np.float32).astype(np.float64)
                for part in (states, values.actions)
            )
            expected = reference.calculate_reward(state, action)
            if reference.failure is not None:
                raised, failure = raised + 1, reference.failure
            if _close(rewards[place], expected):
                continue
            near = [
                reference.calculate_reward(state * (1.0 + side), action)
                for side in (-ROUNDING, ROUNDING)
            ]
            if any(_close(rewards[place], value) for value in near):
                on_threshold += 1
            else:
                apart += 1
    except RewardCodeError as error:
        yield Finding("agreement", "error", f"The program cannot be evaluated on a state: {error}")
        return
    numbers["apart_from_numpy"] = apart / len(places)
    numbers["on_threshold"] = on_threshold / len(places)
    if raised:
        yield Finding(
            "finite",
            "error" if raised > 0.1 * len(places) else "warning",
            f"The program raises an exception on {raised} of {len(places)} states ({failure}); "
            "return a fixed negative reward instead.",
        )
    if apart:
        yield Finding(
            "agreement",
            "error",
            f"In single precision the reward differs from double precision by more than "
            f"{TOLERANCE:g} on {apart} of {len(places)} states; avoid differences of large "
            "numbers, high powers and exact comparisons of floats.",
        )


def _mean(rewards: np.ndarray) -> float:
    """The mean of those that are finite."""
    finite = rewards[np.isfinite(rewards)]
    return float(finite.mean()) if len(finite) else math.nan


def _close(found: float, expected: float) -> bool:
    return bool(np.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
