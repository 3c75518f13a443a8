"""The main job: original policy -> reward -> recovery training -> evaluation -> report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import envs
from envs import RecoveryEnv
from envs.physics import resolve as resolve_engine
from lamour_jax import pictures, policies, recordings, report
from lamour_jax.checkpoints import Identity, digest
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.controller import Controller
from lamour_jax.curves import plot_curves
from lamour_jax.distributed import is_main, main_first
from lamour_jax.evaluation import Episodes, Evaluator
from lamour_jax.methods import METHODS, Ingredients, make_objective
from lamour_jax.placement import for_run
from lamour_jax.ppo.learner import Learner
from lamour_jax.ppo.networks import Agent
from lamour_jax.progress import loss_facts
from lamour_jax.report_page import FILE as REPORT
from lamour_jax.report_page import recovery_interval, write_page
from lamour_jax.reward import Reward, load_reward, model_metrics
from lamour_jax.run_folder import RunFolder, strict
from lamour_jax.system import system_facts
from lamour_jax.training import History, SeedRun, train

# Evaluations draw their starts from seeds of their own: never those of training.
EVALUATION_SEED = 1_000_003
SAMPLED = ", sampled"  # of an evaluation with the policy's own noise


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
        return envs.load(
            config.env,
            start=start,
            engine=config.engine,
            num_envs=config.most_envs * len(configs),
            **options,
        )

    out_of_distribution = load(config.start, terminate=False)
    env = load(
        config.training_starts or config.start,
        terminate=config.terminate,
        episode_length=config.training_episode_steps(out_of_distribution),
    )
    placement = for_run(config)

    def load_rewards() -> Reward:
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
        return reward

    def share() -> None:
        for folder in folders:
            folder.share()

    with console.stage("Reward"):
        reward = main_first(load_rewards, between=share)
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
        whole = Evaluator(controller, episodes)
        measure = {
            config.start: partial(whole, out_of_distribution, record=True),
            "ordinary": partial(whole, load("ordinary", terminate=False)),
        }
        before = [{name: run(original, seed) for name, run in measure.items()} for seed in seeds]
        ordinary, ood = (before[0][name].summary() for name in ("ordinary", config.start))
        console.say(
            f"  ordinary return {ordinary['return']:.0f}; from start {config.start!r}: "
            f"recovery rate {ood['recovery_rate']:.2f}"
        )

    side_by_side = f" x {len(configs)} seeds" if len(configs) > 1 else ""
    with console.stage(
        f"Recovery training ({config.method}, {config.steps:,} steps{side_by_side})"
    ):
        learner = Learner(
            env,
            objective,
            config.ppo,
            config.iterations,
            original,
            guard=config.guard,
            placement=placement,
        )
        quick = Evaluator(controller, config.evaluation.episodes_during_training)

        def evaluate(seed: int, agent: Agent) -> dict[str, float]:
            summary = quick(out_of_distribution, agent, seed + 1).summary()
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
            config.start + SAMPLED: partial(whole, out_of_distribution, sampled=True),
            "ood-noisy": partial(whole, noisy),
            "ood-noisy" + SAMPLED: partial(whole, noisy, sampled=True),
        }
        if "ood-wide" in env.all_starts():
            wide = load("ood-wide", terminate=False)
            measure.setdefault("ood-wide", partial(whole, wide))
        after = [
            {name: run(agent, seed) for name, run in measure.items()}
            for agent, seed in zip(agents, seeds, strict=True)
        ]
        for of_seed, seed in zip(before, seeds, strict=True):
            for name in measure.keys() - of_seed.keys():
                if not name.endswith(SAMPLED):
                    of_seed[name] = measure[name](original, seed)
    results = [
        _result(seeded, env, reward, history, before_of_seed, after_of_seed)
        for seeded, (_, history), before_of_seed, after_of_seed in zip(
            configs, trained, before, after, strict=True
        )
    ]
    if len(results) > 1:
        for result in results:
            result["seeds_together"] = len(results)
    if not is_main():
        return results
    with console.stage("Report"):
        for seeded, folder, (_, history), result, before_of_seed, after_of_seed in zip(
            configs, folders, trained, results, before, after, strict=True
        ):
            plot_curves(history.rows, folder.path / "curves.png", env.name)
            chosen = recordings.choose(after_of_seed[config.start], before_of_seed[config.start])
            recordings.save(chosen, folder.path / recordings.FILE)
            shown = next(episode for episode in chosen if "median" in episode.names)
            video = folder.path / "episode.gif"
            line = pictures.render_episode(env, shown.qpos, shown.healthy, video, stills=True)
            console.say(f"  {line}")
            write_page(folder.path, seeded, strict(result), env)
            # Last: a run with a result is finished.
            folder.write_json("result.json", result)
    for folder, result in zip(folders, results, strict=True):
        report.print_result(console, result, config.start)
        console.conclude(f"Everything is in {folder.path}; read {folder.path / REPORT}")
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
    episodes_before: dict[str, Episodes],
    episodes_after: dict[str, Episodes],
) -> dict[str, Any]:
    evaluations = {name: episodes.summary() for name, episodes in episodes_after.items()}
    evaluations_before = {name: episodes.summary() for name, episodes in episodes_before.items()}
    ood, after, before = (
        evaluations[config.start],
        evaluations["ordinary"],
        evaluations_before["ordinary"],
    )
    distinct = recordings.distinct_episodes(episodes_after[config.start])
    recovered = int(np.sum(episodes_after[config.start].recovered))
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
        "recovery_rate_stochastic": evaluations[config.start + SAMPLED]["recovery_rate"],
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
