"""Services that speak the OpenAI protocol, through OpenAI's own client.

These are OpenAI itself and, by OPENAI_BASE_URL, vLLM, Ollama, LM Studio and gateways. The key comes
from OPENAI_API_KEY; a server of one's own may need none.
"""

from __future__ import annotations

import base64
import contextlib
import math
import os
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from reward_codegen.errors import shorten
from reward_codegen.writer.language_model import (
    FinishReason,
    ModelUnavailable,
    Picture,
    Reply,
    Request,
    Usage,
)
from reward_codegen.writer.providers import client
from reward_codegen.writer.providers.client import Failure, Service, is_a, kind_of_status

PREFIX = "openai/"

_KEY, _ADDRESS = "OPENAI_API_KEY", "OPENAI_BASE_URL"
_USUAL_ADDRESS = "https://api.openai.com/v1"
_KEY_PAGE = "https://platform.openai.com/api-keys"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]*")
# Of one option: OpenAI's newer models know only the first, other servers perhaps only the second.
_LIMITS = ("max_completion_tokens", "max_tokens")
_FINISHES: dict[str, FinishReason] = {
    "stop": "stop",
    "": "stop",
    "length": "length",
    "content_filter": "blocked",
}
_TRY_AGAIN = re.compile(r"try again in ((?:\d+(?:\.\d+)?(?:ms|[hms])\s*)+)")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[hms])")
# Used up, by code: no waiting helps.
_USED_UP = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")


def credentials() -> str | None:
    """Returns where the credentials come from, or None if there are none; nothing is sent."""
    return next((name for name in (_KEY, _ADDRESS) if os.environ.get(name, "").strip()), None)


class OpenAIModel(Service):
    """A model of a service that speaks the OpenAI protocol, named `openai/NAME`."""

    _client: Any = None

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "thinking_tokens": client.THINKING_TOKENS,
            "base_url": client.shown_address(_address()),
        }

    def facts(self) -> dict[str, str]:
        address = client.shown_address(_address())
        usual, key = address == _USUAL_ADDRESS, os.environ.get(_KEY, "").strip()
        return {
            "service": "OpenAI" if usual else address,
            "protocol": "OpenAI API",
            "address": address,
            "source": f"the key in {_KEY}" if key else "a request without a key",
            "keys": f"keys are made at {_KEY_PAGE}" if usual else f"{_KEY} holds its key",
            "example": f"{PREFIX}NAME with a NAME that {address}/models lists",
        }

    def check(self) -> None:
        if not _NAME.fullmatch(self.name.removeprefix(PREFIX)):
            raise ModelUnavailable(
                f"{shorten(self.name)!r} is no name of a model; choose one by --model, such as "
                f"{PREFIX}NAME"
            )
        if credentials() is None:
            raise ModelUnavailable(
                f"no API key: set {_KEY} (keys are made at {_KEY_PAGE}), or {_ADDRESS} for a "
                "server of your own"
            )
        if not client.is_address(_address()):
            raise ModelUnavailable(
                f"{_ADDRESS} is no address of a server; it begins with http:// or https://, such "
                "as http://localhost:11434/v1"
            )
        key = os.environ.get(_KEY, "").strip()
        if key and not client.is_key(key):
            raise ModelUnavailable(
                f"{_KEY} is no API key: it holds spaces, line ends or characters that keys do not "
                "have"
            )
        try:
            import openai  # noqa: F401
        except ImportError:
            raise ModelUnavailable(
                f"{self.name} needs the package openai; install it: pip install -e '.[openai]'"
            ) from None

    def options(self, request: Request) -> dict[str, Any]:
        options: dict[str, Any] = {"temperature": request.temperature, "seed": request.seed}
        limits = _LIMITS if _address().rstrip("/") == _USUAL_ADDRESS else _LIMITS[::-1]
        for limit in limits:
            if limit not in self._refused:
                options[limit] = request.output_tokens + client.THINKING_TOKENS
                break
        return {name: value for name, value in options.items() if name not in self._refused}

    def send(self, request: Request, options: dict[str, Any]) -> Reply:
        import openai

        if self._client is None:
            self._client = openai.OpenAI(
                api_key=os.environ.get(_KEY, "").strip() or "none",
                base_url=_address(),
                max_retries=0,
            )
        content: Any = [_part(part) for part in request.parts]
        if not request.pictures:  # as plain text, which every server understands
            content = "\n\n".join(str(part) for part in request.parts)
        messages = [{"role": "user", "content": content}]
        if request.system:
            messages.insert(0, {"role": "system", "content": request.system})
        response = self._client.chat.completions.create(
            model=self.name.removeprefix(PREFIX),
            messages=messages,
            timeout=client.REQUEST_TIMEOUT,
            **options,
        )
        return _reply(response)

    def failure(self, error: Exception) -> Failure:
        status = getattr(error, "status_code", None)
        if is_a(error, "APIResponseValidationError", "JSONDecodeError", "NoReply"):
            return Failure("malformed", type(error).__name__)
        if isinstance(error, ErrorInReply):
            return _status_failure(error.status, error.body, {})
        if is_a(error, "APIStatusError") and isinstance(status, int):
            headers = dict(error.response.headers)  # type: ignore[attr-defined]
            return _status_failure(status, error.body, headers)  # type: ignore[attr-defined]
        if is_a(error, "APITimeoutError"):
            return Failure("timeout")
        cause = error.__cause__ if is_a(error, "APIConnectionError") else error
        return client.connection_failure(cause or error) or Failure(
            "other", f"OpenAI's client failed with {type(error).__name__}: {error}"
        )


class NoReply(Exception):
    """What came back has not the fields of a reply."""


class ErrorInReply(Exception):
    """An error in the body of an answer whose status is 200, as some gateways send it."""

    def __init__(self, body: dict[str, Any]):
        super().__init__()
        code = body.get("code")
        self.body = body
        self.status = code if isinstance(code, int) and code >= 400 else 502


def _address() -> str:
    return os.environ.get(_ADDRESS, "").strip() or _USUAL_ADDRESS


def _part(part: str | Picture) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    data = base64.b64encode(part.png).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def _status_failure(status: int, body: Any, headers: dict[str, str]) -> Failure:
    """What an error of the service means; `body` is its `error` object, or all that it sent."""
    fields = body if isinstance(body, dict) else {"message": body}
    inner = fields.get("error", fields)  # some servers nest it, some send a plain text
    fields = inner if isinstance(inner, dict) else {"message": inner}
    said = str(fields.get("message") or fields.get("detail") or "")
    kind, delay, quota = kind_of_status(status), None, ""
    if kind in ("quota", "overloaded"):
        delay = _delay(headers, said)
    if kind == "quota":
        named = re.search(r"\bon ([a-z ]+\(\w+\))", said)
        quota = named[1] if named else str(fields.get("code") or fields.get("type") or "")
        if fields.get("code") in _USED_UP or fields.get("type") in _USED_UP:
            delay = math.inf
    return Failure(kind, said, status, delay, quota, about=str(fields.get("param") or ""))


def _delay(headers: dict[str, str], said: str) -> float | None:
    """Seconds that the service asks to wait, by its headers or its words."""
    lower = {name.lower(): value for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        with contextlib.suppress(KeyError, ValueError):
            return float(lower[name]) * unit
    with contextlib.suppress(KeyError, ValueError):
        then = parsedate_to_datetime(lower["retry-after"])
        return max((then - datetime.now(UTC)).total_seconds(), 0.0)
    found = _TRY_AGAIN.search(said)
    if found is None:
        return None
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
    return sum(float(number) * units[unit] for number, unit in _DURATION.findall(found[1]))


def _reply(response: Any) -> Reply:
    """The client's response in our terms; the client does not check the fields that it finds.

    Raises:
        ErrorInReply, NoReply: it is none.
    """
    error = getattr(response, "error", None)
    if isinstance(error, dict):
        raise ErrorInReply(error)
    try:
        usage, version = _usage(response.usage), str(response.model or "")
        if not response.choices:
            return Reply("", "other", "no choices", usage, version)
        choice = response.choices[0]
        detail, message = str(choice.finish_reason or ""), choice.message
        if message.refusal:
            return Reply(str(message.refusal), "refused", detail, usage, version)
        content = message.content or ""
        if isinstance(content, list):  # in parts, as some gateways pass it on
            content = "".join(part.get("text") or "" for part in content)
        text = _without_thoughts(str(content))
        return Reply(text, _FINISHES.get(detail, "other"), detail, usage, version)
    except (AttributeError, TypeError, KeyError, IndexError):
        raise NoReply from None


def _without_thoughts(text: str) -> str:
    """Some servers leave a model's thoughts at the beginning of its text, even if cut off."""
    _, end, rest = text.rpartition("</think>")
    return rest if end or not text.lstrip().startswith("<think>") else ""


def _usage(usage: Any) -> Usage:
    if usage is None:
        return Usage()
    details = getattr(usage, "completion_tokens_details", None)
    thoughts = getattr(details, "reasoning_tokens", None)
    written = usage.completion_tokens
    if isinstance(written, int) and isinstance(thoughts, int):
        written -= thoughts
    return Usage(usage.prompt_tokens, written, thoughts)
