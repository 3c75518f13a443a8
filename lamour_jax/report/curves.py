"""Learning curves of a run, as one picture and as panels for its report."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_MOST_POINTS = 1_000  # of one curve in the report: more cannot be told apart


def plot_curves(rows: list[dict[str, float]], path: Path, title: str) -> None:
    """Draws return, health and losses over training, side by side.

    Args:
        rows: a dictionary of metrics for each iteration (see `training.History`).
        path: the PNG to write.
        title: robot.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(_PANELS)), _PANELS.values(), strict=True):
        panel(axes, rows)
        _finish(axes)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def panels(rows: list[dict[str, float]], dark: bool) -> dict[str, str]:
    """Returns each panel by its title, as SVG without a background, for a light or dark page."""
    import matplotlib
    from matplotlib.figure import Figure

    ink, rule = ("#e8eaed", "#4a5058") if dark else ("#1b1f24", "#c8ccd1")
    colors = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), ink)
    style: Any = colors | {
        "axes.edgecolor": rule,
        "grid.color": rule,
        "axes.facecolor": "none",
        "legend.facecolor": "none",
        "legend.edgecolor": "none",
        "svg.fonttype": "none",  # text stays text, in the reader's font
        "svg.hashsalt": "report",  # the same names at every call
        "font.family": "sans-serif",
    }
    every = -(-len(rows) // _MOST_POINTS)
    # Evaluations are few and stay, whatever is left out between them.
    thinned = [row for i, row in enumerate(rows) if i % every == 0 or "eval/return" in row]
    pictures = {}
    with matplotlib.rc_context(style):
        for title, panel in _PANELS.items():
            figure = Figure(figsize=(4.4, 3.2), layout="constrained")
            axes = figure.subplots()
            panel(axes, thinned)
            _finish(axes)
            content = io.StringIO()
            metadata = {"Date": None, "Creator": None}
            figure.savefig(content, format="svg", transparent=True, metadata=metadata)
            pictures[title] = content.getvalue()
    return pictures


def _curve(axes: Any, rows: list[dict[str, float]], name: str, label: str, **style: Any) -> None:
    steps = np.array([row["env_steps"] for row in rows]) / 1e6
    values = np.array([row.get(name, np.nan) for row in rows], float)
    present = np.isfinite(values)
    axes.plot(steps[present], values[present], label=label, **style)


def _finish(axes: Any) -> None:
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("environment steps [million]")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _returns(axes: Any, rows: list[dict[str, float]]) -> None:
    _curve(axes, rows, "episode/return", "training (with noise)", color="0.6", linewidth=1)
    _curve(axes, rows, "eval/return", "evaluation", color="C0", marker="o", markersize=4)
    axes.set_ylabel("return from the evaluated start")


def _health(axes: Any, rows: list[dict[str, float]]) -> None:
    share = "recovery/healthy_fraction"
    _curve(axes, rows, share, "healthy share of steps", color="0.6", linewidth=1)
    _curve(axes, rows, "eval/recovery_rate", "recovery rate", color="C2", marker="o", markersize=4)
    strict = "eval/recovery_rate_strict"
    _curve(axes, rows, strict, "strict rate", color="C3", marker="s", markersize=3)
    distance = "recovery/start_distance"
    if any(distance in row for row in rows):  # a start is graded
        _curve(axes, rows, distance, "distance of starts", color="C1", linewidth=1)
    if any("eval/success_rate" in row for row in rows):  # the task has a goal
        goal = "eval/success_rate"
        _curve(axes, rows, goal, "success rate", color="C0", marker="^", markersize=4)
    axes.set_ylim(-0.03, 1.03)


def _losses(axes: Any, rows: list[dict[str, float]]) -> None:
    _curve(axes, rows, "training/value_loss", "value loss", color="C4", linewidth=1)
    _curve(axes, rows, "training/approx_kl", "KL", color="C5", linewidth=1)
    axes.set_yscale("log")


_PANELS: dict[str, Callable[[Any, list[dict[str, float]]], None]] = {
    "Return": _returns,
    "Health and recovery": _health,
    "Losses": _losses,
}
