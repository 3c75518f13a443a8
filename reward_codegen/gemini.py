"""Gemini, through Google's own client (google-genai).

The key comes from GOOGLE_API_KEY or GEMINI_API_KEY (the client prefers the first); for Vertex AI
the client's own settings hold (GOOGLE_GENAI_USE_VERTEXAI, GOOGLE_CLOUD_PROJECT,
GOOGLE_CLOUD_LOCATION, application default credentials), and so does GOOGLE_GEMINI_BASE_URL. The key
travels in a request header only. It is cut out of everything that this module returns, raises or
says, and errors are raised apart from the client's own, which hold the request.
"""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from reward_codegen.errors import shorten
from reward_codegen.language_model import (
    FinishReason,
    LanguageModelError,
    MalformedReply,
    ModelUnavailable,
    Picture,
    Reply,
    Request,
    Usage,
)

DEFAULT_MODEL = "gemini-3.8-flash"
KEY_NAMES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")  # in the client's order
_VERTEX_SWITCHES = ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI")
_KEY_PAGE = "https://aistudio.google.com/apikey"

# Thoughts count as output, and how long a model thinks cannot be told beforehand: this much is
# allowed on top of the visible text that is asked for.
THINKING_TOKENS = 16_384
REQUEST_TIMEOUT = 180.0  # seconds
ATTEMPTS = 5  # requests until an answer, in all
FIRST_DELAY, MAX_DELAY, JITTER = 2.0, 60.0, 1.0  # seconds between them, doubled each time

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/-]*")
_SDK_LOGGER = "google_genai"
_RETRY_NOTE = re.compile(r" in (\S+) seconds as it raised (\w+)(?:: (\d{3})\b)?")
_BLOCKED = {
    *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
    *("LANGUAGE", "ESCALATION", "PUP_LIMITED_DISABLED", "IMAGE_SAFETY"),
}

Say = Callable[[str], None]


def key_name() -> str | None:
    """Returns the environment variable that the API key is taken from, if one is set."""
    return next((name for name in KEY_NAMES if os.environ.get(name, "").strip()), None)


def uses_vertex() -> bool:
    """Returns whether the client is told to use Vertex AI."""
    values = [os.environ[name].lower() for name in _VERTEX_SWITCHES if name in os.environ]
    return bool(values) and values[0] in ("true", "1")


def is_configured() -> bool:
    """Returns whether there is a key, or Vertex AI is chosen; nothing is sent to find out."""
    return key_name() is not None or uses_vertex()


class GeminiModel:
    """A Gemini model. Nothing is checked or sent before the first question."""

    def __init__(self, name: str = DEFAULT_MODEL, say: Say = lambda line: None):
        """Chooses the model.

        Args:
            name: as Google names it, such as `gemini-3.8-flash`.
            say: is told, in a line each, what is waited for.
        """
        self._name = name
        self._say = say
        self._client: Any = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def parameters(self) -> dict[str, Any]:
        return {"thinking_tokens": THINKING_TOKENS, "vertex": uses_vertex()}

    def ask(self, request: Request) -> Reply:
        """Sends one request and waits for its answer.

        The client itself waits out 408, 429, 5xx and timeouts; connections that break off, which it
        does not, are tried again here, out of the same number of attempts.

        Raises:
            ModelUnavailable: no or a wrong key, no such model, no quota, no connection.
            MalformedReply: the answer is not what the protocol promises.
        """
        failure: LanguageModelError
        try:
            return self._ask(request)
        except LanguageModelError as error:
            failure = error
        except Exception as error:
            # Whatever the client raises becomes a message. It is raised below, outside of this
            # block: as `__context__` the client's own error would carry the key along.
            failure = self._explain(error)
        raise type(failure)(scrub(str(failure)))

    def _ask(self, request: Request) -> Reply:
        _check_key()
        if not _MODEL_NAME.fullmatch(self._name) or ".." in self._name:
            raise ModelUnavailable(
                f"{shorten(self._name)!r} is no name of a model; choose one by --model, such as "
                f"{DEFAULT_MODEL}"
            )
        with _sdk_log(self._say) as log:
            from google import genai
            from google.genai import types

            if self._client is None:
                self._client = genai.Client(
                    http_options=types.HttpOptions(timeout=round(1000 * REQUEST_TIMEOUT))
                )
            contents = [
                types.Part.from_bytes(data=part.png, mime_type="image/png")
                if isinstance(part, Picture)
                else types.Part.from_text(text=part)
                for part in request.parts
            ]
            delay = FIRST_DELAY
            while True:
                retries = types.HttpRetryOptions(
                    attempts=ATTEMPTS - log.requests,
                    initial_delay=FIRST_DELAY,
                    max_delay=MAX_DELAY,
                    exp_base=2.0,
                    jitter=JITTER,
                )
                config = types.GenerateContentConfig(
                    system_instruction=request.system or None,
                    temperature=request.temperature,
                    max_output_tokens=request.output_tokens + THINKING_TOKENS,
                    seed=request.seed,
                    candidate_count=1,
                    http_options=types.HttpOptions(
                        timeout=round(1000 * REQUEST_TIMEOUT), retry_options=retries
                    ),
                )
                log.requests += 1
                try:
                    response = self._client.models.generate_content(
                        model=self._name, contents=contents, config=config
                    )
                    return _reply(response)
                except Exception as error:
                    if not _broke_off(error) or log.requests >= ATTEMPTS:
                        raise
                self._say(f"the connection broke off; asking again in {delay:.1f} s")
                time.sleep(delay)
                delay = min(2.0 * delay, MAX_DELAY)

    def _explain(self, error: Exception) -> LanguageModelError:
        """What to say of an error of the client, of HTTP or of Google's authentication."""
        code = getattr(error, "code", None)
        if _is(error, "APIError") and isinstance(code, int):
            return self._explain_status(error, code)
        if _is(error, "TimeoutException"):
            return ModelUnavailable(
                f"no answer from {_host()} within {REQUEST_TIMEOUT:g} s, {_times()}; "
                "try again later"
            )
        if _is(error, "ConnectError"):
            return ModelUnavailable(
                f"no connection to {_host()} ({shorten(str(error), 120)}), {_times()}; "
                "check the network and any proxy settings"
            )
        if _is(error, "TransportError", "StreamError", "InvalidURL"):
            return ModelUnavailable(
                f"the connection to {_host()} broke off ({type(error).__name__}), {_times()}; "
                "try again later"
            )
        if _is(error, "GoogleAuthError"):
            return ModelUnavailable(
                f"no credentials for Vertex AI ({shorten(str(error), 160)}); run "
                "`gcloud auth application-default login`, or use an API key instead"
            )
        if _is(error, "UnknownApiResponseError", "JSONDecodeError", "ValidationError"):
            return MalformedReply(
                f"{_host()} answered with something that is not a reply of the Gemini API "
                f"({type(error).__name__})"
            )
        return ModelUnavailable(
            f"Gemini's client failed with {type(error).__name__}: {shorten(str(error), 200)}"
        )

    def _explain_status(self, error: Any, code: int) -> LanguageModelError:
        said = shorten(str(error.message or error.status or "no reason given"), 200)
        what = f"{code} {error.status or ''}".strip() + f": {said}"
        source = "the credentials of Vertex AI" if uses_vertex() else f"the key in {key_name()}"
        about_key = "API_KEY_INVALID" in str(error.details) or "api key" in said.lower()
        if code == 401 or (code == 400 and about_key):
            return ModelUnavailable(
                f"Gemini does not accept {source} ({what}); keys are made at {_KEY_PAGE}"
            )
        if code == 403:
            return ModelUnavailable(
                f"{source} may not use {self._name} ({what}); check the key's project and "
                f"restrictions at {_KEY_PAGE}"
            )
        if code == 404:
            return ModelUnavailable(
                f"Gemini knows no model {self._name!r} ({what}); choose another by --model, "
                f"such as {DEFAULT_MODEL}"
            )
        if code == 429:
            return ModelUnavailable(
                f"the quota of {source} is used up or requests come too fast ({what}), "
                f"{_times()}; wait, or raise the quota; replies so far are kept"
            )
        if code >= 500 or code == 408:
            return ModelUnavailable(
                f"Gemini is overloaded or out of order ({what}), {_times()}; try again later, "
                "or choose another model by --model; replies so far are kept"
            )
        return ModelUnavailable(f"Gemini refused the request ({what})")


def scrub(text: str) -> str:
    """Returns `text` without any API key that is set."""
    for name in KEY_NAMES:
        key = os.environ.get(name, "").strip()
        if key:
            text = text.replace(key, "[key]")
    return text


def _check_key() -> None:
    """A key that cannot be one is said so before the client quotes it in an error."""
    if uses_vertex():
        return
    name = key_name()
    if name is None:
        raise ModelUnavailable(
            f"no API key: set {KEY_NAMES[1]} (keys are made at {_KEY_PAGE}), or choose Vertex AI "
            f"by {_VERTEX_SWITCHES[1]}=true"
        )
    if not re.fullmatch(r"[!-~]+", os.environ[name].strip()):
        raise ModelUnavailable(
            f"{name} is no API key: it holds spaces, line ends or characters that keys do not have"
        )


def _host() -> str:
    if uses_vertex():
        return os.environ.get("GOOGLE_VERTEX_BASE_URL", "Vertex AI")
    return os.environ.get("GOOGLE_GEMINI_BASE_URL", "generativelanguage.googleapis.com")


def _times() -> str:
    return "asked once" if ATTEMPTS == 1 else f"asked {ATTEMPTS} times"


def _is(error: BaseException, *names: str) -> bool:
    """Whether an error is of a class of one of these names.

    By name, because the client works with either of two HTTP libraries that have the same classes.
    """
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _broke_off(error: Exception) -> bool:
    """Whether a connection ended before the answer was complete."""
    return _is(error, "ReadError", "WriteError", "CloseError", "RemoteProtocolError")


class _SdkLog(logging.Handler):
    """Turns the client's log into lines for the user, and counts its requests."""

    def __init__(self, say: Say):
        super().__init__(logging.INFO)
        self._say = say
        self.requests = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not text.startswith("Retrying"):
            if record.levelno >= logging.WARNING:
                self._say(scrub(shorten(text, 200)))
            return
        self.requests += 1
        match = _RETRY_NOTE.search(text)
        if match is None:
            self._say("no answer yet; asking again")
            return
        seconds, kind, code = match.groups()
        reasons = {"429": "429, too many requests", "503": "503, overloaded"}
        why = reasons.get(code, code) if code else kind
        if "Timeout" in kind:
            why = f"no answer within {REQUEST_TIMEOUT:g} s"
        elif kind == "ConnectError":
            why = "no connection"
        self._say(
            f"{why}; asking again in {float(seconds):.1f} s (request {self.requests} of at "
            f"most {ATTEMPTS})"
        )


@contextmanager
def _sdk_log(say: Say) -> Iterator[_SdkLog]:
    """Listens to the client's log, which tells of its waiting, instead of everybody else."""
    logger = logging.getLogger(_SDK_LOGGER)
    handler = _SdkLog(say)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


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
    feedback = response.prompt_feedback
    finish: FinishReason
    if not response.candidates:
        reason = feedback.block_reason if feedback else None
        finish = "blocked" if reason else "other"
        detail = f"prompt: {_word(reason)}" if reason else "no candidates"
        return Reply("", finish, detail, usage, response.model_version or "")
    detail = _word(response.candidates[0].finish_reason)
    if detail in ("STOP", ""):
        finish = "stop"
    elif detail == "MAX_TOKENS":
        finish = "length"
    else:
        finish = "blocked" if detail in _BLOCKED else "other"
    return Reply(
        text=scrub(response.text or ""),
        finish_reason=finish,
        detail=detail,
        usage=usage,
        model_version=response.model_version or "",
    )


def _word(reason: Any) -> str:
    return str(getattr(reason, "value", reason) or "")
