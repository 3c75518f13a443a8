"""A server on the loopback interface that speaks the chat protocol of OpenAI."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .loopback import KEY, Answer, Request, Server, on_our_own, serve


def text(words: str | None, finish: str | None = "stop", **message: Any) -> Answer:
    """An ordinary reply; 7 of its 27 tokens were thoughts."""
    return Answer(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "test-001",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": words, **message},
                    "finish_reason": finish,
                }
            ],
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 27,
                "total_tokens": 127,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
        }
    )


def error(status: int, message: str, **fields: str) -> Answer:
    """An error as OpenAI reports it, with `code`, `param`, `type`; it quotes the key."""
    return Answer({"error": {"message": f"{message} [{KEY}]", **fields}}, status)


def too_fast(wait: str) -> Answer:
    message = "Rate limit reached for test in org on tokens per min (TPM): Limit 30000."
    limited = error(429, message, type="tokens", code="rate_limit_exceeded")
    return Answer(limited.body, 429, {"Retry-After": wait})


@dataclass(frozen=True)
class Asked(Request):
    """A request in the terms of the OpenAI protocol."""

    @property
    def prompt(self) -> str:
        """The text parts of the question."""
        content = self.body["messages"][-1]["content"]
        if isinstance(content, str):
            return content
        return "\n".join(part["text"] for part in content if part["type"] == "text")

    @property
    def system(self) -> str:
        return self.body["messages"][0]["content"]

    @property
    def pictures(self) -> list[bytes]:
        content = self.body["messages"][-1]["content"]
        parts = [] if isinstance(content, str) else content
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        return [base64.b64decode(url.removeprefix("data:image/png;base64,")) for url in urls]

    @property
    def settings(self) -> dict[str, Any]:
        return {name: self.body[name] for name in self.body if name != "messages"}


OpenAIServer = Server[Asked]


@contextmanager
def asked_instead(patch: pytest.MonkeyPatch, cache: Path) -> Iterator[OpenAIServer]:
    """Runs a server that is asked instead of OpenAI, with a key, short waits, an empty cache."""
    on_our_own(patch, cache)
    with serve(Asked) as running:
        patch.setenv("OPENAI_BASE_URL", f"{running.url}/v1")
        patch.setenv("OPENAI_API_KEY", KEY)
        yield running
