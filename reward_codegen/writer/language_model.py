"""What a language model is here: text and pictures in, text and usage out.

A model is a class with the two attributes and the one method of `LanguageModel`. What a reply's
finish means, and what is said when a reply cannot be used, stands here once for all models.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from reward_codegen.errors import shorten

FinishReason = Literal["stop", "length", "blocked", "refused", "no pictures", "other"]

# How replies begin that decline the task instead of doing it.
_REFUSAL = re.compile(
    r"(i'?m|i am) (very )?(sorry|unable|not able)|sorry[,.]"
    r"|i (can'?t|cannot|can not|won'?t|will not)\b|unfortunately, i|as an ai\b",
    re.IGNORECASE,
)


class LanguageModelError(Exception):
    """No usable reply; the message says in one or two sentences why, and what can be done."""


class ModelUnavailable(LanguageModelError):
    """The model cannot be asked: no or a wrong key, no such model, no quota, no connection."""


class BlockedReply(LanguageModelError):
    """The model's own filters stopped the prompt or the reply; asking again will not help."""


class UnusableReply(LanguageModelError):
    """There was a reply, but no text to go on with; asking again may help."""


class EmptyReply(UnusableReply):
    """A reply without text."""


class TruncatedReply(UnusableReply):
    """The output budget was used up before the reply was complete."""


class RefusedReply(UnusableReply):
    """The model wrote that it will not do the task."""


class PictureRefused(UnusableReply):
    """The model takes no pictures; the same in words may be answered."""


class MalformedReply(UnusableReply):
    """What came back is not what the model's protocol promises."""


@dataclass(frozen=True)
class Picture:
    """A picture as the bytes of a PNG file."""

    png: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.png).hexdigest()


@dataclass(frozen=True)
class Request:
    """One question to a model.

    Attributes:
        system: what holds for the whole conversation.
        parts: the question itself, text and pictures in their order.
        temperature: of sampling; 0 for the most probable reply.
        output_tokens: how long the visible reply may be.
        seed: of sampling, where the model knows such a thing.
    """

    system: str
    parts: tuple[str | Picture, ...]
    temperature: float = 0.0
    output_tokens: int = 500
    seed: int = 0

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(part for part in self.parts if isinstance(part, Picture))

    def to_json(self) -> dict[str, Any]:
        """All that decides the reply, as plain JSON; pictures by their SHA-256."""
        parts = [
            {"picture_sha256": part.sha256} if isinstance(part, Picture) else {"text": part}
            for part in self.parts
        ]
        return {
            "system": self.system,
            "parts": parts,
            "temperature": self.temperature,
            "output_tokens": self.output_tokens,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Usage:
    """Tokens of a request: what was read, written and thought; None where it is not known."""

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    thinking_tokens: int | None = None


@dataclass(frozen=True)
class Reply:
    """What a model answered.

    Attributes:
        text: the visible text, possibly empty.
        finish_reason: `stop` (complete), `length` (output budget used up), `blocked` (by a filter),
            `refused` (the model declined), `no pictures` (the model takes none) or `other`.
        detail: the service's own word for it, such as `SAFETY`.
        usage: the tokens that it took.
        model_version: the exact model that answered, as it names itself.
        from_cache: whether it was answered before and nothing was sent now.
    """

    text: str
    finish_reason: FinishReason = "stop"
    detail: str = ""
    usage: Usage = Usage()
    model_version: str = ""
    from_cache: bool = False


class LanguageModel(Protocol):
    """A model that can be asked."""

    @property
    def name(self) -> str:
        """The model, as `--model` names it."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The settings beside the request that decide a reply, as plain JSON."""

    def ask(self, request: Request) -> Reply:
        """Answers one request.

        Raises:
            ModelUnavailable: it cannot be asked.
            MalformedReply: what came back cannot be read.
        """


def usable_text(reply: Reply) -> str:
    """Returns the reply's text, if there is any to go on with.

    A text that was cut off is returned too: its reader finds out whether it is enough.

    Raises:
        BlockedReply, PictureRefused, TruncatedReply, EmptyReply, RefusedReply: there is none, and
            why.
    """
    reason = f" ({reply.detail})" if reply.detail else ""
    text = reply.text.strip()
    if reply.finish_reason == "blocked":
        raise BlockedReply(
            f"the model's filter blocked the request or its reply{reason}; the prompts as sent are "
            "in the attempt's folder, and another model may answer them"
        )
    if reply.finish_reason == "no pictures":
        raise PictureRefused(f"the model takes no pictures{reason}")
    if reply.finish_reason == "refused":
        raise RefusedReply(f"the model declined: {shorten(text, 160)}")
    if not text and reply.finish_reason == "length":
        thoughts = reply.usage.thinking_tokens
        spent = f", {thoughts:,} tokens of it by thinking" if thoughts else ", probably by thinking"
        raise TruncatedReply(
            f"the output budget was used up{spent}, before the model wrote any text"
        )
    if not text:
        raise EmptyReply(f"the model sent a reply without text{reason}")
    if _REFUSAL.match(text.replace("\u2019", "'")) and "def " not in text:
        raise RefusedReply(f"the model declined: {shorten(text, 160)}")
    return text
