"""Training an original policy: the robot's ordinary task, robust enough to be handed a recovery."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp

import envs
from envs.physics import resolve as resolve_engine
from lamour_jax import policies
from lamour_jax.checkpoints import Identity, digest
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.controller import Controller
from lamour_jax.curves import plot_curves
from lamour_jax.distributed import is_main
from lamour_jax.evaluation import Evaluator
from lamour_jax.objective import original_task
from lamour_jax.placement import for_run
from lamour_jax.ppo.learner import Learner
from lamour_jax.ppo.networks import Agent
from lamour_jax.progress import loss_facts
from lamour_jax.run_folder import RunFolder
from lamour_jax.system import system_facts
from lamour_jax.training import SeedRun, train

EVALUATION_SEED = 2_000_003


def run_original(config: RunConfig, folder: RunFolder, console: Console) -> dict[str, Any]:
    """Trains an original policy, from scratch or on from `config.policy`, into `policy.npz`.

    Args:
        config: the settings, validated.
        folder: receives every file of the run.
        console: says what happens.

    Returns:
        The content of `result.json`.
    """
    initial = None
    config = dataclasses.replace(config, engine=resolve_engine(config.engine))
    if config.policy:
        header, initial = policies.load_original(config.env, config.policy)
        header = dataclasses.replace(header, dropout=config.ppo.dropout)
        config = policies.with_shape_of(header, config)
        if header.dropout and initial.max_hidden_variance is None:
            units = header.hidden_sizes[-1]
            initial = initial.replace(max_hidden_variance=jnp.zeros(units))
    folder.write_text("config.yaml", config.to_yaml())
    # Falling ends an episode. Where the task has a goal nothing does before the time limit: every
    # step at the goal is rewarded, and an end there would make it worth avoiding.
    has_goal = envs.registry.get(config.env).has_goal
    load = functools.partial(envs.load, config.env, engine=config.engine, num_envs=config.most_envs)
    ordinary = load(start="ordinary", terminate=False)
    env = load(
        start=config.training_starts,
        terminate=not has_goal,
        episode_length=config.training_episode_steps(ordinary),
    )
    objective = original_task()
    seed = config.seed + EVALUATION_SEED
    with console.stage(f"Original task ({env.name}, {config.steps:,} steps)"):
        learner = Learner(
            env,
            objective,
            config.ppo,
            config.iterations,
            initial=initial,
            guard=config.guard,
            placement=for_run(config),
        )
        controller = Controller(learner.network)
        quick = Evaluator(controller, config.evaluation.episodes_during_training)

        def evaluate(agent: Agent) -> dict[str, float]:
            summary = quick(ordinary, agent, seed + 1).summary()
            return {f"eval/{name}": value for name, value in summary.items()}

        def facts(latest: dict[str, float]) -> dict[str, str]:
            names = {"return": "episode/return", "ordinary return": "eval/return"}
            shown = {k: f"{latest[name]:,.0f}" for k, name in names.items() if name in latest}
            return shown | loss_facts(latest)

        header = policies.PolicyHeader(
            env=env.name,
            observation_size=env.observation_size,
            action_size=env.action_size,
            hidden_sizes=config.ppo.hidden_sizes,
            activation=config.ppo.activation,
            dropout=config.ppo.dropout,
            output=config.ppo.output,
            mirror=learner.network.mirror,
            provenance={},
        )

        # What is to be good: a goal is reached or not, whatever the way to it pays.
        score = "eval/success_rate" if has_goal else "eval/return"

        def keep_best(agent: Agent, row: dict[str, float]) -> None:
            found = {name: row[name] for name in ("env_steps", score)}
            best = header.derived({"stage": "original", **found})
            policies.save(folder.path / "best_policy.npz", best, learner.settled(agent))

        identity = Identity(config, policy="" if initial is None else digest(initial))
        run = SeedRun(identity, folder, evaluate, keep_best, score=score)
        [(state, history)] = train(learner, [run], console, facts)
        agent = learner.settled(state.agent)

    with console.stage(f"Evaluation ({config.evaluation.episodes} episodes each)"):
        episodes = config.evaluation.episodes
        measure = functools.partial(Evaluator(controller, episodes), ordinary, agent, seed)
        mean, sampled = measure().summary(), measure(sampled=True).summary()
    result = {
        "env": env.name,
        "stage": "original",
        "engine": env.engine.name,
        "seed": config.seed,
        "env_steps": config.iterations * config.ppo.batch_size,
        "wall_seconds": history.wall_seconds,
        "env_steps_per_second": history.steps_per_second,
        "episodes": episodes,
        "ordinary_return": mean["return"],
        "ordinary_return_std": mean["return_std"],
        "ordinary_return_sampled": sampled["return"],
        "survival": mean["recovery_rate_strict"],
        "survival_sampled": sampled["recovery_rate_strict"],
        **({"success_rate": mean["success_rate"]} if env.has_goal else {}),
        **system_facts(),
    }
    if not is_main():
        return result
    policies.save(folder.path / "policy.npz", header.derived(result), agent)
    plot_curves(history.rows, folder.path / "curves.png", env.name)
    # Last: a run with a result is finished.
    folder.write_json("result.json", result)
    success = f"success {mean['success_rate']:.2f}; " if env.has_goal else ""
    console.conclude(
        f"Ordinary return {mean['return']:,.0f}; {success}"
        f"survival {mean['recovery_rate_strict']:.2f}, "
        f"with sampled actions {sampled['recovery_rate_strict']:.2f}. "
        f"Everything is in {folder.path}; use it by --policy {folder.path / 'policy.npz'}"
    )
    console.result(result, folder.path)
    return result
