"""No test speaks to Google: keys are taken away, and a server on the loopback interface answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reward_codegen.gemini_server import GeminiServer, asked_instead

for _name in list(os.environ):
    if _name.startswith(("GOOGLE_", "GEMINI_")):
        del os.environ[_name]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GeminiServer]:
    """A server that is asked instead of Google, with a key, short waits and an empty cache."""
    with asked_instead(monkeypatch, tmp_path / "cache") as running:
        yield running
