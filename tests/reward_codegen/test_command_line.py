"""The three commands, as somebody who has never seen them uses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import envs
import lamour_jax.reward_task as reward_task_module
from lamour_jax.reward_task import reward_task
from reward_codegen.__main__ import main
from reward_codegen.writer.task import RewardTask
from tests import shipped

from .gemini_server import KEY, GeminiServer, text, wrong_key
from .toy_task import BEHAVIOUR, OBSERVED

HOPPER = shipped.source("hopper")
DATA = Path(__file__).parent / "data"
FALLING = """\
def is_recovered(state):
    return 1 if state[0] > 0.75 and abs(state[1]) < 0.2 else 0

def calculate_reward(state, action):
    return -10.0 + abs(state[1]) - state[0]
"""


@cache
def _hopper(start: str, policy: str) -> RewardTask:
    return reward_task("hopper", start, policy, picture=False)


@pytest.fixture(autouse=True)
def one_hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hopper's task is built once; unknown names are left to the original."""

    def cached(name: str, start: str = "ood", policy: str = "", **options: Any) -> RewardTask:
        if name == "hopper" and start == "ood":
            return _hopper(start, policy)
        return reward_task(name, start, policy, **options)

    monkeypatch.setattr(reward_task_module, "reward_task", cached)


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Runs a command; returns its status and what it printed."""
    status = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return status, printed.out, printed.err


def failure(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Runs a command that fails; returns the message."""
    status, _, err = run(capsys, *arguments)
    assert status == 2
    before, separator, message = err.rpartition("error: ")
    assert separator
    assert "error:" not in before
    return message.strip()


# check --------------------------------------------------------------------------------------------


def test_check_a_good_program(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "reward.py"
    file.write_text(HOPPER)
    status, out, err = run(capsys, "check", file, "--env", "hopper")
    assert status == 0
    assert f"{file} compiles, sha256" in out
    assert "\npassed\n" in out
    assert err == ""


def test_check_a_raw_reply(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "reply.txt"
    file.write_bytes(b"\xef\xbb\xbfSure!\r\n```python\r\n" + HOPPER.encode() + b"```\r\nBye.")
    assert run(capsys, "check", file, "--env", "hopper")[0] == 0


def test_check_a_program_that_leads_nowhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "reward.py"
    file.write_text(FALLING)
    status, out, _ = run(capsys, "check", file, "--env", "hopper")
    assert status == 1
    assert "\nfailed\n" in out
    assert "error: rising: The reward does not rise" in out


NONSENSE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the reply is empty"),
    "blank": (b" \n\n", "the reply is empty"),
    "prose": (b"I am sorry, I cannot do that.", "no Python code"),
    "binary": (bytes(range(256)), "is not UTF-8 text"),
    "cut off": (HOPPER[:900].encode(), "this is not valid Python"),
    "imports os": (b"import os\n" + HOPPER.encode(), "Line 1"),
    "another robot": (HOPPER.replace("state[0]", "state[11]").encode(), "11"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_check_nonsense(case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    content, expected = NONSENSE[case]
    file = tmp_path / "reward.py"
    file.write_bytes(content)
    message = failure(capsys, "check", file, "--env", "hopper")
    assert message.startswith(f"{file} was refused: ")
    assert expected in message
    assert "\n" not in message


def test_check_files_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = tmp_path / "nothing.py"
    assert failure(capsys, "check", missing, "--env", "hopper") == (
        f"{missing}: No such file or directory"
    )
    assert "is a folder" in failure(capsys, "check", tmp_path, "--env", "hopper")


@pytest.mark.parametrize("command", [["check", "x.py"], ["generate"], ["show", "x.py"]], ids=str)
def test_unknown_environments_list_the_known_ones(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    message = failure(capsys, *command, "--env", "dog")
    known = ", ".join(envs.names())
    assert message == (
        f"unknown environment 'dog'; known: {known}, or your own: a folder, or FILE.py:CLASS"
    )


def test_unknown_start(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "reward.py"
    file.write_text(HOPPER)
    message = failure(capsys, "check", file, "--env", "hopper", "--start", "sideways")
    assert message.startswith("unknown start 'sideways' for hopper; known: ordinary, ")


# show ---------------------------------------------------------------------------------------------


def test_show_finds_out_the_sizes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "reward.py"
    file.write_text(HOPPER.replace("def is_recovered(state: np.ndarray) -> int:", SHAPE_CHECKED))
    status, out, err = run(capsys, "show", file)
    assert (status, err) == (0, "")
    assert "state of 11 and an action of 3 numbers, as of hopper (--env" in out
    assert "is_recovered(state)" in out and "calculate_reward(state, action)" in out


SHAPE_CHECKED = """\
def is_recovered(state: np.ndarray) -> int:
    assert state.shape == (11,)"""


def test_show_for_given_sizes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "reward.py"
    file.write_text(FALLING)
    status, out, _ = run(capsys, "show", file, "--state-size", "2", "--action-size", "1", "--jaxpr")
    assert status == 0
    assert "state: 2 entries; action: 1 entries" in out
    assert "lambda" in out
    assert "11 entries" in run(capsys, "show", file, "--env", "hopper")[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--state-size", "2"], "give both --state-size and --action-size, or --env"),
        (["--state-size", "0", "--action-size", "1"], "must be at least 1"),
        (["--env", "ant", "--state-size", "2"], "not both"),
    ],
    ids=str,
)
def test_show_with_sizes_that_make_no_sense(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "reward.py"
    file.write_text(FALLING)
    assert message in failure(capsys, "show", file, *options)


def test_show_what_fits_no_robot(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "reward.py"
    file.write_text(FALLING.replace("state[0]", "state[99]"))
    message = failure(capsys, "show", file)
    assert "fits no known robot; give --env, or --state-size and --action-size" in message
    assert "ant: " in message and "hopper: " in message
    # What is wrong for any size is said once.
    file.write_text("import os\n" + FALLING)
    assert "\n" not in failure(capsys, "show", file)


# generate -----------------------------------------------------------------------------------------


def test_generate(server: GeminiServer, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    reply = f"```python\n{HOPPER}```"
    server.script = [text(OBSERVED), text(BEHAVIOUR), text("```python\nx = 1\n```"), text(reply)]
    out = tmp_path / "out"
    status, printed, err = run(capsys, "generate", "--env", "hopper", "--out", out)
    assert status == 0
    assert (out / "reward.py").read_text() == HOPPER
    assert json.loads((out / "reward_report.json").read_text())["passed"] is True
    assert (out / "reward_report.txt").read_text().startswith("passed\n")
    assert len(list((out / "generation").glob("*/reply.txt"))) == 4
    assert f"{out / 'reward.py'}: score" in printed
    assert f"python -m lamour_jax.train --env hopper --reward {out / 'reward.py'}" in printed
    # What happens is told as it happens, apart from the result.
    for line in (f"describe: {OBSERVED}", f"reason: {BEHAVIOUR}", "03-write: ", "repair: program"):
        assert line in err
    assert "walk" not in server.asked[0].system
    assert "11 numbers" in server.asked[2].prompt


def test_generate_again_is_free(
    server: GeminiServer,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reply = text(f"```python\n{HOPPER}```")
    server.script = [text(OBSERVED), text(BEHAVIOUR), reply]
    assert run(capsys, "generate", "--env", "hopper", "--out", tmp_path / "a")[0] == 0
    monkeypatch.delenv("GEMINI_API_KEY")
    assert run(capsys, "generate", "--env", "hopper", "--out", tmp_path / "b")[0] == 0
    assert len(server.asked) == 3
    assert (tmp_path / "b" / "reward.py").read_text() == HOPPER
    options = ("--env", "hopper", "--regenerate", "--out", tmp_path / "c")
    assert "no API key" in failure(capsys, "generate", *options)


def test_generate_several(
    server: GeminiServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = HOPPER.replace("0.01 * np.sum", "0.05 * np.sum")
    replies = [text(f"```python\n{source}```") for source in (other, HOPPER)]
    server.script = [text(OBSERVED), text(BEHAVIOUR), *replies]
    out = tmp_path / "out"
    options = ("--env", "hopper", "--candidates", "2", "--model", "gemini-x", "--out", out)
    assert run(capsys, "generate", *options)[0] == 0
    assert all("/models/gemini-x:" in asked.path for asked in server.asked)
    scores = [
        json.loads((out / f"{name}_report.json").read_text())["score"]
        for name in ("reward", "reward_02")
    ]
    assert scores[0] >= scores[1]
    assert {(out / f"{name}.py").read_text() for name in ("reward", "reward_02")} == {HOPPER, other}


def test_generate_with_a_wrong_key(
    server: GeminiServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server.script = [wrong_key()]
    status, out, err = run(capsys, "generate", "--env", "hopper", "--out", tmp_path / "out")
    assert status == 2
    assert "error: Gemini does not accept the key in GEMINI_API_KEY (400" in err
    assert KEY not in out + err


def test_generate_without_a_key(
    server: GeminiServer,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    message = failure(capsys, "generate", "--env", "hopper", "--out", tmp_path / "out")
    assert message.startswith("no API key: set GEMINI_API_KEY")


def test_generate_nothing_usable(
    server: GeminiServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server.script = [text(OBSERVED), text(BEHAVIOUR), *[text("No code today.")] * 2]
    out = tmp_path / "out"
    status, _, err = run(capsys, "generate", "--env", "hopper", "--repairs", "1", "--out", out)
    assert status == 2
    message = err.partition("error: ")[2].splitlines()
    assert message[0] == f"no program could be used; every attempt is in {out / 'generation'}."
    assert [line[:9] for line in message[1:]] == ["03-write:", "04-repair"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--candidates", "0"), ("--repairs", "-1"), ("--temperature", "5"), ("--seed", "-1")],
)
def test_generate_impossible_numbers(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = failure(capsys, "generate", "--env", "hopper", option, value)
    assert message.startswith(f"{option} must be ")
    assert value in message


def test_generate_into_a_folder_in_use(
    server: GeminiServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("")
    assert "is not empty" in failure(capsys, "generate", "--env", "hopper", "--out", tmp_path)
    assert server.asked == []


# The command itself -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [[], ["make"], ["check"], ["check", "x.py"], ["generate"]], ids=str
)
def test_incomplete_commands_say_what_is_missing(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err


def test_help_names_the_three_commands() -> None:
    repository = Path(__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-m", "reward_codegen", "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )
    assert process.returncode == 0
    assert all(name in process.stdout for name in ("generate", "check", "show"))
