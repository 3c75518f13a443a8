"""The record of one run: its settings, its folder, and what was measured of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lamour_jax.config import RunConfig
from lamour_jax.run.checkpoints import Identity
from lamour_jax.run.evaluation import Episodes
from lamour_jax.run.folder import RunFolder

Row = dict[str, float]


@dataclass
class History:
    """What training measured.

    Attributes:
        rows: a dictionary of metrics for each iteration; evaluations under `eval/`.
        wall_seconds: of the iterations alone, compilation included, evaluations not. Runs that
            train side by side share the time: each one's is that of all.
        steps_per_second: environment steps per second over the iterations after the first.
    """

    rows: list[Row] = field(default_factory=list)
    wall_seconds: float = 0.0
    steps_per_second: float = 0.0

    def best(self, score: str) -> int | None:
        """Returns after how many steps `score` was highest, the last time if several; or None."""
        measured = [row for row in self.rows if math.isfinite(row.get(score, math.nan))]
        best = max(reversed(measured), key=lambda row: row[score], default=None)
        return None if best is None else int(best["env_steps"])


@dataclass
class Run:
    """One run, a member of a population of one or several that train side by side.

    Attributes:
        identity: its settings, reward code and original policy.
        folder: receives its metrics, checkpoints, `bad_states/` and everything else.
        history: of its training.
        before: evaluations of the policy that training began from, by name.
        after: those of the finished policy.
    """

    identity: Identity
    folder: RunFolder
    history: History = field(default_factory=History)
    before: dict[str, Episodes] = field(default_factory=dict)
    after: dict[str, Episodes] = field(default_factory=dict)

    @property
    def config(self) -> RunConfig:
        return self.identity.config
