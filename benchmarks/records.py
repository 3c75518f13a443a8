"""What a grid's runs measured, read from their folders: one record a run, one row a record."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.grid import GridRun
from lamour_jax.files import write_text

# The recovery rate whose first lasting reaching is timed.
THRESHOLD = 0.9

Status = Literal["finished", "failed", "unfinished"]

# Columns of `results.csv` that are numbers, in this order; empty where a run has no such number.
MEASURES = (
    "recovery_rate",
    "recovery_rate_strict",
    "recovery_rate_sampled",
    "recovery_rate_wide",
    "median_steps_to_recovery",
    "retention",
    "ood_return",
    "ood_full_return",
    "steps_to_90",
    "wall_seconds_to_90",
    "env_steps",
    "wall_seconds",
    "env_steps_per_second",
    "episodes",
)
FACTS = ("engine", "device", "reward_source", "reward_sha256")


@dataclass(frozen=True)
class Curve:
    """Evaluations during training, each `(evaluations,)`; NaN where nothing was measured.

    Attributes:
        env_steps: environment steps trained.
        wall_seconds: seconds of training, compilation included, evaluations not.
        recovery_rate: from the evaluated start.
        full_return: the task's reward while healthy, over the whole episode.
    """

    env_steps: np.ndarray
    wall_seconds: np.ndarray
    recovery_rate: np.ndarray
    full_return: np.ndarray

    def first_lasting(self) -> int | None:
        """Returns the first evaluation from which on the rate stays at `THRESHOLD` or above."""
        below = np.flatnonzero(~(self.recovery_rate >= THRESHOLD))
        first = int(below[-1]) + 1 if len(below) else 0
        return first if first < len(self.recovery_rate) else None


@dataclass(frozen=True)
class Record:
    """One run of the grid.

    Attributes:
        run: which, and where.
        status: whether there is a result; a failed run failed in this call.
        error: why a failed run failed.
        measures: by a name of `MEASURES`; NaN where there is no such number.
        facts: by a name of `FACTS`.
        versions: of the packages, by name.
        curve: what training measured on its way.
    """

    run: GridRun
    status: Status
    error: str = ""
    measures: dict[str, float] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    curve: Curve | None = None

    def reward_code(self) -> str:
        """Returns the reward code that was used; empty if there is none."""
        file = self.run.folder / "reward.py"
        return file.read_text(encoding="utf-8") if file.exists() else ""


def read_record(run: GridRun, failure: str | None = None) -> Record:
    """Reads what a run left in its folder; `failure` is why it failed in this call, if it did."""
    result = run.result()
    if result is None:
        return Record(run, "unfinished" if failure is None else "failed", failure or "")
    curve = _read_curve(run.metrics())
    lasting = curve.first_lasting()
    evaluations = result["evaluations"]
    # The evaluated start comes first.
    main: dict[str, Any] = next(iter(evaluations.values()), {})
    values = {
        **result,
        "recovery_rate_sampled": result.get("recovery_rate_stochastic"),
        "recovery_rate_wide": evaluations.get("ood-wide", {}).get("recovery_rate"),
        "ood_full_return": main.get("full_return"),
        "steps_to_90": None if lasting is None else curve.env_steps[lasting],
        "wall_seconds_to_90": None if lasting is None else curve.wall_seconds[lasting],
    }
    return Record(
        run,
        "finished",
        measures={name: _number(values.get(name)) for name in MEASURES},
        facts={name: str(values.get(name, "")) for name in FACTS},
        versions={name: str(version) for name, version in result.get("versions", {}).items()},
        curve=curve,
    )


def _read_curve(rows: list[dict[str, Any]]) -> Curve:
    evaluated = [row for row in rows if "eval/recovery_rate" in row]

    def column(name: str) -> np.ndarray:
        return np.array([_number(row.get(name)) for row in evaluated], float)

    return Curve(
        env_steps=column("env_steps"),
        wall_seconds=column("wall_seconds"),
        recovery_rate=column("eval/recovery_rate"),
        full_return=column("eval/full_return"),
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def kept_row(record: Record) -> dict[str, Any]:
    """Returns a run's row in the repository's table of methods."""
    named = {
        "robot": record.run.env,
        "method": record.run.method,
        "seed": record.run.seed,
        "strict": record.measures["recovery_rate_strict"],
        "sampled": record.measures["recovery_rate_sampled"],
        "wide": record.measures["recovery_rate_wide"],
        "steps_to_recovery": record.measures["median_steps_to_recovery"],
    }
    return record.measures | named


def write_csv(records: list[Record], path: Path) -> None:
    """Writes `results.csv`: one row a run, empty fields for what was not measured."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["env", "method", "seed", "status", *MEASURES, *FACTS, "error"])
    for record in records:
        run = record.run
        numbers = [record.measures.get(name, math.nan) for name in MEASURES]
        measured = [repr(number) if math.isfinite(number) else "" for number in numbers]
        facts = [record.facts.get(name, "") for name in FACTS]
        writer.writerow(
            [run.env, run.method, run.seed, record.status, *measured, *facts, record.error]
        )
    write_text(path, text.getvalue())
