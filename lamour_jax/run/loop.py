"""The training loop: iterations of a population, evaluations, metrics, checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import jax
import numpy as np

from lamour_jax import interruption
from lamour_jax.config import CheckpointConfig
from lamour_jax.console import Console
from lamour_jax.distributed import from_main, on_any
from lamour_jax.errors import UserError
from lamour_jax.loggers import Loggers
from lamour_jax.placement import local
from lamour_jax.ppo.guard import CAUSES, BadStates, Skipped
from lamour_jax.ppo.learner import Learner, TrainState
from lamour_jax.ppo.networks import Agent
from lamour_jax.run import bad_states
from lamour_jax.run.checkpoints import Checkpoints, restore_newest
from lamour_jax.run.record import History, Row, Run

# After so many iterations it is judged whether their samples are of any use.
_ITERATIONS_TO_JUDGE = 5


@dataclass(frozen=True)
class Hooks:
    """What a stage does while its runs train.

    Attributes:
        evaluate: measures an agent; called `config.evaluation.during_training` times.
        keep_best: is given the agent and the metrics of each evaluation that is the best until
            then.
        score: the name of the metric by which it is the best.
        once: what was measured of a run before its training began, for its first row.
        facts: what to show of the latest metrics (of several runs their mean) beside the progress
            bar.
    """

    evaluate: Callable[[Run, Agent], Row]
    keep_best: Callable[[Run, Agent, Row], None] = lambda run, agent, row: None
    score: str = "eval/recovery_rate"
    once: Callable[[Run], Row] = lambda run: {}
    facts: Callable[[Row], dict[str, str]] = lambda latest: {}


def train(
    learner: Learner, runs: Sequence[Run], hooks: Hooks, console: Console
) -> list[TrainState]:
    """Trains for `config.iterations` iterations, on from the newest checkpoint in each folder.

    A signal to stop (see `interruption`) is heeded after the iteration, when all is saved.

    Args:
        learner: knows the environment, the objective and the schedules.
        runs: one or more that differ in nothing but the seed; their histories are filled.
        hooks: the stage's.
        console: shows the progress.

    Returns:
        For each run the final training state, its agent on one device.

    Raises:
        UserError: too many updates had to be skipped, or something cannot be written.
        Interrupted: a signal to stop came.
    """
    config = runs[0].config
    with ExitStack() as opened:
        training = _Training(learner, runs, hooks, console, opened)
        progress = opened.enter_context(console.progress(config.iterations * config.ppo.batch_size))
        for iteration in range(training.done + 1, config.iterations + 1):
            stopping = training.iterate(iteration)
            latest = training.latest
            steps = iteration * config.ppo.batch_size
            progress.update(steps, training.speed, hooks.facts(latest), latest)
            if stopping:
                interruption.request()
                break
        training.wait()
    finals = [learner.member(training.states, index) for index in range(len(runs))]
    return [final.replace(agent=local(final.agent)) for final in finals]


class _Training:
    """Where the training of a population stands.

    Attributes:
        states: of all members.
        done: iterations that were done before.
        latest: the last known value of each metric, the mean over the runs.
    """

    def __init__(
        self,
        learner: Learner,
        runs: Sequence[Run],
        hooks: Hooks,
        console: Console,
        opened: ExitStack,
    ):
        """Opens everything, to be closed with `opened`, and takes up what is there already."""
        self._learner, self._runs, self._hooks, self._opened = learner, runs, hooks, opened
        self._say: Callable[[str], None] = lambda line: console.say(f"  {line}")
        self._config = config = runs[0].config
        # Closing waits for what is being written, also when training is interrupted.
        self._kept = [
            opened.enter_context(
                closing(Checkpoints(run.folder.checkpoints, run.identity, self._say))
            )
            for run in runs
        ]
        self.states = self._take_up()
        self.done = len(runs[0].history.rows)
        self._loggers = [
            opened.enter_context(Loggers(run.config, run.folder.path, run.history.rows))
            for run in runs
        ]
        self._schedule = _Schedule(config.checkpoints, config.ppo.batch_size)
        self._after_first = 0.0
        self._told_of_bad_samples = False
        evaluations = max(1, config.evaluation.during_training)
        self._due = {config.iterations * (n + 1) // evaluations for n in range(evaluations)}
        self.latest: Row = {}
        for earlier in zip(*(run.history.rows for run in runs), strict=True):
            self.latest |= _means(earlier)
        if self.done:
            self._say(f"goes on after {self.done * config.ppo.batch_size:,} steps")

    @property
    def speed(self) -> float:
        """Environment steps of all runs per second."""
        return len(self._runs) * self._runs[0].history.steps_per_second

    def _take_up(self) -> TrainState:
        """Returns where the runs stand: at their beginning, or at the newest good checkpoints.

        What was measured after the checkpoints is dropped, and will be measured again.
        """
        learner, runs = self._learner, self._runs
        states = learner.init(*(run.config.seed for run in runs))
        # As the main process knows them: others may not see yet what was written last.
        rows = json.loads(from_main(json.dumps([run.folder.metrics() for run in runs])))
        measured = set.intersection(*({row["env_steps"] for row in own} for own in rows))
        template = [learner.member(states, index) for index in range(len(runs))]
        restored = restore_newest(self._kept, template, measured, self._say)
        done = 0
        if restored is not None:
            done, members = restored
            states = learner.population(members)
        for run, own in zip(runs, rows, strict=True):
            before = [row for row in own if row["env_steps"] <= done]
            run.folder.cut_metrics(before)
            seconds = before[-1]["wall_seconds"] if before else 0.0
            run.history = History(before, seconds, done / seconds if before else 0.0)
        return states

    def iterate(self, iteration: int) -> bool:
        """Does one iteration, measures and saves; returns whether a signal asks to stop."""
        steps = iteration * self._config.ppo.batch_size
        begin = time.perf_counter()
        self.states, found = self._learner.iterate(self.states)
        metrics, skipped = jax.device_get((found.metrics, found.skipped))
        seconds = time.perf_counter() - begin
        if iteration == self.done + 1:
            # From here on there is something to save; before, it may stop at once.
            self._opened.enter_context(interruption.deferred())
        self._count_seconds(iteration, seconds)
        rows = [
            {name: float(values[index]) for name, values in metrics.items()}
            | {"env_steps": steps, "wall_seconds": run.history.wall_seconds}
            | (self._hooks.once(run) if iteration == 1 else {})
            for index, run in enumerate(self._runs)
        ]
        self._check(rows, found.bad_states, skipped)
        for index, row in enumerate(rows):
            self._record(index, row, evaluating=iteration in self._due)
        self.latest |= _means(rows)
        timely, stopping = on_any(
            self._schedule.is_due(steps), interruption.requested() is not None
        )
        # After the rows: a checkpoint without metrics could not be gone on from. Never while
        # updates are being skipped: there would be nothing good to come back to.
        if (timely or stopping or iteration in self._due) and not np.any(skipped.in_a_row):
            for index, (run, kept) in enumerate(zip(self._runs, self._kept, strict=True)):
                own = self._learner.member(self.states, index)
                kept.save(steps, own, run.history.best(self._hooks.score))
        return stopping

    def wait(self) -> None:
        """Waits until every checkpoint is written."""
        for checkpoints in self._kept:
            checkpoints.wait()

    def _count_seconds(self, iteration: int, seconds: float) -> None:
        trained = iteration - self.done - 1
        if trained or self._config.iterations == 1:
            self._after_first += seconds
        for run in self._runs:
            run.history.wall_seconds += seconds
            if self._after_first:
                steps = (trained or 1) * self._config.ppo.batch_size
                run.history.steps_per_second = steps / self._after_first

    def _check(self, rows: Sequence[Row], found: BadStates, skipped: Skipped) -> None:
        """Keeps the states that led to bad samples, and stops a training that goes nowhere."""
        for index, (run, row) in enumerate(zip(self._runs, rows, strict=True)):
            steps, count = int(row["env_steps"]), row["training/bad_samples"]
            if count:
                own = jax.tree.map(lambda leaf, index=index: leaf[index], found)
                bad_states.write(run.folder, steps, own, run.config.guard)
                if not self._told_of_bad_samples:
                    self._say(bad_states.message(run.folder, steps, count))
                self._told_of_bad_samples = True
                _check_samples(run, row, own, self._kept[index])
            own_skipped = Skipped(skipped.in_a_row[index], skipped.total[index])
            _check_updates(run, own_skipped, self._kept[index], steps)

    def _record(self, index: int, row: Row, evaluating: bool) -> None:
        """Adds a run's row to its history, folder and loggers, evaluated if it is time."""
        run, score = self._runs[index], self._hooks.score
        if evaluating:
            agent = local(self._learner.member(self.states, index).agent)
            row |= self._hooks.evaluate(run, agent)
        run.history.rows.append(row)
        if evaluating and run.history.best(score) == row["env_steps"]:
            self._hooks.keep_best(run, agent, row)
        run.folder.append_metrics(row)
        self._loggers[index].log(row)


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


def _check_samples(run: Run, row: Row, found: BadStates, checkpoints: Checkpoints) -> None:
    """Stops a training on nothing.

    Raises:
        UserError: most samples of all iterations up to now were bad.
    """
    rows, steps = [*run.history.rows, row], int(row["env_steps"])
    bad = sum(each["training/bad_samples"] for each in rows)
    enough = min(_ITERATIONS_TO_JUDGE, run.config.iterations)
    if len(rows) < enough or bad <= 0.5 * steps:
        return
    at_start, healthy = (
        sum(each.get(f"training/bad_samples_{of}", 0.0) for each in rows) / bad
        for of in ("at_start", "healthy")
    )
    cause, kept = CAUSES[int(found.cause[0])], run.folder.path / "bad_states"
    raise UserError(
        f"training on nothing, stopped after {steps:,} steps: {bad / steps:.0%} of the samples "
        f"were bad, because {cause} was not finite or beyond guard.max_state or guard.max_reward; "
        f"{at_start:.0%} of them in the first step of an episode, {healthy:.0%} of a healthy "
        f"robot. The states before are in {kept}; {checkpoints.what_is_left()}"
    )


def _check_updates(run: Run, skipped: Skipped, checkpoints: Checkpoints, steps: int) -> None:
    """Stops a training whose updates go on being impossible.

    Raises:
        UserError: more were skipped than the settings allow.
    """
    guard = run.config.guard
    in_a_row, total = int(skipped.in_a_row), int(skipped.total)
    if in_a_row < guard.max_skips_in_a_row and total < guard.max_skips:
        return
    raise UserError(
        f"training stopped after {steps:,} steps: {total:,} updates had gradients that are not "
        f"finite, {in_a_row:,} of them in a row, and were skipped; {checkpoints.what_is_left()}. A "
        "smaller ppo.learning_rate or ppo.target_kl in a new run may help"
    )


def _means(rows: Sequence[Row]) -> Row:
    """Returns the mean over the rows of each number that is finite in all of them."""
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return {name: value for name, value in means.items() if math.isfinite(value)}
