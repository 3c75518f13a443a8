"""The episodes that are worth a look: worst, median and best of an evaluation, and their file."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from lamour_jax.errors import UserError
from lamour_jax.run.evaluation import Episodes

FILE = "episodes.npz"
ORIGINAL = "original policy"
CHOICES = ("worst", "median", "best")


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode that can be shown again.

    Attributes:
        names: what it is: of `worst`, `median` and `best` one or, where episodes are alike,
            several; or `original policy`.
        index: its place in the evaluation.
        qpos: positions, the start first, `(steps + 1, nq)` float32.
        healthy: at each of them, `(steps + 1,)` bool.
        qvel: velocities at the start, `(nv,)` float32.
        recovered: whether it counts as recovered.
        steps_to_recovery: control steps until health came to stay.
        full_return: sum of the original task's reward while healthy.
    """

    names: tuple[str, ...]
    index: int
    qpos: np.ndarray
    healthy: np.ndarray
    qvel: np.ndarray
    recovered: bool
    steps_to_recovery: int
    full_return: float


def choose(episodes: Episodes, original: Episodes | None = None) -> list[RecordedEpisode]:
    """Returns the worst, the median and the best episode, and the original policy's.

    Recovered is better than not, sooner better than later, then a higher return decides. An
    episode that equals an earlier one is not repeated: it gets its name as well.

    Args:
        episodes: of the recovered policy, with a recording.
        original: of the original policy from the same starts; its episode from the median's start
            comes last.
    """
    episodes, original = jax.device_get((episodes, original))
    order = np.lexsort((episodes.full_return, -episodes.steps_to_recovery, episodes.recovered))
    places = {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}
    chosen: list[RecordedEpisode] = []
    for name in CHOICES:
        episode = _episode(episodes, int(places[name]), (name,))
        same = [other for other in chosen if np.array_equal(other.qpos, episode.qpos)]
        if same:
            place = chosen.index(same[0])
            chosen[place] = _episode(episodes, same[0].index, (*same[0].names, name))
        else:
            chosen.append(episode)
    if original is not None:
        chosen.append(_episode(original, int(places["median"]), (ORIGINAL,)))
    return chosen


def distinct_episodes(episodes: Episodes) -> int:
    """Returns how many recorded episodes differ: from a start without noise all are one."""
    assert episodes.recording is not None
    qpos = np.asarray(episodes.recording.qpos)
    return len(np.unique(qpos.reshape(len(qpos), -1), axis=0))


def _episode(episodes: Episodes, index: int, names: tuple[str, ...]) -> RecordedEpisode:
    recording = episodes.recording
    assert recording is not None
    return RecordedEpisode(
        names,
        index,
        np.asarray(recording.qpos[index], np.float32),
        np.asarray(recording.healthy[index], bool),
        np.asarray(recording.qvel[index], np.float32),
        bool(episodes.recovered[index]),
        int(episodes.steps_to_recovery[index]),
        float(episodes.full_return[index]),
    )


def save(episodes: list[RecordedEpisode], path: Path) -> None:
    """Writes the episodes, as arrays without pickle; whole or not at all."""
    arrays: dict[str, np.ndarray] = {}
    for number, episode in enumerate(episodes):
        for name, value in vars(episode).items():
            content = ",".join(value) if name == "names" else value
            arrays[f"{number}.{name}"] = np.asarray(content)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(buffer.getvalue())
    temporary.replace(path)


def load(path: Path) -> list[RecordedEpisode]:
    """Reads what `save` wrote.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        count = len({name.partition(".")[0] for name in arrays})
        return [_read(arrays, number) for number in range(count)]
    except FileNotFoundError:
        raise UserError(f"there are no recorded episodes: {path} does not exist") from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or not a recording ({error})") from None


def _read(arrays: dict[str, np.ndarray], number: int) -> RecordedEpisode:
    def of(name: str) -> np.ndarray:
        return arrays[f"{number}.{name}"]

    episode = RecordedEpisode(
        tuple(str(of("names")).split(",")),
        int(of("index")),
        np.asarray(of("qpos"), np.float32),
        np.asarray(of("healthy"), bool),
        np.asarray(of("qvel"), np.float32),
        bool(of("recovered")),
        int(of("steps_to_recovery")),
        float(of("full_return")),
    )
    if episode.qpos.ndim != 2 or episode.healthy.shape != episode.qpos.shape[:1]:
        raise ValueError(f"positions of shape {episode.qpos.shape}")
    return episode
