"""What a language model is told of an environment, and the states that its programs are tried on.

Here the environments, the original policies and the language model's side meet.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

import envs
from envs import RecoveryEnv, State
from envs.pictures.rendering import RenderingUnavailable, render_image
from lamour_jax.errors import UserError
from lamour_jax.policies import originals
from lamour_jax.ppo.acting import Actor
from lamour_jax.ppo.networks import ActorCritic, Agent
from reward_codegen.verify import Probes
from reward_codegen.writer.task import RewardTask

_SEED = 3_000_017  # of the probes: they are the same for every run and seed
_STARTS = 64  # out-of-distribution starts
_EPISODES, _STEPS = 16, 200  # of the original policy, from ordinary starts
_VISITED = 512  # of its states
_PATHS, _PATH_LENGTH = 24, 25
_EXTREME = 64
_ACTIONS = 16

Say = Callable[[str], None]


def reward_task(
    name: str,
    start: str = "ood",
    policy: str = "",
    original: tuple[ActorCritic, Agent] | None = None,
    picture: bool = True,
    say: Say = lambda line: None,
) -> RewardTask:
    """Builds the task of writing a recovery reward for an environment.

    Args:
        name: of the environment.
        start: the out-of-distribution start to recover from.
        policy: path of the original policy; the shipped one if empty.
        original: networks and parameters of the original policy, if they are loaded already.
        picture: whether a picture is wanted (only a model's description needs one).
        say: is told in a line what could not be done.

    Raises:
        UserError: an unknown environment, an unknown or healthy start, no original policy, or one
            that is useless.
    """
    known = _get(name).all_starts()
    if start not in known:
        raise UserError(f"unknown start {start!r} for {name}; known: {', '.join(known)}")
    if original is None:
        header, agent = originals.load(name, policy)
        original = (header.network(), agent)
    # The probes are few: the host's engine makes them at once, whatever training runs on.
    with _on_host():
        env = envs.load(name, start=start, engine="mujoco", terminate=False)
        if is_healthy_start(env, start):
            raise UserError(f"start {start!r} of {name} is healthy: nothing to recover from")
        ordinary = envs.load(name, start="ordinary", engine="mujoco", terminate=False)
        probes = make_probes(env, ordinary, *original)
        fallen = np.asarray(_state(env, start))
    return RewardTask(
        name=env.name,
        description=env.description(),
        original_task=env.original_task,
        state_size=env.recovery_state_size,
        action_size=env.action_size,
        picture=_picture(env, start, say) if picture else None,
        situation=state_in_words(env.description(), fallen),
        probes=probes,
        manipulation=env.moves_things,
    )


def known_sizes() -> dict[str, tuple[int, int]]:
    """Returns the sizes of state and action of every environment."""
    return {name: sizes(name) for name in envs.names()}


def sizes(name: str) -> tuple[int, int]:
    """Returns the sizes of state and action of an environment.

    Raises:
        UserError: it is unknown.
    """
    _get(name)
    with _on_host():
        env = envs.load(name, engine="mujoco")
        return env.recovery_state_size, env.action_size


def is_healthy_start(env: RecoveryEnv, start: str) -> bool:
    """Returns whether the robot is healthy at a start, its noise left aside."""
    healthy = jax.jit(lambda qpos, qvel: env.is_healthy(env.engine.init(qpos, qvel)))
    return bool(healthy(*_pose(env, start)))


def make_probes(
    env: RecoveryEnv, ordinary: RecoveryEnv, network: ActorCritic, agent: Agent
) -> Probes:
    """Collects states and actions to verify reward programs on; the same at every call.

    Args:
        env: begins out of distribution; C MuJoCo.
        ordinary: the same robot from its ordinary starts; C MuJoCo.
        network: of the original policy.
        agent: the original policy.

    Raises:
        UserError: the original policy is never healthy from an ordinary start.
    """
    rng = np.random.default_rng(_SEED)
    start_key, run_key = jax.random.split(jax.random.key(_SEED))
    starts = jax.jit(jax.vmap(env.reset))(jax.random.split(start_key, _STARTS))
    visited = _visited_by(ordinary, network, agent, run_key)
    healthy = np.flatnonzero(visited["healthy"])
    if not len(healthy):
        raise UserError(
            f"the original policy of {env.name} is never healthy from an ordinary start: there is "
            "nothing to recover to; give another by --policy"
        )
    chosen = healthy[np.linspace(0, len(healthy) - 1, _VISITED).astype(int)]
    original = visited["state"][np.unique(chosen)]
    ends = rng.choice(healthy, _PATHS)
    begins = rng.integers(_STARTS, size=_PATHS)
    fractions = np.linspace(0.0, 1.0, _PATH_LENGTH)
    first = np.asarray(starts.data.qpos)[begins], np.asarray(starts.data.qvel)[begins]
    last = visited["qpos"][ends], visited["qvel"][ends]
    qpos = np.stack(
        [
            [interpolate_pose(env.model, a, b, f) for f in fractions]
            for a, b in zip(first[0], last[0], strict=True)
        ]
    )
    qvel = first[1][:, None] + fractions[None, :, None] * (last[1] - first[1])[:, None]
    recorded = recorded_recoveries(env)
    size, actions = env.recovery_state_size, env.action_size
    magnitudes = 10.0 ** rng.uniform(1.0, 6.0, (_EXTREME - 1, 1))
    extreme = magnitudes * rng.uniform(-1.0, 1.0, (_EXTREME - 1, size))
    return Probes(
        ood=np.asarray(starts.recovery_state),
        original=original,
        between=_states_on(env, qpos, qvel),
        recorded=None if recorded is None else _states_on(env, *recorded),
        extreme=np.concatenate([np.zeros((1, size)), extreme]).astype(np.float32),
        actions=np.concatenate(
            [
                np.zeros((1, actions)),
                np.ones((1, actions)),
                -np.ones((1, actions)),
                rng.uniform(-1.0, 1.0, (_ACTIONS - 3, actions)),
            ]
        ).astype(np.float32),
    )


def _states_on(env: RecoveryEnv, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """Returns what reward programs see along paths, `(paths, states, state_size)`."""
    see = jax.jit(jax.vmap(jax.vmap(lambda q, v: env.begin_at(q, v).recovery_state)))
    return np.asarray(see(jnp.asarray(qpos, jnp.float32), jnp.asarray(qvel, jnp.float32)))


def _visited_by(
    env: RecoveryEnv, network: ActorCritic, agent: Agent, key: jax.Array
) -> dict[str, np.ndarray]:
    """What the policy visits, all steps of all episodes in one row; `healthy` ends with a fall."""

    act = Actor(network)

    def run(key: jax.Array) -> dict[str, jax.Array]:
        def step(state: State, _: None) -> tuple[State, dict[str, jax.Array]]:
            seen = {
                "state": state.recovery_state,
                "qpos": state.data.qpos,
                "qvel": state.data.qvel,
                "healthy": state.episode.healthy & ~state.episode.fell,
            }
            return jax.vmap(env.step)(state, act(agent, state).action), seen

        state = jax.vmap(env.reset)(jax.random.split(key, _EPISODES))
        return jax.lax.scan(step, state, length=_STEPS)[1]

    visited = jax.device_get(jax.jit(run)(key))
    return {name: value.reshape(-1, *value.shape[2:]) for name, value in visited.items()}


def interpolate_pose(
    model: mujoco.MjModel, first: np.ndarray, last: np.ndarray, fraction: float
) -> np.ndarray:
    """Returns the pose `(nq,)` at `fraction` of the way from `first` to `last`.

    Orientations turn the short way round (spherical interpolation), everything else is linear.
    """
    pose = first + fraction * (last - first)
    for kind, address in zip(model.jnt_type, model.jnt_qposadr, strict=True):
        joint = mujoco.mjtJoint(kind)
        if joint in (mujoco.mjtJoint.mjJNT_FREE, mujoco.mjtJoint.mjJNT_BALL):
            begin = int(address) + (3 if joint == mujoco.mjtJoint.mjJNT_FREE else 0)
            part = slice(begin, begin + 4)
            pose[part] = _slerp(first[part], last[part], fraction)
    return pose


def _slerp(first: np.ndarray, last: np.ndarray, fraction: float) -> np.ndarray:
    first, last = first / np.linalg.norm(first), last / np.linalg.norm(last)
    cosine = float(first @ last)
    if cosine < 0.0:  # a quaternion and its negative are the same orientation
        last, cosine = -last, -cosine
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-6:
        return last
    parts = np.sin((1.0 - fraction) * angle) * first + np.sin(fraction * angle) * last
    return parts / np.sin(angle)


def state_in_words(description: str, state: np.ndarray) -> str:
    """Returns every entry of a state that is not 0, with its meaning where that is known.

    Args:
        description: of the environment; a table under "## State" says what entries mean.
        state: `(state_size,)`.
    """
    table = description.partition("\n## State")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in table.splitlines()
        if re.match(r"\| *\d+ *(\|[^|]*){3}", line)
    ]
    meanings = {int(row[0]): (row[2], row[3].strip("-")) for row in rows}
    lines = []
    unnamed: list[int] = []  # neighbours without a meaning share a line

    def end_of_line() -> None:
        if unnamed:
            values = ", ".join(f"{state[index]:.3f}" for index in unnamed)
            last = f" to state[{unnamed[-1]}]" if len(unnamed) > 1 else ""
            lines.append(f"- state[{unnamed[0]}]{last} = {values}")
            unnamed.clear()

    shown = np.flatnonzero(~(np.abs(state) < 5e-4)).tolist()  # NaN too
    for index in shown:
        if index in meanings or len(unnamed) == 10 or unnamed[-1:] not in ([], [index - 1]):
            end_of_line()
        if index in meanings:
            meaning, unit = meanings[index]
            value = f"{state[index]:.3f} {unit}".strip()
            lines.append(f"- state[{index}] = {value}: {meaning}")
        else:
            unnamed.append(index)
    end_of_line()
    if len(shown) < len(state):
        lines.append(f"- {'all other' if shown else 'all'} entries of the state are 0")
    return "\n".join(lines)


def _get(name: str) -> type[RecoveryEnv]:
    try:
        return envs.registry.get(name)
    except ValueError as error:
        raise UserError(str(error)) from None


def _pose(env: RecoveryEnv, start: str) -> tuple[jax.Array, jax.Array]:
    """Positions and velocities at a start, without its noise; the first pose of a bank."""
    begin = env.all_starts()[start]
    qpos = np.atleast_2d(begin.qpos)[0]
    qvel = np.broadcast_to(np.atleast_2d(begin.qvel)[0], env.model.nv)
    return jnp.asarray(qpos, jnp.float32), jnp.asarray(qvel, jnp.float32)


def _state(env: RecoveryEnv, start: str) -> jax.Array:
    return env.begin_at(*_pose(env, start)).recovery_state


def _picture(env: RecoveryEnv, start: str, say: Say) -> bytes | None:
    from PIL import Image

    try:
        pixels = render_image(env.model, np.asarray(_pose(env, start)[0]))
    except RenderingUnavailable as reason:
        say(f"no picture for the model, which is told the state in numbers instead: {reason}")
        return None
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", optimize=True)
    return content.getvalue()


def _on_host() -> contextlib.AbstractContextManager[object]:
    """A context in which JAX computes on the host."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        return contextlib.nullcontext()


def recorded_recoveries(
    robot: RecoveryEnv | type[RecoveryEnv],
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns how trained robots came back, state by state; None if none ship with the robot.

    Reward code is tried on them before anyone trains on it: a reward should rise along a recovery
    that happened, not only along a straight line between two poses. `lamour_jax.recoveries` records
    them.

    Returns:
        Positions `(recoveries, states, nq)` and velocities `(recoveries, states, nv)`, float32,
        from an out-of-distribution start to the step from which on the robot stayed healthy.
    """
    file = robot.file("recoveries.npz")
    if not file.is_file():
        return None
    with np.load(file, allow_pickle=False) as arrays:
        return arrays["qpos"], arrays["qvel"]
