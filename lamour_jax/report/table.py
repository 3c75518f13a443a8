"""The closing table of a recovery run, printed to the console."""

from __future__ import annotations

from typing import Any

from lamour_jax.console import Console


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
