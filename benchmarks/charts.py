"""Charts as SVG text, to stand inside a page: they take its font and its colours, day and night.

A series is drawn in the CSS variable that it names, so one method looks the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.ticker import MaxNLocator

from benchmarks.statistics import Band, Estimate

# In SVG units; the page scales a chart to its column.
_WIDTH, _HEIGHT = 440.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 10.0, 10.0, 40.0


@dataclass(frozen=True)
class Series:
    """A named curve; `color` is the name of a CSS variable."""

    name: str
    color: str
    band: Band


def line_chart(
    series: list[Series],
    title: str,
    x_label: str,
    y_range: tuple[float, float] | None = None,
    x_scale: float = 1.0,
    number: Callable[[float], str] = "{:g}".format,
) -> str:
    """Returns curves with their intervals.

    Args:
        series: what to draw; empty bands are left out.
        title: what is shown, for those who hear the page.
        x_label: below the axis.
        y_range: of the axis; the data's by default.
        x_scale: abscissae are divided by this.
        number: writes a tick of the y axis.
    """
    drawn = [s for s in series if np.isfinite(s.band.value).any()]
    if not drawn:
        return f'<p class="none">{escape(title)}: nothing was measured.</p>'
    xs = np.concatenate([s.band.x for s in drawn]) / x_scale
    ys = np.concatenate([np.r_[s.band.value, s.band.low, s.band.high] for s in drawn])
    low, high = y_range or (float(np.nanmin(ys)), float(np.nanmax(ys)))
    if y_range is None and high - low < 1e-9:
        low, high = low - 1.0, high + 1.0
    y_ticks = _ticks(low, high)
    if y_range is None:
        low, high = min(low, y_ticks[0]), max(high, y_ticks[-1])
    x_high = float(np.max(xs)) or 1.0

    def x_at(x: np.ndarray | float) -> np.ndarray:
        return _LEFT + np.asarray(x) / x_scale / x_high * (_WIDTH - _LEFT - _RIGHT)

    def y_at(y: np.ndarray | float) -> np.ndarray:
        clipped = np.clip(np.asarray(y, float), low, high)
        return _HEIGHT - _BOTTOM - (clipped - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{escape(title)}">'
    ]
    for tick in y_ticks:
        if low <= tick <= high:
            y = float(y_at(tick))
            parts.append(f'<path class="grid" d="M{_LEFT:.0f} {y:.1f}H{_WIDTH - _RIGHT:.0f}"/>')
            parts.append(_text(_LEFT - 7, y + 4, number(tick), "end"))
    for tick in _ticks(0.0, x_high):
        if tick <= x_high * 1.001:
            at = float(x_at(tick * x_scale))
            parts.append(_text(at, _HEIGHT - _BOTTOM + 17, f"{tick:g}", "middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 5, x_label, "middle", "label"))
    for s in drawn:
        there = np.isfinite(s.band.value)
        x, value = x_at(s.band.x[there]), y_at(s.band.value[there])
        with_interval = there & np.isfinite(s.band.low) & np.isfinite(s.band.high)
        if with_interval.sum() > 1:
            across = x_at(s.band.x[with_interval])
            outline = np.concatenate(
                [
                    np.stack([across, y_at(s.band.high[with_interval])], axis=1),
                    np.stack([across, y_at(s.band.low[with_interval])], axis=1)[::-1],
                ]
            )
            parts.append(
                f'<polygon class="band" style="--c:var({s.color})" points="{_points(outline)}"/>'
            )
        points = np.stack([x, value], axis=1)
        name = f"<title>{escape(s.name)}</title>"
        if len(points) == 1:
            parts.append(
                f'<circle class="dot" style="--c:var({s.color})" r="3.5" '
                f'cx="{points[0, 0]:.1f}" cy="{points[0, 1]:.1f}">{name}</circle>'
            )
        else:
            parts.append(
                f'<polyline class="line" style="--c:var({s.color})" '
                f'points="{_points(points)}">{name}</polyline>'
            )
    parts.append("</svg>")
    return "".join(parts)


def forest_chart(rows: list[tuple[str, str, Estimate]], title: str) -> str:
    """Returns probabilities with their intervals, one below the other, against 0.5.

    Args:
        rows: name, CSS variable and estimate of each.
        title: for those who hear the page.
    """
    row_height, left, right = 26.0, 112.0, 14.0
    height = row_height * len(rows) + 30
    width = _WIDTH - left - right
    bottom = row_height * len(rows) + 4

    def x_at(probability: float) -> float:
        return left + probability * width

    parts = [
        f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">'
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        kind = "half" if tick == 0.5 else "grid"
        parts.append(f'<path class="{kind}" d="M{x_at(tick):.1f} 2V{bottom:.0f}"/>')
        parts.append(_text(x_at(tick), bottom + 17, f"{tick:g}", "middle"))
    for index, (name, color, estimate) in enumerate(rows):
        y = row_height * (index + 0.5) + 2
        parts.append(_text(left - 10, y + 4, name, "end", "label"))
        if not np.isfinite(estimate.value):
            parts.append(_text(x_at(0.02), y + 4, "not measured", "start"))
            continue
        style = f'style="--c:var({color})"'
        if estimate.has_interval:
            d = f"M{x_at(estimate.low):.1f} {y:.1f}H{x_at(estimate.high):.1f}"
            parts.append(f'<path class="whisker" {style} d="{d}"/>')
        parts.append(
            f'<circle class="dot" {style} r="5" cx="{x_at(estimate.value):.1f}" cy="{y:.1f}">'
            f"<title>{escape(name)}: {estimate.value:.2f}</title></circle>"
        )
    parts.append("</svg>")
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    ticks = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks]


def _points(points: np.ndarray) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
