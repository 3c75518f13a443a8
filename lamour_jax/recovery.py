"""The main job: original policy -> reward -> recovery training -> evaluation -> report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import envs
from envs import RecoveryEnv
from envs.physics import resolve as resolve_engine
from lamour_jax import policies, report
from lamour_jax.checkpoints import Identity, digest
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.controller import Controller
from lamour_jax.evaluation import Evaluator, record_episode
from lamour_jax.methods import METHODS, Ingredients, make_objective
from lamour_jax.ppo.learner import Learner
from lamour_jax.ppo.networks import Agent
from lamour_jax.progress import loss_facts
from lamour_jax.reward import Reward, load_reward, model_metrics
from lamour_jax.run_folder import RunFolder
from lamour_jax.system import system_facts
from lamour_jax.training import History, SeedRun, train

# Evaluations draw their starts from seeds of their own: never those of training.
EVALUATION_SEED = 1_000_003


def run_recovery(config: RunConfig, folder: RunFolder, console: Console) -> dict[str, Any]:
    """Trains a policy to come back from its out-of-distribution start, and measures it.

    Args:
        config: the settings, validated.
        folder: receives every file of the run.
        console: says what happens.

    Returns:
        The content of `result.json`.

    Raises:
        UserError: an unknown name, a bad policy file or reward code.
    """
    [result] = run_recoveries([config], [folder], console)
    return result


def run_recoveries(
    configs: Sequence[RunConfig], folders: Sequence[RunFolder], console: Console
) -> list[dict[str, Any]]:
    """Does the same for several seeds, which train side by side in one program.

    Args:
        configs: the settings, validated; they differ in nothing but the seed.
        folders: receive every file of the runs.
        console: says what happens.

    Returns:
        The content of each `result.json`.

    Raises:
        UserError: an unknown name, a bad policy file or reward code.
    """
    config = configs[0]
    header, original = policies.load_original(
        config.env, config.policy, METHODS[config.method].needs_dropout
    )
    # The engine by its name: a run that goes on elsewhere goes on with the one that it began on.
    engine = resolve_engine(config.engine)
    configs = [
        dataclasses.replace(policies.with_shape_of(header, config), engine=engine)
        for config in configs
    ]
    config = configs[0]

    def load(start: str | dict[str, float], **options: Any) -> RecoveryEnv:
        return envs.load(config.env, start=start, engine=config.engine, **options)

    env = load(
        config.training_starts or config.start,
        terminate=config.terminate,
        episode_length=config.training_episode_length,
    )
    with console.stage("Reward"):
        for seeded, folder in zip(configs, folders, strict=True):
            reward = load_reward(
                seeded,
                env,
                (header.network(), original),
                folder,
                lambda line: console.say(f"  {line}"),
            )
            # Written only now: after a mistake up to here the same --out can be given again.
            folder.write_text("config.yaml", seeded.to_yaml())
        identities = [
            Identity(seeded, reward.program.source, digest(original)) for seeded in configs
        ]

    with console.stage(f"Original policy ({env.name})"):
        network = header.network()
        seeds = [seeded.seed + EVALUATION_SEED for seeded in configs]
        episodes = config.evaluation.episodes
        objective = make_objective(
            config.method, Ingredients(reward.program, config.objective, network, original)
        )
        controller = Controller(network, objective, original)
        out_of_distribution = load(config.start, terminate=False)
        measure = {
            config.start: Evaluator(out_of_distribution, controller, episodes),
            "ordinary": Evaluator(load("ordinary", terminate=False), controller, episodes),
        }
        before = [measure["ordinary"](original, seed).summary() for seed in seeds]
        before_ood = measure[config.start](original, seeds[0]).summary()
        console.say(
            f"  ordinary return {before[0]['return']:.0f}; from start {config.start!r}: "
            f"recovery rate {before_ood['recovery_rate']:.2f}"
        )

    side_by_side = f" x {len(configs)} seeds" if len(configs) > 1 else ""
    with console.stage(
        f"Recovery training ({config.method}, {config.steps:,} steps{side_by_side})"
    ):
        learner = Learner(
            env, objective, config.ppo, config.iterations, original, guard=config.guard
        )
        quick = Evaluator(
            out_of_distribution, controller, config.evaluation.episodes_during_training
        )

        def evaluate(seed: int, agent: Agent) -> dict[str, float]:
            summary = quick(agent, seed + 1).summary()
            return {f"eval/{name}": value for name, value in summary.items()}

        def keep_best(folder: RunFolder, agent: Agent, row: dict[str, float]) -> None:
            found = {name: row[name] for name in ("env_steps", "eval/recovery_rate")}
            provenance = {"stage": "recovery", "method": config.method, **found}
            policies.save(
                folder.path / "best_policy.npz",
                header.derived(provenance),
                learner.settled(agent),
            )

        runs = [
            SeedRun(
                identity,
                folder,
                partial(evaluate, seed),
                partial(keep_best, folder),
                once=model_metrics(folder.path),
            )
            for identity, folder, seed in zip(identities, folders, seeds, strict=True)
        ]
        trained = train(learner, runs, console, _facts)
        agents = [learner.settled(state.agent) for state, _ in trained]
        trained_steps = config.iterations * config.ppo.batch_size
        provenance = {"stage": "recovery", "method": config.method, "env_steps": trained_steps}
        for folder, agent in zip(folders, agents, strict=True):
            policies.save(folder.path / "policy.npz", header.derived(provenance), agent)

    with console.stage(f"Evaluation ({episodes} episodes each)"):
        noisy = load("ood-noisy", terminate=False)
        measure |= {
            f"{config.start}, sampled": Evaluator(out_of_distribution, controller, episodes, True),
            "ood-noisy": Evaluator(noisy, controller, episodes),
            "ood-noisy, sampled": Evaluator(noisy, controller, episodes, True),
        }
        if "ood-wide" in env.all_starts():
            wide = load("ood-wide", terminate=False)
            measure.setdefault("ood-wide", Evaluator(wide, controller, episodes))
        evaluations = [
            {name: run(agent, seed).summary() for name, run in measure.items()}
            for agent, seed in zip(agents, seeds, strict=True)
        ]
    results = [
        _result(seeded, env, reward, history, before_of_seed, evaluations_of_seed)
        for seeded, (_, history), before_of_seed, evaluations_of_seed in zip(
            configs, trained, before, evaluations, strict=True
        )
    ]
    if len(results) > 1:
        for result in results:
            result["seeds_together"] = len(results)
    with console.stage("Report"):
        for folder, (_, history), agent, seed, result in zip(
            folders, trained, agents, seeds, results, strict=True
        ):
            report.plot_curves(history.rows, folder.path / "curves.png", env.name)
            recorded = record_episode(out_of_distribution, controller, agent, seed)
            console.say(f"  {report.render_episode(env, *recorded, folder.path / 'episode.gif')}")
            # Last: a run with a result is finished.
            folder.write_json("result.json", result)
    for folder, result in zip(folders, results, strict=True):
        report.print_result(console, result, before_ood)
        console.conclude(f"Everything is in {folder.path}")
        console.result(result, folder.path)
    return results


def _facts(latest: dict[str, float]) -> dict[str, str]:
    facts = {}
    if "episode/return" in latest:
        facts["return"] = f"{latest['episode/return']:,.0f}"
    if "eval/recovery_rate" in latest:
        facts["recovery rate"] = f"{latest['eval/recovery_rate']:.2f}"
    return facts | loss_facts(latest)


def _result(
    config: RunConfig,
    env: RecoveryEnv,
    reward: Reward,
    history: History,
    before: dict[str, float],
    evaluations: dict[str, dict[str, float]],
) -> dict[str, Any]:
    ood, after = evaluations[config.start], evaluations["ordinary"]
    # What the original policy was good for: reaching its goal, where there is one.
    skill = "success_rate" if env.has_goal else "return"
    facts = system_facts()
    return {
        "env": env.name,
        "method": config.method,
        "engine": env.engine.name,
        "device": facts["device"],
        "seed": config.seed,
        "env_steps": config.iterations * config.ppo.batch_size,
        "wall_seconds": history.wall_seconds,
        "env_steps_per_second": history.steps_per_second,
        "episodes": ood["episodes"],
        "recovery_rate": ood["recovery_rate"],
        "recovery_rate_strict": ood["recovery_rate_strict"],
        "recovery_rate_stochastic": evaluations[f"{config.start}, sampled"]["recovery_rate"],
        "median_steps_to_recovery": ood["median_steps_to_recovery"],
        "ood_return": ood["return"],
        "original_return_before": before["return"],
        "original_return_after": after["return"],
        "retention": after[skill] / before[skill] if before[skill] else float("nan"),
        **({"success_rate": ood["success_rate"]} if env.has_goal else {}),
        "reward_source": reward.origin,
        "reward_sha256": reward.program.sha256,
        "versions": facts["versions"],
        "evaluations": evaluations,
    }
