"""A server on the loopback interface that speaks the REST protocol of the Gemini API."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .loopback import KEY, Answer, Request, Server, on_our_own, serve


def text(words: str, finish: str = "STOP", thoughts: int = 7, **fields: Any) -> Answer:
    """An ordinary reply: a thought, which is no part of the text, and the text in two parts."""
    middle = len(words) // 2
    parts = [{"text": words[:middle]}, {"text": words[middle:]}]
    return Answer(
        {
            "candidates": [
                {
                    "content": {
                        "role": "model",
                        "parts": [{"text": "Let me think.", "thought": True}, *parts],
                    },
                    "finishReason": finish,
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 100,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": thoughts,
                "totalTokenCount": 120 + thoughts,
            },
            "modelVersion": "gemini-test-001",
            **fields,
        }
    )


def out_of_budget() -> Answer:
    """Thinking used up all output tokens: a candidate without parts."""
    return Answer(
        {
            "candidates": [
                {"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}
            ],
            "usageMetadata": {"promptTokenCount": 100, "thoughtsTokenCount": 16_884},
            "modelVersion": "gemini-test-001",
        }
    )


def blocked_prompt(reason: str = "SAFETY") -> Answer:
    return Answer({"promptFeedback": {"blockReason": reason}, "modelVersion": "gemini-test-001"})


def blocked_reply(reason: str = "RECITATION") -> Answer:
    return Answer({"candidates": [{"finishReason": reason, "index": 0}]})


def error(status: int, word: str, message: str, **details: Any) -> Answer:
    """An error as Google's services report it; it quotes the key, as some do."""
    seen = {"detail": f"seen with key {KEY}"}
    body = {"code": status, "message": f"{message} [{KEY}]", "status": word}
    return Answer({"error": {**body, "details": [seen, details]}}, status)


def used_up(delay: str) -> Answer:
    """A quota is used up, and the service says for how long."""
    return error(
        429,
        "RESOURCE_EXHAUSTED",
        "Quota exceeded for metric",
        retryDelay=delay,
        violations=[{"quotaId": "RequestsPerDay-FreeTier", "quotaValue": "20"}],
    )


def wrong_key() -> Answer:
    return error(
        400,
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
        reason="API_KEY_INVALID",
    )


@dataclass(frozen=True)
class Asked(Request):
    """A request in the terms of the Gemini API."""

    @property
    def prompt(self) -> str:
        """The text parts of the question."""
        return "\n".join(part["text"] for part in self._parts if "text" in part)

    @property
    def system(self) -> str:
        return "\n".join(part["text"] for part in self.body["systemInstruction"]["parts"])

    @property
    def pictures(self) -> list[bytes]:
        data = [part["inlineData"] for part in self._parts if "inlineData" in part]
        # Either spelling is right in the JSON form of a protocol buffer.
        kinds = {entry.get("mimeType", entry.get("mime_type")) for entry in data}
        assert kinds <= {"image/png"}
        return [base64.urlsafe_b64decode(entry["data"]) for entry in data]

    @property
    def settings(self) -> dict[str, Any]:
        return self.body["generationConfig"]

    @property
    def _parts(self) -> list[dict[str, Any]]:
        return [part for content in self.body["contents"] for part in content["parts"]]


GeminiServer = Server[Asked]


@contextmanager
def asked_instead(patch: pytest.MonkeyPatch, cache: Path) -> Iterator[GeminiServer]:
    """Runs a server that is asked instead of Google, with a key, short waits and an empty cache."""
    on_our_own(patch, cache)
    with serve(Asked) as running:
        patch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        patch.setenv("GEMINI_API_KEY", KEY)
        yield running
