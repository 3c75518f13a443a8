"""The task of writing a recovery reward: what a model is told, and what its program is tried on."""

from __future__ import annotations

from dataclasses import dataclass

from reward_codegen.verify import Probes


@dataclass(frozen=True)
class RewardTask:
    """One robot in one out-of-distribution start.

    Attributes:
        name: of the environment.
        description: what each entry of state and action means (Markdown).
        original_task: what the robot was trained to do, to be read after "to".
        state_size: entries of a state.
        action_size: entries of an action.
        picture: PNG of the start; None if none can be drawn.
        situation: the same start in words and numbers, for models that are sent no picture.
        probes: states and actions to verify programs on.
        manipulation: whether things are moved, so that the staged example is shown.
    """

    name: str
    description: str
    original_task: str
    state_size: int
    action_size: int
    picture: bytes | None
    situation: str
    probes: Probes
    manipulation: bool = False
