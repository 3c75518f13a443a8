"""Whatever is wrong on the command line is said in one line that starts with `error:`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from lamour_jax import policies
from lamour_jax.errors import UserError
from lamour_jax.policies import originals
from lamour_jax.train import Arguments, main, resolve

SIZES = {"half_cheetah": (17, 6), "hopper": (11, 3)}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that starts against expectation leaves its folder in a temporary place."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake that goes unnoticed fails here, before anything is compiled."""

    def begin(*_: object, **__: object) -> None:
        raise AssertionError("the run began")

    monkeypatch.setattr("lamour_jax.run.stages.Evaluator", begin)
    monkeypatch.setattr("lamour_jax.run.stages.Learner", begin)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The file of a half cheetah's policy that has learned nothing."""
    return save_policy(tmp_path / "policy.npz", "half_cheetah")


def save_policy(path: Path, env: str) -> Path:
    header = policies.PolicyHeader(env, *SIZES[env], (8,), "tanh", provenance={})
    policies.save(path, header, header.network().init(jax.random.key(0), 0.3))
    return path


def check_error(status: int, stderr: str) -> str:
    """Returns the message, after checking that it is all that was said."""
    assert status == 2
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def error(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Runs the command line in this process; returns its message."""
    status = main([str(argument) for argument in arguments])
    return check_error(status, capsys.readouterr().err)


ROBOTS = ("ant", "half_cheetah", "hopper", "humanoid", "push_chair", "walker2d")
STARTS = ("ordinary", "ood", "ood-noisy")
METHOD_NAMES = ("lamour", "lamour-no-lpc", "lamour-switch", "sero", "env", "zero")


@pytest.mark.parametrize(
    ("arguments", "name", "known"),
    [
        (["--env", "dog"], "dog", ROBOTS),
        (["--engine", "bullet"], "bullet", ("auto", "mujoco", "mjx", "mjx-warp")),
        (["--method", "sac"], "sac", METHOD_NAMES),
        (["--start", "sideways"], "sideways", STARTS),
        (["--set", "training_starts={sideways: 1}"], "sideways", STARTS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unknown_names_list_the_known_ones(
    arguments: list[str],
    name: str,
    known: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    message = error(capsys, *arguments)
    assert repr(name) in message
    listed = message.partition("known: ")[2]
    assert all(entry in listed for entry in known), message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--steps", "0", "steps must be at least 1, not 0"),
        ("--num-envs", "-1", "ppo.num_envs must be at least 1, not -1"),
        ("--seeds", "0", "--seeds must be at least 1, not 0"),
        ("--seed", "-1", "seed must be at least 0, not -1"),
        ("--devices", "-1", "devices must be at least 0, not -1"),
        ("--set", "env=dog", "choose the robot by --env and the stage by --stage, not by --set"),
        ("--set", "ppo.discount=0.9", "unknown setting ppo.discount; did you mean ppo.horizon"),
        ("--set", "ppo.clip=big", "ppo.clip must be a number, not 'big'"),
        ("--set", "training_starts={ood: 0}", "training_starts must not all be 0: {'ood': 0.0}"),
    ],
)
def test_impossible_values(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What `--set` says of every kind of mistake is in test_config."""
    assert message in error(capsys, option, value)
    assert list(tmp_path.iterdir()) == []


def test_budget_below_one_iteration(capsys: pytest.CaptureFixture[str]) -> None:
    message = error(capsys, "--steps", "100", "--num-envs", "64", "--set", "ppo.unroll_length=64")
    assert "--steps 100 is smaller than one iteration, which takes 4096 steps" in message


def test_a_robot_that_has_no_mirror_image(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--env", "hopper", "--stage", "original", "--set", "ppo.mirror=true"]
    assert "ppo.mirror: hopper does not say" in error(capsys, *options)
    assert list(tmp_path.iterdir()) == []


def test_minibatches_that_do_not_divide(capsys: pytest.CaptureFixture[str]) -> None:
    message = error(capsys, "--num-envs", "3", "--set", "ppo.minibatch_size=256")
    assert "ppo.minibatch_size (256) must divide" in message


@pytest.mark.parametrize(
    "assignment", ["engine=mjx", "method=zero", "reward=library", "policy=p.npz", "seed=3"]
)
def test_set_is_honoured_or_refused_never_ignored(assignment: str) -> None:
    name, _, value = assignment.partition("=")
    try:
        config = resolve(Arguments(set=(assignment,)))
    except UserError:
        return
    assert str(getattr(config, name)) == value


def test_output_folder_in_use(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.json").write_text("{}")
    assert "out is not empty" in error(capsys, "--out", tmp_path / "out")


def test_output_folder_is_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert "out is a file" in error(capsys, "--out", tmp_path / "out")
    assert "is a file" in error(capsys, "--out", tmp_path / "out" / "below")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no place is unwritable for root here")
def test_output_folder_not_writable(capsys: pytest.CaptureFixture[str]) -> None:
    assert "/proc/lamour cannot be written" in error(capsys, "--out", "/proc/lamour")


def test_missing_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing.npz does not exist" in error(capsys, "--policy", "nothing.npz")


def test_policy_without_the_dropout_that_the_method_needs(
    capsys: pytest.CaptureFixture[str], policy: Path
) -> None:
    message = error(capsys, "--method", "sero", "--policy", policy)
    assert "was trained without dropout" in message
    assert "--stage original --env half_cheetah --set ppo.dropout=0.1" in message


@pytest.mark.parametrize("env", ["humanoid", "push_chair"])
def test_robot_without_an_original_policy(
    env: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(originals, "_shipped_file", lambda env, dropout: tmp_path / "none")
    message = error(capsys, "--env", env)
    assert f"no original policy ships for {env!r}" in message
    assert f"--stage original --env {env}" in message


def test_damaged_policy(capsys: pytest.CaptureFixture[str], policy: Path) -> None:
    policy.write_bytes(policy.read_bytes()[:-50])
    assert "policy.npz is damaged" in error(capsys, "--policy", policy)


def test_policy_of_another_robot(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    hopper = save_policy(tmp_path / "hopper.npz", "hopper")
    assert "is for 'hopper', not for 'half_cheetah'" in error(capsys, "--policy", hopper)


BAD_REWARDS = {
    "no Python": (b"I am sorry, I cannot do that.", "refused"),
    "half a function": (b"def is_recovered(state):\n    return (1\n", "refused"),
    "one function": (b"def is_recovered(state):\n    return 1\n", "calculate_reward"),
    "system calls": (
        b"import os\ndef is_recovered(state):\n    return os.system('true')\n"
        b"def calculate_reward(state, action):\n    return -1.0\n",
        "os",
    ),
    "no such entry": (
        b"def is_recovered(state):\n    return int(state[17] > 0)\n"
        b"def calculate_reward(state, action):\n    return -1.0\n",
        "17",
    ),
    "no text": (b"\xff\xfe\x00", "this is not UTF-16 text"),
    "nothing": (b"", "refused"),
}


@pytest.mark.parametrize("case", BAD_REWARDS)
def test_reward_code_that_cannot_be_used(
    case: str, capsys: pytest.CaptureFixture[str], policy: Path, tmp_path: Path
) -> None:
    content, expected = BAD_REWARDS[case]
    reward = tmp_path / "reward.py"
    reward.write_bytes(content)
    message = error(capsys, "--policy", policy, "--reward", reward, "--engine", "mujoco")
    assert "reward.py" in message
    assert expected in message


@pytest.mark.parametrize("path", ["nothing.py", "."])
def test_reward_file_that_cannot_be_read(
    path: str, capsys: pytest.CaptureFixture[str], policy: Path
) -> None:
    message = error(capsys, "--policy", policy, "--reward", path)
    assert f"--reward {path}" in message
    assert "give auto, library, model, or the path of a file" in message


def test_engine_that_is_not_installed(
    capsys: pytest.CaptureFixture[str], policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "warp" else find(name, *rest),
    )
    message = error(capsys, "--policy", policy, "--engine", "mjx-warp")
    assert "needs warp-lang" in message


def test_words_that_are_no_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--steps", "many"])
    assert exit_.value.code != 0
    assert "--steps" in capsys.readouterr().err


def run_as_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    repository = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-m", "lamour_jax.train", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(repository)},
    )


def test_command_ends_with_the_message_alone(policy: Path) -> None:
    process = run_as_command("--env", "dog")
    assert "'dog'; known: ant" in check_error(process.returncode, process.stderr)
    assert process.stdout == ""
    policy.write_bytes(b"not a policy")
    process = run_as_command("--policy", policy)
    assert "policy.npz is damaged" in check_error(process.returncode, process.stderr)
