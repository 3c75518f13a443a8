"""Train: `python -m lamour_jax.train [--env ...]`."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

import envs
from envs.physics import ENGINES, EngineUnavailable
from lamour_jax import compile_cache
from lamour_jax.command import ends_cleanly
from lamour_jax.config import RewardConfig, RunConfig, Stage, override, read_config, validate
from lamour_jax.console import Console
from lamour_jax.errors import UserError
from lamour_jax.methods import METHODS
from lamour_jax.original import run_original
from lamour_jax.presets import preset
from lamour_jax.recovery import run_recoveries, run_recovery
from lamour_jax.run_folder import RunFolder
from reward_codegen.gemini import DEFAULT_MODEL


@dataclass(frozen=True)
class Arguments:
    """Teach a robot to come back from a state that its training never saw."""

    env: str = "half_cheetah"
    """Robot: ant, half_cheetah, hopper, humanoid, push_chair or walker2d."""
    stage: Stage = "recovery"
    """recovery, or original to train an original policy anew."""
    engine: str = "auto"
    """Physics engine: auto, mujoco, mjx or mjx-warp."""
    method: str = "lamour"
    """What is optimised: lamour, lamour-no-lpc, lamour-switch, sero, env or zero."""
    reward: str = "auto"
    """auto (gemini if a key is set, else library), library, gemini, or the path of a file."""
    model: str = DEFAULT_MODEL
    """The language model that --reward gemini asks."""
    candidates: int = 1
    """Reward programs to ask it for; the best that verifies is used."""
    regenerate: bool = False
    """Ask it again instead of using its cached replies."""
    start: str | None = None
    """The start to recover from: ood, ood-noisy, ...; the preset's by default."""
    policy: str = ""
    """Path of the original policy; the shipped one by default."""
    steps: int | None = None
    """Environment steps of training; the preset's by default."""
    num_envs: int | None = None
    """Environments side by side; the preset's by default."""
    seed: int = 0
    """The (first) seed."""
    seeds: int = 1
    """How many seeds to run, one after the other, each in its own folder."""
    together: bool = False
    """Train the seeds side by side in one program, where memory allows (recovery stage)."""
    out: Path | None = None
    """New folder for the run; runs/<time>-<env> by default."""
    resume: Path | None = None
    """Folder of an interrupted run to go on with; it brings all its settings."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Any setting of config.yaml: --set ppo.learning_rate=1e-4 (repeat for more)."""
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder: the next start does not compile them."""


def resolve(arguments: Arguments) -> RunConfig:
    """Returns the preset with the command line's changes, checked.

    Raises:
        UserError: an unknown name or an impossible value.
    """
    _check_name("--env", arguments.env, envs.names())
    if arguments.seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {arguments.seeds}")
    if arguments.together and (arguments.seeds == 1 or arguments.stage == "original"):
        raise UserError("--together is for --seeds 2 or more of the recovery stage")
    config = dataclasses.replace(
        preset(arguments.env, arguments.stage, arguments.method),
        engine=arguments.engine,
        reward=arguments.reward,
        reward_options=RewardConfig(
            model=arguments.model,
            candidates=arguments.candidates,
            regenerate=arguments.regenerate,
        ),
        policy=arguments.policy,
        seed=arguments.seed,
    )
    if arguments.start is not None:
        config = dataclasses.replace(config, start=arguments.start, training_starts={})
    if arguments.steps is not None:
        config = dataclasses.replace(config, steps=arguments.steps)
    if arguments.num_envs is not None:
        config = override(config, f"ppo.num_envs={arguments.num_envs}")
    for assignment in arguments.set:
        config = override(config, assignment)
    _check_name("--env", config.env, envs.names())
    _check_name("--engine", config.engine, ENGINES)
    _check_name("--method", config.method, METHODS)
    if (config.env, config.stage) != (arguments.env, arguments.stage):
        raise UserError("choose the robot by --env and the stage by --stage, not by --set")
    starts = envs.registry.get(config.env).all_starts()
    for name in (config.start, *config.training_starts):
        _check_name("--start", name, starts)
    validate(config)
    return config


@ends_cleanly
def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = tyro.cli(Arguments, prog="python -m lamour_jax.train", args=argv)
    console = Console()
    compile_cache.enable(arguments.compile_cache)
    try:
        if arguments.resume is not None:
            _resume(arguments, console)
            return 0
        config = resolve(arguments)
        out = arguments.out or RunFolder.default_path(config.env)
        configs = [
            dataclasses.replace(config, seed=config.seed + index)
            for index in range(arguments.seeds)
        ]
        # The first asks the model; all seeds train on the same reward code.
        later = [override(seeded, "reward_options.regenerate=false") for seeded in configs[1:]]
        configs[1:] = later
        paths = [out / f"seed_{seeded.seed}" for seeded in configs] if later else [out]
        if arguments.together:
            run_recoveries(configs, [RunFolder(path) for path in paths], console)
            return 0
        for seeded, path in zip(configs, paths, strict=True):
            _run(seeded, RunFolder(path), console)
    except (UserError, EngineUnavailable, envs.ModelUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(config: RunConfig, folder: RunFolder, console: Console) -> None:
    run = run_recovery if config.stage == "recovery" else run_original
    run(config, folder, console)


def _resume(arguments: Arguments, console: Console) -> None:
    if arguments != Arguments(resume=arguments.resume, compile_cache=arguments.compile_cache):
        raise UserError("--resume brings all its settings; leave the other options out")
    assert arguments.resume is not None
    folder = RunFolder.reopen(arguments.resume)
    config = read_config(folder.path)
    validate(config)
    _run(config, folder, console)


def _check_name(option: str, name: str, known: object) -> None:
    names = list(known)  # type: ignore[call-overload]
    if name not in names:
        raise UserError(f"unknown {option} {name!r}; known: {', '.join(names)}")


if __name__ == "__main__":
    sys.exit(main())
