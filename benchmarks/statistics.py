"""Aggregates over seeds, by rliable: interquartile means with stratified bootstrap intervals.

Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
arXiv 2108.13264. Here a stratum is a robot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from rliable import library, metrics
from scipy import stats

CONFIDENCE = 0.95
_REPETITIONS = 2000


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
