"""Where a run's reward code comes from, and what its folder then holds."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import envs
import lamour_jax.reward as module
from lamour_jax.config import RewardConfig, RunConfig, override
from lamour_jax.errors import UserError
from lamour_jax.reward import Reward, load_reward
from lamour_jax.reward_task import reward_task
from lamour_jax.run.folder import RunFolder
from lamour_jax.train import Arguments, resolve
from reward_codegen.writer.providers.gemini import DEFAULT_MODEL
from reward_codegen.writer.task import RewardTask
from tests import shipped
from tests.reward_codegen import openai_server
from tests.reward_codegen.gemini_server import KEY, GeminiServer, text, wrong_key
from tests.reward_codegen.toy_task import BEHAVIOUR, OBSERVED

HOPPER = shipped.source("hopper")
CONFIG = RunConfig(env="hopper")
CONSTANT = """\
def is_recovered(state):
    return 0

def calculate_reward(state, action):
    return -1.0
"""
NO_POLICY: Any = None  # the tests' task brings its own


@cache
def _hopper() -> RewardTask:
    return reward_task("hopper", picture=False)


@pytest.fixture(autouse=True)
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hopper's task is built once; collects the starts that it is asked for."""
    asked = []

    def cached(name: str, start: str, **_: Any) -> RewardTask:
        asked.append(start)
        return _hopper()

    monkeypatch.setattr(module, "reward_task", cached)
    return asked


def load(
    folder: Path, lines: list[str] | None = None, config: RunConfig = CONFIG, **changes: Any
) -> Reward:
    config = dataclasses.replace(config, **changes)
    env = envs.load("hopper", engine="mujoco")
    said = [] if lines is None else lines
    return load_reward(config, env, NO_POLICY, RunFolder(folder), said.append)


def files(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.name != ".lock"}


REWARD_FILES = {"reward.py", "reward_report.json", "reward_report.txt"}


def test_auto_without_a_key_is_the_library_and_says_so(tmp_path: Path) -> None:
    lines: list[str] = []
    reward = load(tmp_path, lines)
    assert reward.origin == "library/hopper"
    assert lines[0] == ("reward code from library/hopper, since no API key is set (GEMINI_API_KEY)")
    assert "verification passed" in lines[-1]
    assert files(tmp_path) == REWARD_FILES
    assert (tmp_path / "reward.py").read_text() == HOPPER
    report = json.loads((tmp_path / "reward_report.json").read_text())
    assert report["passed"] is True
    assert report["numbers"]["ood_recovered"] == 0.0
    assert (tmp_path / "reward_report.txt").read_text().startswith("passed\n")


def test_auto_with_a_key_is_the_model_and_says_so(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [text(OBSERVED), text(BEHAVIOUR), text(f"```python\n{HOPPER}```")]
    lines: list[str] = []
    reward = load(tmp_path / "run", lines)
    assert reward.origin == "model/gemini-test-001"
    assert lines[0] == (
        f"reward code from model ({DEFAULT_MODEL}), since GEMINI_API_KEY is set; "
        "else: --reward library"
    )
    assert files(tmp_path / "run") == REWARD_FILES | {"generation"}
    assert (tmp_path / "run" / "generation" / "03-write" / "reply.txt").exists()
    for file in tmp_path.rglob("*.*"):
        assert file.is_dir() or KEY.encode() not in file.read_bytes()


def test_auto_looks_for_the_key_of_the_chosen_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = RewardConfig(model="openai/test")
    lines: list[str] = []
    load(tmp_path / "a", lines, reward_options=options)
    assert lines[0].endswith("since no API key is set (OPENAI_API_KEY)")
    with openai_server.asked_instead(monkeypatch, tmp_path / "cache") as server:
        assert load(tmp_path / "b").origin == "library/hopper", "Gemini's key is not set"
        assert server.asked == []
        program = f"```python\n{HOPPER}```"
        server.script = [openai_server.text(words) for words in (OBSERVED, BEHAVIOUR, program)]
        assert load(tmp_path / "c", lines, reward_options=options).origin == "model/test-001"
    assert "reward code from model (openai/test), since OPENAI_API_KEY is set; else: " in str(lines)


def test_library_is_used_in_spite_of_a_key(server: GeminiServer, tmp_path: Path) -> None:
    assert load(tmp_path / "run", reward="library").origin == "library/hopper"
    assert server.asked == []


def test_what_is_recovered_from_is_out_of_distribution(starts: list[str], tmp_path: Path) -> None:
    for start in ("ood-noisy", "perturbed"):
        load(tmp_path / start, reward="library", start=start)
    assert starts == ["ood-noisy", "ood"]


def test_options_reach_the_model(server: GeminiServer, tmp_path: Path) -> None:
    other = HOPPER.replace("0.01 * np.sum", "0.05 * np.sum")
    programs = [text(f"```python\n{source}```") for source in (other, HOPPER)]
    server.script = [text(OBSERVED), text(BEHAVIOUR), *programs]
    options = RewardConfig(model="gemini-x", candidates=2, temperature=0.4)
    reward = load(tmp_path / "run", reward="model", reward_options=options)
    assert all("/models/gemini-x:" in asked.path for asked in server.asked)
    assert [asked.settings["temperature"] for asked in server.asked] == [0.0, 0.0, 0.4, 0.4]
    result = json.loads((tmp_path / "run" / "generation" / "04-result.json").read_text())
    assert len(result["candidates"]) == 2
    assert result["candidates"][0]["sha256"] == reward.program.sha256
    # Free, until it is asked for again.
    load(tmp_path / "again", reward="model", reward_options=options)
    assert len(server.asked) == 4
    server.script = [text(OBSERVED), text(BEHAVIOUR), *programs]
    anew = dataclasses.replace(options, regenerate=True)
    load(tmp_path / "anew", reward="model", reward_options=anew)
    assert len(server.asked) == 8


def test_a_model_that_cannot_be_asked(server: GeminiServer, tmp_path: Path) -> None:
    server.script = [wrong_key()]
    with pytest.raises(UserError, match="does not accept the key") as caught:
        load(tmp_path / "run")
    assert "--reward library" in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_model_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="no API key: set GEMINI_API_KEY"):
        load(tmp_path / "run", reward="model")


def test_a_file_is_verified_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HOPPER)
    reward = load(tmp_path / "run", reward=str(file))
    assert reward.origin == str(file)
    assert files(tmp_path / "run") == REWARD_FILES


def test_a_file_that_leads_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(CONSTANT)
    with pytest.raises(UserError, match="is_recovered returns 0 for all") as caught:
        load(tmp_path / "run", reward=str(file))
    assert "--set reward_options.verification=reported" in str(caught.value)
    assert files(tmp_path / "run") == set(), "the same --out can be given again"
    lines: list[str] = []
    config = override(CONFIG, "reward_options.verification=reported")
    load(tmp_path / "run", lines, config, reward=str(file))
    assert json.loads((tmp_path / "run" / "reward_report.json").read_text())["passed"] is False
    assert any(line.startswith("error: ") for line in lines)
    assert "verification failed" in lines[-1]


def test_the_command_lines_options() -> None:
    config = resolve(
        Arguments(env="ant", reward="model", model="gemini-x", candidates=4, regenerate=True)
    )
    assert config.reward == "model"
    assert config.reward_options == RewardConfig("gemini-x", candidates=4, regenerate=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (Arguments(candidates=0), "reward_options.candidates must be at least 1, not 0"),
        (Arguments(set=("reward_options.repairs=-1",)), "repairs must be at least 0"),
        (Arguments(set=("reward_options.temperature=3",)), "temperature must be at most 2, not 3"),
        (Arguments(set=("reward_options.verification=no",)), "verification must be"),
    ],
)
def test_impossible_options(arguments: Arguments, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(arguments)
