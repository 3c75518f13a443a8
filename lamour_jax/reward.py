"""Where a run's reward code comes from: the library, a file, or a language model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envs import RecoveryEnv
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.ppo.networks import ActorCritic, Agent
from lamour_jax.reward_task import is_healthy_start, reward_task
from reward_codegen import RewardCodeError, RewardProgram, compile_reward, gemini, library
from reward_codegen.generate import Generation, GenerationSettings, RewardTask, generate
from reward_codegen.language_model import LanguageModelError
from reward_codegen.reply_cache import CachedModel, default_folder
from reward_codegen.verify import Report, verify

if TYPE_CHECKING:
    from lamour_jax.run.folder import RunFolder

SOURCES = "auto, library, gemini, or the path of a file with reward code"

_LARGEST_FILE = 16_000_000  # bytes: far more than the compiler admits

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
    if kept is None and source == "gemini":
        task = reward_task(config.env, start, original=original, say=say)
        generation = generate_with_gemini(config, task, folder.path / "generation", say)
        best = generation.candidates[0]
        reward = Reward(best.program, f"gemini/{best.model_version}", best.report)
    else:
        sizes = {"state_size": env.recovery_state_size, "action_size": env.action_size}
        text = _text(config, source) if kept is None else kept[1]
        program = _compile(text, source, sizes)
        task = reward_task(config.env, start, original=original, picture=False)
        reward = Reward(program, source, verify(program, task.probes))
        errors = [found.message for found in reward.report.findings if found.severity == "error"]
        if errors and config.reward_options.verification == "required":
            raise UserError(
                f"reward code from {source} compiles, but training on it would lead nowhere: "
                f"{' '.join(errors)} To train on it all the same: "
                "--set reward_options.verification=reported"
            )
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
    """Returns `gemini`, `library/<env>` or a path, and in words why.

    Raises:
        UserError: there is no reward code in the library for this robot.
    """
    if config.reward == "gemini":
        return "gemini", f" ({config.reward_options.model})"
    if config.reward == "auto" and gemini.is_configured():
        reason = "Vertex AI is set up" if gemini.uses_vertex() else f"{gemini.key_name()} is set"
        return "gemini", f" ({config.reward_options.model}), since {reason}; else: --reward library"
    if config.reward in ("auto", "library"):
        if config.env not in library.names():
            raise UserError(
                f"no library reward for {config.env!r}; known: {', '.join(library.names())}. "
                "Pass a file with reward code: --reward PATH"
            )
        no_key = ", since no API key is set (GEMINI_API_KEY)" if config.reward == "auto" else ""
        return f"library/{config.env}", no_key
    return config.reward, ""


def read_reward_file(path: Path) -> bytes:
    """Reads a file with reward code or a raw reply; of a huge one the beginning.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def _text(config: RunConfig, source: str) -> str | bytes:
    if source == f"library/{config.env}":
        return library.source(config.env)
    try:
        return read_reward_file(Path(source))
    except UserError as error:
        raise UserError(f"--reward {error}; give {SOURCES}") from None


def _compile(text: str | bytes, source: str, sizes: dict[str, int]) -> RewardProgram:
    try:
        return compile_reward(text, **sizes)
    except RewardCodeError as error:
        raise UserError(f"reward code from {source} was refused: {error}") from None


def generate_with_gemini(config: RunConfig, task: RewardTask, folder: Path, say: Say) -> Generation:
    """Asks Gemini, or the cache of its replies, for reward programs.

    The seed of the run plays no part: all seeds of a robot train on the same program.

    Raises:
        UserError: there is none in the end.
    """
    settings = config.reward_options
    model = CachedModel(
        gemini.GeminiModel(settings.model, say), default_folder(), settings.regenerate, say
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
            if config.env in library.names()
            else str(error)
        ) from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None
