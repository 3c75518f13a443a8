"""The page that a run ends with: what it says, and what it does not let happen."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path

import pytest

from lamour_jax.report.__main__ import main
from lamour_jax.report.page import FILE, recovery_interval
from tests.lamour_jax.made_up_run import HOSTILE, write, write_generation


def page(folder: Path) -> str:
    assert main([str(folder)]) == 0
    return (folder / FILE).read_text(encoding="utf-8")


def words(text: str) -> str:
    """What is to be read on a page, in one line."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(write(tmp_path_factory.mktemp("report") / "run"))


def test_says_what_happened(made: str) -> None:
    said = words(made)
    for part in (
        "half_cheetah lamour, seed 3",
        "came back in 3 of 4 episodes (75 %; 95 % interval 19 % to 99.4 %), "
        "the original policy in 0 of 4",
        "keeps 92 % of the original policy's return",
        "Median time to recovery 2.00 s",
        "No language model was asked: this is the program of the library",
        "ab" * 32,
        "passed , score 1.95",
        "It rises slowly.",
        "python -m lamour_jax.train --env half_cheetah --engine mujoco --seed 3",
        "mujoco 4.0.0",
        "def is_recovered(state",
        # before and after, from the ordinary start
        "ordinary 1.00 11,000 1.00 0.40 to 1.00",
    ):
        assert part in said, part
    assert "None" not in said and "nan" not in said


def test_an_interval_is_that_of_clopper_and_pearson() -> None:
    # None of n: the upper limit p has (1 - p)^n = 0.025.
    low, high = recovery_interval(0, 10)
    assert (low, high) == (0.0, pytest.approx(1.0 - 0.025**0.1))
    assert recovery_interval(10, 10) == (pytest.approx(0.025**0.1), 1.0)
    # All of the binomial's weight at 3 and more of 4 is 0.025 at the lower limit.
    low, _ = recovery_interval(3, 4)
    assert 4 * low**3 * (1 - low) + low**4 == pytest.approx(0.025)


def test_one_episode_has_no_interval(tmp_path: Path) -> None:
    said = words(page(write(tmp_path / "run", distinct_episodes=1, recovery_rate_interval=None)))
    assert "came back in 3 of 4 episodes (75 %), the original" in said
    assert "all 4 episodes are one and the same" in said


def test_asks_the_network_nothing(made: str) -> None:
    links = re.findall(r"(?:src|href|srcset)=\"([^\"]*)\"", made)
    assert links and all(link.startswith("data:") for link in links)
    assert "@import" not in made and "url(" not in made
    assert len(made) < 3_000_000


def test_only_its_own_scripts_may_run(made: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", made, flags=re.DOTALL)
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    hashes = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    assert len(hashes) == 2
    (policy,) = re.findall(r"Content-Security-Policy\" content=\"([^\"]*)\"", made)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == " ".join(hashes)
    assert rules["img-src"] == "data:"


def test_what_others_wrote_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", reward_source=f"model/{HOSTILE}", device=HOSTILE)
    write_generation(folder, HOSTILE)
    (folder / "reward.py").write_text(f"# {HOSTILE}\n")
    findings = [{"check": "rising", "severity": "error", "message": HOSTILE}]
    report = {"passed": False, "score": -8.0, "findings": findings, "numbers": {HOSTILE: 1.0}}
    (folder / "reward_report.json").write_text(json.dumps(report))
    text = page(folder)
    assert len(re.findall(r"<script\b", text)) == 3  # data, three.js, the viewer
    assert "<img src=x" not in text
    said = words(text)
    # Prompts, replies, the model's name, the problem; the source, the finding, the device.
    assert said.count(HOSTILE) >= 12
    for part in ("What it said of the picture", "reply of 02-reason", "Not usable:", "sent"):
        assert part in said


def test_a_folder_that_lacks_much(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", reward_source="my <reward>.py")
    keep = {"config.yaml", "result.json", "policy.npz"}
    for file in folder.iterdir():
        if file.name not in keep:
            file.unlink()
    said = words(page(folder))
    for part in (
        "No episodes were recorded",
        "There is no picture: no graphics library",
        "There are no metrics",
        "No language model was asked: this is the program in the file my <reward>.py",
        "reward.py is not in this folder",
        "There is no report of it",
    ):
        assert part in said, part


def test_wrong_folders_get_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def complaint() -> str:
        assert main([str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "no run in" in complaint()
    made_up = write(tmp_path / "run")
    (tmp_path / "config.yaml").write_bytes((made_up / "config.yaml").read_bytes())
    assert "is not finished; go on by `python -m lamour_jax.train --resume" in complaint()
    (tmp_path / "result.json").write_text("[]")
    assert "result.json is damaged" in complaint()
