"""Run folders with made-up numbers, as a finished training leaves them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.grid import GridRun

BUDGET = 1_000_000
EVALUATIONS = 10
VERSIONS = {"python": "3.11.7", "jax": "0.10.2"}
REWARD = "def is_recovered(state):\n    return int(abs(state[1]) < 1.0)\n"


def write_run(
    run: GridRun,
    rates: Sequence[float | None],
    retention: float | None = 0.98,
    seconds: float = 100.0,
    full_return: float = 4000.0,
) -> None:
    """Writes the folder of a run whose evaluations during training had these recovery rates."""
    run.folder.mkdir(parents=True)
    (run.folder / "reward.py").write_text(REWARD)
    (run.folder / "config.yaml").write_text("env: made up\n")
    rows = []
    for index, rate in enumerate(rates):
        share = (index + 1) / len(rates)
        row: dict[str, Any] = {"env_steps": share * BUDGET, "wall_seconds": share * seconds}
        rows.append(row)
        rows[-1] |= {"eval/recovery_rate": rate}
        rows[-1] |= {"eval/full_return": None if rate is None else rate * full_return}
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    final = rates[-1]
    evaluation = {
        "recovery_rate": final,
        "full_return": None if final is None else final * full_return,
        "median_steps_to_recovery": 40.0 if final else None,
    }
    result = {
        "env": run.env,
        "method": run.method,
        "seed": run.seed,
        "engine": "mujoco",
        "device": "cpu (2 cores)",
        "env_steps": BUDGET,
        "wall_seconds": seconds,
        "env_steps_per_second": BUDGET / seconds,
        "episodes": 64,
        "recovery_rate": final,
        "recovery_rate_strict": None if final is None else 0.9 * final,
        "recovery_rate_stochastic": final,
        "median_steps_to_recovery": evaluation["median_steps_to_recovery"],
        "ood_return": 100.0,
        "retention": retention,
        "reward_source": f"library/{run.env}",
        "reward_sha256": "ab" * 32,
        "versions": VERSIONS,
        "evaluations": {"ood": evaluation, "ood-wide": {"recovery_rate": final}},
    }
    (run.folder / "result.json").write_text(json.dumps(result))


def learning_curve(final: float, half_way: float, seed: int) -> list[float | None]:
    """Returns noisy recovery rates that rise to `final`, half of it at share `half_way`."""
    noise = np.random.default_rng(seed)
    middle = half_way * (1.0 + 0.15 * noise.normal())
    share = np.arange(1, EVALUATIONS + 1) / EVALUATIONS
    rate = final / (1.0 + np.exp(-14.0 * (share - middle)))
    return [float(r) for r in np.clip(rate + 0.02 * noise.normal(size=EVALUATIONS), 0.0, 1.0)]
