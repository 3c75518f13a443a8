"""What the original and the recovery stage share: train, evaluate, report."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import envs
from envs import RecoveryEnv
from envs.physics.choice import resolve as resolve_engine
from lamour_jax import policies
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.distributed import is_main
from lamour_jax.objective import Objective
from lamour_jax.placement import Placement
from lamour_jax.policies import PolicyHeader
from lamour_jax.ppo.acting import Actor
from lamour_jax.ppo.learner import Learner, settled
from lamour_jax.ppo.networks import Agent
from lamour_jax.progress import loss_facts
from lamour_jax.report.curves import plot_curves
from lamour_jax.run.evaluation import Episodes, Evaluator
from lamour_jax.run.loop import Hooks, train
from lamour_jax.run.record import Row, Run
from lamour_jax.run.turns import turns

SAMPLED = ", sampled"  # of an evaluation with the policy's own noise

# Measures an agent on the starts and the noise of a seed.
Measure = Callable[[Agent, int], Episodes]


class Stage(abc.ABC):
    """What one stage has of its own, for runs that differ in nothing but the seed.

    Attributes:
        evaluation_seed: added to a run's seed for its evaluations, whose starts are never those of
            training.
        config: the settings of the runs, their seed aside.
        runs: the runs.
        env: what is trained on.
        evaluated: what an agent is measured on while it trains.
        header: of the policies that are written, without provenance.
        objective: what is optimised.
        original: the policy to stay close to, if there is one.
        initial: the policy to start from; `original` by default.
        score: of evaluations during training, by which the best policy is kept.
        placement: the devices.
    """

    evaluation_seed: ClassVar[int]

    config: RunConfig
    runs: list[Run]
    env: RecoveryEnv
    evaluated: RecoveryEnv
    header: PolicyHeader
    objective: Objective
    original: Agent | None = None
    initial: Agent | None = None
    score: str
    placement: Placement

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """What is trained, in a few words."""

    @property
    def actor(self) -> Actor:
        """How agents act."""
        return Actor(self.header.network(), self.objective, self.original)

    @abc.abstractmethod
    def facts(self, latest: Row) -> dict[str, str]:
        """Returns what to show of the latest metrics beside the progress bar, besides losses."""

    @abc.abstractmethod
    def provenance(self, result: Row | dict[str, Any]) -> dict[str, Any]:
        """Returns what a policy file says of where it comes from, by what is known of it."""

    def once(self, run: Run) -> Row:
        """Returns what was measured of a run before its training began."""
        return {}

    @abc.abstractmethod
    def measures(self) -> dict[str, Measure]:
        """Returns how the finished policy is measured, by the names of the evaluations."""

    @abc.abstractmethod
    def result(self, run: Run) -> dict[str, Any]:
        """Returns the content of a measured run's `result.json`."""

    @abc.abstractmethod
    def write_report(self, run: Run, result: dict[str, Any], console: Console) -> None:
        """Writes what there is to look at, beside the curves."""

    @abc.abstractmethod
    def conclude(self, run: Run, result: dict[str, Any], console: Console) -> None:
        """Prints what came of a run."""

    def load(self, start: str | dict[str, float], **options: Any) -> RecoveryEnv:
        """Returns the robot from a start or a mix of them."""
        config = self.config
        return envs.load(
            config.env, start=start, engine=config.engine, num_envs=config.most_envs, **options
        )

    def seed(self, run: Run) -> int:
        """Returns the seed of a run's evaluations."""
        return run.config.seed + self.evaluation_seed


def resolved(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Returns the settings with the engine by its name.

    A run that goes on elsewhere goes on with the engine that it began on.
    """
    engine = resolve_engine(configs[0].engine)
    return [dataclasses.replace(config, engine=engine) for config in configs]


def train_runs(stage: Stage, console: Console) -> list[Agent]:
    """Trains every run; returns the finished agents, and leaves the best ones in the folders."""
    side_by_side = f" x {len(stage.runs)} seeds" if len(stage.runs) > 1 else ""
    config = stage.config
    with console.stage(f"{stage.title}, {config.steps:,} steps{side_by_side}"):
        learner = Learner(
            stage.env,
            stage.objective,
            config.ppo,
            config.iterations,
            stage.header.network(),
            stage.original,
            stage.initial,
            config.guard,
            stage.placement,
        )
        hooks = _hooks(stage)
        finals = {}
        for group in turns(learner, stage.runs, lambda line: console.say(f"  {line}")):
            states = train(learner, group, hooks, console)
            for run, state in zip(group, states, strict=True):
                finals[run.config.seed] = settled(state.agent, config.ppo)
    return [finals[run.config.seed] for run in stage.runs]


def _hooks(stage: Stage) -> Hooks:
    quick = Evaluator(stage.actor, stage.config.evaluation.episodes_during_training)

    def evaluate(run: Run, agent: Agent) -> Row:
        summary = quick(stage.evaluated, agent, stage.seed(run) + 1).summary()
        return {f"eval/{name}": value for name, value in summary.items()}

    def keep_best(run: Run, agent: Agent, row: Row) -> None:
        found = {name: row[name] for name in ("env_steps", stage.score)}
        policies.save(
            run.folder.path / "best_policy.npz",
            stage.header.derived(stage.provenance(found)),
            settled(agent, stage.config.ppo),
        )

    def facts(latest: Row) -> dict[str, str]:
        return stage.facts(latest) | loss_facts(latest)

    return Hooks(evaluate, keep_best, stage.score, stage.once, facts)


def evaluate_runs(stage: Stage, agents: Sequence[Agent], console: Console) -> None:
    """Measures the finished agents, and where that is missing the policy they began from."""
    with console.stage(f"Evaluation ({stage.config.evaluation.episodes} episodes each)"):
        measures = stage.measures()
        for run, agent in zip(stage.runs, agents, strict=True):
            run.after = {
                name: measure(agent, stage.seed(run)) for name, measure in measures.items()
            }
            if stage.original is not None:
                run.before |= {
                    name: measure(stage.original, stage.seed(run))
                    for name, measure in measures.items()
                    if name not in run.before and not name.endswith(SAMPLED)
                }


def report_runs(stage: Stage, agents: Sequence[Agent], console: Console) -> list[dict[str, Any]]:
    """Writes each run's policy, report and result; returns the results."""
    results = [stage.result(run) for run in stage.runs]
    if len(results) > 1:
        results = [result | {"seeds_together": len(results)} for result in results]
    if not is_main():
        return results
    with console.stage("Report"):
        for run, agent, result in zip(stage.runs, agents, results, strict=True):
            header = stage.header.derived(stage.provenance(result))
            policies.save(run.folder.path / "policy.npz", header, agent)
            plot_curves(run.history.rows, run.folder.path / "curves.png", stage.env.name)
            stage.write_report(run, result, console)
            # Last: a run with a result is finished.
            run.folder.write_json("result.json", result)
    for run, result in zip(stage.runs, results, strict=True):
        stage.conclude(run, result, console)
        console.result(result, run.folder.path)
    return results


def evaluator(stage: Stage) -> Callable[..., Measure]:
    """Returns what makes the measures of finished policies, `(env, **options) -> Measure`."""
    whole = Evaluator(stage.actor, stage.config.evaluation.episodes)
    return lambda env, **options: partial(whole, env, **options)
