"""The command line from an untrained policy to a report, in the smallest run there is."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from envs.pictures.rendering import video_format
from lamour_jax import policies
from lamour_jax.config import FORMAT_VERSION, RunConfig
from lamour_jax.report import recordings
from lamour_jax.train import Arguments, main, resolve
from tests import shipped
from tests.reward_codegen.gemini_server import KEY, asked_instead, text

LOGGER_KEY = "a-logger-s-key-that-must-not-be-seen-either"
BATCH, ITERATIONS, EPISODES = 256, 4, 4
TINY = (
    *("--num-envs", "8", "--steps", str(BATCH * ITERATIONS)),
    *("--set", "ppo.unroll_length=32", "--set", "ppo.minibatch_size=64"),
    *("--set", "ppo.hidden_sizes=[8]", "--set", "evaluation.during_training=2"),
    *("--set", f"evaluation.episodes={EPISODES}"),
    *("--set", "evaluation.episodes_during_training=2"),
)
RESULT_KEYS = {
    "env",
    "method",
    "engine",
    "device",
    "seed",
    "start",
    "env_steps",
    "wall_seconds",
    "env_steps_per_second",
    "episodes",
    "recovery_rate",
    "recovery_rate_interval",
    "distinct_episodes",
    "recovery_rate_strict",
    "recovery_rate_stochastic",
    "median_steps_to_recovery",
    "ood_return",
    "original_return_before",
    "original_return_after",
    "retention",
    "reward_source",
    "reward_sha256",
    "versions",
    "evaluations_before",
    "evaluations",
}

ALWAYS = {
    "config.yaml",
    "metrics.jsonl",
    "tensorboard",
    "checkpoints",
    "policy.npz",
    "best_policy.npz",
    "result.json",
    "curves.png",
}
REWARD = {"reward.py", "reward_report.json", "reward_report.txt", "generation"}
REPORT = {"report.html", "episodes.npz"}


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its arguments and what it printed, errors apart."""

    folder: Path
    arguments: list[str]
    console: str
    errors: str

    def result(self) -> dict[str, Any]:
        return strict(self.folder.joinpath("result.json").read_text())


def strict(text: str) -> Any:
    """Reads JSON that must not contain NaN or Infinity."""

    def never(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=never)


def run(folder: Path, *options: str) -> Run:
    arguments = [*TINY, *options, "--engine", "mujoco", "--out", str(folder)]
    console, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(console), contextlib.redirect_stderr(errors):
        assert main(arguments) == 0, errors.getvalue()
    return Run(folder, arguments, console.getvalue(), errors.getvalue())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("runs") / "original", "--stage", "original", "--seed", "3")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where replies of the language model are kept."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def recovery(original: Run, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A recovery with reward code from a language model, which answers with the library's."""
    policy = str(original.folder / "policy.npz")
    folder = tmp_path_factory.mktemp("runs") / "new" / "recovery"
    with pytest.MonkeyPatch.context() as patch, asked_instead(patch, cache) as server:
        patch.setenv("WANDB_API_KEY", LOGGER_KEY)
        program = shipped.source("half_cheetah")
        server.script = [text("It lies."), text("Turn over."), text(f"```python\n{program}```")]
        return run(folder, "--policy", policy, "--reward", "model")


def expected_config(arguments: list[str]) -> RunConfig:
    import tyro

    return resolve(tyro.cli(Arguments, args=arguments))


def as_saved(config: RunConfig) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(config)))  # tuples become lists


def test_original_stage_leaves_a_policy(original: Run) -> None:
    names = {entry.name for entry in original.folder.iterdir()}
    assert names == ALWAYS
    header, agent = policies.load(original.folder / "policy.npz")
    assert (header.env, header.hidden_sizes) == ("half_cheetah", (8,))
    assert header.provenance == original.result()
    # It was trained on: 8 environments x 32 steps x 4 iterations of observations.
    count: Any = agent.value_statistics.count
    assert (int(count.hi), int(count.lo)) == (0, BATCH * ITERATIONS)
    assert {"ordinary_return", "survival", "survival_sampled"} <= set(header.provenance)


def test_run_folder_holds_everything(recovery: Run) -> None:
    names = {entry.name for entry in recovery.folder.iterdir()}
    pictures = {f"episode{video_format()}", "start.png", "recovery.png"}
    rendered = set() if "no rendered episode: " in recovery.console else pictures
    assert names == ALWAYS | REWARD | REPORT | rendered


def test_result(recovery: Run) -> None:
    result = recovery.result()
    assert set(result) == RESULT_KEYS
    assert result["env"] == "half_cheetah"
    assert result["method"] == "lamour"
    assert result["engine"] == "mujoco"
    assert result["seed"] == 0
    assert result["env_steps"] == BATCH * ITERATIONS
    assert result["episodes"] == EPISODES
    for rate in ("recovery_rate", "recovery_rate_strict", "recovery_rate_stochastic"):
        assert result[rate] * EPISODES in range(EPISODES + 1)
    assert result["wall_seconds"] > 0.0
    assert result["env_steps_per_second"] > 0.0
    assert result["retention"] == pytest.approx(
        result["original_return_after"] / result["original_return_before"]
    )
    assert {"python", "jax", "mujoco"} <= set(result["versions"])
    evaluations = result["evaluations"]
    assert set(evaluations) >= {"ood", "ood, sampled", "ood-noisy", "ordinary"}
    assert evaluations["ood"]["return"] == result["ood_return"]
    assert evaluations["ordinary"]["return"] == result["original_return_after"]
    assert all(entry["episodes"] == EPISODES for entry in evaluations.values())
    before = result["evaluations_before"]
    assert set(before) == {name for name in evaluations if not name.endswith(", sampled")}
    assert before["ordinary"]["return"] == result["original_return_before"]
    low, high = result["recovery_rate_interval"]
    assert 0.0 <= low <= result["recovery_rate"] <= high <= 1.0
    assert result["distinct_episodes"] == EPISODES


def test_report_tells_of_this_run(recovery: Run) -> None:
    page = recovery.folder.joinpath("report.html").read_text(encoding="utf-8")
    result = recovery.result()
    recovered = round(result["recovery_rate"] * EPISODES)
    for part in (f"{recovered} of {EPISODES} episodes", result["reward_sha256"], "seed 0"):
        assert part in page
    assert str(recovery.folder / "report.html") in recovery.console
    episodes = recordings.load(recovery.folder / "episodes.npz")
    assert episodes[-1].names == ("original policy",)
    assert {name for entry in episodes[:-1] for name in entry.names} == {"worst", "median", "best"}
    median = next(entry for entry in episodes if "median" in entry.names)
    # From the same start.
    np.testing.assert_array_equal(median.qpos[0], episodes[-1].qpos[0])


def test_config_can_be_read_again(recovery: Run) -> None:
    saved = yaml.safe_load(recovery.folder.joinpath("config.yaml").read_text())
    assert saved.pop("format_version") == FORMAT_VERSION
    assert saved == as_saved(expected_config(recovery.arguments))


def test_metrics(recovery: Run) -> None:
    rows = [
        strict(line) for line in recovery.folder.joinpath("metrics.jsonl").read_text().splitlines()
    ]
    assert [row["env_steps"] for row in rows] == [BATCH * (n + 1) for n in range(ITERATIONS)]
    assert ["eval/recovery_rate" in row for row in rows] == [False, True, False, True]
    seconds = [row["wall_seconds"] for row in rows]
    assert seconds == sorted(seconds)
    for name in ("training/value_loss", "training/approx_kl", "recovery/healthy_fraction"):
        assert all(np.isfinite(row[name]) for row in rows), name


def test_metrics_are_those_of_the_documentation(recovery: Run, original: Run) -> None:
    written: set[str] = set()
    for finished in (recovery, original):
        for line in finished.folder.joinpath("metrics.jsonl").read_text().splitlines():
            written |= set(strict(line))
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `([a-z_/]+)` \|", page, re.MULTILINE))
    of_other_robots = {"eval/success_rate", "recovery/start_distance"}
    assert written == documented - of_other_robots


def test_what_asking_took_is_in_the_first_row(recovery: Run) -> None:
    lines = recovery.folder.joinpath("metrics.jsonl").read_text().splitlines()
    first, second = (strict(line) for line in lines[:2])
    assert (first["llm/attempts"], first["llm/from_cache"]) == (3.0, 0.0)
    assert (first["llm/prompt_tokens"], first["llm/output_tokens"]) == (300.0, 60.0)
    assert first["llm/thinking_tokens"] == 21.0
    assert first["llm/seconds"] > 0.0
    assert not [name for name in second if name.startswith("llm/")]


def test_reward_is_the_one_of_the_result(recovery: Run) -> None:
    source = recovery.folder.joinpath("reward.py").read_bytes()
    result = recovery.result()
    assert hashlib.sha256(source).hexdigest() == result["reward_sha256"]
    assert result["reward_source"] == "model/gemini-test-001"


def test_keys_are_nowhere(recovery: Run, cache: Path) -> None:
    files = [file for root in (recovery.folder, cache) for file in root.rglob("*")]
    contents = {file: file.read_bytes() for file in files if file.is_file()}
    assert len([file for file in contents if file.is_relative_to(cache / "lamour_jax")]) == 3
    policy = zipfile.ZipFile(recovery.folder / "policy.npz")  # compressed
    contents |= {Path(name): policy.read(name) for name in policy.namelist()}
    contents[Path("output")] = (recovery.console + recovery.errors).encode()
    for file, content in contents.items():
        for key in (KEY, LOGGER_KEY):
            assert key.encode() not in content, file
            assert key[8:-4].encode() not in content, file
            assert base64.b64encode(key.encode()) not in content, file


def test_checkpoints_hold_no_pickle(recovery: Run) -> None:
    files = [file for file in (recovery.folder / "checkpoints").rglob("*") if file.is_file()]
    assert files
    for file in files:
        content = file.read_bytes()
        # How any pickle of protocol 2 or newer begins and ends.
        assert not (content[:1] == b"\x80" and content[1] <= 5 and content[-1:] == b"."), file


def test_policy_has_moved_away_from_the_original(recovery: Run, original: Run) -> None:
    header, agent = policies.load(recovery.folder / "policy.npz")
    _, before = policies.load(original.folder / "policy.npz")
    assert header.env == "half_cheetah"
    kernels = [entry.params.policy["params"]["Dense_0"]["kernel"] for entry in (agent, before)]
    assert not np.array_equal(*kernels)
    np.testing.assert_array_equal(
        agent.observation_statistics.mean, before.observation_statistics.mean
    )


def test_checkpoints(recovery: Run) -> None:
    steps = {e.name for e in (recovery.folder / "checkpoints").iterdir() if e.name.isdigit()}
    assert steps == {str(2 * BATCH), str(4 * BATCH)}


def test_pictures(recovery: Run) -> None:
    with Image.open(recovery.folder / "curves.png") as curves:
        curves.load()
        assert min(curves.size) > 300
        assert len(set(curves.convert("L").tobytes())) > 10, "the picture is blank"
    if "no rendered episode: " in recovery.console:
        pytest.skip("rendering is not possible here, as the run said")
    with Image.open(recovery.folder / "recovery.png") as sheet:
        width, height = sheet.size
        stills = [
            sheet.crop((x, y, x + width // 3, y + height // 2)).tobytes()
            for x, y in ((0, 0), (width * 2 // 3, height // 2))
        ]
    assert stills[0] != stills[1], "nothing moves"
    (video,) = recovery.folder.glob("episode.*")
    assert video.stat().st_size > 10_000


def test_stages_are_announced_in_order(recovery: Run) -> None:
    stages = ["▸ Reward", "▸ Original policy", "▸ Recovery training", "▸ Evaluation", "▸ Report"]
    places = [recovery.console.find(stage) for stage in stages]
    assert -1 not in places
    assert places == sorted(places)
    assert f"{BATCH * ITERATIONS:,} steps" in recovery.console
    assert "; engine mujoco; float32" in recovery.console
    assert "compiled in " in recovery.console
    assert "value loss " in recovery.console
    assert f"Everything is in {recovery.folder}" in recovery.console


def test_a_finished_run_is_never_overwritten(
    recovery: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {entry: entry.stat().st_mtime_ns for entry in recovery.folder.rglob("*")}
    assert main(recovery.arguments) == 2
    assert "is not empty" in capsys.readouterr().err
    assert {entry: entry.stat().st_mtime_ns for entry in recovery.folder.rglob("*")} == before
