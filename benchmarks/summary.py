"""A grid in numbers: every robot and method over its seeds, and ours against each other method.

Aggregates over seeds are by rliable: interquartile means with stratified bootstrap intervals
(Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", arXiv
2108.13264). Here a stratum is a robot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from rliable import library, metrics
from scipy import stats

from benchmarks.records import THRESHOLD, Record

OURS = "lamour"
# The methods that ours is claimed to be faster than, and the one that it is a part more than.
RIVALS = ("sero", "env", "zero")
ABLATION = "lamour-no-lpc"

# What the claims ask of the recovery rate and of retention.
CLAIMED_RECOVERY, CLAIMED_RETENTION = 0.95, 0.90

# Scores in which runs are compared, higher is better.
SCORES = {
    "recovery_rate": "recovery rate",
    "steps_to_90": "fewer steps to 90 % recovery",
    "retention": "retention",
    "ood_full_return": "return from the OOD start",
}
_AVERAGED = (
    "recovery_rate",
    "recovery_rate_strict",
    "recovery_rate_sampled",
    "recovery_rate_wide",
    "median_steps_to_recovery",
    "retention",
    "ood_full_return",
)
_WALL_POINTS = 40
_RECOVERS = f"recovers in at least {CLAIMED_RECOVERY:.0%} of episodes"

CONFIDENCE = 0.95
_REPETITIONS = 2000


@dataclass(frozen=True)
class Cell:
    """One robot and method over its finished seeds.

    Attributes:
        records: of all seeds, finished or not.
        estimates: interquartile means by measure. `steps_to_90` and `wall_seconds_to_90` count a
            run that never got there with its whole training: where `reached` is below the number
            of runs, they are lower bounds.
        reached: how many runs reached 90 % recovery and stayed there.
        by_steps, by_wall: curves of `recovery_rate` and `full_return` over environment steps and
            over training seconds.
    """

    records: list[Record]
    estimates: dict[str, Estimate]
    reached: int
    by_steps: dict[str, Band]
    by_wall: dict[str, Band]

    @property
    def finished(self) -> list[Record]:
        return [record for record in self.records if record.status == "finished"]


@dataclass(frozen=True)
class Claim:
    """A comparison that is expected of ours, and how it came out; None if it could not be made."""

    text: str
    found: str
    holds: bool | None


@dataclass(frozen=True)
class Summary:
    """All of a grid.

    Attributes:
        envs, methods: in the order of the grid.
        cells: by robot and method.
        overall: recovery rate and retention over all robots, by method and measure; empty with
            one robot.
        improvement: of ours over each other method, by robot (`None`: all of them), method and
            score; empty without ours.
        claims: by robot; empty without ours.
    """

    envs: list[str]
    methods: list[str]
    cells: dict[tuple[str, str], Cell]
    overall: dict[str, dict[str, Estimate]]
    improvement: dict[str | None, dict[str, dict[str, Estimate]]]
    claims: dict[str, list[Claim]]


def summarise(records: list[Record]) -> Summary:
    """Aggregates the records of a grid."""
    envs = list(dict.fromkeys(record.run.env for record in records))
    methods = list(dict.fromkeys(record.run.method for record in records))
    cells = {
        (env, method): _cell([r for r in records if (r.run.env, r.run.method) == (env, method)])
        for env in envs
        for method in methods
    }
    overall = {}
    if len(envs) > 1:
        overall = {
            method: {
                name: interquartile_mean(_matrix(cells, envs, method, name))
                for name in ("recovery_rate", "retention")
            }
            for method in methods
        }
    improvement: dict[str | None, dict[str, dict[str, Estimate]]] = {}
    claims = {}
    if OURS in methods:
        others = [method for method in methods if method != OURS]
        scopes: list[str | None] = [*envs, *([None] if len(envs) > 1 else [])]
        for scope in scopes:
            improvement[scope] = {
                other: _improvement(cells, envs if scope is None else [scope], other)
                for other in others
            }
        claims = {env: _claims(cells, env, methods) for env in envs}
    return Summary(envs, methods, cells, overall, improvement, claims)


def _cell(records: list[Record]) -> Cell:
    finished = [record for record in records if record.status == "finished"]
    values = {name: np.array([record.measures[name] for record in finished]) for name in _AVERAGED}
    reached = 0
    for name, whole in (("steps_to_90", "env_steps"), ("wall_seconds_to_90", "wall_seconds")):
        measured = np.array([record.measures[name] for record in finished])
        training = np.array([record.measures[whole] for record in finished])
        values[name] = np.where(np.isfinite(measured), measured, training)
        reached = int(np.isfinite(measured).sum())
    return Cell(
        records,
        interquartile_means(values) if finished else {},
        reached,
        {name: _by_steps(finished, name) for name in ("recovery_rate", "full_return")},
        {name: _by_wall(finished, name) for name in ("recovery_rate", "full_return")},
    )


def _by_steps(finished: list[Record], name: str) -> Band:
    curves = [record.curve for record in finished if record.curve is not None]
    steps = sorted({float(step) for curve in curves for step in curve.env_steps})
    table = np.full((len(curves), len(steps)), np.nan)
    for row, curve in zip(table, curves, strict=True):
        row[np.searchsorted(steps, curve.env_steps)] = getattr(curve, name)
    return interquartile_curve(np.array(steps), table)


def _by_wall(finished: list[Record], name: str) -> Band:
    curves = [record.curve for record in finished if record.curve is not None]
    x, y = [], []
    for curve in curves:
        value = getattr(curve, name)
        there = np.isfinite(value) & np.isfinite(curve.wall_seconds)
        x.append(curve.wall_seconds[there])
        y.append(value[there])
    return interquartile_curve(*common_grid(x, y, _WALL_POINTS))


def _score(record: Record, name: str) -> float:
    value = record.measures[name]
    if name != "steps_to_90":
        return value
    # Never there is worse than late, and all of those are equal.
    return -value if np.isfinite(value) else -2.0 * record.measures["env_steps"]


def _matrix(
    cells: dict[tuple[str, str], Cell], envs: list[str], method: str, name: str
) -> np.ndarray:
    """Returns scores `(seeds, robots)` of the seeds that are finished on all of `envs`."""
    by_env = [
        {record.run.seed: _score(record, name) for record in cells[env, method].finished}
        for env in envs
    ]
    seeds = sorted(set.intersection(*(set(scores) for scores in by_env))) if by_env else []
    return np.array([[scores[seed] for scores in by_env] for seed in seeds]).reshape(
        len(seeds), len(envs)
    )


def _improvement(
    cells: dict[tuple[str, str], Cell], envs: list[str], other: str
) -> dict[str, Estimate]:
    both = [env for env in envs if cells[env, OURS].finished and cells[env, other].finished]
    return {
        name: probability_of_improvement(
            _matrix(cells, both, OURS, name), _matrix(cells, both, other, name)
        )
        for name in SCORES
    }


def _claims(cells: dict[tuple[str, str], Cell], env: str, methods: list[str]) -> list[Claim]:
    ours = cells[env, OURS]
    if not ours.finished:
        return [Claim(_RECOVERS, "no finished run", None)]
    rate, retention = ours.estimates["recovery_rate"].value, ours.estimates["retention"].value
    keeps = f"keeps at least {CLAIMED_RETENTION:.0%} of the original return"
    claims = [
        _at_least(_RECOVERS, rate, CLAIMED_RECOVERY),
        _at_least(keeps, retention, CLAIMED_RETENTION),
    ]
    rivals = [other for other in RIVALS if other in methods]
    claims += [_faster(ours, cells[env, other], other) for other in rivals]
    if ABLATION in methods and cells[env, ABLATION].finished:
        without = cells[env, ABLATION].estimates["retention"].value
        text = "keeps more of the original return than without LPC"
        if math.isfinite(retention) and math.isfinite(without):
            found = f"{retention:.3f} against {without:.3f}"
            claims.append(Claim(text, found, retention > without))
        else:
            claims.append(Claim(text, "not measured", None))
    return claims


def _at_least(text: str, value: float, bound: float) -> Claim:
    if not math.isfinite(value):
        return Claim(text, "not measured", None)
    return Claim(text, f"{value:.3f}", value >= bound)


def _faster(ours: Cell, other: Cell, name: str) -> Claim:
    text = f"reaches {THRESHOLD:.0%} recovery in fewer steps than {name}"
    if not other.finished:
        return Claim(text, f"{name} has no finished run", None)

    def said(cell: Cell) -> str:
        steps = cell.estimates["steps_to_90"].value / 1e6
        short = cell.reached < len(cell.finished)
        if cell.reached == 0:
            return "never"
        count = f" ({cell.reached} of {len(cell.finished)} runs)" if short else ""
        return f"{'≥ ' if short else ''}{steps:.2f} M{count}"

    fewer = ours.estimates["steps_to_90"].value < other.estimates["steps_to_90"].value
    more_runs = ours.reached / len(ours.finished) > other.reached / len(other.finished)
    return Claim(
        text,
        f"{said(ours)} against {said(other)}",
        bool(ours.reached > 0 and (fewer or (more_runs and ours.reached == len(ours.finished)))),
    )


@dataclass(frozen=True)
class Estimate:
    """An aggregate over seeds.

    Attributes:
        value: NaN if there was nothing to aggregate.
        low, high: the 95 % interval; NaN below two seeds.
        seeds: how many counted, of the one that has fewer if two are compared.
    """

    value: float
    low: float
    high: float
    seeds: int

    @property
    def has_interval(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Band:
    """An aggregated curve, each `(points,)`; `low` and `high` are NaN below two seeds."""

    x: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def interquartile_means(values: dict[str, np.ndarray]) -> dict[str, Estimate]:
    """Returns the interquartile mean of each measure, `(seeds,)`, over the seeds that have it."""
    names = list(values)
    if not names:
        return {}
    table = np.stack([np.asarray(values[name], float) for name in names], axis=1)
    band = interquartile_curve(np.arange(len(names)), table)
    counts = np.isfinite(table).sum(axis=0)
    return {
        name: Estimate(
            float(band.value[i]), float(band.low[i]), float(band.high[i]), int(counts[i])
        )
        for i, name in enumerate(names)
    }


def interquartile_mean(values: np.ndarray) -> Estimate:
    """Returns the interquartile mean of `values` `(seeds, robots)` over both.

    Seeds are resampled within each robot; those with a NaN are left out.
    """
    scores = _complete(values)
    if scores.size == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(metrics.aggregate_iqm(scores))
    if len(scores) == 1:
        return Estimate(value, math.nan, math.nan, 1)
    low, high = _interval([scores], lambda x: np.array([metrics.aggregate_iqm(x)]))[:, 0]
    return Estimate(value, float(low), float(high), len(scores))


def probability_of_improvement(ours: np.ndarray, other: np.ndarray) -> Estimate:
    """Returns how likely a run of `ours` scores above one of `other`; a tie counts half.

    Args:
        ours: scores, higher is better, `(seeds, robots)`; seeds with a NaN are left out.
        other: likewise, of the same robots; its seeds may be fewer or more.
    """
    x, y = _complete(ours), _complete(other)
    seeds = min(len(x), len(y))
    if seeds == 0 or x.size == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(_wins(x, y)[0])
    if seeds == 1:
        return Estimate(value, math.nan, math.nan, 1)
    low, high = _interval([x, y], _wins)[:, 0]
    return Estimate(value, float(low), float(high), seeds)


def interquartile_curve(x: np.ndarray, curves: np.ndarray) -> Band:
    """Returns the interquartile mean of `curves` `(seeds, points)` at each of `x` `(points,)`.

    At each point, seeds that are NaN there are left out.
    """
    value, low, high = (np.full(len(x), np.nan) for _ in range(3))
    finite = np.isfinite(curves)
    # Points at which the same seeds are there are resampled together: one bootstrap, not many.
    for pattern in np.unique(finite, axis=1).T if len(x) else ():
        if not pattern.any():
            continue
        points = (finite == pattern[:, None]).all(axis=0)
        scores = curves[np.ix_(pattern, points)]
        value[points] = _trimmed(scores)
        if len(scores) > 1:
            low[points], high[points] = _interval([scores], _trimmed)
    return Band(x, value, low, high)


def common_grid(x: list[np.ndarray], y: list[np.ndarray], points: int) -> tuple[np.ndarray, ...]:
    """Puts curves of different abscissae on one, where all of them are defined.

    Args:
        x: rising abscissae of each seed.
        y: ordinates of each seed.
        points: how many abscissae to return.

    Returns:
        Abscissae `(points,)` and ordinates `(seeds, points)`; both empty without an overlap.
    """
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if len(a)]
    first = max((a[0] for a, _ in pairs), default=0.0)
    last = min((a[-1] for a, _ in pairs), default=-1.0)
    if last < first:
        return np.zeros(0), np.zeros((len(pairs), 0))
    grid = np.linspace(first, last, points if last > first else 1)
    return grid, np.stack([np.interp(grid, a, b) for a, b in pairs])


def _complete(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, float)
    return values[np.isfinite(values).all(axis=1)]


def _wins(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What `rliable.metrics.probability_of_improvement` returns, 100 times as fast, `(1,)`.

    It is called thousands of times, and that one is made of calls of a rank test.
    """
    pairs = np.sign(x[:, None] - y[None])
    return np.array([0.5 + 0.5 * pairs.mean()])


def _trimmed(scores: np.ndarray) -> np.ndarray:
    """The interquartile mean at every point at once, `(seeds, points)` to `(points,)`."""
    return stats.trim_mean(scores, proportiontocut=0.25, axis=0)


def _interval(scores: list[np.ndarray], aggregate: Callable[..., np.ndarray]) -> np.ndarray:
    """Returns the percentile bootstrap interval of `aggregate` of `scores`, `(2, points)`."""
    data = scores[0] if len(scores) == 1 else scores
    with _seeded():
        _, intervals = library.get_interval_estimates(
            {"": data}, aggregate, reps=_REPETITIONS, confidence_interval_size=CONFIDENCE
        )
    return intervals[""]


@contextmanager
def _seeded() -> Iterator[None]:
    """The same runs give the same page: rliable draws from NumPy's global generator."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)
