"""An environment that may start out of distribution: reset, step, health and termination.

Nothing here knows a robot. A robot's file says where it starts, what it observes, what its
original task rewards and when it is healthy; everything is a pure function of one simulation's
state, and `jax.vmap` makes it a batch.
"""

from __future__ import annotations

import abc
import difflib
import functools
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct

from envs import banks, defaults
from envs.mirror import Mirror
from envs.physics.choice import ENGINES, make_engine
from envs.physics.interface import PhysicsData, PhysicsEngine
from envs.start import GradedStart, Grading, Start

# The module of a robot's folder that defines its class, and what else may be in the folder.
ROBOT_FILE = "robot"
FOLDER_FILES = ("robot.py", "description.md", "reward.py", "settings.yaml", "policy.npz")


class EnvironmentUnavailable(ValueError):
    """An environment cannot be had here; the message says why."""


class ModelUnavailable(EnvironmentUnavailable):
    """A robot's model comes with a package that is not installed; the message says which."""


class Episode(struct.PyTreeNode):
    """What has happened in an episode up to now; it restarts with the episode.

    Attributes:
        healthy: now, `()` bool.
        was_healthy: at any step of this episode, `()` bool.
        falling: healthy before this step, not after it, `()` bool.
        fell: unhealthy at any step after the first healthy one, `()` bool.
        success: the original task's goal was reached at any step, `()` bool.
        termination, truncation: how the episode ends here, `()` bool.
        steps: control steps, `()` int32.
        healthy_streak: healthy steps in a row up to now, `()` int32.
        task_reward: the original task's reward of the last step, healthy or not, `()`.
        grading: where a start is graded (see `envs.start`), else None.
    """

    healthy: jax.Array
    was_healthy: jax.Array
    falling: jax.Array
    fell: jax.Array
    success: jax.Array
    termination: jax.Array
    truncation: jax.Array
    steps: jax.Array
    healthy_streak: jax.Array
    task_reward: jax.Array
    grading: Grading | None = None

    @classmethod
    def first(cls, healthy: jax.Array, grading: Grading | None) -> Episode:
        """Returns the episode that begins here, `healthy` or not."""
        no, none = jnp.bool_(False), jnp.int32(0)
        return cls(healthy, healthy, no, no, no, no, no, none, none, jnp.float32(0.0), grading)


class State(struct.PyTreeNode):
    """One environment's state.

    Attributes:
        data: the physics engine's state.
        obs: observations, `policy` and, where the critic may see more, `critic`; float32.
        reward: the original task's reward while healthy, 0 otherwise (as in the official code).
        done: 1.0 when the episode has ended, by termination or by truncation, else 0.0.
        episode: what has happened in it.
        memory: what the robot remembers besides.
        recovery_state: what a reward program is given, see `RecoveryEnv.recovery_state`.
        key: of the next start.
    """

    data: Any
    obs: dict[str, jax.Array]
    reward: jax.Array
    done: jax.Array
    episode: Episode
    memory: Any
    recovery_state: jax.Array
    key: jax.Array


class RecoveryEnv(abc.ABC):
    """A MuJoCo robot with an original task, a health test and an out-of-distribution start.

    The episode terminates when the robot is unhealthy after having been healthy at least once: a
    fallen robot has all the time limit to come back, a robot that starts upright terminates when
    it falls. A robot whose task has a goal also terminates when it is reached. With
    `terminate=False` only the time limit ends an episode.

    Attributes:
        name: under which it is registered; of its description and of its library reward.
        original_task: what it is there for, in a few words.
        frame_skip: physics steps in a control step.
        episode_length: time limit in control steps, unless a start has its own.
        recovered_share: it has recovered if it was healthy in this whole last share of an episode
            run to its time limit: the last 200 of 1,000 steps.
        has_goal: whether its task can be achieved, rather than only be done well.
        moves_things: whether its task is to move something, as a mobile manipulator does.
        engines: the physics engines that it can be put on, names of `envs.physics.choice.ENGINES`.
    """

    name: ClassVar[str]
    original_task: ClassVar[str]
    frame_skip: ClassVar[int]
    episode_length: ClassVar[int] = 1000
    recovered_share: ClassVar[float] = 0.2
    has_goal: ClassVar[bool] = False
    moves_things: ClassVar[bool] = False
    engines: ClassVar[tuple[str, ...]] = ENGINES

    def __init__(
        self,
        start: str | Mapping[str, float] = "ordinary",
        engine: str = "auto",
        terminate: bool = True,
        episode_length: int | None = None,
        num_envs: int = 1024,
    ):
        """Compiles the robot's model and puts it on a physics engine.

        Args:
            start: a name of `all_starts()`, or names with the share of episodes that begin there.
            engine: a name of `envs.physics.choice.ENGINES`.
            terminate: whether falling after having been healthy ends the episode.
            episode_length: time limit in control steps; by default that of the starts (the
                longest of a mix), or the robot's own.
            num_envs: how many of it are stepped side by side at most; only the engine `mjx-warp`
                needs to know.

        Raises:
            ValueError: an unknown start or engine, or an engine that cannot run here.
            ModelUnavailable: the robot's model comes with a package that is not installed.
        """
        mix = {start: 1.0} if isinstance(start, str) else dict(start)
        known = self.all_starts()
        for name in mix:
            if name not in known:
                raise ValueError(
                    f"unknown start {name!r} for {self.name}; known: {', '.join(known)}"
                )
        self._starts = [known[name] for name in mix]
        self._start_shares = np.asarray(list(mix.values()), np.float32) / sum(mix.values())
        self._graded = np.array([isinstance(start, GradedStart) for start in self._starts])
        self._terminate = terminate
        limits = [start.time_limit or self.episode_length for start in self._starts]
        self.time_limit = episode_length or max(limits)
        self.engine = self._make_engine(engine, num_envs)
        self._control_range = defaults.control_range(self.engine.model)
        self._check_fields()

    # What a robot's file says.

    @classmethod
    @abc.abstractmethod
    def make_model(cls) -> mujoco.MjModel:
        """Returns the compiled model, overrides applied."""

    @classmethod
    @abc.abstractmethod
    def starts(cls) -> dict[str, Start]:
        """Returns the named start distributions; `ordinary` and `ood` are always there."""

    @abc.abstractmethod
    def observe(self, data: PhysicsData, memory: Any) -> jax.Array | dict[str, jax.Array]:
        """Returns what the policy sees, `(observation_size,)`.

        Or a dictionary: `policy`, and `critic` where the critic may see more.
        """

    @abc.abstractmethod
    def task_reward(
        self, before: State, action: jax.Array, data: PhysicsData, memory: Any
    ) -> jax.Array:
        """Returns the original task's reward `()` of a step, healthy or not.

        Args:
            before: the state that the step began in; `before.data` is its physics.
            action: `(action_size,)`, clipped.
            data: the physics after the step.
            memory: what `advance` made of the memory.
        """

    @abc.abstractmethod
    def is_healthy(self, data: PhysicsData) -> jax.Array:
        """Returns whether the robot can do its original task from here, `()` bool."""

    # What it may say besides.

    def remember(self, data: PhysicsData, key: jax.Array) -> Any:
        """Returns the memory of an episode that begins at `data`: any pytree; none by default.

        What a policy needs beside the physics: the last action, a command, a history.
        """
        return ()

    def advance(self, memory: Any, data: PhysicsData, action: jax.Array, key: jax.Array) -> Any:
        """Returns the memory after a step that led to `data`, in the same shapes."""
        return memory

    @classmethod
    def random_pose(cls, model: mujoco.MjModel, rng: np.random.Generator) -> np.ndarray:
        """Returns a `qpos` `(nq,)` to be let go of, one of many that `ood-wide` begins in.

        Any orientation and joint angles by default, just above the ground.
        """
        return defaults.random_pose(model, rng)

    def control(self, data: PhysicsData, action: jax.Array) -> jax.Array:
        """Returns the actuators' controls `(nu,)` for an action in -1..1.

        By default -1 and 1 are the ends of each actuator's range, where it has one.
        """
        if self._control_range is None:
            return action
        middle, half = self._control_range
        return middle + half * action

    def randomize(self, model: mujoco.MjModel, key: jax.Array) -> dict[str, jax.Array]:
        """Returns the fields of `model` that differ in one episode, drawn with `key`.

        By MuJoCo's names and in its shapes, such as `{"geom_friction": ...}`, `(ngeom, 3)`, or
        `opt.gravity`; always the same ones, none by default. C MuJoCo recomputes what it derives
        from them (`mj_setConst`), MJX leaves that as it is in the model; MuJoCo Warp takes none.
        """
        return {}

    def recovery_state(self, data: PhysicsData, memory: Any) -> jax.Array:
        """Returns the state that reward programs are given; the policy's by default."""
        return self.observations(data, memory)["policy"]

    def has_failed(self, data: PhysicsData) -> jax.Array:
        """Returns whether an episode that has been healthy ends here, `()` bool.

        As soon as the robot is not healthy, by default.
        """
        return jnp.logical_not(self.is_healthy(data))

    def has_succeeded(self, data: PhysicsData) -> jax.Array:
        """Returns whether the original task's goal is reached, `()` bool; never by default."""
        return jnp.bool_(False)

    @classmethod
    def mirror(cls) -> Mirror | None:
        """Returns what it sees and does in a mirror, if it is alike on both sides."""
        return None

    # What follows from it.

    @classmethod
    def all_starts(cls) -> dict[str, Start]:
        """Returns `starts()` and what follows from them.

        `ood-noisy`, where a robot does not say it itself, is `ood` with 0.05 rad more noise in
        each hinge that has a motor; `ood-wide` is there where a bank of settled poses ships.
        """
        starts = dict(cls.starts())
        if "ood-noisy" not in starts:
            starts["ood-noisy"] = starts["ood"].with_noise(defaults.motor_noise(cls.make_model()))
        if "ood-wide" not in starts and cls.file("ood-wide.npz").is_file():
            starts["ood-wide"] = Start(banks.load(cls.file("ood-wide.npz")))
        return starts

    @property
    def model(self) -> mujoco.MjModel:
        return self.engine.model

    @property
    def control_timestep(self) -> float:
        """Seconds of simulated time in one control step."""
        return self.model.opt.timestep * self.frame_skip

    @property
    def action_size(self) -> int:
        return self.model.nu

    @functools.cached_property
    def observation_size(self) -> int:
        return int(jax.eval_shape(self.reset, jax.random.key(0)).obs["policy"].shape[0])

    @functools.cached_property
    def critic_observation_size(self) -> int:
        """Size of what the critic sees; 0 where that is what the policy sees."""
        obs = jax.eval_shape(self.reset, jax.random.key(0)).obs
        return int(obs["critic"].shape[0]) if "critic" in obs else 0

    @functools.cached_property
    def recovery_state_size(self) -> int:
        state = jax.eval_shape(self.reset, jax.random.key(0))
        return int(state.recovery_state.shape[0])

    @classmethod
    def description(cls) -> str:
        """Returns what the language model is told of each state and action entry (Markdown).

        The robot's `description.md`; without one, the class's docstring and the names in its model.
        """
        file = cls.file("description.md")
        if file.is_file():
            return file.read_text("utf-8")
        text = cls.__doc__ or ""
        return defaults.description(cls.name, cls.original_task, text, cls.make_model())

    @classmethod
    def file(cls, name: str) -> Path:
        """Returns where the robot's own file `name` is, whether it is there or not.

        Beside `robot.py` in the robot's folder; of a robot that is a single file, beside that with
        the robot's name in front: `pole-description.md`.
        """
        source = Path(inspect.getfile(cls)).resolve()
        return source.with_name(name if source.stem == ROBOT_FILE else f"{cls.name}-{name}")

    def observations(self, data: PhysicsData, memory: Any) -> dict[str, jax.Array]:
        """Returns what `observe` returns, always as a dictionary."""
        seen = self.observe(data, memory)
        parts = seen if isinstance(seen, dict) else {"policy": seen}
        return {name: jnp.asarray(part, jnp.float32) for name, part in parts.items()}

    def reset(self, key: jax.Array) -> State:
        """Returns a fresh start drawn with `key`."""
        key, start_key = jax.random.split(key)
        grading = None
        if self._graded.any():
            grading = Grading.first(start_key, self._is_graded(start_key))
        data = self._begin(start_key, grading.distance if grading else jnp.float32(0.0))
        return self._at_start(data, key, start_key, grading)

    def begin_at(self, qpos: jax.Array, qvel: jax.Array) -> State:
        """Returns an episode that begins at `qpos` `(nq,)` and `qvel` `(nv,)`."""
        key = jax.random.key(0)
        data = self.engine.init(qpos, qvel, self._draw_fields(key))
        return self._at_start(data, key, key, None)

    def restart(self, state: State) -> State:
        """Returns `state`, or, where it is done, the start that `reset(state.key)` draws.

        Where a start is graded, its distance follows from the episode that has ended.
        """
        done = state.done > 0
        key, start_key = jax.random.split(state.key)
        grading = state.episode.grading
        if grading is not None:
            # That it stays so is learned from nearer starts as well.
            is_graded = self._is_graded(start_key)
            grading = grading.after(done, state.episode.was_healthy, start_key, is_graded)
        distance = grading.distance if grading else jnp.float32(0.0)
        # The engine chooses for itself: what it computes of a start, it computes only where asked.
        data = self._begin_where(done, state.data, start_key, distance)
        fresh = self._at_start(data, key, start_key, grading)
        chosen = jax.tree.map(
            functools.partial(jnp.where, done), fresh.replace(data=()), state.replace(data=())
        )
        return chosen.replace(data=data)

    def step(self, state: State, action: jax.Array) -> State:
        """Advances one control step under `action` `(action_size,)`, clipped to -1..1.

        A done episode goes on being simulated until `restart` draws a new start. A simulation whose
        state is no longer finite terminates with reward 0.
        """
        action = jnp.clip(action, -1.0, 1.0)
        data = self.engine.step(state.data, self.control(state.data, action), self.frame_skip)
        finite = jnp.isfinite(data.qpos).all() & jnp.isfinite(data.qvel).all()
        before = state.episode
        key = jax.random.fold_in(state.key, before.steps)
        memory = self.advance(state.memory, data, action, key)
        task_reward = jnp.asarray(self.task_reward(state, action, data, memory), jnp.float32)
        task_reward = jnp.where(finite, task_reward, 0.0)
        episode = self._after(before, data, finite, task_reward)
        seen = self.observations(data, memory), self.recovery_state(data, memory)
        obs, recovery_state = jax.tree.map(lambda leaf: jnp.where(finite, leaf, 0.0), seen)
        return state.replace(
            data=data,
            obs=obs,
            reward=jnp.where(episode.healthy, task_reward, 0.0),
            done=(episode.termination | episode.truncation).astype(jnp.float32),
            episode=episode,
            memory=memory,
            recovery_state=recovery_state,
        )

    def _at_start(
        self, data: Any, key: jax.Array, start_key: jax.Array, grading: Grading | None
    ) -> State:
        """Returns the state of an episode that begins at `data`; `key` is of the next start."""
        memory = self.remember(data, jax.random.fold_in(start_key, 2))
        return State(
            data=data,
            obs=self.observations(data, memory),
            reward=jnp.float32(0.0),
            done=jnp.float32(0.0),
            episode=Episode.first(jnp.asarray(self.is_healthy(data)), grading),
            memory=memory,
            recovery_state=self.recovery_state(data, memory),
            key=key,
        )

    def _after(
        self, before: Episode, data: Any, finite: jax.Array, task_reward: jax.Array
    ) -> Episode:
        """Returns what an episode has come to by the step to `data`."""
        healthy = self.is_healthy(data) & finite
        was_healthy = before.was_healthy | healthy
        failed = was_healthy & (self.has_failed(data) | ~finite)
        succeeded = self.has_succeeded(data) & finite
        steps = before.steps + 1
        termination = ~finite | ((failed | succeeded) & self._terminate)
        return before.replace(
            healthy=healthy,
            was_healthy=was_healthy,
            falling=before.healthy & ~healthy,
            fell=before.fell | failed,
            success=before.success | succeeded,
            termination=termination,
            truncation=(steps >= self.time_limit) & ~termination,
            steps=steps,
            healthy_streak=jnp.where(healthy, before.healthy_streak + 1, 0),
            task_reward=task_reward,
        )

    def _make_engine(self, engine: str, num_envs: int) -> PhysicsEngine:
        return make_engine(engine, self.make_model(), num_envs)

    def _begin(self, key: jax.Array, distance: jax.Array) -> Any:
        """Returns the physics at a start drawn with `key`, at `distance` if it is graded."""
        return self.engine.init(*self._sample_start(key, distance), self._draw_fields(key))

    def _begin_where(self, where: jax.Array, data: Any, key: jax.Array, distance: jax.Array) -> Any:
        """Returns `data`, or the physics at a start as `_begin` draws it where `where` is true."""
        start = self._sample_start(key, distance)
        return self.engine.restart(data, where, *start, self._draw_fields(key))

    def _draw_fields(self, key: jax.Array) -> dict[str, jax.Array]:
        drawn = self.randomize(self.model, jax.random.fold_in(key, 3))
        return {name: jnp.asarray(field, jnp.float32) for name, field in drawn.items()}

    def _check_fields(self) -> None:
        """Checks the names and shapes of what `randomize` draws.

        Raises:
            EnvironmentUnavailable: the engine has no such fields, or they have other shapes.
        """
        fields = jax.eval_shape(self._draw_fields, jax.random.key(0))
        known = self.engine.model_fields if fields else frozenset()
        where = f"{type(self).__name__}.randomize()"
        for name, field in fields.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
                raise EnvironmentUnavailable(
                    f"{where} draws {name!r}, which cannot differ between episodes on "
                    f"{self.engine.name}; "
                    + (f"the nearest that can: {', '.join(near)}" if known else "no field can")
                )
            shape = np.shape(functools.reduce(getattr, name.split("."), self.model))
            if field.shape != shape:
                raise EnvironmentUnavailable(
                    f"{where}[{name!r}] must have shape {shape}, not {field.shape}"
                )

    def _sample_start(self, key: jax.Array, distance: jax.Array) -> tuple[jax.Array, jax.Array]:
        choice = self._choose_start(key)
        _, key = jax.random.split(key)
        drawn = [
            start.sample_at(key, self.model.nv, distance)
            if isinstance(start, GradedStart)
            else start.sample(key, self.model.nv)
            for start in self._starts
        ]
        qpos = jnp.stack([qpos for qpos, _ in drawn])[choice]
        qvel = jnp.stack([qvel for _, qvel in drawn])[choice]
        return self._normalize_quaternions(qpos), qvel

    def _choose_start(self, key: jax.Array) -> jax.Array:
        """Returns which of the starts `_sample_start` takes with this key, `()`."""
        choice_key, _ = jax.random.split(key)
        shares = jnp.asarray(self._start_shares)
        return jax.random.choice(choice_key, len(self._starts), p=shares)

    def _is_graded(self, key: jax.Array) -> jax.Array:
        return jnp.asarray(self._graded)[self._choose_start(key)]

    def _normalize_quaternions(self, qpos: jax.Array) -> jax.Array:
        for kind, address in zip(self.model.jnt_type, self.model.jnt_qposadr, strict=True):
            joint = mujoco.mjtJoint(kind)
            if joint in (mujoco.mjtJoint.mjJNT_FREE, mujoco.mjtJoint.mjJNT_BALL):
                first = int(address) + (3 if joint == mujoco.mjtJoint.mjJNT_FREE else 0)
                quaternion = qpos[first : first + 4]
                qpos = qpos.at[first : first + 4].set(quaternion / jnp.linalg.norm(quaternion))
        return qpos

    def _x_velocity(self, data: PhysicsData, next_data: PhysicsData) -> jax.Array:
        """Mean forward velocity [m/s] over a control step, as Gymnasium computes it."""
        return (next_data.qpos[0] - data.qpos[0]) / self.control_timestep


def gymnasium_spec(file_name: str) -> mujoco.MjSpec:
    """Returns the MJCF model `file_name` as shipped inside the Gymnasium package."""
    spec = importlib.util.find_spec("gymnasium")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "envs" / "mujoco" / "assets"
    return mujoco.MjSpec.from_file(str(folder / file_name))
