"""The settings of a run, as frozen dataclasses; `presets` fills them for each robot."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from lamour_jax.errors import UserError
from lamour_jax.ppo.config import POLICY_SCALES, GuardConfig, PPOConfig
from lamour_jax.ppo.networks import ACTIVATIONS, OUTPUTS
from reward_codegen.writer.providers.gemini import DEFAULT_MODEL

Stage = Literal["recovery", "original"]
Precision = Literal["float32", "tf32", "bfloat16"]

# Of `config.yaml` and, with it, of the run folder.
FORMAT_VERSION = 2

# Settings that may be changed in an interrupted run's `config.yaml`: training is the same.
_OF_NO_EFFECT = ("checkpoints.", "guard.max_skips", "guard.bad_state_files", "log", "devices")


@dataclass(frozen=True)
class ObjectiveConfig:
    """The coefficients of the method (LaMOuR, arXiv 2503.17125).

    Attributes:
        aux_coef: scale of the model's reward against the task's.
        consol_coef: weight of policy consolidation (LPC) against normalised advantages.
        fall_cost: taken off the reward of a step in which a healthy robot becomes unhealthy. What
            the official rule, which ends the episode there, is meant to say.
    """

    aux_coef: float = 0.5
    consol_coef: float = 0.1
    fall_cost: float = 0.0


@dataclass(frozen=True)
class EvaluationConfig:
    """How policies are measured.

    Attributes:
        episodes: episodes of each final evaluation.
        during_training: evaluations spread over training.
        episodes_during_training: episodes of each of those.
    """

    episodes: int = 256
    during_training: int = 10
    episodes_during_training: int = 64


@dataclass(frozen=True)
class CheckpointConfig:
    """When the whole training state is saved: at every evaluation, and more often if asked.

    Attributes:
        every_steps: environment steps from one to the next; 0: only at evaluations.
        every_minutes: minutes from one to the next, likewise.
        keep: how many of the latest are kept, at least two, so that a damaged one costs little; the
            best one is kept besides.
    """

    every_steps: int = 0
    every_minutes: float = 10.0
    keep: int = 2


@dataclass(frozen=True)
class RewardConfig:
    """How reward code is asked for from a language model, and how it is checked.

    Attributes:
        model: the language model: a Gemini model, or `openai/NAME`.
        candidates: programs to sample; of those that verify the best is trained on.
        repairs: how often a program that cannot be used is sent back with the reason.
        temperature: of sampling several candidates; a single one is asked for at 0.
        regenerate: ask again instead of taking replies from the cache.
        verification: `required`, or `reported` to train on a program that fails it.
    """

    model: str = DEFAULT_MODEL
    candidates: int = 1
    repairs: int = 3
    temperature: float = 0.8
    regenerate: bool = False
    verification: Literal["required", "reported"] = "required"


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run, as saved in its `config.yaml`.

    Attributes:
        env: robot.
        stage: `recovery`, or `original` to train an original policy anew.
        engine: physics engine.
        method: what is optimised, a name of `lamour_jax.methods.METHODS`.
        reward: `auto`, `library`, `model`, or the path of a file with reward code.
        reward_options: how a language model is asked, and how its code is checked.
        start: the start that is evaluated, and trained from unless `training_starts` says more.
        training_starts: starts of training episodes and their shares.
        terminate: whether falling after having been healthy ends a *training* episode.
        training_episode_length: time limit of training episodes in control steps.
        steps: environment steps of training.
        seed: of everything random.
        policy: path of the original policy; the shipped one if empty.
        precision: of matrix products: `float32`, or on accelerators the faster `tf32`, `bfloat16`.
        devices: over which the environments are spread; 0: all that there are.
        log: where metrics go beside `metrics.jsonl`: `tensorboard`, `wandb`, both or nothing.
    """

    env: str = "half_cheetah"
    stage: Stage = "recovery"
    engine: str = "auto"
    method: str = "lamour"
    reward: str = "auto"
    reward_options: RewardConfig = field(default_factory=RewardConfig)
    start: str = "ood"
    training_starts: dict[str, float] = field(default_factory=dict)
    terminate: bool = False
    training_episode_length: int = 1000
    steps: int = 1_600_000
    seed: int = 0
    policy: str = ""
    precision: Precision = "float32"
    devices: int = 0
    log: tuple[str, ...] = ("tensorboard",)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)

    @property
    def iterations(self) -> int:
        """Whole PPO iterations within the steps budget."""
        return self.steps // self.ppo.batch_size

    @property
    def most_envs(self) -> int:
        """How many environments a run steps side by side at most, in training or evaluation."""
        evaluation = self.evaluation
        return max(self.ppo.num_envs, evaluation.episodes, evaluation.episodes_during_training)

    def to_yaml(self) -> str:
        """Returns the settings as YAML, with the version of the format."""
        plain = {"format_version": FORMAT_VERSION, **self.to_plain()}
        return yaml.safe_dump(plain, sort_keys=False)

    def to_plain(self) -> dict[str, Any]:
        """Returns the settings as nested dictionaries, lists and scalars."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
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
            raise UserError(f"{had}; this release reads {FORMAT_VERSION}")
        config: RunConfig = _from_plain(cls, plain, "")
        return config


def _from_plain(cls: Any, plain: Any, prefix: str) -> Any:
    expected = typing.get_type_hints(cls)
    given = set(plain) if isinstance(plain, dict) else set()
    for what, names in (("unknown", given - set(expected)), ("missing", set(expected) - given)):
        if names:
            raise UserError(f"of another release: {what} setting {prefix}{min(names)}")
    values = {}
    for name, kind in expected.items():
        path = f"{prefix}{name}"
        if dataclasses.is_dataclass(kind):
            values[name] = _from_plain(kind, plain[name], f"{path}.")
        else:
            values[name] = _parse(yaml.safe_dump(plain[name]), kind, path)
    return cls(**values)


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
    one, other = (dict(_dotted(plain, "")) for plain in (there, here))
    return [
        f"{name} is {one.get(name, 'not set')} there and {other.get(name, 'not set')} here"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name) and not name.startswith(_OF_NO_EFFECT)
    ]


def _dotted(plain: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in plain.items():
        if isinstance(value, dict) and value:
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def override(config: Any, assignment: str, group: str = "") -> Any:
    """Returns a copy of a (nested) dataclass with one `a.b=value` applied.

    Args:
        config: the dataclass.
        assignment: within it.
        group: where it is nested itself, `a.` or nothing; for messages.

    Raises:
        UserError: no such setting (the known ones are listed), or a value of another type.
    """
    path, separator, text = assignment.partition("=")
    if not separator:
        raise UserError(f"--set takes name=value, not {assignment!r}")
    name, _, rest = path.strip().partition(".")
    known = {entry.name for entry in dataclasses.fields(config)}
    if name not in known:
        raise UserError(
            f"unknown setting {name!r} in --set {assignment}; known: {', '.join(sorted(known))}"
        )
    current = getattr(config, name)
    if dataclasses.is_dataclass(current):
        if not rest:
            inner = ", ".join(f"{name}.{entry.name}" for entry in dataclasses.fields(current))
            raise UserError(f"{name!r} is a group of settings; set one of {inner}")
        return dataclasses.replace(
            config, **{name: override(current, f"{rest}={text}", f"{group}{name}.")}
        )
    if rest:
        raise UserError(f"setting {name!r} has no parts; write --set {name}=value")
    expected = typing.get_type_hints(type(config))[name]
    return dataclasses.replace(config, **{name: _parse(text, expected, group + path)})


def _parse(text: str, expected: Any, path: str) -> Any:
    """Reads a YAML scalar, list or mapping as the type `expected`."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    origin = typing.get_origin(expected)
    try:
        if expected is float and not isinstance(value, bool):
            return float(value)
        if origin is tuple and isinstance(value, list):
            kind, *rest = typing.get_args(expected)
            length_fits = rest == [...] or len(value) == 1 + len(rest)
            admitted = str if kind is str else (int, float)
            if length_fits and all(isinstance(entry, admitted) for entry in value):
                return tuple(kind(entry) for entry in value)
        elif origin is dict and isinstance(value, dict):
            return {str(key): float(entry) for key, entry in value.items()}
        elif (origin is Literal and value in typing.get_args(expected)) or (
            isinstance(expected, type) and type(value) is expected
        ):
            return value
    except (TypeError, ValueError):
        pass
    wanted = getattr(expected, "__name__", str(expected))
    raise UserError(f"{path} must be of type {wanted}, not {text!r}")


def validate(config: RunConfig) -> None:
    """Checks what can be checked before anything is built.

    Raises:
        UserError: a size that is not positive, or a budget below one iteration.
    """
    ppo = config.ppo
    positive = {
        "--steps": config.steps,
        "--num-envs": ppo.num_envs,
        "ppo.unroll_length": ppo.unroll_length,
        "ppo.epochs": ppo.epochs,
        "ppo.minibatch_size": ppo.minibatch_size,
        "training_episode_length": config.training_episode_length,
        "--candidates": config.reward_options.candidates,
        "evaluation.episodes": config.evaluation.episodes,
        "evaluation.episodes_during_training": config.evaluation.episodes_during_training,
        "guard.max_skips_in_a_row": config.guard.max_skips_in_a_row,
        "guard.max_skips": config.guard.max_skips,
    }
    for name, value in positive.items():
        if value <= 0:
            raise UserError(f"{name} must be at least 1, not {value}")
    not_negative = {
        "--devices": config.devices,
        "checkpoints.every_steps": config.checkpoints.every_steps,
        "checkpoints.every_minutes": config.checkpoints.every_minutes,
        "guard.bad_state_files": config.guard.bad_state_files,
    }
    for name, amount in not_negative.items():
        if not amount >= 0:
            raise UserError(f"{name} must be at least 0, not {amount}")
    if config.checkpoints.keep < 2:
        raise UserError(f"checkpoints.keep must be at least 2, not {config.checkpoints.keep}")
    for name in ("max_state", "max_reward"):
        if not getattr(config.guard, name) > 0:
            raise UserError(f"guard.{name} must be above 0, not {getattr(config.guard, name)}")
    if config.reward_options.repairs < 0:
        raise UserError(
            f"reward_options.repairs must be at least 0, not {config.reward_options.repairs}"
        )
    if not 0.0 <= config.reward_options.temperature <= 2.0:
        raise UserError(
            "reward_options.temperature must be between 0 and 2, not "
            f"{config.reward_options.temperature}"
        )
    for name in ("max_std", "explore_std", "acting_weight"):
        if min(getattr(ppo, name)) <= 0:
            raise UserError(f"ppo.{name} must be two positive numbers, not {getattr(ppo, name)}")
    if not 0.0 < ppo.annealing <= 1.0:
        raise UserError(f"ppo.annealing must be above 0 and at most 1, not {ppo.annealing:g}")
    low, high = POLICY_SCALES
    if not low <= ppo.initial_scale <= high:
        raise UserError(
            f"ppo.initial_scale must be from {low:g} to {high:g}, not {ppo.initial_scale:g}"
        )
    if ppo.min_std < 0:
        raise UserError(f"ppo.min_std must be at least 0, not {ppo.min_std}")
    if not ppo.hidden_sizes or min(ppo.hidden_sizes) < 1:
        raise UserError(f"ppo.hidden_sizes must be at least 1 each, not {ppo.hidden_sizes}")
    if ppo.activation not in ACTIVATIONS:
        raise UserError(
            f"unknown ppo.activation {ppo.activation!r}; known: {', '.join(sorted(ACTIVATIONS))}"
        )
    if ppo.output not in OUTPUTS:
        raise UserError(f"unknown ppo.output {ppo.output!r}; known: {', '.join(sorted(OUTPUTS))}")
    shares = config.training_starts.values()
    if config.training_starts and (min(shares) < 0 or sum(shares) <= 0):
        raise UserError(
            f"training_starts must be shares of at least 0, not all 0: {config.training_starts}"
        )
    if config.seed < 0:
        raise UserError(f"--seed must be at least 0, not {config.seed}")
    if ppo.batch_size % ppo.minibatch_size:
        raise UserError(
            f"ppo.minibatch_size ({ppo.minibatch_size}) must divide one iteration's "
            f"{ppo.batch_size} transitions (--num-envs {ppo.num_envs} x ppo.unroll_length "
            f"{ppo.unroll_length})"
        )
    if config.iterations < 1:
        raise UserError(
            f"--steps {config.steps} is smaller than one iteration, which takes {ppo.batch_size} "
            f"steps (--num-envs {ppo.num_envs} x ppo.unroll_length {ppo.unroll_length})"
        )
