"""Gemini, through Google's own client (google-genai).

The key comes from GOOGLE_API_KEY or GEMINI_API_KEY (the client prefers the first). For Vertex AI
the client's own settings hold (GOOGLE_GENAI_USE_VERTEXAI, GOOGLE_CLOUD_PROJECT,
GOOGLE_CLOUD_LOCATION, application default credentials), and so does GOOGLE_GEMINI_BASE_URL.
"""

from __future__ import annotations

import os
import re
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

DEFAULT_MODEL = "gemini-3.8-flash"
THINKING_LEVEL = "medium"  # of models that have levels: from Gemini 3 on

_KEY_NAMES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")  # in the client's order
_VERTEX_SWITCHES = ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI")
_KEY_PAGE = "https://aistudio.google.com/apikey"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/-]*")
_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_LEVELS_SINCE, _BUDGETS_SINCE, _NO_TEMPERATURE_SINCE = (3, 0), (2, 5), (3, 6)
_BLOCKED = {
    *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
    *("LANGUAGE", "ESCALATION", "PUP_LIMITED_DISABLED", "IMAGE_SAFETY"),
}


def credentials() -> str | None:
    """Returns where the credentials come from, or None if there are none; nothing is sent."""
    return "Vertex AI" if _uses_vertex() else _key_name()


class GeminiModel(Service):
    """A Gemini model, named as Google names it, such as `gemini-3.8-flash`."""

    _client: Any = None

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "thinking_tokens": client.THINKING_TOKENS,
            "vertex": _uses_vertex(),
            **self._thinking(),
        }

    def facts(self) -> dict[str, str]:
        vertex = _uses_vertex()
        name = "GOOGLE_VERTEX_BASE_URL" if vertex else "GOOGLE_GEMINI_BASE_URL"
        usual = "Vertex AI" if vertex else "generativelanguage.googleapis.com"
        return {
            "service": "Gemini",
            "protocol": "Gemini API",
            "address": os.environ.get(name, usual),
            "source": "the credentials of Vertex AI" if vertex else f"the key in {_key_name()}",
            "keys": f"keys are made at {_KEY_PAGE}",
            "example": DEFAULT_MODEL,
        }

    def check(self) -> None:
        if not _NAME.fullmatch(self.name) or ".." in self.name:
            raise ModelUnavailable(
                f"{shorten(self.name)!r} is no name of a model; choose one by --model, such as "
                f"{DEFAULT_MODEL}"
            )
        if _uses_vertex():
            return
        name = _key_name()
        if name is None:
            raise ModelUnavailable(
                f"no API key: set {_KEY_NAMES[1]} (keys are made at {_KEY_PAGE}), or choose "
                f"Vertex AI by {_VERTEX_SWITCHES[1]}=true"
            )
        if not client.is_key(os.environ[name]):
            raise ModelUnavailable(
                f"{name} is no API key: it holds spaces, line ends or characters that keys do not "
                "have"
            )
        if self._client is None and all(os.environ.get(name, "").strip() for name in _KEY_NAMES):
            self._say(f"both {' and '.join(_KEY_NAMES)} are set; using {name}")

    def options(self, request: Request) -> dict[str, Any]:
        options = {
            "seed": request.seed,
            "max_output_tokens": request.output_tokens + client.THINKING_TOKENS,
            **self._thinking(),
        }
        # Deprecated from there on: Google advises against sending it.
        if _version(self.name) < _NO_TEMPERATURE_SINCE:
            options["temperature"] = request.temperature
        return {name: value for name, value in options.items() if name not in self._refused}

    def send(self, request: Request, options: dict[str, Any]) -> Reply:
        from google import genai
        from google.genai import types

        if self._client is None:
            self._client = genai.Client()
        contents = [
            types.Part.from_bytes(data=part.png, mime_type="image/png")
            if isinstance(part, Picture)
            else types.Part.from_text(text=part)
            for part in request.parts
        ]
        plain = {name: value for name, value in options.items() if "thinking" not in name}
        thinking = {name: value for name, value in options.items() if "thinking" in name}
        config = types.GenerateContentConfig(
            system_instruction=request.system or None,
            candidate_count=1,
            thinking_config=types.ThinkingConfig(**thinking) if thinking else None,
            http_options=types.HttpOptions(
                timeout=round(1000 * client.REQUEST_TIMEOUT),
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
            **plain,
        )
        return _reply(
            self._client.models.generate_content(model=self.name, contents=contents, config=config)
        )

    def failure(self, error: Exception) -> Failure:
        code = getattr(error, "code", None)
        if is_a(error, "APIError") and isinstance(code, int):
            return _status_failure(error, code)
        if is_a(error, "GoogleAuthError"):
            return Failure(
                "other",
                f"no credentials for Vertex AI ({error}); run `gcloud auth application-default "
                "login`, or use an API key instead",
            )
        if is_a(error, "UnknownApiResponseError", "JSONDecodeError", "ValidationError"):
            return Failure("malformed", type(error).__name__)
        return client.connection_failure(error) or Failure(
            "other", f"Gemini's client failed with {type(error).__name__}: {error}"
        )

    def _thinking(self) -> dict[str, Any]:
        version = _version(self.name)
        if version >= _LEVELS_SINCE:
            return {"thinking_level": THINKING_LEVEL}
        if version >= _BUDGETS_SINCE:
            return {"thinking_budget": client.THINKING_TOKENS}
        return {}


def _key_name() -> str | None:
    return next((name for name in _KEY_NAMES if os.environ.get(name, "").strip()), None)


def _uses_vertex() -> bool:
    values = [os.environ[name].lower() for name in _VERTEX_SWITCHES if name in os.environ]
    return bool(values) and values[0] in ("true", "1")


def _version(name: str) -> tuple[int, int]:
    """The version in a model's name, (0, 0) if it holds none."""
    found = _VERSION.search(name)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _status_failure(error: Any, code: int) -> Failure:
    status, message = error.status or "", error.message or ""
    said = f"{status}: {message}" if message else str(status)
    kind = kind_of_status(code)
    if code == 400 and ("API_KEY_INVALID" in str(error.details) or "api key" in said.lower()):
        kind = "key"
    entries = _details(error.details)
    quotas = [
        str(violation.get("quotaId") or violation.get("quotaMetric") or "")
        for entry in entries
        for violation in entry.get("violations", ())
        if isinstance(violation, dict)
    ]
    delays = [
        float(match[1])
        for entry in entries
        if (match := re.fullmatch(r"(\d+(?:\.\d+)?)s", str(entry.get("retryDelay", ""))))
    ]
    return Failure(
        kind,
        said,
        code,
        delay=max(delays, default=None) if kind in ("quota", "overloaded") else None,
        quota=", ".join(name for name in quotas if name),
    )


def _details(body: Any) -> list[dict[str, Any]]:
    """The entries of an error's `details`, whatever its shape."""
    error = body.get("error", body) if isinstance(body, dict) else {}
    entries = error.get("details") if isinstance(error, dict) else None
    return [entry for entry in entries or () if isinstance(entry, dict)]


def _reply(response: Any) -> Reply:
    """The client's response in our terms."""
    counts = response.usage_metadata
    usage = (
        Usage(
            prompt_tokens=counts.prompt_token_count,
            output_tokens=counts.candidates_token_count,
            thinking_tokens=counts.thoughts_token_count,
        )
        if counts
        else Usage()
    )
    version = response.model_version or ""
    if not response.candidates:
        feedback = response.prompt_feedback
        reason = feedback.block_reason if feedback else None
        detail = f"prompt: {_word(reason)}" if reason else "no candidates"
        return Reply("", "blocked" if reason else "other", detail, usage, version)
    candidate = response.candidates[0]
    detail = _word(candidate.finish_reason)
    finish: FinishReason
    if detail in ("STOP", ""):
        finish = "stop"
    elif detail == "MAX_TOKENS":
        finish = "length"
    else:
        finish = "blocked" if detail in _BLOCKED else "other"
    return Reply(_text(candidate), finish, detail, usage, version)


def _text(candidate: Any) -> str:
    """The visible text; code that came as a part of its own becomes a block."""
    parts = (candidate.content.parts if candidate.content else None) or ()
    text = ""
    for part in parts:
        if part.thought:
            continue
        text += part.text or ""
        if part.executable_code and part.executable_code.code:
            text += f"\n\n```python\n{part.executable_code.code}\n```\n\n"
    return text


def _word(reason: Any) -> str:
    return str(getattr(reason, "value", reason) or "")
