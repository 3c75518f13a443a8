"""From a picture and a sentence to verified reward programs: describe, reason, write, repair."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from reward_codegen.attempts import Attempt, AttemptLog
from reward_codegen.errors import RewardCodeError, VerificationError, shorten
from reward_codegen.language_model import (
    BlockedReply,
    LanguageModel,
    LanguageModelError,
    Picture,
    Reply,
    Request,
    TruncatedReply,
    UnusableReply,
    usable_text,
)
from reward_codegen.program import RewardProgram, compile_reward
from reward_codegen.verify import Probes, Report, negative, verify

# Of the official implementation (arXiv 2503.17125): visible output tokens of each step.
OUTPUT_TOKENS = {"describe": 500, "reason": 500, "write": 3_000, "repair": 3_000}
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_LONGEST_SENTENCE = 4_000  # characters of a description or behaviour that are passed on
_LONGEST_QUOTE = 20_000  # characters of a failed reply that are sent back

_CUT_OFF = "the reply was cut off: its output budget was used up"

Say = Callable[[str], None]


@dataclass(frozen=True)
class RewardTask:
    """What the model is told, and what its program is tried on.

    Attributes:
        name: of the environment.
        description: what each entry of state and action means (Markdown).
        original_task: what the robot was trained to do, to be read after "to".
        state_size: entries of a state.
        action_size: entries of an action.
        picture: PNG of the out-of-distribution start; None if none can be drawn.
        situation: the same start in words and numbers, sent only if there is no picture.
        probes: states and actions to verify programs on.
        manipulation: whether things are moved, so that the staged example is shown.
    """

    name: str
    description: str
    original_task: str
    state_size: int
    action_size: int
    picture: bytes | None
    situation: str
    probes: Probes
    manipulation: bool = False


@dataclass(frozen=True)
class GenerationSettings:
    """How programs are asked for.

    Attributes:
        candidates: how many programs are sampled.
        repairs: how often a candidate that cannot be used is sent back with the reason.
        temperature: of sampling several candidates; a single one is asked for at 0.
        seed: of sampling.
        shift: lower a reward that is not always negative by a constant instead of sending it back.
    """

    candidates: int = 1
    repairs: int = 3
    temperature: float = 0.8
    seed: int = 0
    shift: bool = False


@dataclass(frozen=True)
class Candidate:
    """A program that compiled and passed verification.

    Attributes:
        program: compiled.
        report: of its verification.
        attempt: name of the attempt's folder that it came from.
        model_version: the exact model that wrote it.
    """

    program: RewardProgram
    report: Report
    attempt: str
    model_version: str


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


class GenerationError(LanguageModelError):
    """No program could be used; the message lists the reason of each attempt."""


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
    return _Generator(task, model, folder, settings or GenerationSettings(), say).run()


def prompt_text(name: str, **values: object) -> str:
    """Returns a template of `prompts/`, filled in.

    Raises:
        KeyError: a value that the template asks for is not given.
    """
    # One pass: what is filled in is not searched for placeholders.
    return _PLACEHOLDER.sub(lambda match: str(values[match.group(1)]), _template(name))


@cache
def _template(name: str) -> str:
    file = resources.files("reward_codegen") / "prompts" / f"{name}.md"
    return file.read_text(encoding="utf-8").strip("\n")


class _Generator:
    """One generation under way."""

    def __init__(
        self,
        task: RewardTask,
        model: LanguageModel,
        folder: Path,
        settings: GenerationSettings,
        say: Say,
    ):
        self.task = task
        self.model = model
        self.log = AttemptLog(folder)
        self.settings = settings
        self.say = say
        self.failures: list[str] = []
        self.replies = self.cached = 0

    def run(self) -> Generation:
        task, settings = self.task, self.settings
        environment = task.description.strip()
        situation = (
            "The picture shows the robot at this moment."
            if task.picture is not None
            else f"There is no picture. At this moment, in numbers:\n\n{task.situation}"
        )
        parts = [prompt_text("describe", environment=environment, situation=situation)]
        pictures = () if task.picture is None else (Picture(task.picture),)
        observed = self._sentence("describe", (*pictures, *parts))
        prompt = prompt_text(
            "reason",
            environment=environment,
            original_task=task.original_task,
            observed=observed,
        )
        behaviour = self._sentence("reason", (prompt,))
        write = prompt_text(
            "write",
            environment=environment,
            observed=observed,
            behaviour=behaviour,
            state_size=task.state_size,
            action_size=task.action_size,
            example=_template("staged_example") + "\n" if task.manipulation else "",
        )
        found: dict[str, Candidate] = {}  # by hash: equal programs count once
        for number in range(settings.candidates):
            try:
                candidate = self._program(write, number)
            except GenerationError as error:
                self.say(str(error))
            except LanguageModelError as error:
                if not found:
                    raise
                self.say(f"{error}; going on with the {len(found)} found so far")
                break
            else:
                found.setdefault(candidate.program.sha256, candidate)
        if not found:
            raise self._nothing("no program could be used")
        ordered = sorted(found.values(), key=lambda entry: entry.report.score, reverse=True)
        generation = Generation(observed, behaviour, tuple(ordered), tuple(self.failures))
        self.log.write_result(generation.to_json())
        return generation

    def _nothing(self, what: str) -> GenerationError:
        """The final error, with the reason of each attempt."""
        again = (
            " All replies came from the cache; --regenerate asks the model again."
            if self.replies and self.cached == self.replies
            else ""
        )
        return GenerationError(
            "\n".join([f"{what}; every attempt is in {self.log.folder}.{again}", *self.failures])
        )

    def _sentence(self, stage: str, parts: tuple[str | Picture, ...]) -> str:
        """A reply in plain words, asked for again while there is none."""
        tokens = OUTPUT_TOKENS[stage]
        for repair in range(1 + self.settings.repairs):
            seed = self.settings.seed + repair
            request = Request(_template("system"), parts, 0.0, tokens, seed)
            attempt = self.log.begin(stage, self.model, request)
            try:
                reply, text = self._ask(attempt, request)
            except UnusableReply as error:
                tokens = _more(tokens, error)
                continue
            if reply.finish_reason == "length":
                self._failed(attempt, _CUT_OFF)
                tokens *= 2
                continue
            attempt.ended(None)
            words = " ".join(text.split())[:_LONGEST_SENTENCE]
            self.say(f"{stage}{_origin(reply)}: {shorten(words, 300)}")
            return words
        raise self._nothing(f"the step {stage!r} gave nothing to go on with")

    def _program(self, write: str, number: int) -> Candidate:
        """One candidate, repaired as often as is allowed.

        Raises:
            GenerationError: it could not be used in the end.
        """
        settings = self.settings
        sampled = settings.candidates > 1
        prompt, stage = write, "write"
        tokens = OUTPUT_TOKENS[stage]
        for repair in range(1 + settings.repairs):
            request = Request(
                _template("system"),
                (prompt,),
                settings.temperature if sampled else 0.0,
                tokens,
                settings.seed + number * (1 + settings.repairs) + repair,
            )
            attempt = self.log.begin(stage, self.model, request)
            try:
                reply, text = self._ask(attempt, request)
            except UnusableReply as error:
                # There is nothing to repair: the same is asked again.
                tokens = _more(tokens, error)
                continue
            try:
                program, report = self._judge(attempt, text)
            except RewardCodeError as error:
                problem = str(error)
                if reply.finish_reason == "length":
                    problem += f" ({_CUT_OFF})"
                    tokens *= 2
                self._failed(attempt, problem)
                prompt = prompt_text(
                    "repair", request=write, reply=text[:_LONGEST_QUOTE], problem=problem
                )
                stage = "repair"
                continue
            attempt.ended(None, sha256=program.sha256, score=report.score)
            self.say(
                f"{stage}{_origin(reply)}: program {program.sha256[:12]} compiled and verified, "
                f"score {report.score:.3f}"
            )
            return Candidate(program, report, attempt.folder.name, reply.model_version)
        raise GenerationError(
            f"candidate {number + 1} of {settings.candidates} could not be used after "
            f"{1 + settings.repairs} attempts"
        )

    def _ask(self, attempt: Attempt, request: Request) -> tuple[Reply, str]:
        """Asks, and writes down what comes back, whatever it is.

        Raises:
            UnusableReply: it was no text; the attempt has been closed.
            ModelUnavailable, BlockedReply: there will be none.
        """
        try:
            reply = self.model.ask(request)
            attempt.answered(reply)
            self.replies += 1
            self.cached += reply.from_cache
            return reply, usable_text(reply)
        except LanguageModelError as error:
            self._failed(attempt, str(error))
            if isinstance(error, BlockedReply):
                raise BlockedReply(f"{error} ({attempt.folder})") from None
            raise

    def _judge(self, attempt: Attempt, text: str) -> tuple[RewardProgram, Report]:
        """Compiles and verifies.

        Raises:
            RewardCodeError: it cannot be used.
        """
        task = self.task
        program = compile_reward(text, state_size=task.state_size, action_size=task.action_size)
        report = verify(program, task.probes)
        if self.settings.shift and not report.passed:
            program = negative(program, report)
            report = verify(program, task.probes)
        attempt.write("program.py", program.source)
        attempt.write_json("report.json", report.to_json())
        if not report.passed:
            raise VerificationError(
                "The program compiles, but it does not hold on states of the environment. "
                + " ".join(f.message for f in report.findings)
            )
        return program, report

    def _failed(self, attempt: Attempt, problem: str) -> None:
        attempt.ended(problem)
        line = f"{attempt.folder.name}: {problem}"
        self.failures.append(line)
        self.say(line)


def _origin(reply: Reply) -> str:
    return " (from the cache)" if reply.from_cache else ""


def _more(tokens: int, error: UnusableReply) -> int:
    """The output budget of the next attempt: twice as much if this one's was used up."""
    return 2 * tokens if isinstance(error, TruncatedReply) else tokens
