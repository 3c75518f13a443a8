"""What a finished run says of itself: a closing table, and `report.html`.

`python -m lamour_jax.report RUN` writes the page again, from what the run's folder holds.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

import envs
from lamour_jax.config import read_config
from lamour_jax.console import Console
from lamour_jax.errors import UserError
from lamour_jax.report.page import FILE, write_page


@dataclass(frozen=True)
class Arguments:
    """Write a finished run's report.html again, from what its folder holds."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""


def print_result(console: Console, result: dict[str, Any], start: str) -> None:
    """Prints the closing table: the original policy from `start`, then the recovered one."""
    before = result["evaluations_before"][start]
    entries = {"original policy, out of distribution": before, **result["evaluations"]}
    rows = [
        [
            name,
            f"{entry['recovery_rate']:.2f}",
            f"{entry['recovery_rate_strict']:.2f}",
            f"{entry['median_steps_to_recovery']:.0f}",
            f"{entry['return']:,.0f}",
            *([f"{entry['success_rate']:.2f}"] if "success_rate" in entry else []),
        ]
        for name, entry in entries.items()
    ]
    console.table(
        f"{result['env']}: {result['method']}, {result['env_steps']:,} steps in "
        f"{result['wall_seconds']:.0f} s on {result['device']}",
        ["start", "recovery rate", "strict", "median steps", "return"]
        + ["success"] * ("success_rate" in before),
        rows,
    )
    console.conclude(
        f"Retention {result['retention']:.2f} "
        f"({result['original_return_before']:,.0f} before, "
        f"{result['original_return_after']:,.0f} after)"
    )


def read_result(run: Path) -> dict[str, Any]:
    """Returns a finished run's `result.json`.

    Raises:
        UserError: the run is not finished, or the file is damaged.
    """
    file = run / "result.json"
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(result, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        raise UserError(
            f"the run in {run} is not finished; go on by "
            f"`python -m lamour_jax.train --resume {run}`"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({error})") from None
    return result


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    run = tyro.cli(Arguments, prog="python -m lamour_jax.report", args=argv).run
    try:
        config = read_config(run)
        if config.stage != "recovery":
            raise UserError(f"the run in {run} trained an original policy; reports are of recovery")
        result = read_result(run)
        try:
            write_page(run, config, result, envs.load(config.env, engine="mujoco"))
        except OSError as error:
            raise UserError(f"{run / FILE} cannot be written: {error.strerror or error}") from None
    except (UserError, envs.ModelUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Written: {run / FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
