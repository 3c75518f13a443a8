"""From a picture and a sentence to verified reward programs, best first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward_codegen.writer.language_model import LanguageModel, LanguageModelError
from reward_codegen.writer.steps import Candidate, GenerationError, GenerationSettings, Say, Steps
from reward_codegen.writer.task import RewardTask


@dataclass(frozen=True)
class Generation:
    """What a generation came to.

    Attributes:
        observed: the model's description of the out-of-distribution state.
        behaviour: what it wants to be learned.
        candidates: programs that verify, best first by the score of their reports.
        failures: for each attempt that could not be used, its folder's name and the reason.
    """

    observed: str
    behaviour: str
    candidates: tuple[Candidate, ...]
    failures: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What was found and in which order, for a file; programs by attempt and hash."""
        candidates = [
            {
                "attempt": candidate.attempt,
                "sha256": candidate.program.sha256,
                "score": candidate.report.score,
                "model_version": candidate.model_version,
            }
            for candidate in self.candidates
        ]
        return {
            "observed": self.observed,
            "behaviour": self.behaviour,
            "candidates": candidates,
            "failures": list(self.failures),
        }


def generate(
    task: RewardTask,
    model: LanguageModel,
    folder: Path,
    settings: GenerationSettings | None = None,
    say: Say = lambda line: None,
) -> Generation:
    """Asks a model for reward programs, until enough have been compiled and verified.

    Args:
        task: what it is told.
        model: is asked.
        folder: receives every attempt as it happens (see `AttemptLog`).
        settings: how many, how often; the defaults if None.
        say: is told in a line each what happens.

    Raises:
        ModelUnavailable: the model cannot be asked.
        BlockedReply: its filters stopped the request.
        GenerationError: no program could be used.
        OSError: the folder cannot be written.
    """
    settings = settings or GenerationSettings()
    steps = Steps(task, model, folder, settings, say)
    observed = steps.describe()
    behaviour = steps.reason(observed)
    found: dict[str, Candidate] = {}  # by hash: equal programs count once
    for number in range(settings.candidates):
        try:
            candidate = steps.write(observed, behaviour, number)
        except GenerationError as error:
            say(str(error))
        except LanguageModelError as error:
            if not found:
                raise
            say(f"{error}; going on with the {len(found)} found so far")
            break
        else:
            found.setdefault(candidate.program.sha256, candidate)
    if not found:
        raise steps.nothing("no program could be used")
    ordered = sorted(found.values(), key=lambda entry: entry.report.score, reverse=True)
    generation = Generation(observed, behaviour, tuple(ordered), tuple(steps.failures))
    steps.log.write_result(generation.to_json())
    return generation
