"""What models wrap their code in, and which of it is taken."""

import json
import time

import pytest

from reward_codegen import RewardCodeError, compile_reward
from reward_codegen.errors import ExtractionError
from reward_codegen.extract import extract

RECOVERED = "def is_recovered(state):\n    return 1 if state[0] > 0.3 else 0\n"
REWARD = "def calculate_reward(state, action):\n    return -abs(state[0])\n"
CODE = f"import numpy as np\n\n\n{RECOVERED}\n\n{REWARD}"
OTHER = CODE.replace("0.3", "0.9")
USAGE = "import gymnasium as gym\nenv = gym.make('Ant-v4')\nprint(calculate_reward(env.state, 0))\n"


def fenced(code: str, tag: str = "python", fence: str = "```") -> str:
    return f"{fence}{tag}\n{code}{fence}\n"


def shifted(code: str, margin: str) -> str:
    return "".join(margin + line if line.strip() else line for line in code.splitlines(True))


WRAPPED = {
    "bare": CODE,
    "fenced": "Here it is:\n\n" + fenced(CODE) + "\nGood luck!",
    "no tag": fenced(CODE, ""),
    "other tags": fenced(CODE, "Python3 title=reward.py"),
    "tildes": fenced(CODE, "python", "~~~"),
    "four ticks": "Text\n" + fenced(CODE, "python", "````"),
    "trailing spaces": f"```python   \n{CODE}```   \nDone",
    "indented in a list": "1. Code:\n\n" + shifted(fenced(CODE), "   ") + "\n2. Notes",
    "quoted": shifted(fenced(CODE), "> ").replace("\n\n", "\n>\n"),
    "unclosed": "Sure.\n```python\n" + CODE,
    "prose around bare code": f"Sure, this is it.\n\n{CODE}\nLet me know if that helps!\n",
    "prose before bare code": f"The reward = height, in short:\n{CODE}",
    "json": json.dumps({"explanation": "it lifts", "code": CODE}),
    "json lines": json.dumps({"lines": CODE.split("\n")}),
    "json of a fence": json.dumps({"reply": {"text": "Here:\n" + fenced(CODE)}}),
    "fence of json": "Answer:\n" + fenced(json.dumps({"code": CODE}) + "\n", "json"),
    "json string": json.dumps(CODE),
    "tags": f"<answer>\n{CODE}</answer>",
    "usage first": fenced(USAGE) + "and\n" + fenced(CODE),
    "usage last": fenced(CODE) + "Use it so:\n" + fenced(USAGE),
    "shell first": fenced("pip install numpy\n", "bash") + fenced(CODE),
    "output last": fenced(CODE) + fenced("-0.25\n", "text"),
    "improved version": "First try:\n" + fenced(OTHER) + "Better:\n" + fenced(CODE),
    "draft in thoughts": f"<think>\n{fenced(OTHER)}\n</think>\n" + fenced(CODE),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_code_is_found(name: str) -> None:
    source = extract(WRAPPED[name]).source
    assert source.strip() == CODE.strip()


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_line_ends_become_line_feeds(ending: str) -> None:
    reply = ("Here:\n" + fenced(CODE)).replace("\n", ending)
    assert extract(reply).source.strip() == CODE.strip()
    assert extract(reply.encode()).source.strip() == CODE.strip()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_bytes_are_decoded(encoding: str) -> None:
    assert extract(CODE.encode(encoding)).source == CODE
    assert extract("\ufeff" + CODE).source == CODE


def test_functions_in_two_blocks_are_joined() -> None:
    reply = fenced("import numpy as np\n" + RECOVERED) + "and the reward:\n" + fenced(REWARD)
    source = extract(reply).source
    assert source.index("is_recovered") < source.index("calculate_reward")


def test_helpers_in_an_earlier_block_come_along() -> None:
    helper = "def height(state):\n    return state[0]\n"
    reward = REWARD.replace("state[0]", "height(state)")
    reply = fenced(helper) + fenced(USAGE) + fenced(RECOVERED + reward)
    extraction = extract(reply)
    assert "def height" in extraction.source
    assert "gymnasium" not in extraction.source
    assert extraction.notes == ("2 of 3 code blocks were used",)


def test_a_fence_that_is_never_closed_is_noted() -> None:
    assert "not closed" in extract("```python\n" + CODE).notes[0]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("", "empty"),
        ("   \n\n", "empty"),
        ("I cannot help with that.", "holds no Python code"),
        ("{}", "holds no Python code"),
        ("def", "holds no Python code"),
        (b"\xff\x00\x00 def f(): pass", "not utf"),
        ("x" * 500_000, "more than"),
        (3, "not text but int"),
    ],
)
def test_a_reply_without_code_is_refused(reply: object, message: str) -> None:
    with pytest.raises(ExtractionError, match=message):
        extract(reply)  # type: ignore[arg-type]


CHAINED = "".join(f"```\ndef f{i}():\n    return f{i + 1}()\n```\n" for i in range(9000))
LONG = {
    "tags": "<code>" * 60_000,
    "fences": "```\n" * 90_000,
    "blocks that need each other": CHAINED,
    "brackets": "[" * 300_000,
    "objects": '{"a":' * 60_000,
    "line joins": "\\\n" * 100_000,
    "quotes": "'" * 399_000,
    "code that never parses": "x = 1\n" * 9000
    + "oops )\n    y\ndef is_recovered(state):\n    return 1\n",
    "prose and code": "def is_recovered(x):\n the quick brown fox\n" * 9000,
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_reply_is_refused_quickly(name: str) -> None:
    start = time.process_time()
    with pytest.raises(RewardCodeError):
        compile_reward(LONG[name], state_size=3, action_size=2)
    assert time.process_time() - start < 3.0
