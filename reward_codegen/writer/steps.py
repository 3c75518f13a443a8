"""The four steps: describe, reason, write, and repair what cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reward_codegen.errors import RewardCodeError, VerificationError, shorten
from reward_codegen.program import RewardProgram
from reward_codegen.safely import compile_safely
from reward_codegen.verify import Report, negative, verify
from reward_codegen.writer.language_model import (
    BlockedReply,
    LanguageModel,
    LanguageModelError,
    Picture,
    PictureRefused,
    Reply,
    Request,
    TruncatedReply,
    UnusableReply,
    usable_text,
)
from reward_codegen.writer.prompts import prompt
from reward_codegen.writer.record import Attempt, AttemptLog
from reward_codegen.writer.task import RewardTask

# Of the official implementation (arXiv 2503.17125): visible output tokens.
_SENTENCE_TOKENS, _PROGRAM_TOKENS = 500, 3_000
_LONGEST_SENTENCE = 4_000  # characters of a description or behaviour that are passed on
_LONGEST_QUOTE = 20_000  # characters of a failed reply that are sent back

_CUT_OFF = "the reply was cut off: its output budget was used up"

Say = Callable[[str], None]


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


class GenerationError(LanguageModelError):
    """No program could be used; the message lists the reason of each attempt."""


class Steps:
    """One generation under way: each step asks, writes down and judges.

    Attributes:
        log: the record of all attempts.
        failures: for each attempt that could not be used, its folder's name and the reason.
    """

    def __init__(
        self,
        task: RewardTask,
        model: LanguageModel,
        folder: Path,
        settings: GenerationSettings,
        say: Say,
    ):
        self.log = AttemptLog(folder)
        self.failures: list[str] = []
        self._task = task
        self._model = model
        self._settings = settings
        self._say = say
        self._replies = self._cached = 0

    def describe(self) -> str:
        """Returns what the model says of the start: from its picture, else from its numbers.

        Raises:
            LanguageModelError: it says nothing, or cannot be asked.
        """
        task = self._task
        if task.picture is not None:
            situation = "The picture shows the robot at this moment."
            words = prompt("describe", environment=task.description.strip(), situation=situation)
            try:
                return self._sentence("describe", Picture(task.picture), words)
            except PictureRefused:
                self._say("asking again with the state in numbers instead of the picture")
        situation = f"There is no picture. At this moment, in numbers:\n\n{task.situation}"
        words = prompt("describe", environment=task.description.strip(), situation=situation)
        return self._sentence("describe", words)

    def reason(self, observed: str) -> str:
        """Returns the behaviour that brings the robot back.

        Raises:
            LanguageModelError: the model says nothing, or cannot be asked.
        """
        words = prompt(
            "reason",
            environment=self._task.description.strip(),
            original_task=self._task.original_task,
            observed=observed,
        )
        return self._sentence("reason", words)

    def write(self, observed: str, behaviour: str, number: int) -> Candidate:
        """Returns candidate `number`, repaired as often as is allowed.

        Raises:
            GenerationError: it could not be used in the end.
            ModelUnavailable, BlockedReply: the model cannot be asked.
        """
        settings = self._settings
        write = self._write_prompt(observed, behaviour)
        words, stage, tokens = write, "write", _PROGRAM_TOKENS
        temperature = settings.temperature if settings.candidates > 1 else 0.0
        for repair in range(1 + settings.repairs):
            seed = settings.seed + number * (1 + settings.repairs) + repair
            request = Request(prompt("system"), (words,), temperature, tokens, seed)
            attempt = self.log.begin(stage, self._model, request)
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
                quote = text[:_LONGEST_QUOTE]
                words, stage = (
                    prompt("repair", request=write, reply=quote, problem=problem),
                    "repair",
                )
                continue
            attempt.ended(None, sha256=program.sha256, score=report.score)
            self._say(
                f"{stage}{_origin(reply)}: program {program.sha256[:12]} compiled and verified, "
                f"score {report.score:.3f}"
            )
            return Candidate(program, report, attempt.folder.name, reply.model_version)
        raise GenerationError(
            f"candidate {number + 1} of {settings.candidates} could not be used after "
            f"{1 + settings.repairs} attempts"
        )

    def nothing(self, what: str) -> GenerationError:
        """Returns the final error, with the reason of each attempt."""
        again = (
            " All replies came from the cache; --regenerate asks the model again."
            if self._replies and self._cached == self._replies
            else ""
        )
        return GenerationError(
            "\n".join([f"{what}; every attempt is in {self.log.folder}.{again}", *self.failures])
        )

    def _write_prompt(self, observed: str, behaviour: str) -> str:
        task = self._task
        return prompt(
            "write",
            environment=task.description.strip(),
            observed=observed,
            behaviour=behaviour,
            state_size=task.state_size,
            action_size=task.action_size,
            example=prompt("staged_example") + "\n" if task.manipulation else "",
        )

    def _sentence(self, stage: str, *parts: str | Picture) -> str:
        """A reply in plain words, asked for again while there is none."""
        tokens = _SENTENCE_TOKENS
        for repair in range(1 + self._settings.repairs):
            seed = self._settings.seed + repair
            request = Request(prompt("system"), parts, 0.0, tokens, seed)
            attempt = self.log.begin(stage, self._model, request)
            try:
                reply, text = self._ask(attempt, request)
            except PictureRefused:
                raise
            except UnusableReply as error:
                tokens = _more(tokens, error)
                continue
            if reply.finish_reason == "length":
                self._failed(attempt, _CUT_OFF)
                tokens *= 2
                continue
            attempt.ended(None)
            words = " ".join(text.split())[:_LONGEST_SENTENCE]
            self._say(f"{stage}{_origin(reply)}: {shorten(words, 300)}")
            return words
        raise self.nothing(f"the step {stage!r} gave nothing to go on with")

    def _ask(self, attempt: Attempt, request: Request) -> tuple[Reply, str]:
        """Asks, and writes down what comes back, whatever it is.

        Raises:
            UnusableReply: it was no text; the attempt has been closed.
            ModelUnavailable, BlockedReply: there will be none.
        """
        try:
            reply = self._model.ask(request)
            attempt.answered(reply)
            self._replies += 1
            self._cached += reply.from_cache
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
        task = self._task
        program = compile_safely(text, state_size=task.state_size, action_size=task.action_size)
        report = verify(program, task.probes)
        if self._settings.shift and not report.passed:
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
        self._say(line)


def _origin(reply: Reply) -> str:
    return " (from the cache)" if reply.from_cache else ""


def _more(tokens: int, error: UnusableReply) -> int:
    """The output budget of the next attempt: twice as much if this one's was used up."""
    return 2 * tokens if isinstance(error, TruncatedReply) else tokens
