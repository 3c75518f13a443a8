"""Where a run's reward code comes from: the library, a file, or a language model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envs import RecoveryEnv, registry
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.ppo.networks import ActorCritic, Agent
from lamour_jax.reward_task import is_healthy_start, reward_task
from reward_codegen import RewardCodeError, RewardProgram, compile_reward
from reward_codegen.reading import read_file
from reward_codegen.safely import compile_safely
from reward_codegen.verify import Report, verify
from reward_codegen.writer import models
from reward_codegen.writer.cache import CachedModel, default_folder
from reward_codegen.writer.generate import Generation, generate
from reward_codegen.writer.language_model import LanguageModelError
from reward_codegen.writer.steps import GenerationSettings
from reward_codegen.writer.task import RewardTask

if TYPE_CHECKING:
    from lamour_jax.run.folder import RunFolder

SOURCES = "auto, library, model, or the path of a file with reward code"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Reward:
    """A compiled and verified reward program, and where it came from."""

    program: RewardProgram
    origin: str
    report: Report


def load_reward(
    config: RunConfig,
    env: RecoveryEnv,
    original: tuple[ActorCritic, Agent],
    folder: RunFolder,
    say: Say,
) -> Reward:
    """Compiles and verifies the reward code that `config.reward` names, asking a model if need be.

    The program and the report of its verification go into the run's folder; when a model is
    asked, so does every attempt, under `generation/`, as it happens.

    Args:
        config: the settings, validated.
        env: gives the sizes of state and action.
        original: networks and parameters of the original policy.
        folder: of the run; left empty if reward code from the library or a file is refused.
        say: is told in a line each which source is used, why, and what was found.

    Raises:
        UserError: no such file, no library program for this robot, code that is refused or fails
            verification, or a model that cannot be asked.
    """
    kept = _kept(folder)
    source, why = choose_source(config) if kept is None else (kept[0], ", as this run began")
    say(f"reward code from {source}{why}")
    # A run may also be evaluated from a healthy start; what is recovered from is `ood` then.
    start = "ood" if is_healthy_start(env, config.start) else config.start
    if kept is None and source == "model":
        task = reward_task(config.env, start, original=original, say=say)
        reward = _written(config, task, folder, say)
    else:
        # Compiled first: what is refused is refused before anything else is built.
        program = _compile(_text(config, source) if kept is None else kept[1], source, env)
        task = reward_task(config.env, start, original=original, picture=False)
        reward = Reward(program, source, _verify(config, program, source, task))
    if kept is None:
        save(reward, folder)
    for note in reward.program.notes:
        say(f"note: {note}")
    for finding in reward.report.findings:
        say(f"{finding.severity}: {finding.message}")
    say(
        f"{reward.origin}, sha256 {reward.program.sha256[:12]}, "
        f"verification {'passed' if reward.report.passed else 'failed'}, "
        f"score {reward.report.score:.2f}"
    )
    return reward


def _written(config: RunConfig, task: RewardTask, folder: RunFolder, say: Say) -> Reward:
    best = ask_model(config, task, folder.path / "generation", say).candidates[0]
    version = best.model_version or config.reward_options.model
    return Reward(best.program, f"model/{version}", best.report)


def _compile(text: str | bytes, source: str, env: RecoveryEnv) -> RewardProgram:
    try:
        trusted = source.startswith("library/")
        compiled = compile_reward if trusted else compile_safely
        return compiled(text, state_size=env.recovery_state_size, action_size=env.action_size)
    except RewardCodeError as error:
        raise UserError(f"reward code from {source} was refused: {error}") from None


def _verify(config: RunConfig, program: RewardProgram, source: str, task: RewardTask) -> Report:
    report = verify(program, task.probes)
    errors = [found.message for found in report.findings if found.severity == "error"]
    if errors and config.reward_options.verification == "required":
        raise UserError(
            f"reward code from {source} compiles, but training on it would lead nowhere: "
            f"{' '.join(errors)} To train on it all the same: "
            "--set reward_options.verification=reported"
        )
    return report


def save(reward: Reward, folder: RunFolder) -> None:
    """Writes `reward.py`, and the report of its verification for machines and for people."""
    folder.write_json("reward_report.json", {"origin": reward.origin, **reward.report.to_json()})
    folder.write_text("reward_report.txt", reward.report.text() + "\n")
    folder.write_text("reward.py", reward.program.source)


def model_metrics(run: Path) -> dict[str, float]:
    """Returns what asking a language model took, as metrics; none if no model was asked.

    Read from the record under `generation/` of the run's folder, so that a run that goes on knows
    it as well. Replies from the cache cost no tokens and no time.
    """
    attempts = [entry for entry in (run / "generation").glob("*-*") if entry.is_dir()]
    if not attempts:
        return {}
    replies = []
    for file in sorted((run / "generation").glob("*/reply.json")):
        # Half written when the run was killed.
        with contextlib.suppress(ValueError):
            replies.append(json.loads(file.read_text(encoding="utf-8")))
    asked = [reply for reply in replies if not reply["from_cache"]]
    tokens = {
        f"llm/{kind}": float(sum(reply["usage"][kind] or 0 for reply in asked))
        for kind in ("prompt_tokens", "output_tokens", "thinking_tokens")
    }
    return {
        "llm/attempts": float(len(attempts)),
        "llm/from_cache": float(len(replies) - len(asked)),
        "llm/seconds": sum(reply["seconds"] for reply in asked),
        **tokens,
    }


def _kept(folder: RunFolder) -> tuple[str, str] | None:
    """Returns origin and text of the reward code of a run that goes on, or None.

    No model is asked twice, and a library that has changed since changes nothing.
    """
    code, report = folder.path / "reward.py", folder.path / "reward_report.json"
    if not code.exists():
        return None
    try:
        origin = str(json.loads(report.read_text(encoding="utf-8"))["origin"])
        return origin, code.read_text(encoding="utf-8")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{report} is damaged ({error}); start anew with another --out") from None


def choose_source(config: RunConfig) -> tuple[str, str]:
    """Returns `model`, `library/<env>` or a path, and in words why.

    Raises:
        UserError: there is no reward code in the library for this robot.
    """
    name = config.reward_options.model
    if config.reward == "model":
        return "model", f" ({name})"
    if config.reward == "auto" and (found := models.credentials(name)):
        return "model", f" ({name}), since {found} is set; else: --reward library"
    if config.reward in ("auto", "library"):
        file = registry.get(config.env).file("reward.py")
        if not file.is_file():
            raise UserError(
                f"no reward ships with {config.env!r}: {file} does not exist. Write it, or pass a "
                "file with reward code: --reward PATH"
            )
        no_key = f", since no API key is set ({models.key_name(name)})"
        return f"library/{config.env}", no_key if config.reward == "auto" else ""
    return config.reward, ""


def _text(config: RunConfig, source: str) -> str | bytes:
    if source == f"library/{config.env}":
        return registry.get(config.env).file("reward.py").read_bytes()
    try:
        return read_file(Path(source))
    except RewardCodeError as error:
        raise UserError(f"--reward {error}; give {SOURCES}") from None


def ask_model(config: RunConfig, task: RewardTask, folder: Path, say: Say) -> Generation:
    """Asks the language model, or the cache of its replies, for reward programs.

    The seed of the run plays no part: all seeds of a robot train on the same program.

    Raises:
        UserError: there is none in the end.
    """
    settings = config.reward_options
    model = CachedModel(
        models.language_model(settings.model, say), default_folder(), settings.regenerate, say
    )
    try:
        return generate(
            task,
            model,
            folder,
            GenerationSettings(
                candidates=settings.candidates,
                repairs=settings.repairs,
                temperature=settings.temperature,
            ),
            say,
        )
    except LanguageModelError as error:
        raise UserError(
            f"{error}\n(--reward library trains with the program that ships)"
            if registry.get(config.env).file("reward.py").is_file()
            else str(error)
        ) from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None
