"""Train: `python -m lamour_jax.train [--env ...]`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

import envs
from envs.physics import ENGINES, EngineUnavailable
from lamour_jax import compile_cache, interruption, loggers
from lamour_jax.config import (
    Precision,
    RewardConfig,
    RunConfig,
    Stage,
    as_begun,
    differences,
    override,
    preset,
    read_config,
    validate,
)
from lamour_jax.console import Console, make_console
from lamour_jax.distributed import connect, is_main, leave, main_first, several
from lamour_jax.endings import ends_cleanly
from lamour_jax.errors import UserError
from lamour_jax.methods import METHODS
from lamour_jax.original import run_original
from lamour_jax.ppo.learner import mirror_of
from lamour_jax.recovery import run_recoveries, run_recovery
from lamour_jax.run_folder import RunFolder
from lamour_jax.system import require_accelerator, run_facts, set_precision
from reward_codegen.gemini import DEFAULT_MODEL


@dataclass(frozen=True)
class Arguments:
    """Teach a robot to come back from a state that its training never saw."""

    env: str = "half_cheetah"
    """Robot: ant, half_cheetah, hopper, humanoid, push_chair, walker2d, or your FILE.py:CLASS."""
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
    auto_resume: bool = False
    """Go on with what is unfinished in --out, begin what is not there, leave what is finished."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Any setting of config.yaml: --set ppo.learning_rate=1e-4 (repeat for more)."""
    log: str | None = None
    """Where metrics go beside metrics.jsonl: tensorboard (default), wandb, both with a comma
    between, or none."""
    quiet: bool = False
    """Print errors and the final lines only."""
    json: bool = False
    """Print one JSON object a line, for other programs: start, stages, progress, result."""
    require_accelerator: bool = False
    """End with an error instead of computing on the CPU."""
    precision: Precision = "float32"
    """Of matrix products on accelerators: float32, or the faster tf32 or bfloat16."""
    devices: int = 0
    """Devices of this machine to spread the environments over; all by default."""
    coordinator: str = ""
    """HOST:PORT of the main process of several; on Slurm and TPU VMs they find each other."""
    num_processes: int = 0
    """How many processes train together, with --coordinator."""
    process_id: int = -1
    """Which of them this one is, with --coordinator; 0 is the main one."""
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder: the next start does not compile them."""


# What is said of a single start of the program; all else is a run's own, which --resume brings.
_OF_THE_SESSION = (
    *("resume", "quiet", "json", "require_accelerator", "compile_cache"),
    *("coordinator", "num_processes", "process_id"),
)


def resolve(arguments: Arguments) -> RunConfig:
    """Returns the preset with the command line's changes, checked.

    Raises:
        UserError: an unknown name or an impossible value.
    """
    robot = _robot(arguments.env)
    name = envs.own.absolute(arguments.env)
    if arguments.seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {arguments.seeds}")
    if arguments.together and (arguments.seeds == 1 or arguments.stage == "original"):
        raise UserError("--together is for --seeds 2 or more of the recovery stage")
    if arguments.auto_resume and arguments.out is None:
        raise UserError("--auto-resume is for a folder that stays the same: give one by --out")
    config = dataclasses.replace(
        preset(name, arguments.stage, arguments.method),
        engine=arguments.engine,
        reward=arguments.reward,
        reward_options=RewardConfig(
            model=arguments.model,
            candidates=arguments.candidates,
            regenerate=arguments.regenerate,
        ),
        policy=arguments.policy,
        seed=arguments.seed,
        precision=arguments.precision,
        devices=arguments.devices,
    )
    if arguments.start is not None:
        config = dataclasses.replace(config, start=arguments.start, training_starts={})
    if arguments.steps is not None:
        config = dataclasses.replace(config, steps=arguments.steps)
    if arguments.num_envs is not None:
        config = override(config, f"ppo.num_envs={arguments.num_envs}")
    if arguments.log is not None:
        names = [] if arguments.log == "none" else arguments.log.split(",")
        config = dataclasses.replace(config, log=tuple(names))
    for assignment in arguments.set:
        config = override(config, assignment)
    _robot(config.env)
    _check_name("--engine", config.engine, ENGINES)
    if config.engine not in robot.engines:
        only = ", ".join(robot.engines)
        raise UserError(f"{robot.name} has an engine of its own: --engine {only}")
    if arguments.together and config.engine == "mjx-warp":
        raise UserError("--together is not for --engine mjx-warp: its environments share a buffer")
    _check_name("--method", config.method, METHODS)
    if (config.env, config.stage) != (name, arguments.stage):
        raise UserError("choose the robot by --env and the stage by --stage, not by --set")
    starts = robot.all_starts()
    for start in (config.start, *config.training_starts):
        _check_name("--start", start, starts)
    if config.stage == "original" and config.ppo.mirror and not config.policy:
        mirror_of(robot)
    validate(config)
    return config


@ends_cleanly
def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = tyro.cli(Arguments, prog="python -m lamour_jax.train", args=argv)
    command = Command(arguments, sys.argv[1:] if argv is None else argv)
    # Whatever else prints must not come between the lines that another program reads.
    others = contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext()
    console = make_console(arguments.quiet, arguments.json)
    try:
        # First of all: JAX must not have been used when processes meet.
        connect(arguments.coordinator, arguments.num_processes, arguments.process_id)
        # A kept program is one for the devices of the process that compiled it.
        compile_cache.enable(arguments.compile_cache, own_folder=not several())
        with others, interruption.handled(command.how_to_go_on), _speaking(is_main()):
            command.run(console)
    except interruption.Interrupted as interrupted:
        print(f"{interrupted}; {command.how_to_go_on()}", file=sys.stderr)
        leave(interrupted.status)
        return interrupted.status
    except (UserError, EngineUnavailable, envs.EnvironmentUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        leave(2)
        return 2
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"error: {reason}; {command.how_to_go_on()}", file=sys.stderr)
        leave(2)
        return 2
    except Exception:
        if several():
            traceback.print_exc()
            leave(1)
        raise
    return 0


class Command:
    """One command line: one run, or one for each seed."""

    def __init__(self, arguments: Arguments, words: Sequence[str]):
        """Takes the arguments, parsed and as they were given."""
        self._arguments = arguments
        self._words = words
        self._paths: list[Path] = []
        self._out = arguments.out or Path()

    def run(self, console: Console) -> None:
        """Trains and measures, one seed after the other or all side by side."""
        arguments = self._arguments
        if arguments.quiet and arguments.json:
            raise UserError("choose one of --quiet and --json")
        if arguments.require_accelerator:
            require_accelerator()
        if arguments.resume is not None:
            self._paths = [arguments.resume]
            _resume(arguments, console)
            return
        if several() and arguments.out is None:
            raise UserError("several processes share one folder: give all of them the same --out")
        config = resolve(arguments)
        loggers.require(config.log)
        self._out = arguments.out or RunFolder.default_path(envs.registry.get(config.env).name)
        configs = [
            dataclasses.replace(config, seed=config.seed + index)
            for index in range(arguments.seeds)
        ]
        # The first asks the model; all seeds train on the same reward code.
        later = [override(seeded, "reward_options.regenerate=false") for seeded in configs[1:]]
        configs[1:] = later
        self._paths = (
            [self._out / f"seed_{seeded.seed}" for seeded in configs] if later else [self._out]
        )
        opened = (
            found
            for seeded, path in zip(configs, self._paths, strict=True)
            if (found := main_first(partial(self._open, seeded, path, console))) is not None
        )
        if not arguments.together:
            for seeded, folder in opened:
                folder.share()
                _run(seeded, folder, console)
        elif left := list(opened):
            config, folders = left[0][0], [folder for _, folder in left]
            for folder in folders:
                folder.share()
            set_precision(config.precision)
            _announce(config, folders, console)
            run_recoveries([config for config, _ in left], folders, console)

    def _open(
        self, config: RunConfig, path: Path, console: Console
    ) -> tuple[RunConfig, RunFolder] | None:
        """Returns a run's settings and its folder, or None if there is nothing left to do."""
        if not self._arguments.auto_resume:
            return config, _folder(path, RunFolder)
        if not (path / "config.yaml").is_file():
            return config, _folder(path, partial(RunFolder, again=True))
        there = read_config(path)
        config = as_begun(config, there)
        changed = differences(there.to_plain(), config.to_plain())
        if changed:
            raise UserError(
                f"the run in {path} has other settings: {'; '.join(changed[:3])}; give --out a "
                "new folder (nothing was changed)"
            )
        if (path / "result.json").exists():
            console.conclude(f"The run in {path} is already finished")
            return None
        return config, _folder(path, RunFolder.reopen)

    def how_to_go_on(self) -> str:
        """Returns in words by which command an interrupted one is gone on with."""
        if not any((path / "config.yaml").is_file() for path in self._paths):
            return "nothing was trained yet"
        if all((path / "result.json").is_file() for path in self._paths):
            return "the run is finished"
        words = ["--resume", str(self._paths[0])]
        if len(self._paths) > 1:
            words = [*self._words]
            if self._arguments.out is None:
                words += ["--out", str(self._out)]
            if not self._arguments.auto_resume:
                words += ["--auto-resume"]
        return f"to go on: {shlex.join(['python', '-m', 'lamour_jax.train', *words])}"


def _run(config: RunConfig, folder: RunFolder, console: Console) -> None:
    set_precision(config.precision)
    _announce(config, [folder], console)
    run = run_recovery if config.stage == "recovery" else run_original
    run(config, folder, console)


def _resume(arguments: Arguments, console: Console) -> None:
    of_the_session = {name: getattr(arguments, name) for name in _OF_THE_SESSION}
    if arguments != Arguments(**of_the_session):
        raise UserError("--resume brings all its settings; leave the other options out")
    assert arguments.resume is not None
    folder = main_first(partial(_folder, arguments.resume, RunFolder.reopen))
    folder.share()
    config = read_config(folder.path)
    validate(config)
    loggers.require(config.log)
    _run(config, folder, console)


@contextlib.contextmanager
def _speaking(wanted: bool) -> Iterator[None]:
    """Of several processes one prints; errors are printed by all."""
    if wanted:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _folder(path: Path, open_it: Callable[[Path], RunFolder]) -> RunFolder:
    """Opens a run's folder for the main process, and beside it one for any other."""
    return open_it(path) if is_main() else RunFolder.follow(path)


def _announce(config: RunConfig, folders: Sequence[RunFolder], console: Console) -> None:
    run = {
        "env": config.env,
        "stage": config.stage,
        "seed": config.seed,
        "folder": ", ".join(str(folder.path) for folder in folders),
    }
    console.announce(run | run_facts(config.engine, config.precision))


def _robot(name: str) -> type[envs.RecoveryEnv]:
    if not envs.own.is_own(name):
        _check_name("--env", name, [*envs.names(), "your own: FILE.py:CLASS"])
    return envs.registry.get(name)


def _check_name(option: str, name: str, known: object) -> None:
    names = list(known)  # type: ignore[call-overload]
    if name not in names:
        raise UserError(f"unknown {option} {name!r}; known: {', '.join(names)}")


if __name__ == "__main__":
    sys.exit(main())
