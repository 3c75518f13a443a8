"""A model that serves recorded replies, for tests and for looking at a run again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reward_codegen.writer.language_model import (
    LanguageModelError,
    ModelUnavailable,
    Reply,
    Request,
)


class ReplayModel:
    """Answers with recorded replies, in their order.

    Attributes:
        requests: what it was asked so far.
    """

    name = "replay"

    def __init__(self, replies: Iterable[str | Reply | LanguageModelError]):
        """Records what to answer: texts, whole replies, or errors to raise."""
        self._replies = list(replies)
        self.requests: list[Request] = []

    @classmethod
    def of_run(cls, folder: Path) -> ReplayModel:
        """Returns a model that answers as the attempts in `folder` were answered.

        Raises:
            ModelUnavailable: the folder holds no recorded replies.
        """
        files = sorted(folder.glob("[0-9]*-*/reply.txt"))
        if not files:
            raise ModelUnavailable(f"{folder} holds no recorded replies (NN-*/reply.txt)")
        return cls(file.read_text(encoding="utf-8") for file in files)

    @property
    def parameters(self) -> dict[str, Any]:
        return {}

    def ask(self, request: Request) -> Reply:
        """Returns the next recorded reply.

        Raises:
            ModelUnavailable: all have been served.
            LanguageModelError: that is what was recorded.
        """
        served = len(self.requests)
        self.requests.append(request)
        if served >= len(self._replies):
            raise ModelUnavailable(f"all {served} recorded replies have been served")
        reply = self._replies[served]
        if isinstance(reply, LanguageModelError):
            raise reply
        return Reply(reply) if isinstance(reply, str) else reply
