"""The main job: original policy -> reward -> recovery training -> evaluation -> report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs import RecoveryEnv
from lamour_jax import policies
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.distributed import main_first
from lamour_jax.files import plain_json
from lamour_jax.methods import METHODS, Ingredients, make_objective
from lamour_jax.placement import for_run
from lamour_jax.policies import originals
from lamour_jax.ppo.networks import Agent
from lamour_jax.report import pictures, recordings
from lamour_jax.report.page import FILE as REPORT
from lamour_jax.report.page import recovery_interval, write_page
from lamour_jax.report.table import print_result
from lamour_jax.reward import Reward, load_reward, model_metrics
from lamour_jax.run.checkpoints import Identity, digest, robot_digest
from lamour_jax.run.folder import RunFolder
from lamour_jax.run.record import Row, Run
from lamour_jax.run.stages import SAMPLED, Measure, Stage, evaluator, resolved
from lamour_jax.system import system_facts


class RecoveryStage(Stage):
    """A policy that comes back from the out-of-distribution start."""

    evaluation_seed = 1_000_003
    score = "eval/recovery_rate"
    original: Agent

    def __init__(
        self, configs: Sequence[RunConfig], folders: Sequence[RunFolder], console: Console
    ):
        """Loads the original policy and the reward, and measures that policy.

        Arguments as of `run_stage`.
        """
        config = configs[0]
        self.header, self.original = originals.load(
            config.env, config.policy, METHODS[config.method].needs_dropout
        )
        shaped = [policies.with_shape_of(self.header, config) for config in resolved(configs)]
        config = self.config = shaped[0]
        self.evaluated = self.load(config.start, terminate=False)
        self.env = self.load(
            config.training_starts or config.start,
            terminate=config.terminate,
            episode_length=config.training_episode_steps(self.evaluated),
        )
        self.placement = for_run(config)
        with console.stage("Reward"):
            self.reward = self._load_rewards(shaped, folders, console)
        source, began_from = self.reward.program.source, digest(self.original)
        robot = robot_digest(self.env)
        self.runs = [
            Run(Identity(seeded, source, began_from, robot), folder)
            for seeded, folder in zip(shaped, folders, strict=True)
        ]
        ingredients = Ingredients(
            self.reward.program, config.objective, self.header.network(), self.original
        )
        self.objective = make_objective(config.method, ingredients)
        with console.stage(f"Original policy ({self.env.name})"):
            self._measure_original(console)

    def _load_rewards(
        self, configs: Sequence[RunConfig], folders: Sequence[RunFolder], console: Console
    ) -> Reward:
        """Returns the reward of all runs; the first asks a model, if one is to be asked."""
        original = (self.header.network(), self.original)

        def load_all() -> Reward:
            for config, folder in zip(configs, folders, strict=True):
                reward = load_reward(
                    config, self.env, original, folder, lambda line: console.say(f"  {line}")
                )
                # Only now: after a mistake up to here the same --out can be given again.
                folder.write_text("config.yaml", config.to_yaml())
            return reward

        def share() -> None:
            for folder in folders:
                folder.share()

        return main_first(load_all, between=share)

    def _measure_original(self, console: Console) -> None:
        make = evaluator(self)
        self._ood_and_ordinary: dict[str, Measure] = {
            self.config.start: make(self.evaluated, record=True),
            "ordinary": make(self.load("ordinary", terminate=False)),
        }
        self._make = make
        for run in self.runs:
            run.before = {
                name: measure(self.original, self.seed(run))
                for name, measure in self._ood_and_ordinary.items()
            }
        first, start = self.runs[0].before, self.config.start
        ordinary, ood = first["ordinary"].summary(), first[start].summary()
        console.say(
            f"  ordinary return {ordinary['return']:.0f}; from start {start!r}: "
            f"recovery rate {ood['recovery_rate']:.2f}"
        )

    @property
    def title(self) -> str:
        return f"Recovery training ({self.config.method})"

    def facts(self, latest: Row) -> dict[str, str]:
        facts = {}
        if "episode/return" in latest:
            facts["return"] = f"{latest['episode/return']:,.0f}"
        if "eval/recovery_rate" in latest:
            facts["recovery rate"] = f"{latest['eval/recovery_rate']:.2f}"
        return facts

    def provenance(self, result: Row | dict[str, Any]) -> dict[str, Any]:
        names = ("env_steps", self.score)
        found = {name: result[name] for name in names if name in result}
        return {"stage": "recovery", "method": self.config.method, **found}

    def once(self, run: Run) -> Row:
        return model_metrics(run.folder.path)

    def measures(self) -> dict[str, Measure]:
        start, make = self.config.start, self._make
        noisy = self.load("ood-noisy", terminate=False)
        measures = self._ood_and_ordinary | {
            start + SAMPLED: make(self.evaluated, sampled=True),
            "ood-noisy": make(noisy),
            "ood-noisy" + SAMPLED: make(noisy, sampled=True),
        }
        if "ood-wide" in self.env.all_starts():
            measures.setdefault("ood-wide", make(self.load("ood-wide", terminate=False)))
        return measures

    def result(self, run: Run) -> dict[str, Any]:
        return _result(run, self.env, self.reward)

    def write_report(self, run: Run, result: dict[str, Any], console: Console) -> None:
        start, path = run.config.start, run.folder.path
        chosen = recordings.choose(run.after[start], run.before[start])
        recordings.save(chosen, path / recordings.FILE)
        shown = next(episode for episode in chosen if "median" in episode.names)
        line = pictures.render_episode(
            self.env, shown.qpos, shown.healthy, path / "episode.gif", stills=True
        )
        console.say(f"  {line}")
        write_page(path, run.config, plain_json(result), self.env)

    def conclude(self, run: Run, result: dict[str, Any], console: Console) -> None:
        print_result(console, result, run.config.start)
        path = run.folder.path
        console.conclude(f"Everything is in {path}; read {path / REPORT}")


def _result(run: Run, env: RecoveryEnv, reward: Reward) -> dict[str, Any]:
    config, history = run.config, run.history
    evaluations = {name: episodes.summary() for name, episodes in run.after.items()}
    evaluations_before = {name: episodes.summary() for name, episodes in run.before.items()}
    ood, sampled = evaluations[config.start], evaluations[config.start + SAMPLED]
    after, before = evaluations["ordinary"], evaluations_before["ordinary"]
    distinct = recordings.distinct_episodes(run.after[config.start])
    recovered = int(np.sum(run.after[config.start].recovered))
    # From a start without noise all episodes are one, which says nothing of others.
    interval = recovery_interval(recovered, config.evaluation.episodes) if distinct > 1 else None
    # What the original policy was good for: reaching its goal, where there is one.
    skill = "success_rate" if env.has_goal else "return"
    facts = system_facts()
    return {
        "env": env.name,
        "method": config.method,
        "engine": env.engine.name,
        "device": facts["device"],
        "seed": config.seed,
        "start": config.start,
        "env_steps": config.iterations * config.ppo.batch_size,
        "wall_seconds": history.wall_seconds,
        "env_steps_per_second": history.steps_per_second,
        "episodes": ood["episodes"],
        "recovery_rate": ood["recovery_rate"],
        "recovery_rate_interval": interval,
        "distinct_episodes": distinct,
        "recovery_rate_strict": ood["recovery_rate_strict"],
        "recovery_rate_stochastic": sampled["recovery_rate"],
        "median_steps_to_recovery": ood["median_steps_to_recovery"],
        "ood_return": ood["return"],
        "original_return_before": before["return"],
        "original_return_after": after["return"],
        "retention": after[skill] / before[skill] if before[skill] else float("nan"),
        **({"success_rate": ood["success_rate"]} if env.has_goal else {}),
        "reward_source": reward.origin,
        "reward_sha256": reward.program.sha256,
        "versions": facts["versions"],
        "evaluations_before": evaluations_before,
        "evaluations": evaluations,
    }
