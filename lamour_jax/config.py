"""The settings of a run: each is declared once, here and in `ppo.config`."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from envs import RecoveryEnv
from lamour_jax.errors import UserError
from lamour_jax.ppo.config import GuardConfig, PPOConfig
from lamour_jax.setting import CHECKED, setting
from reward_codegen.writer.providers.gemini import DEFAULT_MODEL

DEFAULT_ROBOT = "half_cheetah"
Stage = Literal["recovery", "original"]
Precision = Literal["float32", "tf32", "bfloat16"]
Share = Annotated[float, Field(ge=0)]

# Of `config.yaml` and, with it, of the run folder.
FORMAT_VERSION = 3

# Settings that may be changed in an interrupted run's `config.yaml`: training is the same.
_OF_NO_EFFECT = ("checkpoints.", "guard.max_skips", "guard.bad_state_files", "log", "devices")

# What users of other learners look for, and what has it here.
_MEANT = {
    "ppo.discount": "ppo.horizon [s]",
    "ppo.gamma": "ppo.horizon [s]",
    "ppo.explore_correlation": "ppo.explore_time_constant [s]",
    "training_episode_length": "training_episode_seconds [s]",
    "ppo.lr": "ppo.learning_rate",
}


@dataclass(frozen=True, config=CHECKED)
class ObjectiveConfig:
    """The coefficients of the method (LaMOuR, arXiv 2503.17125)."""

    aux_coef: float = setting(1.0, "Scale of the reward for recovering against the task's.")
    consol_coef: float = setting(
        0.1, "Weight of policy consolidation (LPC) against normalised advantages.", ge=0
    )
    fall_cost: float = setting(
        0.0, "Taken off the reward of a step in which a healthy robot becomes unhealthy."
    )


@dataclass(frozen=True, config=CHECKED)
class EvaluationConfig:
    """How policies are measured."""

    episodes: int = setting(256, "Episodes of each final evaluation.", ge=1)
    during_training: int = setting(10, "Evaluations spread over training.", ge=0)
    episodes_during_training: int = setting(64, "Episodes of each of those.", ge=1)


@dataclass(frozen=True, config=CHECKED)
class CheckpointConfig:
    """When the whole training state is saved, beside at every evaluation."""

    every_steps: int = setting(
        0, "Environment steps between two checkpoints; 0: only at evaluations.", ge=0
    )
    every_minutes: float = setting(
        10.0, "Time between two checkpoints; 0: only at evaluations.", "min", ge=0
    )
    keep: int = setting(2, "How many of the latest are kept; the best one is kept besides.", ge=2)


@dataclass(frozen=True, config=CHECKED)
class RewardConfig:
    """How a language model is asked for reward code, and how its code is checked."""

    model: str = setting(
        DEFAULT_MODEL, "Language model that writes the reward: a Gemini model, or openai/NAME."
    )
    candidates: int = setting(
        1, "Reward programs to ask for. The best of those that verify is used.", ge=1
    )
    repairs: int = setting(
        3, "How often a program that cannot be used is sent back with the reason.", ge=0
    )
    temperature: float = setting(
        0.8,
        "Sampling temperature of several candidates. A single one is asked for at 0.",
        ge=0,
        le=2,
    )
    regenerate: bool = setting(False, "Ask again instead of using cached replies.")
    verification: Literal["required", "reported"] = setting(
        "required", "Whether a program that fails verification ends the run or is only reported."
    )


@dataclass(frozen=True, config=CHECKED)
class RunConfig:
    """Everything that decides a run, as saved in its `config.yaml`."""

    env: str = setting(
        DEFAULT_ROBOT, "Robot: one of those that ship, or your own: a folder, or FILE.py:CLASS."
    )
    stage: Stage = setting("recovery", "Learn to recover, or train an original policy anew.")
    engine: str = setting("auto", "Physics engine: auto, mujoco, mjx or mjx-warp.")
    method: str = setting(
        "lamour", "What is optimised: lamour, lamour-no-lpc, lamour-switch, sero, env or zero."
    )
    reward: str = setting(
        "auto",
        "Source of the reward: auto (model if its key is set, else library), library, model, or "
        "the path of a file.",
    )
    reward_options: RewardConfig = setting(RewardConfig, "")
    start: str = setting(
        "ood", "Start that is evaluated; training uses it where training_starts says nothing."
    )
    training_starts: dict[str, Share] = setting(dict, "Starts of training episodes, with shares.")
    terminate: bool = setting(
        False, "Whether a fall after having been healthy ends a training episode."
    )
    training_episode_seconds: float = setting(
        0.0, "Time limit of training episodes; 0: the robot's own.", "s", ge=0
    )
    steps: int = setting(1_000_000, "Environment steps of training.", ge=1)
    seed: int = setting(0, "Seed of everything random.", ge=0)
    policy: str = setting("", "Path of the original policy; empty: the shipped one.")
    precision: Precision = setting(
        "float32", "Precision of matrix products; tf32 and bfloat16 are faster on accelerators."
    )
    devices: int = setting(
        0, "Devices of this machine that share the environments; 0: all of them.", ge=0
    )
    log: tuple[Literal["tensorboard", "wandb"], ...] = setting(
        ("tensorboard",), "Where metrics go beside metrics.jsonl."
    )
    objective: ObjectiveConfig = setting(ObjectiveConfig, "")
    evaluation: EvaluationConfig = setting(EvaluationConfig, "")
    ppo: PPOConfig = setting(PPOConfig, "")
    checkpoints: CheckpointConfig = setting(CheckpointConfig, "")
    guard: GuardConfig = setting(GuardConfig, "")

    @property
    def iterations(self) -> int:
        """Whole PPO iterations within the steps budget."""
        return self.steps // self.ppo.batch_size

    @property
    def most_envs(self) -> int:
        """How many environments a run steps side by side at most, in training or evaluation."""
        evaluation = self.evaluation
        return max(self.ppo.num_envs, evaluation.episodes, evaluation.episodes_during_training)

    def training_episode_steps(self, env: RecoveryEnv) -> int:
        """Returns the time limit of training episodes in control steps of `env`."""
        seconds = self.training_episode_seconds
        return max(1, round(seconds / env.control_timestep)) if seconds else env.episode_length

    def to_yaml(self) -> str:
        """Returns the settings as YAML, with the version of the format."""
        plain = {"format_version": FORMAT_VERSION, **self.to_plain()}
        return yaml.safe_dump(plain, sort_keys=False)

    def to_plain(self) -> dict[str, Any]:
        """Returns the settings as nested dictionaries, lists and scalars."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_yaml(cls, text: str) -> RunConfig:
        """Reads what `to_yaml` wrote.

        Raises:
            UserError: another format version, or settings that this release does not have.
        """
        try:
            plain = yaml.safe_load(text)
        except yaml.YAMLError:
            plain = None
        if not isinstance(plain, dict):
            raise UserError("damaged")
        version = plain.pop("format_version", None)
        if version != FORMAT_VERSION:
            had = "no format version" if version is None else f"format version {version}"
            raise UserError(
                f"{had}; this release reads {FORMAT_VERSION}: train anew, or use the release that "
                "wrote it"
            )
        given = dict(dotted(plain))
        missing = sorted(set(settings()) - {_known(name) for name in given})
        if missing:
            raise UserError(f"missing setting {missing[0]}")
        return changed(cls(), given)


_CHECKED_RUN = TypeAdapter(RunConfig)


def settings(group: Any = None, prefix: str = "") -> dict[str, Any]:
    """Returns the declaration (a pydantic `FieldInfo`) of every setting by its dotted name."""
    group = group or RunConfig
    found: dict[str, Any] = {}
    for name, declared in group.__pydantic_fields__.items():
        if dataclasses.is_dataclass(declared.annotation):
            found |= settings(declared.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = declared
    return found


def changed(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """Returns a copy with changes, `{"ppo.clip": 0.1}`, checked one by one but not together.

    Raises:
        UserError: no such setting, or a value of another type or out of its bounds.
    """
    plain = config.to_plain()
    for name, value in changes.items():
        *groups, last = _known(name).split(".")
        place = plain
        for group in groups:
            place = place[group]
        place[last] = value
    try:
        # As JSON, in which a list may be a tuple and nothing else is taken for what it is not.
        return _CHECKED_RUN.validate_json(json.dumps(plain, default=str), strict=True)
    except ValidationError as error:
        raise UserError(_in_words(error)) from None


def override(config: RunConfig, assignment: str) -> RunConfig:
    """Returns a copy with one `a.b=value`, the value as in YAML.

    Raises:
        UserError: as `changed`, or no assignment.
    """
    name, separator, text = assignment.partition("=")
    if not separator:
        raise UserError(f"--set takes name=value, not {assignment!r}")
    return changed(config, {_known(name.strip()): _value(text)})


def dotted(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every setting of nested mappings with its dotted name."""
    declared = settings()
    for name, value in plain.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and path not in declared:
            yield from dotted(value, f"{path}.")
        else:
            yield path, value


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load_yaml(text: str) -> Any:
    """Reads YAML, in which 1e-4 is a number as well."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _value(text: str) -> Any:
    try:
        return load_yaml(text)
    except yaml.YAMLError:
        return text


def _known(name: str) -> str:
    """Returns the name of a setting.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    names = settings()
    if name in names:
        return name
    inner = [known for known in names if known.startswith(f"{name}.")]
    if inner:
        raise UserError(f"{name} is a group of settings; set one of {', '.join(inner)}")
    outer = name.rpartition(".")[0]
    if outer in names:
        raise UserError(f"setting {outer} has no parts; write {outer}=value")
    nearest = _MEANT.get(name) or _nearest(name, list(names))
    hint = f"did you mean {nearest}?" if nearest else "docs/configuration.md lists them all"
    raise UserError(f"unknown setting {name}; {hint}")


def _nearest(name: str, names: list[str]) -> str:
    last = {known.rpartition(".")[2]: known for known in names}
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    by_last = difflib.get_close_matches(name.rpartition(".")[2], last, n=1, cutoff=0.6)
    return close[0] if close else last[by_last[0]] if by_last else ""


def _in_words(error: ValidationError) -> str:
    """Returns the first mistake: the setting, what it must be, the value."""
    first = error.errors(include_url=False)[0]
    declared = settings()
    name, place = ".".join(map(str, first["loc"])), ""
    while name not in declared and "." in name:  # an entry of a list or of a mapping
        name, _, entry = name.rpartition(".")
        place = f" at {entry}"
    wanted = first["msg"].removeprefix("Input should ")
    for long, short in _SHORTER.items():
        wanted = wanted.replace(long, short)
    if first["type"] in ("too_short", "too_long", "missing"):
        entries = typing.get_args(declared[name].annotation)
        count = "at least 1" if entries[-1] is ... else str(len(entries))
        wanted, place = f"be a list of {count}", ""
    unit = declared[name].json_schema_extra["unit"]
    return f"{name}{f' [{unit}]' if unit else ''}{place} must {wanted}, not {first['input']!r}"


_SHORTER = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "above",
    "less than": "below",
    "a valid ": "a ",
    "a integer": "an integer",
    "an object": "a mapping",
    "a array": "a list",
    "a boolean": "true or false",
}


def read_config(run: Path) -> RunConfig:
    """Returns the settings of the run in the folder `run`.

    Raises:
        UserError: there is no run, or it is of another format.
    """
    file = run / "config.yaml"
    try:
        return RunConfig.from_yaml(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no run in {run}: it has no config.yaml") from None
    except (UserError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"the run in {run} cannot be read: config.yaml: {error}") from None


def as_begun(asked: RunConfig, there: RunConfig) -> RunConfig:
    """Returns the settings `asked` for with what a run that has begun has found out for itself.

    The engine that `auto` stands for, and the shape of the networks, which is the given policy's.
    """
    ppo = asked.ppo
    if asked.stage == "recovery" or asked.policy:
        ppo = dataclasses.replace(
            ppo,
            hidden_sizes=there.ppo.hidden_sizes,
            activation=there.ppo.activation,
            dropout=there.ppo.dropout,
            output=there.ppo.output,
            mirror=there.ppo.mirror,
        )
    engine = there.engine if asked.engine == "auto" else asked.engine
    return dataclasses.replace(asked, engine=engine, ppo=ppo)


def differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Returns in words which settings that decide a training differ, both as from `to_plain`."""
    one, other = (dict(dotted(plain)) for plain in (there, here))
    return [
        f"{name} is {one.get(name, 'not set')} there and {other.get(name, 'not set')} here"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name) and not name.startswith(_OF_NO_EFFECT)
    ]


def validate(config: RunConfig) -> None:
    """Checks the settings that depend on each other.

    Raises:
        UserError: they do not go together.
    """
    ppo = config.ppo
    if config.training_starts and not sum(config.training_starts.values()) > 0:
        raise UserError(f"training_starts must not all be 0: {config.training_starts}")
    sizes = f"(--num-envs {ppo.num_envs} x ppo.unroll_length {ppo.unroll_length})"
    if ppo.batch_size % ppo.minibatch_size:
        raise UserError(
            f"ppo.minibatch_size ({ppo.minibatch_size}) must divide one iteration's "
            f"{ppo.batch_size} transitions {sizes}"
        )
    if config.iterations < 1:
        raise UserError(
            f"--steps {config.steps} is smaller than one iteration, which takes {ppo.batch_size} "
            f"steps {sizes}"
        )
