"""What models wrap their code in, and which of it is taken."""

import json
import os
import re
import time
from pathlib import Path

import pytest

from reward_codegen import RewardCodeError, compile_reward
from reward_codegen.errors import ExtractionError
from reward_codegen.extract import extract
from reward_codegen.reading import read_file

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
    assert "block 1 (for height), block 3 (the last" in extraction.notes[0]


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
        (b"\xff\x00\x00 def f(): pass", "not UTF-8 text .byte 0xff in line 1"),
        ("x" * 500_000, "more than"),
        (3, "not text but int"),
    ],
)
def test_a_reply_without_code_is_refused(reply: object, message: str) -> None:
    with pytest.raises(ExtractionError, match=message):
        extract(reply)  # type: ignore[arg-type]


LOWER = REWARD.replace("-abs(state[0])", "-7.0")
IN_DOCSTRING = CODE.replace(
    "    return -abs",
    '    """As:\n```python\nreward = calculate_reward(s, a)\n```\n    """\n    return -abs',
)
DRAFT = f"<think>\n{fenced(OTHER)}</think>\n"
CHOSEN = {
    "a later block defines one function anew": (fenced(CODE) + "Better:\n" + fenced(LOWER), "-7.0"),
    "a later block sets a constant anew": (
        fenced("W = 1\n" + CODE.replace("-abs", "-W * abs")) + fenced("W = 7\n"),
        "W = 7",
    ),
    "two versions in one block": (fenced(CODE + LOWER), "-7.0"),
    "bare code after thoughts": (DRAFT + CODE, "state[0] > 0.3"),
    "thoughts whose beginning is not shown": (f"so\n</think>\n{CODE}", "state[0] > 0.3"),
    "a fence in a docstring": (fenced(IN_DOCSTRING), "return -abs"),
    "a docstring with a fence, bare": (IN_DOCSTRING, "return -abs"),
    "a fence behind words": (f"Code:```python\n{CODE}```", "return -abs"),
    "words behind a fence": (f"```python\n{CODE}``` as asked", "return -abs"),
    "a listing": (
        f"\\begin{{lstlisting}}[language=Python]\n{CODE}\\end{{lstlisting}}",
        "return -abs",
    ),
    "a section of characters": (f"<code><![CDATA[\n{CODE}]]></code>", "return -abs"),
    "JSON in prose": ('Sure: {"code": ' + json.dumps(CODE) + "} done", "return -abs"),
    "a tool call": (
        json.dumps({"calls": [{"arguments": json.dumps({"source": CODE})}]}),
        "return -abs",
    ),
    "a notebook": (
        json.dumps(
            {
                "cells": [
                    {"cell_type": "markdown", "source": ["def of the task"]},
                    {"cell_type": "code", "source": ["import numpy as np\n"]},
                    {"cell_type": "code", "source": (RECOVERED + REWARD).splitlines(True)},
                ]
            }
        ),
        "return -abs",
    ),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_the_version_that_counts_is_chosen_and_named(name: str) -> None:
    reply, part = CHOSEN[name]
    extraction = extract(reply)
    compile(extraction.source, "reply", "exec")
    counts = extraction.source[extraction.source.rindex("def calculate_reward") :]
    assert part in counts + extraction.source.split("def is_recovered")[1]
    assert "0.9" not in extraction.source
    if "anew" in name or "versions" in name or "thoughts" in name:
        assert re.search("anew|last version|thoughts before", " ".join(extraction.notes))


DAMAGED = {
    "a continued line without brackets": (CODE + "           - 0.01 * state[1]\n", 9),
    "prose that is indented": (CODE + "\n    Note: this keeps it negative.\n", 10),
    "a misspelt word at the end": (CODE + "retrun state\n", 9),
    "prose between the functions": (CODE.replace("\n\ndef calc", "\nNow this:\ndef calc"), 6),
    "a mistake in a fence": (fenced(CODE.replace("state[0])", "state[0]]")), 9),
    "a mistake beside a docstring with a fence": (IN_DOCSTRING.replace("-abs", "==abs"), 14),
    "a prompt before each line": (fenced("".join(">>> " + x for x in CODE.splitlines(True))), 1),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_source_with_a_mistake_is_never_cut(name: str) -> None:
    """Python's own message and line."""
    reply, _ = DAMAGED[name]
    source = extract(reply).source
    with pytest.raises(SyntaxError) as said:
        compile(source, "reply", "exec")
    with pytest.raises(RewardCodeError, match="not valid Python") as caught:
        compile_reward(reply, state_size=3, action_size=2)
    assert caught.value.line == said.value.lineno
    assert str(said.value.msg)[:30] in str(caught.value)


ASYNC = CODE.replace("def calc", "async def calc")
UNUSABLE = {
    "latin-1": ("# \xe9\n" + CODE).encode("latin-1"),
    "UTF-16 .* without a byte-order mark": CODE.encode("utf-16-le"),
    "null byte": CODE.replace("def", "\0def", 1),
    "surrogate": CODE + "# \ud800\n",
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(99),
    "zip": b"PK\x03\x04" + bytes(99),
    "gzip": b"\x1f\x8b\x08" + bytes(99),
    "PDF": b"%PDF-1.7\n%\xe2\xe3",
    "async": ASYNC,
    "method of this class": "class R:\n" + shifted(RECOVERED + REWARD, "    "),
    "nearest is compute_reward in line 8": CODE.replace("calculate_", "compute_"),
    "nearest is recovered in line 4": CODE.replace("is_recovered", "recovered"),
    "must be calculate_reward.state, action": CODE.replace("(state, action)", "(state, a, b)"),
    "diff": fenced("".join("+" + line for line in CODE.splitlines(True)), "diff"),
    "begins like JSON, but unterminated string": '{"code": "def is_recovered(state)',
    "thoughts of the reply do not end": "<think>\n" + fenced(CODE),
    "nothing follows the thoughts": f"<think>\n{fenced(CODE)}</think>\n",
}


@pytest.mark.parametrize("message", UNUSABLE)
def test_one_line_says_what_it_is_instead(message: str) -> None:
    words = {"latin-1": "0xe9 in line 1", "surrogate": "half a surrogate pair"}
    with pytest.raises(RewardCodeError, match=words.get(message, message)) as caught:
        compile_reward(UNUSABLE[message], state_size=3, action_size=2)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text(CODE)
    assert read_file(tmp_path / "reward.py") == CODE.encode()
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("", "is a folder"),
        ("no", "No such file"),
        ("pipe", "a device or a pipe"),
    ):
        with pytest.raises(ExtractionError, match=message):
            read_file(tmp_path / name)


CHAINED = "".join(f"```\ndef f{i}():\n    return f{i + 1}()\n```\n" for i in range(9000))
LONG = {
    "tags": "<code>" * 60_000,
    "tabs behind a fence": "~~~" + " \t" * 100_000 + "`",
    "strings in a fence": '```python\n"""' + "x ```\n" * 60_000,
    "closed tags": "<code>x</code>" * 28_000,
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
