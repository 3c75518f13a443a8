"""The training loop of either stage: iterations, evaluations, metrics, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import jax

from lamour_jax.checkpoints import Checkpoints
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.errors import UserError
from lamour_jax.ppo.learner import Learner, TrainState
from lamour_jax.ppo.networks import Agent
from lamour_jax.run_folder import RunFolder

Evaluate = Callable[[Agent], dict[str, float]]


@dataclass
class History:
    """What training measured.

    Attributes:
        rows: a dictionary of metrics for each iteration; evaluations under `eval/`.
        wall_seconds: of the iterations alone, compilation included, evaluations not.
        steps_per_second: environment steps per second over the iterations after the first.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    wall_seconds: float = 0.0
    steps_per_second: float = 0.0


def train(
    learner: Learner,
    config: RunConfig,
    folder: RunFolder,
    console: Console,
    evaluate: Evaluate,
    facts: Callable[[dict[str, float]], dict[str, str]],
) -> tuple[TrainState, History]:
    """Trains for `config.iterations` iterations, on from the newest checkpoint in the folder.

    Args:
        learner: knows the environment, the objective and the schedules.
        config: the run's settings.
        folder: receives `metrics.jsonl` and the checkpoints.
        console: shows the progress.
        evaluate: measures an agent; called `config.evaluation.during_training` times.
        facts: what to show of the latest metrics beside the progress bar.

    Returns:
        The final training state and what was measured on the way.

    Raises:
        UserError: the loss is no longer finite.
    """
    batch_size, iterations = config.ppo.batch_size, config.iterations
    evaluations = max(1, config.evaluation.during_training)
    due = {iterations * (n + 1) // evaluations for n in range(evaluations)}
    checkpoints = Checkpoints(folder.path / "checkpoints")
    state, history = _begin(learner, config, folder, checkpoints)
    done = len(history.rows)
    latest: dict[str, float] = {}
    for earlier in history.rows:
        latest |= _finite(earlier)
    if done:
        console.say(f"  goes on after {done * batch_size:,} steps")
    after_first = 0.0
    # Closing waits for what is being written, also when training is interrupted.
    with closing(checkpoints), console.progress(iterations * batch_size) as progress:
        for iteration in range(done + 1, iterations + 1):
            begin = time.perf_counter()
            state, metrics = learner.iterate(state)
            row: dict[str, Any] = {k: float(v) for k, v in jax.device_get(metrics).items()}
            seconds = time.perf_counter() - begin
            history.wall_seconds += seconds
            if iteration > done + 1 or iterations == 1:
                after_first += seconds
            if after_first:
                trained = iteration - done - 1 or 1
                history.steps_per_second = trained * batch_size / after_first
            row |= {"env_steps": iteration * batch_size, "wall_seconds": history.wall_seconds}
            if not math.isfinite(row["training/value_loss"] + row["training/policy_loss"]):
                raise UserError(
                    f"training diverged after {iteration * batch_size:,} steps: its loss is no "
                    f"longer finite; what was measured until then is in {folder.path}. A smaller "
                    "ppo.learning_rate or ppo.target_kl may help"
                )
            if iteration in due:
                row |= evaluate(state.agent)
            history.rows.append(row)
            folder.append_metrics(row)
            if iteration in due:
                # After its row: a checkpoint without metrics could not be gone on from.
                checkpoints.save(iteration * batch_size, state)
            latest |= _finite(row)
            progress.update(iteration * batch_size, history.steps_per_second, facts(latest))
    return state, history


def _begin(
    learner: Learner, config: RunConfig, folder: RunFolder, checkpoints: Checkpoints
) -> tuple[TrainState, History]:
    """Returns where training stands: at its beginning, or at the newest good checkpoint.

    What was measured after the checkpoint is dropped, and will be measured again.
    """
    state = learner.init(config.seed)
    rows = folder.metrics()
    restored = checkpoints.restore_latest(state, {row["env_steps"] for row in rows})
    if restored is None:
        rows = []
    else:
        steps, state = restored
        rows = [row for row in rows if row["env_steps"] <= steps]
    folder.cut_metrics(rows)
    if not rows:
        return state, History()
    seconds = rows[-1]["wall_seconds"]
    return state, History(rows, seconds, rows[-1]["env_steps"] / seconds)


def _finite(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if math.isfinite(value)}
