"""What is refused, how quickly, and with which words."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reward_codegen import RewardCodeError, compile_reward, errors

from .agreement import IS_RECOVERED

SECONDS = 5.0  # of processor time: what is promised; each takes about one or less


def cases() -> dict[str, tuple[type[RewardCodeError], str, str]]:
    """The cases of refused.txt, each under a line `=== name :: error :: pattern of its message`."""
    text = (Path(__file__).parent / "data" / "refused.txt").read_text(encoding="utf-8")
    found = {}
    for case in text.removeprefix("=== ").split("\n=== "):
        title, source = case.split("\n", 1)
        name, kind, pattern = title.split(" :: ")
        found[name] = (getattr(errors, kind), pattern, source)
    return found


def reward(*lines: str) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"import numpy as np\n{IS_RECOVERED}def calculate_reward(state, action):\n{body}"


def refusal(source: str) -> RewardCodeError:
    start = time.process_time()
    with pytest.raises(RewardCodeError) as caught:
        compile_reward(source, state_size=6, action_size=2)
    assert time.process_time() - start < SECONDS
    assert len(str(caught.value)) < 600
    return caught.value


REFUSED = cases()


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str) -> None:
    kind, pattern, source = REFUSED[name]
    error = refusal(source)
    assert isinstance(error, kind), f"{type(error).__name__}: {error}"
    assert re.search(pattern, str(error)), str(error)


CHAIN = "".join(f"def g{i}(x):\n    return g{i + 1}(x) + 1e-6\n\n" for i in range(5000))
TOO_LARGE = {
    "deep brackets": reward("return " + "(" * 90 + "1" + ")" * 90),
    "open brackets": reward("return " + "[" * 3000),
    "minus signs": reward("return " + "-" * 5000 + "1"),
    "nots": reward("return " + "not " * 5000 + "1"),
    "attributes": reward("return state" + ".T" * 5000),
    "subscripts": reward("return state" + "[0]" * 3000),
    "calls": reward("return abs" + "(abs" * 3000),
    "lambdas": reward("return " + "lambda: " * 3000 + "1"),
    "powers": reward("return " + "2 ** " * 5000 + "1"),
    "conditions": reward("return " + "1 if state[0] > 0 else " * 900 + "2"),
    "comparisons": reward("return " + "1 < " * 9000 + "2"),
    "blocks": reward(*["    " * k + "if True:" for k in range(90)], "    " * 90 + "pass"),
    "long sum": reward("return " + " + ".join(f"{i}.5 * state[{i % 6}]" for i in range(4000))),
    "huge sum": reward("return " + " + ".join(f"1e-9*state[{i % 6}]" for i in range(58793))),
    "many digits": reward("return " + "9" * 50000),
    "an integer of 4,000 digits": reward("return -" + "1" * 4000),
    "many tokens": reward("return sum([" + "1, " * 20000 + "])"),
    "long chain": reward("return g0(state[0])") + CHAIN + "def g5000(x):\n    return x\n",
    "chain": reward("return g4700(state[0])") + CHAIN[-38000:] + "def g5000(x):\n    return x\n",
    "null byte": reward("return 1.0 \0"),
    "form feeds": reward("return 1.0" + "\f" * 10000 + "+"),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_is_too_large_is_refused(name: str) -> None:
    message = str(refusal(TOO_LARGE[name]))
    words = "nest|parse|null|valid|tokens|steps|bits|characters|operations|indexed"
    assert re.search(words, message), message


def test_refusals_need_little_memory() -> None:
    # In a process of its own: the peak of this one is that of all tests before.
    command = """
import json, resource, sys
from reward_codegen import RewardCodeError, compile_reward
compile_reward(json.loads(sys.argv[1]), state_size=6, action_size=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for source in json.load(sys.stdin):
    try:
        compile_reward(source, state_size=6, action_size=2)
    except RewardCodeError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    sources = [*TOO_LARGE.values(), *(source for _, _, source in REFUSED.values())]
    grown = subprocess.run(
        [sys.executable, "-c", command, json.dumps(reward("return -1.0"))],
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(grown.stdout) < 2**18, "KiB"


@pytest.mark.parametrize("sizes", [(0, 1), (3, 0), (-1, 2)])
def test_sizes_are_at_least_one(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        compile_reward(reward("return 1.0"), state_size=sizes[0], action_size=sizes[1])


def test_the_error_carries_the_line_and_the_text() -> None:
    error = refusal(reward("x = 1", "return state[6]"))
    assert (error.line, error.text) == (6, "state[6]")
    assert str(error).startswith("Line 6: `state[6]`: index 6 is out of range")
