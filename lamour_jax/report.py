"""What a finished run shows: curves, a rendered episode, a closing table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from envs import RecoveryEnv
from envs.rendering import RenderingUnavailable, render_frames, write_video
from lamour_jax.console import Console

_VIDEO_SECONDS = 10.0
_VIDEO_FPS = 20.0
_VIDEO_SIZE = (480, 360)


def plot_curves(rows: list[dict[str, float]], path: Path, title: str) -> None:
    """Draws return, health and recovery over training.

    Args:
        rows: a dictionary of metrics for each iteration (see `training.History`).
        path: the PNG to write.
        title: robot.
    """
    from matplotlib.figure import Figure

    steps = np.array([row["env_steps"] for row in rows]) / 1e6
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    returns, health, losses = figure.subplots(1, 3)

    def curve(axes: Any, name: str, label: str, **style: Any) -> None:
        values = np.array([row.get(name, np.nan) for row in rows], float)
        present = np.isfinite(values)
        axes.plot(steps[present], values[present], label=label, **style)

    curve(returns, "episode/return", "training (with noise)", color="0.7", linewidth=1)
    curve(returns, "eval/return", "evaluation", color="C0", marker="o", markersize=4)
    returns.set_ylabel("return from the evaluated start")
    curve(health, "recovery/healthy_fraction", "healthy share of steps", color="0.7", linewidth=1)
    curve(health, "eval/recovery_rate", "recovery rate", color="C2", marker="o", markersize=4)
    curve(health, "eval/recovery_rate_strict", "strict rate", color="C3", marker="s", markersize=3)
    health.set_ylim(-0.03, 1.03)
    curve(losses, "training/value_loss", "value loss", color="C4", linewidth=1)
    curve(losses, "training/approx_kl", "KL", color="C5", linewidth=1)
    losses.set_yscale("log")
    for axes in (returns, health, losses):
        axes.set_xlabel("environment steps [million]")
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def render_episode(env: RecoveryEnv, qpos: np.ndarray, healthy: np.ndarray, path: Path) -> str:
    """Renders the first seconds of an episode, or says in one line why that is not possible.

    Args:
        env: gives the model and the time between positions.
        qpos: positions, `(steps, nq)`.
        healthy: health at each of them, `(steps,)`.
        path: the GIF to write.
    """
    stride = max(1, round(1.0 / (_VIDEO_FPS * env.control_timestep)))
    frame_rate = 1.0 / (stride * env.control_timestep)
    chosen = slice(0, round(_VIDEO_SECONDS / env.control_timestep), stride)
    try:
        frames = render_frames(env.model, qpos[chosen], *_VIDEO_SIZE)
    except RenderingUnavailable as reason:
        return f"no rendered episode: {reason}"
    write_video(frames, path, frame_rate)
    seconds = int(np.argmax(healthy)) * env.control_timestep
    when = f"healthy after {seconds:.1f} s" if healthy.any() else "never healthy"
    return f"{path.name}: the first {_VIDEO_SECONDS:.0f} s of an episode, {when}"


def print_result(console: Console, result: dict[str, Any], before_ood: dict[str, float]) -> None:
    """Prints the closing table: before and after."""
    rows = [
        [
            name,
            f"{entry['recovery_rate']:.2f}",
            f"{entry['recovery_rate_strict']:.2f}",
            f"{entry['median_steps_to_recovery']:.0f}",
            f"{entry['return']:,.0f}",
            *([f"{entry['success_rate']:.2f}"] if "success_rate" in entry else []),
        ]
        for name, entry in {
            "original policy, out of distribution": before_ood,
            **result["evaluations"],
        }.items()
    ]
    console.table(
        f"{result['env']}: {result['method']}, {result['env_steps']:,} steps in "
        f"{result['wall_seconds']:.0f} s on {result['device']}",
        ["start", "recovery rate", "strict", "median steps", "return"]
        + ["success"] * ("success_rate" in before_ood),
        rows,
    )
    console.conclude(
        f"Retention {result['retention']:.2f} "
        f"({result['original_return_before']:,.0f} before, "
        f"{result['original_return_after']:,.0f} after)"
    )
