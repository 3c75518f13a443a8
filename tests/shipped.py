"""The reward programs that ship, read as text from the robots' folders."""

from __future__ import annotations

from pathlib import Path

ROBOTS = Path(__file__).resolve().parents[1] / "envs" / "robots"


def names() -> list[str]:
    """Returns the robots that a reward ships for."""
    return sorted(file.parent.name for file in ROBOTS.glob("*/reward.py"))


def source(name: str) -> str:
    """Returns the text of a robot's reward."""
    return (ROBOTS / name / "reward.py").read_text("utf-8")
