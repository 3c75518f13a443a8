"""A grid as one HTML page that needs nothing but itself: no script, no font, no request."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from benchmarks.records import Record
from benchmarks.summary import OURS, SCORES, Band, Cell, Estimate, Summary
from lamour_jax.files import write_text

# By day and by night; distinct to the colour-blind as well. The same method has the same colour
# on every page, and methods of the user's own take the further ones in turn.
_COLORS = {
    "lamour": ("#1a5fd0", "#74aaff"),
    "lamour-switch": ("#00897b", "#3fd0ba"),
    "lamour-no-lpc": ("#8e4fc9", "#c09bff"),
    "sero": ("#d97706", "#f6a94a"),
    "env": ("#c4314b", "#ff8296"),
    "zero": ("#69727d", "#a9b2bd"),
}
_FURTHER_COLORS = (("#9a6a00", "#e3bb45"), ("#b83b9f", "#f294dc"), ("#4a7d12", "#a2d158"))

_TABLE = (
    ("recovery_rate", "recovery rate", "rate"),
    ("recovery_rate_strict", "strict rate", "rate"),
    ("recovery_rate_wide", "rate from wide starts", "rate"),
    ("steps_to_90", "steps to 90 % recovery", "steps"),
    ("wall_seconds_to_90", "training time to 90 %", "time"),
    ("median_steps_to_recovery", "control steps to recovery", "count"),
    ("retention", "retention", "rate"),
)
_CHARTS = (
    ("recovery_rate", "Recovery rate", "steps"),
    ("full_return", "Return from the OOD start", "steps"),
    ("recovery_rate", "Recovery rate", "wall"),
    ("full_return", "Return from the OOD start", "wall"),
)

# In SVG units; the page scales a chart to its column.
_WIDTH, _HEIGHT = 440.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 10.0, 10.0, 40.0


def write_page(summary: Summary, records: list[Record], grid: dict[str, Any], path: Path) -> None:
    """Writes the page.

    Args:
        summary: of `records`.
        records: all runs of the grid.
        grid: the content of `grid.json`.
        path: the file.
    """
    write_text(path, render_page(summary, records, grid))


def render_page(summary: Summary, records: list[Record], grid: dict[str, Any]) -> str:
    """Returns the page's HTML; the arguments are those of `write_page`."""
    sections = [
        _glance(summary),
        _claims(summary),
        *(_robot(summary, env) for env in summary.envs),
        _improvement(summary),
        _broken(records),
        _rewards(records),
        _origin(records, grid),
    ]
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title="Recovery from states that training never saw",
        lead=_lead(summary, records),
        legend=_legend(summary.methods),
        light_colors=_color_rules(summary.methods, 0),
        dark_colors=_color_rules(summary.methods, 1),
        body="\n".join(section for section in sections if section),
    )


def _colors(methods: list[str]) -> dict[str, tuple[str, str]]:
    further = [method for method in methods if method not in _COLORS]
    return _COLORS | {
        method: _FURTHER_COLORS[index % len(_FURTHER_COLORS)]
        for index, method in enumerate(further)
    }


def _color_rules(methods: list[str], theme: int) -> str:
    return " ".join(f"--{name}: {pair[theme]};" for name, pair in _colors(methods).items())


def _legend(methods: list[str]) -> str:
    names = (f'<span style="--c:var(--{escape(m)})">{escape(m)}</span>' for m in methods)
    return f'<div class="legend">{"".join(names)}</div>'


def _lead(summary: Summary, records: list[Record]) -> str:
    finished = sum(record.status == "finished" for record in records)
    seeds = len({record.run.seed for record in records})
    parts = [
        _count(len(summary.envs), "robot"),
        _count(len(summary.methods), "method"),
        _count(seeds, "seed"),
    ]
    runs = f"{finished} of {len(records)} runs are finished"
    return f"{', '.join(parts)}; {runs}. " + (
        "Interquartile means over seeds with 95 % stratified bootstrap intervals."
        if seeds > 1
        else "With a single seed there are no intervals: nothing here says how far another "
        "seed would come out elsewhere."
    )


def _glance(summary: Summary) -> str:
    rows = []
    for method in summary.methods:
        cells = [f"<td>{_outcome(summary.cells[env, method])}</td>" for env in summary.envs]
        if summary.overall:
            overall = summary.overall[method]["recovery_rate"]
            cells.append(f"<td>{_estimate(overall, 'rate')}</td>")
        rows.append(f"{_row_head(method)}{''.join(cells)}</tr>")
    charts = ""
    if len(summary.envs) > 1:
        figures = (_figure(summary, env, _CHARTS[0], title=env) for env in summary.envs)
        charts = f'<div class="charts">{"".join(figures)}</div>'
    head = "".join(f"<th>{escape(env)}</th>" for env in summary.envs)
    trimmed = ""
    if summary.overall:
        head += "<th>all robots</th>"
        trimmed = " Over all robots, the best and the worst quarter of the runs do not count."
    return (
        "<h2>Recovery rate</h2>"
        '<p class="note">Share of episodes from the out-of-distribution start that are healthy in '
        "every one of the last fifth of their steps: during training, and when it is over; below, "
        f"when it reached 90 % for good, and how much of the original return is kept.{trimmed}</p>"
        f'{charts}<div class="card scroll"><table><thead><tr><th class="left">method</th>{head}'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _outcome(cell: Cell) -> str:
    rate = _of(cell, "recovery_rate", "rate")
    if not cell.finished:
        return rate
    reached = "never at 90 %"
    if cell.reached:
        bound = "" if cell.reached == len(cell.finished) else "≥ "
        reached = f"90 % after {bound}{_brief(cell, 'steps_to_90', 'steps')}"
    return f"{rate}<small>{reached}</small><small>keeps {_brief(cell, 'retention', 'rate')}</small>"


def _brief(cell: Cell, name: str, kind: str) -> str:
    """Returns a measure without its interval."""
    value = cell.estimates[name].value
    return _format(value, kind) if math.isfinite(value) else "-"


def _claims(summary: Summary) -> str:
    if not summary.claims:
        return f'<p class="note">The grid has no runs of {OURS}: nothing is compared with it.</p>'
    marks = {True: ("yes", "✓"), False: ("no", "✗"), None: ("none", "?")}
    found = {env: {claim.text: claim for claim in claims} for env, claims in summary.claims.items()}
    texts = dict.fromkeys(text for claims in found.values() for text in claims)
    rows = []
    for text in texts:
        cells = []
        for env in summary.envs:
            claim = found[env].get(text)
            if claim is None:
                cells.append("<td>-</td>")
                continue
            kind, mark = marks[claim.holds]
            cells.append(f'<td><span class="{kind}">{mark}</span><small>{claim.found}</small></td>')
        rows.append(f'<tr><td class="left">{escape(text)}</td>{"".join(cells)}</tr>')
    head = "".join(f"<th>{escape(env)}</th>" for env in summary.envs)
    return (
        f"<h2>What is expected of {OURS}, and what came out</h2>"
        '<p class="note">Compared are interquartile means; whether a difference is more than '
        "chance is what the intervals say.</p>"
        '<div class="card scroll"><table class="claims"><thead><tr><th class="left"></th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _robot(summary: Summary, env: str) -> str:
    cells = {method: summary.cells[env, method] for method in summary.methods}
    figures = "".join(_figure(summary, env, chart) for chart in _CHARTS)
    return (
        f"<h2>{escape(env)}</h2>{_legend(summary.methods)}"
        f'<div class="charts">{figures}</div>{_robot_table(cells)}'
    )


def _figure(
    summary: Summary, env: str, chart: tuple[str, str, str], title: str | None = None
) -> str:
    name, measure, axis = chart
    by_steps = axis == "steps"
    cells = {method: summary.cells[env, method] for method in summary.methods}
    bands = {
        method: (cell.by_steps if by_steps else cell.by_wall)[name]
        for method, cell in cells.items()
    }
    against = "environment steps [million]" if by_steps else "training time [min]"
    # Ours is drawn last, on top.
    order = sorted(bands, key=lambda method: method == OURS)
    drawn = line_chart(
        {method: bands[method] for method in order},
        f"{measure} of {env} over {against}",
        against,
        y_range=(0.0, 1.0) if name == "recovery_rate" else None,
        x_scale=1e6 if by_steps else 60.0,
        number=(lambda y: f"{y:.1f}") if name == "recovery_rate" else "{:,.0f}".format,
    )
    return f"<figure><h4>{escape(title or measure)}</h4>{drawn}</figure>"


def _robot_table(cells: dict[str, Cell]) -> str:
    # A column that no run of this robot fills, as from an older release, is left out.
    columns = [
        column
        for column in _TABLE
        if any(
            math.isfinite(cell.estimates[column[0]].value)
            for cell in cells.values()
            if column[0] in cell.estimates
        )
    ]
    head = "".join(f"<th>{label}</th>" for _, label, _ in columns)
    rows = []
    for method, cell in cells.items():
        shown = []
        for name, _, kind in columns:
            bounded = name in ("steps_to_90", "wall_seconds_to_90")
            shown.append(
                f"<td>{_reaching(cell, name, kind) if bounded else _of(cell, name, kind)}</td>"
            )
        seeds = f"{len(cell.finished)} of {len(cell.records)}"
        rows.append(f"{_row_head(method)}<td>{seeds}</td>{''.join(shown)}</tr>")
    return (
        '<div class="card scroll"><table><thead><tr><th class="left">method</th>'
        f"<th>finished seeds</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _of(cell: Cell, name: str, kind: str) -> str:
    return _estimate(cell.estimates.get(name), kind)


def _reaching(cell: Cell, name: str, kind: str) -> str:
    """Time to 90 %: a lower bound where not all runs got there."""
    runs = len(cell.finished)
    if cell.reached == runs:
        return _of(cell, name, kind)
    if cell.reached == 0:
        return "not reached"
    return f"≥ {_brief(cell, name, kind)}<small>reached by {cell.reached} of {runs}</small>"


def _improvement(summary: Summary) -> str:
    if not summary.improvement or len(summary.methods) < 2:
        return ""
    head = "".join(f"<th>{escape(label)}</th>" for label in SCORES.values())
    rows = []
    for env, by_method in summary.improvement.items():
        for other, estimates in by_method.items():
            where = "all robots" if env is None else escape(env)
            shown = "".join(f"<td>{_estimate(estimates[score], 'rate')}</td>" for score in SCORES)
            rows.append(
                f'<tr><th>{where}</th><td class="left">over {escape(other)}</td>{shown}</tr>'
            )
    return (
        f"<h2>Probability of improvement of {OURS}</h2>"
        '<p class="note">How likely a run of it scores above a run of the other method; a tie '
        "counts half. At 0.5 there is no difference.</p>"
        '<div class="card scroll"><table><thead><tr><th class="left">robot</th>'
        f'<th class="left"></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _broken(records: list[Record]) -> str:
    broken = [record for record in records if record.status != "finished"]
    if not broken:
        return ""
    rows = "".join(
        f"<tr><th>{escape(record.run.name)}</th>"
        f'<td class="left no">{record.status}</td>'
        f'<td class="left">{escape(record.error)}</td></tr>'
        for record in broken
    )
    return (
        "<h2>Runs that are not in these numbers</h2>"
        f'<div class="card scroll"><table><tbody>{rows}</tbody></table></div>'
    )


def _rewards(records: list[Record]) -> str:
    used: dict[tuple[str, str, str], str] = {}
    for record in records:
        if record.status == "finished":
            facts = record.facts
            key = (record.run.env, facts["reward_source"], facts["reward_sha256"])
            used.setdefault(key, record.reward_code())
    parts = [
        f"<details><summary><strong>{escape(env)}</strong>: {escape(source)}, sha256 "
        f"<code>{escape(sha256)}</code></summary><pre>{escape(code)}</pre></details>"
        for (env, source, sha256), code in used.items()
    ]
    return "<h2>Rewards</h2>" + "".join(parts) if parts else ""


def _origin(records: list[Record], grid: dict[str, Any]) -> str:
    finished = [record for record in records if record.status == "finished"]
    devices = sorted({f"{r.facts['engine']} on {r.facts['device']}" for r in finished})
    versions = sorted({f"{name} {v}" for r in finished for name, v in r.versions.items()})
    machines = {
        ", ".join(f"{name} {value}" for name, value in call.get("machine", {}).items())
        for call in grid["invocations"]
    }
    commands = "\n".join(f"# {c['date']}\n{c['command']}" for c in grid["invocations"])
    settings = json.dumps(grid["configs"], indent=1)
    return (
        "<h2>How it was made</h2>"
        f"<p>Physics: {escape('; '.join(devices)) or 'no finished run'}. "
        f"Machine: {escape('; '.join(sorted(machines)))}.</p>"
        f'<p class="note">{escape(", ".join(versions))}</p>'
        f"<pre>{escape(commands)}</pre>"
        "<details><summary>Settings of every robot and method</summary>"
        f"<pre>{escape(settings)}</pre></details>"
    )


def _row_head(method: str) -> str:
    kind = ' class="ours"' if method == OURS else ""
    name = escape(method)
    return f'<tr{kind}><th><span class="method" style="--c:var(--{name})">{name}</span></th>'


def _estimate(estimate: Estimate | None, kind: str) -> str:
    if estimate is None or not math.isfinite(estimate.value):
        return "-"
    text = _format(estimate.value, kind)
    if not estimate.has_interval:
        return text
    low, high = _format(estimate.low, kind), _format(estimate.high, kind)
    return f"{text}<small>{low} to {high}</small>"


def _format(value: float, kind: str) -> str:
    if kind == "rate":
        return f"{value:.2f}"
    if kind == "steps":
        return f"{value / 1e6:.2f} M" if value >= 1e5 else f"{value:,.0f}"
    if kind == "time":
        return f"{value:.0f} s" if value < 120 else f"{value / 60:.1f} min"
    return f"{value:,.0f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class _Axes:
    """Where data are drawn: the range of each axis."""

    x_high: float
    low: float
    high: float

    def points(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns places in the chart, `(points, 2)`."""
        across = _LEFT + x / self.x_high * (_WIDTH - _LEFT - _RIGHT)
        share = (np.clip(y, self.low, self.high) - self.low) / (self.high - self.low)
        return np.stack([across, _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)], axis=1)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Returns the place of one point."""
        [(across, up)] = self.points(np.array([x]), np.array([y]))
        return float(across), float(up)


def line_chart(
    bands: dict[str, Band],
    title: str,
    x_label: str,
    y_range: tuple[float, float] | None = None,
    x_scale: float = 1.0,
    number: Callable[[float], str] = "{:g}".format,
) -> str:
    """Returns curves with their intervals, as SVG.

    Args:
        bands: curves by method, which is the CSS variable of their colour; empty ones are left out.
        title: what is shown, for those who hear the page.
        x_label: below the axis.
        y_range: of the axis; the data's by default.
        x_scale: abscissae are divided by this.
        number: writes a tick of the y axis.
    """
    drawn = {name: band for name, band in bands.items() if np.isfinite(band.value).any()}
    if not drawn:
        return f'<p class="none">{escape(title)}: nothing was measured.</p>'
    axes, y_ticks = _axes(drawn, y_range, x_scale)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{escape(title)}">'
    ]
    for tick in y_ticks:
        if axes.low <= tick <= axes.high:
            _, y = axes.place(0.0, tick)
            parts.append(f'<path class="grid" d="M{_LEFT:.0f} {y:.1f}H{_WIDTH - _RIGHT:.0f}"/>')
            parts.append(_text(_LEFT - 7, y + 4, number(tick), "end"))
    for tick in _ticks(0.0, axes.x_high):
        if tick <= axes.x_high * 1.001:
            x, _ = axes.place(tick, axes.low)
            parts.append(_text(x, _HEIGHT - _BOTTOM + 17, f"{tick:g}", "middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 5, x_label, "middle", "label"))
    parts += [_curve(name, band, axes, x_scale) for name, band in drawn.items()]
    return "".join([*parts, "</svg>"])


def _axes(
    drawn: dict[str, Band], y_range: tuple[float, float] | None, x_scale: float
) -> tuple[_Axes, list[float]]:
    """Returns the axes of curves, and the ticks of the vertical one."""
    x_high = max(float(np.max(band.x)) for band in drawn.values()) / x_scale or 1.0
    if y_range is not None:
        return _Axes(x_high, *y_range), _ticks(*y_range)
    ys = np.concatenate([np.r_[band.value, band.low, band.high] for band in drawn.values()])
    low, high = float(np.nanmin(ys)), float(np.nanmax(ys))
    if high - low < 1e-9:
        low, high = low - 1.0, high + 1.0
    ticks = _ticks(low, high)
    return _Axes(x_high, min(low, ticks[0]), max(high, ticks[-1])), ticks


def _curve(name: str, band: Band, axes: _Axes, x_scale: float) -> str:
    """Returns a curve, or a dot if there is one point, over its interval."""
    x, color, outline = band.x / x_scale, f'style="--c:var(--{escape(name)})"', ""
    there = np.isfinite(band.value)
    known = there & np.isfinite(band.low) & np.isfinite(band.high)
    if known.sum() > 1:
        upper, lower = (axes.points(x[known], y[known]) for y in (band.high, band.low))
        around = _points(np.concatenate([upper, lower[::-1]]))
        outline = f'<polygon class="band" {color} points="{around}"/>'
    points = axes.points(x[there], band.value[there])
    title = f"<title>{escape(name)}</title>"
    if len(points) > 1:
        line = f'<polyline class="line" {color} points="{_points(points)}">{title}</polyline>'
        return outline + line
    [(across, up)] = points
    return f'<circle class="dot" {color} r="3.5" cx="{across:.1f}" cy="{up:.1f}">{title}</circle>'


def _ticks(low: float, high: float) -> list[float]:
    ticks = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks]


def _points(points: np.ndarray) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
