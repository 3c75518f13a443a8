"""Runs: `run_stage` trains and measures one or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamour_jax.config import RunConfig
    from lamour_jax.console import Console
    from lamour_jax.run.folder import RunFolder


def run_stage(
    configs: Sequence[RunConfig], folders: Sequence[RunFolder], console: Console
) -> list[dict[str, Any]]:
    """Trains and measures one run or several, of either stage.

    Several train side by side in one program, or in turns where memory is too small for that.

    Args:
        configs: the settings, validated; they differ in nothing but the seed.
        folders: receive every file of the runs.
        console: says what happens.

    Returns:
        The content of each `result.json`.

    Raises:
        UserError: an unknown name, a bad policy file or reward code, or a training that had to be
            given up.
    """
    # Imported here: reports and command lines use files of this room without training anything.
    from lamour_jax.run import stages
    from lamour_jax.run.kinds import STAGES

    stage = STAGES[configs[0].stage](configs, folders, console)
    agents = stages.train_runs(stage, console)
    stages.evaluate_runs(stage, agents, console)
    return stages.report_runs(stage, agents, console)
