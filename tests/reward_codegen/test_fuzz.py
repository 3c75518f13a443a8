"""Random replies end in a program or a RewardCodeError."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reward_codegen import RewardCodeError, compile_reward
from tests import shipped

FEW = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
DATA = Path(__file__).parent / "data"
TEXTS = [shipped.source(name) for name in shipped.names()]
TEXTS += [path.read_text() for path in sorted(DATA.glob("*/*/*.py"))]
TEXTS += re.split(r"^=== .*$", (DATA / "idioms.txt").read_text(), flags=re.MULTILINE)[1:]
TOKENS = sorted(set(re.findall(r"\w+|[^\w\s]+|\n[ ]*", "".join(TEXTS))))


@st.composite
def mutated(draw: Callable) -> str:
    """A text of the corpus with a few tokens deleted, repeated, moved or replaced."""
    tokens = re.findall(r"\w+|[^\w\s]+|\s+", draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(tokens) - 1))
        match draw(st.sampled_from(("delete", "repeat", "replace", "insert", "swap"))):
            case "delete":
                del tokens[place : place + draw(st.integers(1, 8))]
            case "repeat":
                tokens[place:place] = tokens[place : place + draw(st.integers(1, 30))]
            case "replace":
                tokens[place] = draw(st.sampled_from(TOKENS))
            case "insert":
                tokens.insert(place, " " + draw(st.sampled_from(TOKENS)) + " ")
            case "swap":
                other = draw(st.integers(0, len(tokens) - 1))
                tokens[place], tokens[other] = tokens[other], tokens[place]
        tokens = tokens or [" "]
    text = "".join(tokens)
    if "is_recovered" not in text:
        text = "import numpy as np\ndef is_recovered(state):\n    return 1\n" + text
    return text


def compiles_or_is_refused(reply: str | bytes) -> None:
    with contextlib.suppress(RewardCodeError):
        assert compile_reward(reply, state_size=17, action_size=6).sha256


@FEW
@given(st.one_of(st.text(max_size=400), st.binary(max_size=400)))
def test_any_text_is_compiled_or_refused(reply: str | bytes) -> None:
    compiles_or_is_refused(reply)


@FEW
@given(mutated())
def test_any_mutation_is_compiled_or_refused(reply: str) -> None:
    compiles_or_is_refused(reply)
