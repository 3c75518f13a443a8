"""The training loop of either stage: iterations, evaluations, metrics, checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamour_jax import bad_states, interruption
from lamour_jax.run.checkpoints import Checkpoints, Identity, restore_newest
from lamour_jax.config import CheckpointConfig, RunConfig
from lamour_jax.console import Console
from lamour_jax.distributed import from_main, on_any
from lamour_jax.errors import UserError
from lamour_jax.loggers import Loggers
from lamour_jax.placement import local
from lamour_jax.ppo.guard import Skipped
from lamour_jax.ppo.learner import Learner, TrainState
from lamour_jax.ppo.networks import Agent
from lamour_jax.run.folder import RunFolder

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

    def best(self, score: str) -> int | None:
        """Returns after how many steps `score` was highest, the last time if several; or None."""
        measured = [row for row in self.rows if math.isfinite(row.get(score, math.nan))]
        best = max(reversed(measured), key=lambda row: row[score], default=None)
        return None if best is None else int(best["env_steps"])


@dataclass(frozen=True)
class SeedRun:
    """One seed's run.

    Attributes:
        identity: its settings, reward code and original policy.
        folder: receives `metrics.jsonl`, the checkpoints and `bad_states/`.
        evaluate: measures an agent; called `config.evaluation.during_training` times.
        keep_best: is given the agent and the metrics of each evaluation that is the best until
            then.
        score: the name of the metric by which it is the best.
        once: what was measured before training began, for the first row.
    """

    identity: Identity
    folder: RunFolder
    evaluate: Evaluate
    keep_best: Callable[[Agent, dict[str, float]], None] = lambda agent, row: None
    score: str = "eval/recovery_rate"
    once: dict[str, float] = field(default_factory=dict)

    @property
    def config(self) -> RunConfig:
        return self.identity.config


def train(
    learner: Learner,
    runs: Sequence[SeedRun],
    console: Console,
    facts: Callable[[dict[str, float]], dict[str, str]],
) -> list[tuple[TrainState, History]]:
    """Trains for `config.iterations` iterations, on from the newest checkpoint in each folder.

    Several seeds train side by side, in one program. A signal to stop (see `interruption`) is
    heeded after the iteration, when all is saved.

    Args:
        learner: knows the environment, the objective and the schedules.
        runs: one or more that differ in nothing but the seed.
        console: shows the progress.
        facts: what to show of the latest metrics (of several seeds their mean) beside the
            progress bar.

    Returns:
        For each run the final training state, its agent on one device, and what was measured on
        the way. Seeds that train side by side share the time: each one's is that of all.

    Raises:
        UserError: too many updates had to be skipped, or something cannot be written.
        Interrupted: a signal to stop came.
    """
    config, together = runs[0].config, len(runs) > 1
    batch_size, iterations = config.ppo.batch_size, config.iterations
    evaluations = max(1, config.evaluation.during_training)
    due = {iterations * (n + 1) // evaluations for n in range(evaluations)}

    def say(line: str) -> None:
        console.say(f"  {line}")

    with ExitStack() as closing_all:
        # Closing waits for what is being written, also when training is interrupted.
        kept = [
            closing_all.enter_context(
                closing(Checkpoints(run.folder.checkpoints, run.identity, say))
            )
            for run in runs
        ]
        states, histories = _begin(learner, runs, kept, say)
        done = len(histories[0].rows)
        loggers = [
            closing_all.enter_context(Loggers(run.config, run.folder.path, history.rows))
            for run, history in zip(runs, histories, strict=True)
        ]
        state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states) if together else states[0]
        iterate = learner.iterate_together if together else learner.iterate
        schedule = _Schedule(config.checkpoints, batch_size)
        latest: dict[str, float] = {}
        for earlier in zip(*(history.rows for history in histories), strict=True):
            latest |= _means(earlier)
        if done:
            say(f"goes on after {done * batch_size:,} steps")
        after_first = 0.0
        told_of_bad_samples = False
        progress = closing_all.enter_context(console.progress(iterations * batch_size))
        for iteration in range(done + 1, iterations + 1):
            steps = iteration * batch_size
            begin = time.perf_counter()
            state, metrics = iterate(state)
            measured, skipped = jax.device_get((metrics, state.skipped))
            seconds = time.perf_counter() - begin
            if iteration == done + 1:
                # From here on there is something to save; before, it may stop at once.
                closing_all.enter_context(interruption.deferred())
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
                if row["training/bad_samples"]:
                    found = _own(state.bad_states, index, together)
                    bad_states.write(run.folder, steps, found, config.guard)
                    if not told_of_bad_samples:
                        say(bad_states.message(run.folder, steps, row["training/bad_samples"]))
                    told_of_bad_samples = True
                _check_updates(run, _own(skipped, index, together), kept[index], steps)
                if iteration in due:
                    agent = local(_own(state.agent, index, together))
                    row |= run.evaluate(agent)
                history.rows.append(row)
                if iteration in due and history.best(run.score) == steps:
                    run.keep_best(agent, row)
                run.folder.append_metrics(row)
                loggers[index].log(row)
                rows.append(row)
            timely, stopping = on_any(schedule.is_due(steps), interruption.requested() is not None)
            # After the rows: a checkpoint without metrics could not be gone on from. Never while
            # updates are being skipped: there would be nothing good to come back to.
            saving = timely or iteration in due or stopping
            if saving and not np.any(skipped.in_a_row):
                for index, (run, history) in enumerate(zip(runs, histories, strict=True)):
                    own = _own(state, index, together)
                    kept[index].save(steps, own, history.best(run.score))
            latest |= _means(rows)
            speed = len(runs) * histories[0].steps_per_second
            progress.update(steps, speed, facts(latest), latest)
            if stopping:
                interruption.request()
                break
        for checkpoints in kept:
            checkpoints.wait()
    finals = [_own(state, index, together) for index in range(len(runs))]
    finals = [own.replace(agent=local(own.agent)) for own in finals]
    return list(zip(finals, histories, strict=True))


class _Schedule:
    """When a checkpoint between evaluations is due."""

    def __init__(self, config: CheckpointConfig, batch_size: int):
        self._config = config
        self._batch_size = batch_size
        self._last = time.monotonic()

    def is_due(self, steps: int) -> bool:
        """Whether one is, after the iteration that ended after `steps`; asked once for each."""
        every, minutes = self._config.every_steps, self._config.every_minutes
        due = bool(every) and steps // every > (steps - self._batch_size) // every
        now = time.monotonic()
        if due or (minutes and now - self._last >= 60.0 * minutes):
            self._last = now
            return True
        return False


def _own(tree: Any, index: int, together: bool) -> Any:
    """Returns one seed's part of a pytree of several seeds; of one alone all of it."""
    return jax.tree.map(lambda leaf: leaf[index], tree) if together else tree


def _begin(
    learner: Learner,
    runs: Sequence[SeedRun],
    kept: Sequence[Checkpoints],
    say: Callable[[str], None],
) -> tuple[list[TrainState], list[History]]:
    """Returns where each run stands: at its beginning, or all at the newest good checkpoints.

    What was measured after the checkpoints is dropped, and will be measured again.
    """
    states = [learner.init(run.config.seed) for run in runs]
    # As the main process knows them: others may not see yet what was written last.
    rows = json.loads(from_main(json.dumps([run.folder.metrics() for run in runs])))
    measured = set.intersection(*({row["env_steps"] for row in own} for own in rows))
    restored = restore_newest(kept, states, measured, say)
    done = 0
    if restored is not None:
        done, states = restored
    histories = []
    for run, own in zip(runs, rows, strict=True):
        before = [row for row in own if row["env_steps"] <= done]
        run.folder.cut_metrics(before)
        seconds = before[-1]["wall_seconds"] if before else 0.0
        histories.append(History(before, seconds, done / seconds if before else 0.0))
    return states, histories


def _check_updates(run: SeedRun, skipped: Skipped, checkpoints: Checkpoints, steps: int) -> None:
    """Stops a training whose updates go on being impossible.

    Raises:
        UserError: more were skipped than the settings allow.
    """
    guard = run.config.guard
    in_a_row, total = int(skipped.in_a_row), int(skipped.total)
    if in_a_row < guard.max_skips_in_a_row and total < guard.max_skips:
        return
    checkpoints.wait()
    good = max(checkpoints.steps, default=None)
    left = (
        f"the last good checkpoint, after {good:,} steps, is in {checkpoints.folder}"
        if good
        else "there is no checkpoint yet"
    )
    raise UserError(
        f"training stopped after {steps:,} steps: {total:,} updates had gradients that are not "
        f"finite, {in_a_row:,} of them in a row, and were skipped; {left}. A smaller "
        "ppo.learning_rate or ppo.target_kl in a new run may help"
    )


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the mean over the rows of each number that is finite in all of them."""
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return {name: value for name, value in means.items() if math.isfinite(value)}
