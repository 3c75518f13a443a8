"""Training an original policy: the robot's ordinary task, robust enough to be handed a recovery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamour_jax import policies
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.objective import original_task
from lamour_jax.placement import for_run
from lamour_jax.policies import originals
from lamour_jax.run.checkpoints import Identity, digest, robot_digest
from lamour_jax.run.folder import RunFolder
from lamour_jax.run.record import Row, Run
from lamour_jax.run.stages import SAMPLED, Measure, Stage, evaluator, resolved
from lamour_jax.system import system_facts


class OriginalStage(Stage):
    """An original policy, from scratch or on from `config.policy`, into `policy.npz`."""

    evaluation_seed = 2_000_003

    def __init__(
        self, configs: Sequence[RunConfig], folders: Sequence[RunFolder], console: Console
    ):
        """Loads what training needs and writes the settings; arguments as of `run_stage`."""
        configs = resolved(configs)
        if configs[0].policy:
            header, self.initial = originals.load(configs[0].env, configs[0].policy)
            header, self.initial = policies.with_dropout(
                header, self.initial, configs[0].ppo.dropout
            )
            configs = [policies.with_shape_of(header, config) for config in configs]
        config = self.config = configs[0]
        for seeded, folder in zip(configs, folders, strict=True):
            folder.write_text("config.yaml", seeded.to_yaml())
        self.evaluated = self.load("ordinary", terminate=False)
        has_goal = self.evaluated.has_goal
        # Falling ends an episode. Where the task has a goal nothing does before the time limit:
        # every step at the goal is rewarded, and an end there would make it worth avoiding.
        self.env = self.load(
            config.training_starts,
            terminate=not has_goal,
            episode_length=config.training_episode_steps(self.evaluated),
        )
        self.header = header if config.policy else policies.fresh_header(self.env, config)
        self.objective = original_task()
        # What is to be good: a goal is reached or not, whatever the way to it pays.
        self.score = "eval/success_rate" if has_goal else "eval/return"
        self.placement = for_run(config)
        began_from = "" if self.initial is None else digest(self.initial)
        robot = robot_digest(self.env)
        self.runs = [
            Run(Identity(seeded, policy=began_from, robot=robot), folder)
            for seeded, folder in zip(configs, folders, strict=True)
        ]

    @property
    def title(self) -> str:
        return f"Original task ({self.env.name})"

    def facts(self, latest: Row) -> dict[str, str]:
        names = {"return": "episode/return", "ordinary return": "eval/return"}
        return {shown: f"{latest[name]:,.0f}" for shown, name in names.items() if name in latest}

    def provenance(self, result: Row | dict[str, Any]) -> dict[str, Any]:
        # A finished policy says what it was measured at, wherever it goes.
        return {"stage": "original", **result}

    def measures(self) -> dict[str, Measure]:
        make = evaluator(self)
        return {
            "ordinary": make(self.evaluated),
            "ordinary" + SAMPLED: make(self.evaluated, sampled=True),
        }

    def result(self, run: Run) -> dict[str, Any]:
        mean, sampled = (run.after["ordinary" + how].summary() for how in ("", SAMPLED))
        config = run.config
        return {
            "env": self.env.name,
            "stage": "original",
            "engine": self.env.engine.name,
            "seed": config.seed,
            "env_steps": config.iterations * config.ppo.batch_size,
            "wall_seconds": run.history.wall_seconds,
            "env_steps_per_second": run.history.steps_per_second,
            "episodes": config.evaluation.episodes,
            "ordinary_return": mean["return"],
            "ordinary_return_std": mean["return_std"],
            "ordinary_return_sampled": sampled["return"],
            "survival": mean["recovery_rate_strict"],
            "survival_sampled": sampled["recovery_rate_strict"],
            **({"success_rate": mean["success_rate"]} if self.env.has_goal else {}),
            **system_facts(),
        }

    def write_report(self, run: Run, result: dict[str, Any], console: Console) -> None:
        """Writes nothing more."""

    def conclude(self, run: Run, result: dict[str, Any], console: Console) -> None:
        success = f"success {result['success_rate']:.2f}; " if self.env.has_goal else ""
        path = run.folder.path
        console.conclude(
            f"Ordinary return {result['ordinary_return']:,.0f}; {success}"
            f"survival {result['survival']:.2f}, "
            f"with sampled actions {result['survival_sampled']:.2f}. "
            f"Everything is in {path}; use it by --policy {path / 'policy.npz'}"
        )
