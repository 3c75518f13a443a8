"""Aggregates against numbers worked out by hand and against rliable's own."""

from __future__ import annotations

import numpy as np
import pytest
from rliable import metrics

from benchmarks import summary
from benchmarks.summary import (
    common_grid,
    interquartile_curve,
    interquartile_mean,
    interquartile_means,
    probability_of_improvement,
)


@pytest.fixture(autouse=True)
def few_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "_REPETITIONS", 200)


def test_interquartile_mean_leaves_the_outer_quarters_out() -> None:
    estimates = interquartile_means({"rate": np.array([0.0, 0.4, 0.6, 100.0])})
    assert estimates["rate"].value == pytest.approx(0.5)
    assert estimates["rate"].seeds == 4
    assert estimates["rate"].low <= 0.5 <= estimates["rate"].high


def test_one_seed_has_no_interval() -> None:
    estimate = interquartile_means({"rate": np.array([0.7])})["rate"]
    assert estimate.value == pytest.approx(0.7)
    assert not estimate.has_interval
    assert not probability_of_improvement(np.ones((1, 1)), np.zeros((1, 1))).has_interval
    assert not interquartile_mean(np.array([[0.1, 0.2]])).has_interval


def test_what_was_not_measured_is_left_out_by_measure() -> None:
    estimates = interquartile_means(
        {
            "all": np.array([1.0, 2.0, 3.0, 4.0]),
            "some": np.array([np.nan, 2.0, 4.0, np.nan]),
            "none": np.full(4, np.nan),
        }
    )
    assert [estimates[name].seeds for name in ("all", "some", "none")] == [4, 2, 0]
    assert estimates["some"].value == pytest.approx(3.0)
    assert np.isnan(estimates["none"].value)


def test_robots_are_strata() -> None:
    # Each robot's seeds agree: resampling seeds within robots can change nothing.
    estimate = interquartile_mean(np.array([[0.0, 0.2, 0.6, 1.0]] * 3))
    assert estimate.value == pytest.approx(0.4)
    assert (estimate.low, estimate.high) == pytest.approx((0.4, 0.4))


def test_intervals_are_those_of_all_resamples() -> None:
    # Two seeds, mean of two: 0 and 1 in a quarter of the resamples each, 0.5 in half.
    estimate = interquartile_means({"rate": np.array([0.0, 1.0])})["rate"]
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((0.0, 0.5, 1.0))


def test_the_same_data_give_the_same_interval_and_the_generator_is_left_alone() -> None:
    values = {"rate": np.array([0.1, 0.5, 0.7, 0.2, 0.9])}
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    assert interquartile_means(values) == interquartile_means(values)
    assert np.random.random() == expected


def test_probability_of_improvement_by_hand() -> None:
    # Of the 6 pairs 4 are won and 1 is a tie.
    ours, other = np.array([[3.0], [2.0]]), np.array([[1.0], [2.0], [2.5]])
    assert probability_of_improvement(ours, other).value == pytest.approx(4.5 / 6)


def test_probability_of_improvement_is_rliables() -> None:
    numbers = np.random.default_rng(0)
    for _ in range(20):
        ours = numbers.integers(0, 4, (5, 3)).astype(float)
        other = numbers.integers(0, 4, (3, 3)).astype(float)
        expected = metrics.probability_of_improvement(ours, other)
        assert summary._wins(ours, other)[0] == pytest.approx(expected)


def test_nothing_to_compare() -> None:
    empty = np.zeros((0, 1))
    assert np.isnan(probability_of_improvement(empty, np.ones((2, 1))).value)
    assert np.isnan(interquartile_mean(empty).value)
    assert np.isnan(interquartile_mean(np.zeros((3, 0))).value)
    assert interquartile_means({}) == {}


def test_curve_with_holes() -> None:
    curves = np.array([[0.0, np.nan, np.nan], [1.0, 1.0, np.nan], [2.0, 3.0, np.nan]])
    band = interquartile_curve(np.arange(3.0), curves)
    np.testing.assert_allclose(band.value, [1.0, 2.0, np.nan])
    assert np.isnan(band.low).tolist() == [False, False, True]


def test_curves_meet_where_all_are_defined() -> None:
    grid, table = common_grid(
        [np.array([1.0, 3.0]), np.array([2.0, 4.0])],
        [np.array([0.0, 1.0]), np.array([0.0, 2.0])],
        3,
    )
    np.testing.assert_allclose(grid, [2.0, 2.5, 3.0])
    np.testing.assert_allclose(table, [[0.5, 0.75, 1.0], [0.0, 0.5, 1.0]])


def test_curves_that_do_not_meet() -> None:
    grid, table = common_grid([np.array([1.0]), np.array([2.0])], [np.ones(1), np.ones(1)], 3)
    assert grid.size == 0
    assert table.shape == (2, 0)
    assert common_grid([], [], 3)[0].size == 0
