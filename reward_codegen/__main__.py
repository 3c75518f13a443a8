"""The command line: `python -m reward_codegen generate | check | show`.

Nothing in this package knows environments. The commands that need one take it from
`lamour_jax.reward_task`, where environments and language models meet; it is imported when such a
command runs, and only here.

Exit status: 0 if all is well, 1 if `check` finds that training on the program would lead nowhere,
2 if something is wrong that the message says how to put right.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from reward_codegen.errors import RewardCodeError
from reward_codegen.program import RewardProgram
from reward_codegen.reading import read_file
from reward_codegen.safely import compile_safely
from reward_codegen.show import describe
from reward_codegen.verify import verify
from reward_codegen.writer.cache import CachedModel, default_folder
from reward_codegen.writer.generate import Generation, generate
from reward_codegen.writer.language_model import LanguageModelError
from reward_codegen.writer.models import language_model
from reward_codegen.writer.providers.gemini import DEFAULT_MODEL
from reward_codegen.writer.steps import GenerationSettings

if TYPE_CHECKING:
    from lamour_jax.run.folder import RunFolder


class _Failure(Exception):
    """What is wrong, in a sentence, for the person at the terminal."""


@dataclass(frozen=True)
class Generate:
    """Ask a language model for reward code for a robot.

    Set GEMINI_API_KEY for a Gemini model. Set OPENAI_API_KEY, or OPENAI_BASE_URL for another
    server, for openai/NAME. Replies in the cache need neither. The best program is written to
    reward.py in a new folder, and every attempt beside it.
    """

    env: str
    """Robot: its name, your folder, or your FILE.py:CLASS."""
    start: str = "ood"
    """The start to recover from."""
    model: str = DEFAULT_MODEL
    """A Gemini model, or openai/NAME for a service that speaks the OpenAI protocol."""
    candidates: int = 1
    """How many programs to ask for. All that pass verification are kept, best first."""
    repairs: int = 3
    """How often a program that cannot be used is sent back with the reason."""
    temperature: float = 0.8
    """Sampling temperature for several candidates. One candidate is asked for at 0."""
    seed: int = 0
    """Seed of sampling."""
    regenerate: bool = False
    """Ask again instead of using cached replies."""
    shift: bool = False
    """Lower a reward that is not always negative instead of sending it back."""
    policy: str = ""
    """Path of the original policy. The default is the one that ships."""
    out: Path | None = None
    """New folder for the result. The default is runs/<time>-reward-<env>."""


@dataclass(frozen=True)
class Check:
    """Compile a file with reward code, or a model's reply, and test it on states of a robot."""

    file: tyro.conf.Positional[Path]
    """The file."""
    env: str
    """Robot: its name, your folder, or your FILE.py:CLASS."""
    start: str = "ood"
    """The start to recover from."""
    policy: str = ""
    """Path of the original policy. The default is the one that ships."""


@dataclass(frozen=True)
class Show:
    """Print how a file with reward code, or a model's reply, was understood."""

    file: tyro.conf.Positional[Path]
    """The file."""
    env: str = ""
    """Robot that gives the sizes of state and action. By default the first robot that fits."""
    state_size: int | None = None
    """Entries of a state, instead of a robot."""
    action_size: int | None = None
    """Entries of an action, instead of a robot."""
    jaxpr: bool = False
    """Also print what each function computes, in JAX's notation."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    commands: dict[str, Callable[..., object]] = {
        "generate": Generate,
        "check": Check,
        "show": Show,
    }
    arguments = tyro.extras.subcommand_cli_from_dict(
        commands, prog="python -m reward_codegen", args=argv
    )
    from lamour_jax.errors import UserError

    try:
        match arguments:
            case Generate():
                return _generate(arguments)
            case Check():
                return _check(arguments)
            case _:
                return _show(arguments)
    except (UserError, LanguageModelError, RewardCodeError, _Failure) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as with `show FILE | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _generate(arguments: Generate) -> int:
    _check_numbers(arguments)
    from lamour_jax.reward_task import reward_task
    from lamour_jax.run.folder import RunFolder

    stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
    task = reward_task(arguments.env, arguments.start, arguments.policy, say=_say)
    folder = RunFolder(arguments.out or Path("runs") / f"{stamp}-reward-{task.name}")
    _say(f"every attempt is written to {folder.path / 'generation'}")
    model = language_model(arguments.model, _say)
    generation = generate(
        task,
        CachedModel(model, default_folder(), arguments.regenerate, _say),
        folder.path / "generation",
        GenerationSettings(
            candidates=arguments.candidates,
            repairs=arguments.repairs,
            temperature=arguments.temperature,
            seed=arguments.seed,
            shift=arguments.shift,
        ),
        _say,
    )
    _write_programs(generation, folder)
    print(generation.candidates[0].report.text())
    print(
        f"train on it: python -m lamour_jax.train --env {arguments.env} "
        f"--reward {folder.path / 'reward.py'}"
    )
    return 0


def _check_numbers(arguments: Generate) -> None:
    for name, least in (("candidates", 1), ("repairs", 0), ("seed", 0)):
        if getattr(arguments, name) < least:
            raise _Failure(f"--{name} must be at least {least}, not {getattr(arguments, name)}")
    if not 0.0 <= arguments.temperature <= 2.0:
        raise _Failure(f"--temperature must be between 0 and 2, not {arguments.temperature}")


def _write_programs(generation: Generation, folder: RunFolder) -> None:
    for place, candidate in enumerate(generation.candidates):
        name = "reward" if place == 0 else f"reward_{place + 1:02}"
        folder.write_text(f"{name}.py", candidate.program.source)
        folder.write_text(f"{name}_report.txt", candidate.report.text() + "\n")
        folder.write_json(f"{name}_report.json", candidate.report.to_json())
        print(
            f"{folder.path / name}.py: score {candidate.report.score:.3f}, "
            f"sha256 {candidate.program.sha256[:12]}, from {candidate.attempt}"
        )


def _check(arguments: Check) -> int:
    from lamour_jax.reward_task import reward_task, sizes

    state_size, action_size = sizes(arguments.env)
    program = _compiled(arguments.file, state_size, action_size)
    print(f"{arguments.file} compiles, sha256 {program.sha256[:12]}")
    for note in program.notes:
        print(f"note: {note}")
    task = reward_task(arguments.env, arguments.start, arguments.policy, picture=False)
    report = verify(program, task.probes)
    print(report.text())
    return 0 if report.passed else 1


def _show(arguments: Show) -> int:
    print(describe(_understood(arguments), jaxpr=arguments.jaxpr))
    return 0


def _understood(arguments: Show) -> RewardProgram:
    """The program, for the sizes that are given, or else for the first robot that it fits."""
    given = (arguments.state_size, arguments.action_size)
    if given != (None, None) and arguments.env:
        raise _Failure("give either --env, or --state-size and --action-size, not both")
    if given != (None, None):
        state_size, action_size = given
        if state_size is None or action_size is None:
            raise _Failure("give both --state-size and --action-size, or --env")
        if state_size < 1 or action_size < 1:
            raise _Failure("--state-size and --action-size must be at least 1")
        return _compiled(arguments.file, state_size, action_size)
    from lamour_jax.reward_task import known_sizes, sizes

    if arguments.env:
        return _compiled(arguments.file, *sizes(arguments.env))
    failures = {}
    for name, (state_size, action_size) in known_sizes().items():
        try:
            program = _compiled(arguments.file, state_size, action_size)
        except RewardCodeError as error:
            failures[name] = error
            continue
        print(
            f"for a state of {state_size} and an action of {action_size} numbers, as of {name} "
            "(--env chooses another robot)"
        )
        return program
    messages = {str(error) for error in failures.values()}
    if len(messages) == 1:
        raise _Failure(messages.pop())
    raise _Failure(
        f"{arguments.file} fits no known robot; give --env, or --state-size and --action-size.\n"
        + "\n".join(f"{name}: {error}" for name, error in failures.items())
    )


def _compiled(file: Path, state_size: int, action_size: int) -> RewardProgram:
    text = read_file(file)
    try:
        return compile_safely(text, state_size=state_size, action_size=action_size)
    except RewardCodeError as error:
        raise type(error)(f"{file} was refused: {error}") from None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
