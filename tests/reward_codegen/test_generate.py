"""Describe, reason, write, repair: with Google's own client, real HTTP, compiler and verifier."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reward_codegen import compile_reward
from reward_codegen.verify import verify
from reward_codegen.writer import steps
from reward_codegen.writer.cache import CachedModel, default_folder
from reward_codegen.writer.generate import Generation, generate
from reward_codegen.writer.language_model import (
    BlockedReply,
    LanguageModelError,
    ModelUnavailable,
    Reply,
)
from reward_codegen.writer.models import language_model
from reward_codegen.writer.prompts import prompt
from reward_codegen.writer.providers.client import THINKING_TOKENS
from reward_codegen.writer.replay import ReplayModel
from reward_codegen.writer.steps import GenerationError, GenerationSettings
from reward_codegen.writer.task import RewardTask

from . import openai_server
from .gemini_server import (
    Asked,
    GeminiServer,
    blocked_prompt,
    error,
    out_of_budget,
    text,
    wrong_key,
)
from .loopback import KEY, Answer
from .toy_task import (
    BEHAVIOUR,
    FALLING,
    GOOD,
    LESSER,
    OBSERVED,
    PICTURE,
    POSITIVE,
    SOURCE,
    UNKNOWN_NAME,
    toy_task,
)

# Takes a temperature, which the default model is not sent.
MODEL = "gemini-3.1-pro"
SENTENCES = [text(OBSERVED), text(BEHAVIOUR)]


@pytest.fixture(autouse=True)
def compile_each_program_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same reply is compiled, and the same program verified, once for all tests."""
    monkeypatch.setattr(steps, "compile_safely", _compile)
    monkeypatch.setattr(steps, "verify", _verify)


@cache
def _compile(reply: str, **sizes: int) -> Any:
    return compile_reward(reply, **sizes)


_REPORTS: dict[str, Any] = {}


def _verify(program: Any, probes: Any) -> Any:
    if program.sha256 not in _REPORTS:
        _REPORTS[program.sha256] = verify(program, probes)
    return _REPORTS[program.sha256]


def run(
    folder: Path,
    task: RewardTask | None = None,
    *,
    regenerate: bool = False,
    lines: list[str] | None = None,
    model: str = MODEL,
    **settings: Any,
) -> Generation:
    said = [] if lines is None else lines
    asked = CachedModel(language_model(model), default_folder(), regenerate, said.append)
    return generate(task or toy_task(), asked, folder, GenerationSettings(**settings), said.append)


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def stages(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


# The steps ----------------------------------------------------------------------------------------


def test_describe_reason_write(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(GOOD)]
    generation = run(tmp_path / "g")
    assert (generation.observed, generation.behaviour) == (OBSERVED, BEHAVIOUR)
    (candidate,) = generation.candidates
    assert candidate.program.source == SOURCE
    assert candidate.report.passed
    assert candidate.model_version == "gemini-test-001"
    describe, reason, write = server.asked
    task = toy_task()
    assert describe.pictures == [PICTURE]
    assert reason.pictures == write.pictures == []
    for asked in server.asked:
        assert task.description in asked.prompt
        assert "simulation" in asked.system
        assert asked.settings["temperature"] == 0.0
    assert OBSERVED in reason.prompt and task.original_task in reason.prompt
    assert BEHAVIOUR in write.prompt
    assert "state has 2 numbers" in write.prompt and "action has 2 numbers" in write.prompt
    budgets = [asked.settings["maxOutputTokens"] - THINKING_TOKENS for asked in server.asked]
    assert budgets == [500, 500, 3000]


def test_without_a_picture_the_state_is_told(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(GOOD)]
    run(tmp_path / "g", toy_task(picture=None))
    assert server.asked[0].pictures == []
    assert "state[1] = 3.000 rad: tilt" in server.asked[0].prompt
    assert "picture.png" not in os.listdir(tmp_path / "g" / "01-describe")


def test_a_model_without_eyes_is_told_the_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Through the other client; the cache remembers that this model takes no pictures."""
    blind = openai_server.error(400, "this model does not support image input")
    words = [openai_server.text(reply) for reply in (OBSERVED, BEHAVIOUR, GOOD)]
    with openai_server.asked_instead(monkeypatch, tmp_path / "cache") as server:
        server.script = [blind, *words]
        for folder in ("a", "b"):
            lines: list[str] = []
            run(tmp_path / folder, model="openai/blind", lines=lines)
            assert stages(tmp_path / folder) == [
                "01-describe",
                "02-describe",
                "03-reason",
                "04-write",
            ]
            assert any("takes no pictures" in line for line in lines)
            assert any("the state in numbers instead" in line for line in lines)
        assert len(server.asked) == 4
        assert [len(asked.pictures) for asked in server.asked] == [1, 0, 0, 0]
        assert "state[1] = 3.000 rad: tilt" in server.asked[1].prompt
        assert "picture" not in server.asked[1].prompt.replace("There is no picture.", "")


def test_the_staged_example_is_for_manipulation(server: GeminiServer, tmp_path: Path) -> None:
    for folder, manipulation in (("a", False), ("b", True)):
        server.script = [*SENTENCES, text(GOOD)]
        run(tmp_path / folder, toy_task(manipulation=manipulation))
        assert ("Stage 1" in server.asked[-1].prompt) is manipulation


def test_templates_leave_nothing_open(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(UNKNOWN_NAME), text(GOOD)]
    run(tmp_path / "g")
    for asked in server.asked:
        assert not re.search(r"\{\{\w+\}\}", asked.prompt + asked.system)
    with pytest.raises(KeyError, match="environment"):
        prompt("reason", observed="")


def test_what_is_filled_in_is_not_a_template(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [text("It says {{behaviour}}."), text("See {{example}}."), text(GOOD)]
    run(tmp_path / "g")
    assert "It says {{behaviour}}." in server.asked[1].prompt
    assert "See {{example}}." in server.asked[2].prompt


# Repairs ------------------------------------------------------------------------------------------


def test_the_compilers_error_goes_back(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(UNKNOWN_NAME), text(GOOD)]
    lines: list[str] = []
    generation = run(tmp_path / "g", lines=lines)
    assert generation.candidates[0].attempt == "04-repair"
    repair = server.asked[3].prompt
    problem = read(tmp_path / "g" / "03-write" / "outcome.json")["error"]
    assert "Line 9" in problem and "np" in problem
    assert problem in repair
    assert UNKNOWN_NAME.strip() in repair
    assert server.asked[2].prompt in repair
    assert f"03-write: {problem}" in lines
    assert generation.failures == (f"03-write: {problem}",)


def test_what_verification_finds_goes_back(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(FALLING), text(GOOD)]
    run(tmp_path / "g")
    assert "does not rise on the way to recovery" in server.asked[3].prompt
    attempt = tmp_path / "g" / "03-write"
    assert read(attempt / "report.json")["passed"] is False
    assert (attempt / "program.py").read_text() in FALLING


def test_repairs_end(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(UNKNOWN_NAME), text("```python\nx = (\n```"), text(FALLING)]
    with pytest.raises(GenerationError) as caught:
        run(tmp_path / "g", repairs=2)
    assert len(server.asked) == 5
    headline, *reasons = str(caught.value).splitlines()
    assert f"every attempt is in {tmp_path / 'g'}" in headline
    assert [reason.partition(":")[0] for reason in reasons] == [
        "03-write",
        "04-repair",
        "05-repair",
    ]
    assert "does not rise" in reasons[2]
    assert "--regenerate" not in headline


def test_a_positive_reward_is_lowered_by_option(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(POSITIVE)]
    (candidate,) = run(tmp_path / "g", shift=True, repairs=0).candidates
    assert candidate.report.numbers["largest_reward"] < 0.0
    assert "lowered by" in " ".join(candidate.program.notes)
    with pytest.raises(GenerationError, match="must always be negative"):
        run(tmp_path / "h", shift=False, repairs=0)


# Replies that are none ----------------------------------------------------------------------------


def test_thinking_that_uses_up_the_budget_gets_more(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [out_of_budget(), *SENTENCES, out_of_budget(), text(GOOD)]
    run(tmp_path / "g")
    budgets = [asked.settings["maxOutputTokens"] - THINKING_TOKENS for asked in server.asked]
    assert budgets == [500, 1000, 500, 3000, 6000]
    assert server.asked[4].prompt == server.asked[3].prompt


def test_a_sentence_that_is_cut_off_is_asked_for_again(
    server: GeminiServer, tmp_path: Path
) -> None:
    server.script = [text("The robot li", finish="MAX_TOKENS"), *SENTENCES, text(GOOD)]
    assert run(tmp_path / "g").observed == OBSERVED


def test_a_program_that_is_cut_off_is_asked_for_again(server: GeminiServer, tmp_path: Path) -> None:
    half = GOOD[: GOOD.index("effort =")]
    server.script = [*SENTENCES, text(half, finish="MAX_TOKENS"), text(GOOD)]
    run(tmp_path / "g")
    assert "the reply was cut off" in server.asked[3].prompt
    assert server.asked[3].settings["maxOutputTokens"] - THINKING_TOKENS == 6000


def test_refusals_are_asked_again_and_reported(server: GeminiServer, tmp_path: Path) -> None:
    server.otherwise = lambda asked: text("I cannot help with robots.")
    with pytest.raises(GenerationError) as caught:
        run(tmp_path / "g", repairs=1)
    assert str(caught.value).splitlines()[1:] == [
        "01-describe: the model declined: I cannot help with robots.",
        "02-describe: the model declined: I cannot help with robots.",
    ]
    seeds = [asked.settings["seed"] for asked in server.asked]
    assert len(set(seeds)) == 2, "the same would be answered again"


def test_a_blocked_prompt_ends_it(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [text(OBSERVED), blocked_prompt()]
    with pytest.raises(BlockedReply, match="blocked the request.*02-reason"):
        run(tmp_path / "g")
    assert len(server.asked) == 2


def test_a_wrong_key_ends_it(server: GeminiServer, tmp_path: Path) -> None:
    server.otherwise = lambda asked: wrong_key()
    with pytest.raises(ModelUnavailable, match="does not accept the key"):
        run(tmp_path / "g")
    assert len(server.asked) == 1
    assert "does not accept" in read(tmp_path / "g" / "01-describe" / "outcome.json")["error"]


def test_empty_and_malformed_replies_are_asked_again(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [Answer({}), Answer(b"{not json"), *SENTENCES, text(GOOD)]
    generation = run(tmp_path / "g")
    assert [
        phrase
        for line in generation.failures
        for phrase in ("without text", "not a reply of the Gemini API")
        if phrase in line
    ] == ["without text", "not a reply of the Gemini API"]


# The record ---------------------------------------------------------------------------------------


def test_every_attempt_is_written_down(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(UNKNOWN_NAME), text(GOOD)]
    folder = tmp_path / "g"
    run(folder)
    assert stages(folder) == ["01-describe", "02-reason", "03-write", "04-repair"]
    assert (folder / "01-describe" / "picture.png").read_bytes() == PICTURE
    for number, name in enumerate(stages(folder)):
        asked, attempt = server.asked[number], folder / name
        assert asked.prompt in (attempt / "prompt.md").read_text()
        assert (attempt / "system.md").read_text() == asked.system
        request, reply = read(attempt / "request.json"), read(attempt / "reply.json")
        assert request["model"] == MODEL
        assert request["temperature"] == 0.0
        assert request["seed"] == asked.settings["seed"]
        assert request["parameters"]["thinking_tokens"] == THINKING_TOKENS
        assert reply["model_version"] == "gemini-test-001"
        assert reply["usage"] == {"prompt_tokens": 100, "output_tokens": 20, "thinking_tokens": 7}
        assert reply["seconds"] >= 0.0
        content = (attempt / "reply.txt").read_bytes()
        assert reply["sha256"] == hashlib.sha256(content).hexdigest()
    assert read(folder / "01-describe" / "request.json")["pictures"] == [
        hashlib.sha256(PICTURE).hexdigest()
    ]
    assert (folder / "03-write" / "reply.txt").read_text() == UNKNOWN_NAME
    usable = [read(folder / name / "outcome.json")["usable"] for name in stages(folder)]
    assert usable == [True, True, False, True]
    assert (folder / "04-repair" / "program.py").read_text() == SOURCE
    result = read(folder / "04-result.json")
    assert result["candidates"][0]["sha256"] == hashlib.sha256(SOURCE.encode()).hexdigest()
    assert result["candidates"][0]["attempt"] == "04-repair"


def test_it_is_written_as_it_happens(server: GeminiServer, tmp_path: Path) -> None:
    """What a request finds on disk while it is on its way is what a crash would leave."""
    folder, seen = tmp_path / "g", []
    script = [*SENTENCES, text(GOOD)]

    def answer(asked: Asked) -> Answer:
        seen.append({str(file.relative_to(folder)) for file in folder.rglob("*.*")})
        return script[len(seen) - 1]

    server.otherwise = answer
    run(folder)
    assert {"01-describe/prompt.md", "01-describe/picture.png", "01-describe/request.json"} <= seen[
        0
    ]
    assert "01-describe/reply.txt" not in seen[0]
    assert {"01-describe/reply.txt", "02-reason/reply.json", "03-write/prompt.md"} <= seen[2]


KILLED = """
import sys
from pathlib import Path
from reward_codegen.writer.generate import generate
from reward_codegen.writer.models import language_model
from tests.reward_codegen.toy_task import toy_task
generate(toy_task(), language_model('gemini-test'), Path(sys.argv[1]))
"""


def test_a_killed_run_leaves_its_attempts(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, Answer({}, delay=60.0)]
    folder = tmp_path / "g"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    deadline = time.monotonic() + 300
    while len(server.asked) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (folder / "01-describe" / "reply.txt").read_text() == OBSERVED
    assert (folder / "02-reason" / "reply.txt").read_text() == BEHAVIOUR
    assert BEHAVIOUR in (folder / "03-write" / "prompt.md").read_text()
    assert not (folder / "03-write" / "reply.txt").exists()


def test_nothing_is_overwritten(server: GeminiServer, tmp_path: Path) -> None:
    folder = tmp_path / "g"
    server.script = [*SENTENCES, text(GOOD)]
    run(folder)
    before = {file: file.read_bytes() for file in folder.rglob("*.*")}
    server.script = [text("Other."), text("Else."), text(LESSER)]
    run(folder, regenerate=True)
    assert {file: file.read_bytes() for file in before} == before
    assert stages(folder)[3:] == ["04-describe", "05-reason", "06-write"]
    assert read(folder / "06-result.json")["observed"] == "Other."


def test_a_recorded_run_can_be_replayed(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(UNKNOWN_NAME), text(GOOD)]
    run(tmp_path / "g")
    model = ReplayModel.of_run(tmp_path / "g")
    generation = generate(toy_task(), model, tmp_path / "h")
    assert generation.candidates[0].program.source == SOURCE
    assert len(model.requests) == 4
    with pytest.raises(ModelUnavailable, match="no recorded replies"):
        ReplayModel.of_run(tmp_path)


# The cache ----------------------------------------------------------------------------------------


def test_a_repeated_run_is_free_and_offline(
    server: GeminiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = [*SENTENCES, text(UNKNOWN_NAME), text(GOOD)]
    lines: list[str] = []
    first = run(tmp_path / "a", lines=lines)
    assert lines.count(f"asking {MODEL} ...") == 4
    assert not any("from the cache" in line for line in lines)
    server.asked.clear()
    monkeypatch.delenv("GEMINI_API_KEY")
    lines.clear()
    second = run(tmp_path / "b", lines=lines)
    assert server.asked == []
    assert f"describe (from the cache): {OBSERVED}" in lines
    assert not any("asking" in line for line in lines)
    assert second.to_json() == first.to_json()
    assert read(tmp_path / "b" / "04-repair" / "reply.json")["from_cache"] is True
    assert read(tmp_path / "a" / "04-repair" / "reply.json")["from_cache"] is False


def test_regenerate_asks_again_and_keeps_the_newer_reply(
    server: GeminiServer, tmp_path: Path
) -> None:
    server.script = [*SENTENCES, text(GOOD)]
    run(tmp_path / "a")
    kept = {file: file.read_bytes() for file in default_folder().iterdir()}
    server.script = [*SENTENCES, text(LESSER)]
    newer = run(tmp_path / "b", regenerate=True)
    assert len(server.asked) == 6
    assert {file: file.read_bytes() for file in kept} == kept
    assert run(tmp_path / "c").to_json() == newer.to_json()
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"task": toy_task(picture=PICTURE + b".")},
        {"model": "gemini-other"},
        {"seed": 1},
    ],
    ids=["picture", "model", "seed"],
)
def test_another_question_is_not_answered_from_the_cache(
    server: GeminiServer, tmp_path: Path, change: dict[str, Any]
) -> None:
    server.script = [*SENTENCES, text(GOOD)]
    run(tmp_path / "a")
    server.script = [*SENTENCES, text(GOOD)]
    run(tmp_path / "b", **change)
    assert len(server.asked) > 3


def test_a_failure_out_of_the_cache_says_how_to_ask_again(
    server: GeminiServer, tmp_path: Path
) -> None:
    server.script = [*SENTENCES, text(FALLING)]
    for folder in ("a", "b"):
        with pytest.raises(GenerationError) as caught:
            run(tmp_path / folder, repairs=0)
    assert len(server.asked) == 3
    assert "All replies came from the cache; --regenerate asks the model again" in str(caught.value)


def test_only_usable_replies_are_kept(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [
        text("I cannot help with robots."),
        Answer({}),
        text("The robot li", finish="MAX_TOKENS"),
        *SENTENCES,
        text(GOOD),
    ]
    run(tmp_path / "a")
    assert len(list(default_folder().iterdir())) == 3


def test_damaged_and_unwritable_caches_do_no_harm(
    server: GeminiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = [*SENTENCES, text(GOOD)]
    run(tmp_path / "a")
    for file in default_folder().iterdir():
        file.write_bytes(b"{")
    server.script = [*SENTENCES, text(GOOD)]
    run(tmp_path / "b")
    assert len(server.asked) == 6
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    server.script = [*SENTENCES, text(GOOD)]
    run(tmp_path / "c")
    assert len(server.asked) == 9


# Candidates ---------------------------------------------------------------------------------------


def test_candidates_are_ordered_best_first(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(LESSER), text(UNKNOWN_NAME), text(GOOD), text(GOOD)]
    generation = run(tmp_path / "g", candidates=3, repairs=1)
    scores = [candidate.report.score for candidate in generation.candidates]
    assert scores == sorted(scores, reverse=True)
    # Equal programs count once.
    assert [candidate.attempt for candidate in generation.candidates] == ["05-repair", "03-write"]
    writes = [asked.settings for asked in server.asked[2:]]
    assert {settings["temperature"] for settings in writes} == {0.8}
    assert len({settings["seed"] for settings in writes}) == len(writes)


def test_candidates_that_fail_are_left_out(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(FALLING), text(GOOD), text(UNKNOWN_NAME)]
    lines: list[str] = []
    generation = run(tmp_path / "g", candidates=3, repairs=0, lines=lines)
    assert [candidate.attempt for candidate in generation.candidates] == ["04-write"]
    assert len(generation.failures) == 2
    assert "candidate 3 of 3 could not be used after 1 attempts" in lines


def test_what_was_found_is_kept_when_the_quota_ends(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [*SENTENCES, text(GOOD)]
    server.otherwise = lambda asked: error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.")
    lines: list[str] = []
    generation = run(tmp_path / "g", candidates=5, lines=lines)
    assert [candidate.attempt for candidate in generation.candidates] == ["03-write"]
    assert "going on with the 1 found so far" in lines[-1]


# The key ------------------------------------------------------------------------------------------


def test_the_key_is_in_no_file_and_no_message(
    server: GeminiServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quoted = f"# {KEY}\n{SOURCE}"
    server.script = [
        text(f"I lie here, {KEY}."),
        text(BEHAVIOUR),
        error(503, "UNAVAILABLE", "Overloaded."),
        text(f"```python\n{quoted}```"),
    ]
    lines: list[str] = []
    run(tmp_path / "g", lines=lines)
    messages = [*lines]
    for answer in (wrong_key(), error(403, "PERMISSION_DENIED", "No."), blocked_prompt()):
        server.script = [answer]
        with pytest.raises(LanguageModelError) as caught:
            run(tmp_path / "h", regenerate=True, lines=lines)
        messages.append(str(caught.value))
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 20
    for file in files:
        assert KEY.encode() not in file.read_bytes(), file
    assert KEY not in "\n".join(messages)
    assert KEY not in "".join(capfd.readouterr())


def test_a_reply_may_hold_any_characters(tmp_path: Path) -> None:
    model = ReplayModel([Reply("Lone \ud800 surrogate."), BEHAVIOUR, GOOD])
    assert generate(toy_task(), model, tmp_path / "g").candidates
