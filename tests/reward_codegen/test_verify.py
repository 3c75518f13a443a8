"""Verification on states of the real environments: good programs pass, bad ones are found."""

import json
import re
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from reward_codegen import RewardProgram, compile_reward
from reward_codegen.verify import Report, negative, shifted, verify
from tests import shipped

from .probes import probes
from .toy_task import BODY, SOURCE, toy_task

DATA = Path(__file__).parent / "data"
FILES = {"halfcheetah": "half_cheetah", "hopper": "hopper", "walker2d": "walker2d"}
CORPUS = sorted(
    path.relative_to(DATA).as_posix() for path in DATA.glob("*/*/*.py") if path.parent.name in FILES
)


def program_for(name: str, source: str) -> RewardProgram:
    some = probes(name)
    return compile_reward(source, state_size=some.ood.shape[1], action_size=some.actions.shape[1])


def hopper(recovered: str, reward: str) -> tuple[RewardProgram, Report]:
    """A program for the hopper (height, pitch, ...) and its report."""
    source = (
        "import numpy as np\n"
        f"def is_recovered(state):\n    return int({recovered})\n"
        f"def calculate_reward(state, action):\n"
        f"    return {reward} if np.all(np.isfinite(state)) else -20.0\n"
    )
    program = program_for("hopper", source)
    return program, verify(program, probes("hopper"))


GOOD = "state[0] > 0.75 and abs(state[1]) < 0.2"
RISING = "-1.0 - abs(1.25 - state[0]) - abs(state[1]) - 0.01 * np.mean(np.square(action))"


@pytest.mark.parametrize("name", shipped.names())
def test_a_library_program_passes_without_a_finding(name: str) -> None:
    report = verify(program_for(name, shipped.source(name)), probes(name))
    assert report.findings == ()
    assert report.passed
    assert report.score > 1.9
    assert report.numbers["rank_correlation"] > 0.95


@pytest.mark.parametrize("name", CORPUS)
def test_a_good_program_passes(name: str) -> None:
    environment = FILES[Path(name).parent.name]
    report = verify(program_for(environment, (DATA / name).read_text()), probes(environment))
    assert report.passed, report.text()
    assert report.score > 1.5


BAD = {
    "always recovered": ("True", RISING, "recovered", "returns 1 for all 216 states"),
    "never recovered": ("state[0] > 9", RISING, "recovered", "returns 0 for all 216 states"),
    "recovered when lying": (
        "state[0] < 0.75",
        RISING,
        "recovered",
        "returns 1 for 12 of 12 out-of-distribution starts",
    ),
    "too strict": (
        f"{GOOD} and abs(state[1]) < 0.0015",
        RISING,
        "recovered",
        r"returns 1 for only \d+% of 12 states",
    ),
    "constant": (GOOD, "-1.0", "rising", "The reward is -1 all the way"),
    "inverted": (
        GOOD,
        "-9.0 + abs(1.25 - state[0]) + abs(state[1])",
        "rising",
        r"does not rise .*from -6.1.* to -8.9",
    ),
    "wrong entries": (GOOD, "-1.0 - abs(state[8])", "rising", "does not rise|hardly rises"),
    "positive": (GOOD, f"5.0 + {RISING}", "negative", r"0 or more on 216 of 216 states, up to 3.9"),
    "positive when upright": (GOOD, f"1.5 + {RISING}", "negative", r"up to 0\.\d+"),
    "not a number": (
        GOOD,
        f"np.sqrt(state[0] - 0.5) + {RISING}",
        "finite",
        "on 12 of 12 out-of-distribution starts",
    ),
    "all penalty": (GOOD, f"{RISING} - 9 * np.sum(action ** 2)", "penalty", "part .* too large"),
    "rounding": (
        GOOD,
        f"{RISING} + 0.1 * np.sin(1e5 * (3.0 + state[1]))",
        "agreement",
        "differs from double precision by more than 0.0001 on",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_program_is_found(name: str) -> None:
    recovered, reward, check, pattern = BAD[name]
    _, report = hopper(recovered, reward)
    assert not report.passed
    messages = [part.message for part in report.findings if part.check == check]
    assert re.search(pattern, " ".join(messages)), report.text()
    assert all(len(message) < 400 for message in messages)
    assert report.score < -5.0


WORTH_A_WARNING = {
    "larger actions pay": (GOOD, f"{RISING} + 0.02 * np.mean(action)", "penalty", "higher than"),
    "a large penalty": (GOOD, f"{RISING} - 0.9 * np.mean(action ** 2)", "penalty", "too large"),
    "extreme states": (GOOD, f"np.where(abs(state[3]) < 9, {RISING}, np.nan)", "finite", "extreme"),
    "nearly flat": (
        GOOD,
        "-1.0 + 0.1 * (state[0] > 1.23) - 0.1 * (0.5 < state[0] < 0.9)",
        "rising",
        "hardly",
    ),
    "stricter than ordinary": (
        f"{GOOD} and state[2] > -0.003",
        RISING,
        "recovered",
        r"returns 1 for only \d+% of 12",
    ),
}


@pytest.mark.parametrize("name", WORTH_A_WARNING)
def test_a_doubtful_program_passes_with_a_warning(name: str) -> None:
    recovered, reward, check, pattern = WORTH_A_WARNING[name]
    _, report = hopper(recovered, reward)
    assert report.passed, report.text()
    assert [part.check for part in report.findings] == [check], report.text()
    assert re.search(pattern, report.findings[0].message), report.text()


def test_what_raises_is_found() -> None:
    source = f"""
import numpy as np
def is_recovered(state):
    return int({GOOD})
def calculate_reward(state, action):
    if state[0] > 1.0:
        raise ValueError("too high")
    return {RISING}
"""
    report = verify(program_for("hopper", source), probes("hopper"))
    assert "raises an exception on" in report.text() and "too high" in report.text()
    assert not report.passed


def test_a_threshold_is_no_disagreement() -> None:
    _, report = hopper(GOOD, f"{RISING} - (1.0 if state[0] >= 0.1 else 2.0)")
    some = probes("hopper")
    ood = some.ood.copy()
    ood[:, 0] = np.float32(0.1)  # above 0.1 in double precision, equal in single
    program, _ = hopper(GOOD, f"{RISING} - (1.0 if state[0] > 0.1 else 2.0)")
    report = verify(program, replace(some, ood=ood))
    assert report.passed
    assert report.numbers["on_threshold"] > 0.0 == report.numbers["apart_from_numpy"]


def test_a_positive_reward_can_be_lowered() -> None:
    program, report = hopper(GOOD, f"3.0 + {RISING}")
    assert not report.passed
    lowered = negative(program, report)
    again = verify(lowered, probes("hopper"))
    assert again.passed, again.text()
    by = report.numbers["largest_reward"] - again.numbers["largest_reward"]
    assert by == pytest.approx(report.numbers["largest_reward"], abs=0.05)
    assert lowered.notes[-1].startswith("the reward was lowered by 2.")
    # The lowered program is complete: its source alone gives the same rewards.
    state, action = jnp.asarray(probes("hopper").ood[0]), jnp.zeros(3)
    alone = compile_reward(lowered.source, state_size=11, action_size=3)
    assert alone.sha256 == lowered.sha256 != program.sha256
    assert float(alone.calculate_reward(state, action)) == pytest.approx(
        float(program.calculate_reward(state, action)) - by, abs=1e-4
    )
    assert int(alone.is_recovered(state)) == int(program.is_recovered(state))


def test_a_negative_reward_stays_as_it_is() -> None:
    program, report = hopper(GOOD, RISING)
    assert negative(program, report) is program


def test_it_can_be_lowered_again() -> None:
    program, _ = hopper(GOOD, RISING)
    twice = shifted(shifted(program, 1.0), 0.5)
    state, action = jnp.ones(11), jnp.zeros(3)
    difference = program.calculate_reward(state, action) - twice.calculate_reward(state, action)
    assert float(difference) == pytest.approx(1.5)


def test_the_report_can_be_written_and_read() -> None:
    _, report = hopper("True", "-1.0 + 0 * np.log(state[0] - 0.5)")
    assert "failed" in report.text() and "error: finite: " in report.text()
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data["passed"] is False
    assert {"check", "severity", "message"} == set(data["findings"][0])
    assert data["score"] == report.score


def test_probes_of_another_size_are_refused() -> None:
    program, _ = hopper(GOOD, RISING)
    with pytest.raises(ValueError, match=r"probes.ood has shape \(12, 17\), not \(1 or more, 11\)"):
        verify(program, probes("walker2d"))
    with pytest.raises(ValueError, match=r"probes.actions has shape \(0, 3\)"):
        verify(program, replace(probes("hopper"), actions=np.zeros((0, 3))))


@pytest.mark.parametrize(
    ("source", "severity"), [(SOURCE, None), (BODY.format(reward="-10.0 + 2.0 * tilt"), "error")]
)
def test_recorded_recoveries_are_tried_too(source: str, severity: str | None) -> None:
    probes = toy_task().probes
    # Over the top and down on the other side: the tilt does not fall all the way.
    recorded = np.stack([[[0.1, 3.0], [0.3, 3.1], [0.6, 2.0], [0.7, 0.5], [0.5, 0.0]]])
    program = compile_reward(source, state_size=2, action_size=2)
    report = verify(program, replace(probes, recorded=recorded))
    assert (report.numbers["rank_correlation_recorded"] > 0.5) == (severity is None)
    found = [f.severity for f in report.findings if "a trained robot" in f.message]
    assert found == ([] if severity is None else [severity])
    with pytest.raises(ValueError, match=r"probes.recorded has shape \(1, 1, 2\)"):
        replace(probes, recorded=recorded[:, :1]).check(2, 2)
