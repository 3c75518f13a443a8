"""Measure a finished run again: `python -m lamour_jax.evaluate RUN [--start ...] [--engine ...]`.

From another start, over more episodes, or in another physics engine than it was trained in.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro

import envs
from envs.physics.choice import ENGINES
from envs.physics.interface import EngineUnavailable
from lamour_jax import compile_cache, policies
from lamour_jax.config import RunConfig, read_config
from lamour_jax.console import Console
from lamour_jax.endings import ends_cleanly
from lamour_jax.errors import UserError
from lamour_jax.files import write_json
from lamour_jax.methods import METHODS, Ingredients, make_objective
from lamour_jax.policies import originals
from lamour_jax.ppo.acting import Actor
from lamour_jax.ppo.networks import Agent
from lamour_jax.report import pictures, recordings
from lamour_jax.run.evaluation import Evaluator
from lamour_jax.run.folder import read_result
from lamour_jax.run.kinds import STAGES
from lamour_jax.system import set_precision, system_facts
from reward_codegen import RewardCodeError, RewardProgram
from reward_codegen.reading import read_file
from reward_codegen.safely import compile_safely


@dataclass(frozen=True)
class Arguments:
    """Measure a finished run again: another start, more episodes, another physics engine."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    start: str | None = None
    """Where episodes begin: ood, ood-noisy, ood-wide, ordinary, ...; the run's by default."""
    episodes: int | None = None
    """How many; as many as the run's own evaluations by default."""
    engine: str = "auto"
    """Physics engine: auto, mujoco, mjx or mjx-warp."""
    sampled: bool = False
    """Act with the policy's own noise instead of its mean actions."""
    seed: int | None = None
    """Of starts and noise; that of the run's own evaluations by default."""
    out: Path | None = None
    """JSON file, the rendered episode beside it; RUN/evaluations/... by default."""
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder: the next start does not compile them."""


@dataclass(frozen=True)
class Job:
    """What the arguments mean, checked.

    Attributes:
        config: the run's settings.
        start, episodes, seed: of the evaluation.
        out: the JSON file.
    """

    config: RunConfig
    start: str
    episodes: int
    seed: int
    out: Path


def prepare(arguments: Arguments) -> Job:
    """Checks everything that can be checked before anything is built.

    Raises:
        UserError: no finished run there, another format, an unknown name or an impossible value.
    """
    run = arguments.run
    config = read_config(run)
    read_result(run)
    start = arguments.start or config.start
    starts = envs.registry.get(config.env).all_starts()
    for option, name, known in (
        ("--start", start, list(starts)),
        ("--engine", arguments.engine, list(ENGINES)),
    ):
        if name not in known:
            raise UserError(f"unknown {option} {name!r}; known: {', '.join(known)}")
    episodes = config.evaluation.episodes if arguments.episodes is None else arguments.episodes
    seed = arguments.seed
    if seed is None:
        seed = config.seed + STAGES[config.stage].evaluation_seed
    if episodes < 1:
        raise UserError(f"--episodes must be at least 1, not {episodes}")
    if seed < 0:
        raise UserError(f"--seed must be at least 0, not {seed}")
    if arguments.out is not None and not arguments.out.parent.is_dir():
        raise UserError(f"--out {arguments.out}: the folder {arguments.out.parent} does not exist")
    if arguments.out is not None and arguments.out.exists():
        raise UserError(f"--out {arguments.out} exists already; give a new file")
    if arguments.out is not None and arguments.out.suffix != ".json":
        raise UserError(f"--out {arguments.out} must end in .json")
    name = f"{start}{'-sampled' if arguments.sampled else ''}-{arguments.engine}.json"
    return Job(config, start, episodes, seed, arguments.out or run / "evaluations" / name)


def evaluate(arguments: Arguments, job: Job, console: Console) -> dict[str, Any]:
    """Measures the run's policy, writes the JSON result and renders an episode.

    Returns:
        The content of the JSON file.

    Raises:
        UserError: the run's policy or reward, or the original policy, cannot be read.
        EngineUnavailable: the engine cannot run here.
    """
    config, actor, agent = load_run(arguments.run)
    set_precision(config.precision)
    env = envs.load(
        config.env,
        start=job.start,
        engine=arguments.engine,
        terminate=False,
        num_envs=job.episodes,
    )
    with console.stage(f"{config.env} from start {job.start!r} in {env.engine.name}"):
        evaluator = Evaluator(actor, job.episodes)
        measure = partial(evaluator, env, seed=job.seed, sampled=arguments.sampled)
        measured = measure(agent, record=True)
        summary = measured.summary()
        retention = {}
        if actor.original is not None and job.start == "ordinary":
            before_return = measure(actor.original).summary()["return"]
            retention = {
                "original_return_before": before_return,
                "retention": summary["return"] / before_return if before_return else float("nan"),
            }
    result = {
        "run": str(arguments.run),
        "env": config.env,
        "method": config.method,
        "stage": config.stage,
        "seed": config.seed,
        "start": job.start,
        "sampled": arguments.sampled,
        "engine": env.engine.name,
        "trained_in": read_result(arguments.run).get("engine"),
        "evaluation_seed": job.seed,
        **summary,
        **retention,
        **system_facts(),
    }
    job.out.parent.mkdir(exist_ok=True)
    write_json(job.out, result)
    with console.stage("Episode"):
        shown = next(e for e in recordings.choose(measured) if "median" in e.names)
        video = job.out.with_suffix(".gif")
        console.say(f"  {pictures.render_episode(env, shown.qpos, shown.healthy, video)}")
    console.conclude(
        f"Recovery rate {summary['recovery_rate']:.2f}, strict "
        f"{summary['recovery_rate_strict']:.2f}, return {summary['return']:,.0f} "
        f"over {job.episodes} episodes. Written to {job.out}"
    )
    return result


def load_run(run: Path) -> tuple[RunConfig, Actor, Agent]:
    """Returns a run's settings, who acts in it, and its policy.

    Raises:
        UserError: the run's settings, policy or reward, or the original policy, cannot be read.
    """
    config = read_config(run)
    header, agent = policies.load(run / "policy.npz")
    network = header.network()
    if config.stage == "original":
        return config, Actor(network), agent
    program = load_program(run, envs.load(config.env, engine="mujoco"))
    needs_dropout = METHODS[config.method].needs_dropout
    _, original = originals.load(config.env, config.policy, needs_dropout)
    ingredients = Ingredients(program, config.objective, network, original)
    actor = Actor(network, make_objective(config.method, ingredients), original)
    return config, actor, agent


def load_program(run: Path, env: envs.RecoveryEnv) -> RewardProgram:
    """Returns the reward program that a run was trained on.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return compile_safely(
            read_file(run / "reward.py"),
            state_size=env.recovery_state_size,
            action_size=env.action_size,
        )
    except RewardCodeError as error:
        raise UserError(f"the reward code {run / 'reward.py'} cannot be used: {error}") from None


@ends_cleanly
def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = tyro.cli(Arguments, prog="python -m lamour_jax.evaluate", args=argv)
    compile_cache.enable(arguments.compile_cache)
    try:
        evaluate(arguments, prepare(arguments), Console())
    except (UserError, EngineUnavailable, envs.EnvironmentUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
