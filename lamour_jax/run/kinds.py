"""The stages of runs, by name."""

from __future__ import annotations

from lamour_jax.run.original import OriginalStage
from lamour_jax.run.recovery import RecoveryStage

STAGES = {"original": OriginalStage, "recovery": RecoveryStage}
