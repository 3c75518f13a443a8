"""The training loop of either stage: iterations, evaluations, metrics, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp

from lamour_jax.checkpoints import Checkpoints
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.errors import UserError
from lamour_jax.loggers import Loggers
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


@dataclass(frozen=True)
class SeedRun:
    """One seed's run.

    Attributes:
        config: its settings.
        folder: receives `metrics.jsonl` and the checkpoints.
        evaluate: measures an agent; called `config.evaluation.during_training` times.
        once: what was measured before training began, for the first row.
    """

    config: RunConfig
    folder: RunFolder
    evaluate: Evaluate
    once: dict[str, float] = field(default_factory=dict)


def train(
    learner: Learner,
    runs: Sequence[SeedRun],
    console: Console,
    facts: Callable[[dict[str, float]], dict[str, str]],
) -> list[tuple[TrainState, History]]:
    """Trains for `config.iterations` iterations, on from the newest checkpoint in each folder.

    Several seeds train side by side, in one program.

    Args:
        learner: knows the environment, the objective and the schedules.
        runs: one or more that differ in nothing but the seed.
        console: shows the progress.
        facts: what to show of the latest metrics (of several seeds their mean) beside the
            progress bar.

    Returns:
        For each run the final training state and what was measured on the way. Seeds that train
        side by side share the time: each one's is that of all.

    Raises:
        UserError: the loss is no longer finite.
    """
    config, together = runs[0].config, len(runs) > 1
    batch_size, iterations = config.ppo.batch_size, config.iterations
    evaluations = max(1, config.evaluation.during_training)
    due = {iterations * (n + 1) // evaluations for n in range(evaluations)}
    with ExitStack() as closing_all:
        # Closing waits for what is being written, also when training is interrupted.
        kept = [Checkpoints(run.folder.path / "checkpoints") for run in runs]
        for checkpoints in kept:
            closing_all.enter_context(closing(checkpoints))
        states, histories = map(list, zip(*map(partial(_begin, learner), runs, kept), strict=True))
        done = len(histories[0].rows)
        assert all(len(history.rows) == done for history in histories)
        loggers = [
            closing_all.enter_context(Loggers(run.config, run.folder.path, history.rows))
            for run, history in zip(runs, histories, strict=True)
        ]
        state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states) if together else states[0]
        iterate = learner.iterate_together if together else learner.iterate
        latest: dict[str, float] = {}
        for earlier in zip(*(history.rows for history in histories), strict=True):
            latest |= _means(earlier)
        if done:
            console.say(f"  goes on after {done * batch_size:,} steps")
        after_first = 0.0
        progress = closing_all.enter_context(console.progress(iterations * batch_size))
        for iteration in range(done + 1, iterations + 1):
            steps = iteration * batch_size
            begin = time.perf_counter()
            state, metrics = iterate(state)
            measured = jax.device_get(metrics)
            seconds = time.perf_counter() - begin
            if iteration > done + 1 or iterations == 1:
                after_first += seconds
            rows = []
            for index, (run, history) in enumerate(zip(runs, histories, strict=True)):
                history.wall_seconds += seconds
                if after_first:
                    trained = iteration - done - 1 or 1
                    history.steps_per_second = trained * batch_size / after_first
                row = {k: float(v[index] if together else v) for k, v in measured.items()}
                row |= {"env_steps": steps, "wall_seconds": history.wall_seconds}
                row |= run.once if iteration == 1 else {}
                if not math.isfinite(row["training/value_loss"] + row["training/policy_loss"]):
                    raise UserError(
                        f"training diverged after {steps:,} steps: its loss is no longer finite; "
                        f"what was measured until then is in {run.folder.path}. A smaller "
                        "ppo.learning_rate or ppo.target_kl may help"
                    )
                if iteration in due:
                    own = _own(state, index) if together else state
                    row |= run.evaluate(own.agent)
                history.rows.append(row)
                run.folder.append_metrics(row)
                loggers[index].log(row)
                if iteration in due:
                    # After its row: a checkpoint without metrics could not be gone on from.
                    kept[index].save(steps, own)
                rows.append(row)
            latest |= _means(rows)
            speed = len(runs) * histories[0].steps_per_second
            progress.update(steps, speed, facts(latest), latest)
    finals = [_own(state, index) for index in range(len(runs))] if together else [state]
    return list(zip(finals, histories, strict=True))


def _own(state: TrainState, index: int) -> TrainState:
    """Returns one seed's part of the state of several."""
    return jax.tree.map(lambda leaf: leaf[index], state)


def _begin(learner: Learner, run: SeedRun, checkpoints: Checkpoints) -> tuple[TrainState, History]:
    """Returns where training stands: at its beginning, or at the newest good checkpoint.

    What was measured after the checkpoint is dropped, and will be measured again.
    """
    state = learner.init(run.config.seed)
    rows = run.folder.metrics()
    restored = checkpoints.restore_latest(state, {row["env_steps"] for row in rows})
    if restored is None:
        rows = []
    else:
        steps, state = restored
        rows = [row for row in rows if row["env_steps"] <= steps]
    run.folder.cut_metrics(rows)
    if not rows:
        return state, History()
    seconds = rows[-1]["wall_seconds"]
    return state, History(rows, seconds, rows[-1]["env_steps"] / seconds)


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the mean over the rows of each number that is finite in all of them."""
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return {name: value for name, value in means.items() if math.isfinite(value)}
