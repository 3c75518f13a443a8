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
from typing import Annotated, Any

import tyro

import envs
from envs.physics.choice import ENGINES
from envs.physics.interface import EngineUnavailable
from lamour_jax import compile_cache, interruption, loggers
from lamour_jax.config import (
    DEFAULT_ROBOT,
    Precision,
    RunConfig,
    Stage,
    as_begun,
    changed,
    differences,
    override,
    read_config,
    settings,
    validate,
)
from lamour_jax.console import Console, make_console
from lamour_jax.distributed import connect, is_main, leave, main_first, several
from lamour_jax.endings import ends_cleanly
from lamour_jax.errors import UserError
from lamour_jax.methods import METHODS
from lamour_jax.policies import mirror_of
from lamour_jax.robot_settings import preset
from lamour_jax.run import run_stage
from lamour_jax.run.folder import RunFolder
from lamour_jax.system import require_accelerator, run_facts, set_precision


def _as(name: str, usual: str = "") -> Any:
    """The help of an option that is a setting: its sentence, and what holds without the option."""
    sentence = settings()[name].description
    return tyro.conf.arg(help=f"{sentence} {usual}".strip(), help_behavior_hint="")


_USUAL = "By default what the robot's settings say."


@dataclass(frozen=True)
class Arguments:
    """Teach a robot to come back from a state that its training never saw."""

    env: Annotated[str, _as("env", f"They are {', '.join(envs.names())}.")] = DEFAULT_ROBOT
    stage: Annotated[Stage, _as("stage")] = "recovery"
    engine: Annotated[str | None, _as("engine", _USUAL)] = None
    method: Annotated[str, _as("method")] = "lamour"
    reward: Annotated[str | None, _as("reward")] = None
    model: Annotated[str | None, _as("reward_options.model")] = None
    candidates: Annotated[int | None, _as("reward_options.candidates")] = None
    regenerate: Annotated[bool, _as("reward_options.regenerate")] = False
    start: Annotated[str | None, _as("start", _USUAL)] = None
    policy: Annotated[str | None, _as("policy")] = None
    steps: Annotated[int | None, _as("steps", _USUAL)] = None
    num_envs: Annotated[int | None, _as("ppo.num_envs", _USUAL)] = None
    seed: Annotated[int | None, _as("seed", "Of several runs the first one's.")] = None
    seeds: int = 1
    """How many seeds to train, side by side where memory allows, each in its own folder."""
    out: Path | None = None
    """New folder for the run; runs/<time>-<env> by default."""
    resume: Path | None = None
    """Folder of an interrupted run to go on with; it brings all its settings."""
    auto_resume: bool = False
    """Go on with what is unfinished in --out, begin what is not there, leave what is finished."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Any setting of config.yaml: --set ppo.learning_rate=1e-4 (repeat for more)."""
    log: Annotated[
        str | None, _as("log", "tensorboard (default), wandb, both with a comma between, or none.")
    ] = None
    quiet: bool = False
    """Print errors and the final lines only."""
    json: bool = False
    """Print one JSON object a line, for other programs: start, stages, progress, result."""
    require_accelerator: bool = False
    """End with an error instead of computing on the CPU."""
    precision: Annotated[Precision | None, _as("precision")] = None
    devices: Annotated[int | None, _as("devices")] = None
    coordinator: str = ""
    """HOST:PORT of the main process of several; on Slurm and TPU VMs they find each other."""
    num_processes: int = 0
    """How many processes train together, with --coordinator."""
    process_id: int = -1
    """Which of them this one is, with --coordinator; 0 is the main one."""
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder: the next start does not compile them."""

    def changes(self) -> dict[str, Any]:
        """Returns the settings that these options change, by dotted names."""
        given = {name: getattr(self, option) for option, name in _SHORTCUTS.items()}
        if self.start is not None:
            given["training_starts"] = {}
        if self.log is not None:
            given["log"] = [] if self.log == "none" else self.log.split(",")
        if self.regenerate:
            given["reward_options.regenerate"] = True
        return {name: value for name, value in given.items() if value is not None}


# Options that set one setting each.
_SHORTCUTS = {
    "engine": "engine",
    "reward": "reward",
    "model": "reward_options.model",
    "candidates": "reward_options.candidates",
    "start": "start",
    "policy": "policy",
    "steps": "steps",
    "num_envs": "ppo.num_envs",
    "seed": "seed",
    "precision": "precision",
    "devices": "devices",
}

# Options of this invocation; everything else is in the run's config.yaml, which --resume reads.
_OF_THE_INVOCATION = (
    *("resume", "quiet", "json", "require_accelerator", "compile_cache"),
    *("coordinator", "num_processes", "process_id"),
)


def resolve(arguments: Arguments) -> RunConfig:
    """Returns the robot's settings with the command line's changes, checked.

    Raises:
        UserError: an unknown name or an impossible value.
    """
    robot = _robot(arguments.env)
    name = envs.adapters.own.absolute(arguments.env)
    if arguments.seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {arguments.seeds}")
    if arguments.auto_resume and arguments.out is None:
        raise UserError("--auto-resume is for a folder that stays the same: give one by --out")
    _check_name("--method", arguments.method, METHODS)
    config = changed(preset(name, arguments.stage, arguments.method), arguments.changes())
    for assignment in arguments.set:
        config = override(config, assignment)
    if (config.env, config.stage) != (name, arguments.stage):
        raise UserError("choose the robot by --env and the stage by --stage, not by --set")
    _check_names(config, robot)
    validate(config)
    return config


def _check_names(config: RunConfig, robot: type[envs.RecoveryEnv]) -> None:
    """Checks what settings name: an engine, a method, starts, a mirror image."""
    _check_name("--engine", config.engine, ENGINES)
    if config.engine not in robot.engines:
        only = ", ".join(robot.engines)
        raise UserError(f"{robot.name} has an engine of its own: --engine {only}")
    _check_name("--method", config.method, METHODS)
    starts = robot.all_starts()
    for start in (config.start, *config.training_starts):
        _check_name("--start", start, starts)
    if config.stage == "original" and config.ppo.mirror and not config.policy:
        mirror_of(robot)


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
        """Trains and measures every seed that is left."""
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
        self._out = arguments.out or RunFolder.make_default(envs.registry.get(config.env).name)
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
        opened = [
            found
            for seeded, path in zip(configs, self._paths, strict=True)
            if (found := main_first(partial(self._open, seeded, path, console))) is not None
        ]
        if opened:
            left, folders = zip(*opened, strict=True)
            _run(left, folders, console)

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
        different = differences(there.to_plain(), config.to_plain())
        if different:
            raise UserError(
                f"the run in {path} has other settings: {'; '.join(different[:3])}; give --out a "
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


def _run(configs: Sequence[RunConfig], folders: Sequence[RunFolder], console: Console) -> None:
    for folder in folders:
        folder.share()
    set_precision(configs[0].precision)
    _announce(configs[0], folders, console)
    try:
        run_stage(configs, folders, console)
    finally:
        for folder in folders:
            folder.release()


def _resume(arguments: Arguments, console: Console) -> None:
    of_this = {name: getattr(arguments, name) for name in _OF_THE_INVOCATION}
    if arguments != Arguments(**of_this):
        raise UserError("--resume brings all its settings; leave the other options out")
    assert arguments.resume is not None
    folder = main_first(partial(_folder, arguments.resume, RunFolder.reopen))
    folder.share()
    config = read_config(folder.path)
    validate(config)
    loggers.require(config.log)
    _run([config], [folder], console)


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
    if not envs.adapters.own.is_own(name):
        _check_name("--env", name, [*envs.names(), "your own: FILE.py:CLASS"])
    return envs.registry.get(name)


def _check_name(option: str, name: str, known: object) -> None:
    names = list(known)  # type: ignore[call-overload]
    if name not in names:
        raise UserError(f"unknown {option} {name!r}; known: {', '.join(names)}")


if __name__ == "__main__":
    sys.exit(main())
