"""What all services share: waiting and asking again, options that are refused, and messages.

A service is a subclass of `Service`. It sends one request through its maker's client library, whose
own retries are off, and says in the terms of `Failure` what went wrong. Everything else stands
here. Keys are cut out of all that is returned, raised or said; errors are raised apart from the
client's own, which hold the request.
"""

from __future__ import annotations

import abc
import dataclasses
import logging
import math
import os
import random
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from reward_codegen.errors import shorten
from reward_codegen.writer.language_model import (
    LanguageModelError,
    MalformedReply,
    ModelUnavailable,
    Reply,
    Request,
)

# Thoughts count as output, and how long a model thinks cannot be told beforehand: this much is
# allowed on top of the visible text that is asked for.
THINKING_TOKENS = 16_384
REQUEST_TIMEOUT = 300.0  # seconds
ATTEMPTS = 5  # requests until an answer, in all
FIRST_DELAY, MAX_DELAY = 2.0, 60.0  # seconds between them, doubled each time; the longest wait

_SECRETS = ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY")
# Shorter ones are placeholders for servers that need no key, and may stand in any program.
_SHORTEST_SECRET = 8
_LOGGERS = ("google_genai", "openai", "httpx", "httpx2", "httpcore")
_ABOUT_PICTURES = re.compile(r"image|picture|vision|multi-?modal|content must be a string", re.I)

Say = Callable[[str], None]
Kind = Literal[
    "key",
    "forbidden",
    "no model",
    "quota",
    "overloaded",
    "refused",
    "timeout",
    "no connection",
    "broken",
    "malformed",
    "other",
]
_MAY_PASS = {"quota", "overloaded", "timeout", "no connection", "broken"}

# What is said of a failure that ends it; `source` is where the credentials come from.
_MESSAGES: dict[Kind, str] = {
    "key": "{service} does not accept {source} ({said}); {keys}",
    "forbidden": "{source} may not use {model} ({said}); check what it is allowed; {keys}",
    "no model": "{service} knows no model {model!r} ({said}); choose another by --model, such as "
    "{example}",
    "quota": "{quota} of {source} is used up or requests come too fast ({said}), {times}; wait, or "
    "raise the quota; replies so far are kept",
    "overloaded": "{service} is overloaded or out of order ({said}), {times}; try again later, or "
    "choose another model by --model; replies so far are kept",
    "refused": "{service} refused the request ({said})",
    "timeout": "no answer from {address} within {timeout} s, {times}; try again later",
    "no connection": "no connection to {address} ({said}), {times}; check the address, the network "
    "and any proxy settings",
    "broken": "the connection to {address} broke off ({said}), {times}; try again later",
    "malformed": "{address} answered with something that is not a reply of the {protocol} ({said})",
    "other": "{said}",
}
_TOO_LONG = (
    "{quota} of {source} is used up ({said}); {service} asks to wait {delay} s, longer than the "
    "{longest} s allowed; replies so far are kept"
)
_USED_UP = "{quota} of {source} is used up ({said}); waiting does not help; replies so far are kept"
_WAITING: dict[Kind, str] = {
    "quota": "429, too many requests",
    "overloaded": "{status}, overloaded",
    "timeout": "no answer within {timeout} s",
    "no connection": "no connection",
    "broken": "the connection broke off",
}


@dataclass(frozen=True)
class Failure:
    """What went wrong with one request.

    Attributes:
        kind: decides whether it may pass, and what is said.
        said: the service's or the client's own words.
        status: HTTP status, if there was one.
        delay: seconds that the service asks to wait; infinite if waiting does not help.
        quota: the service's name of the quota that is used up.
        about: what the refusal is about, where the service names a field of the request.
    """

    kind: Kind
    said: str = ""
    status: int = 0
    delay: float | None = None
    quota: str = ""
    about: str = ""


def kind_of_status(status: int) -> Kind:
    """Returns what an HTTP status above 299 means."""
    kinds: dict[int, Kind] = {
        401: "key",
        403: "forbidden",
        404: "no model",
        408: "overloaded",
        429: "quota",
    }
    return kinds.get(status, "overloaded" if status >= 500 else "refused")


class Service(abc.ABC):
    """A model behind its maker's client. Nothing is checked or sent before the first question."""

    def __init__(self, name: str, say: Say = lambda line: None):
        """Chooses the model.

        Args:
            name: of the model, as `--model` names it.
            say: is told, in a line each, what is waited for.
        """
        self.name = name
        self._say = say
        self._refused: set[str] = set()  # options that this model does not take
        self._versions: set[str] = set()  # other names that it answered by

    @property
    @abc.abstractmethod
    def parameters(self) -> dict[str, Any]:
        """The settings beside the request that decide a reply, as plain JSON."""

    @abc.abstractmethod
    def facts(self) -> dict[str, str]:
        """Returns what messages name: service, protocol, address, source (of the credentials),
        keys (a clause: where to get them) and example (of a model)."""

    @abc.abstractmethod
    def check(self) -> None:
        """Finds out what can be known to be wrong before anything is sent.

        Raises:
            ModelUnavailable: the name or the key cannot be right, or a package is missing.
        """

    @abc.abstractmethod
    def options(self, request: Request) -> dict[str, Any]:
        """Returns the options that decide a reply, by name; those refused before are left out."""

    @abc.abstractmethod
    def send(self, request: Request, options: dict[str, Any]) -> Reply:
        """Sends one request, once; raises whatever the client raises."""

    @abc.abstractmethod
    def failure(self, error: Exception) -> Failure:
        """Returns what an error of the client means."""

    def ask(self, request: Request) -> Reply:
        """Sends one request and waits for its answer.

        What may pass is asked again, `ATTEMPTS` requests in all, unless the service asks for a
        longer wait than `MAX_DELAY`. An option that the model refuses is left out from then on.

        Raises:
            ModelUnavailable: no or a wrong key, no such model, no quota, no connection.
            MalformedReply: the answer is not what the protocol promises.
        """
        try:
            with _quiet():
                self.check()
                reply = self._ask(request)
            self._check_version(reply.model_version)
            return dataclasses.replace(reply, text=scrub(reply.text), detail=scrub(reply.detail))
        except LanguageModelError as error:
            failed = error
        # Raised out here: as `__context__` the client's own error would carry the key along.
        raise type(failed)(scrub(str(failed)))

    def _ask(self, request: Request) -> Reply:
        asked, delay = 0, FIRST_DELAY
        while True:
            options = self.options(request)
            try:
                return self.send(request, options)
            except Exception as error:
                failure = self.failure(error)
            # Before anything shortens it: half a key would not be found.
            failure = dataclasses.replace(failure, said=scrub(failure.said))
            if request.pictures and _refuses_pictures(failure):
                return Reply("", "no pictures", shorten(failure.said, 160))
            option = _refused_option(failure, options)
            if option is not None:
                self._refused.add(option)
                self._say(f"{self.name} does not take {option!r}; asking without it")
                continue
            asked += 1
            if failure.delay is not None:
                wait = max(failure.delay, 0.0)
            else:
                wait = delay * random.uniform(1.0, 1.5)
                delay = min(2.0 * delay, MAX_DELAY / 1.5)
            if failure.kind not in _MAY_PASS or asked >= ATTEMPTS or not wait <= MAX_DELAY:
                raise self._error(failure, asked)
            why = _WAITING[failure.kind].format(
                status=failure.status, timeout=f"{REQUEST_TIMEOUT:g}"
            )
            self._say(
                f"{why}; asking again in {wait:.1f} s (request {asked + 1} of at most {ATTEMPTS})"
            )
            time.sleep(wait)

    def _check_version(self, version: str) -> None:
        """Says once if the model that answered names itself otherwise than the one asked for."""
        asked, answered = (name.rpartition("/")[2].lower() for name in (self.name, version))
        if version and asked not in answered and version not in self._versions:
            self._say(f"{self.name} answered as {scrub(shorten(version))}")
            self._versions.add(version)

    def _error(self, failure: Failure, asked: int) -> LanguageModelError:
        status = f"{failure.status} " if failure.status else ""
        kind = MalformedReply if failure.kind == "malformed" else ModelUnavailable
        facts = {
            **self.facts(),
            "model": self.name,
            "said": status + shorten(failure.said or "no reason given", 200),
            "times": "asked once" if asked == 1 else f"asked {asked} times",
            "timeout": f"{REQUEST_TIMEOUT:g}",
            "quota": f"the quota {failure.quota}" if failure.quota else "the quota",
            "longest": f"{MAX_DELAY:g}",
        }
        message, delay = _MESSAGES[failure.kind], failure.delay or 0.0
        if failure.kind == "quota" and delay > MAX_DELAY:
            message = _TOO_LONG if math.isfinite(delay) else _USED_UP
        return kind(message.format(**facts, delay=f"{delay:,.0f}"))


def scrub(text: str) -> str:
    """Returns `text` without any API key or password that is set."""
    for secret in _secrets():
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "[key]")
    return text


def _secrets() -> Iterator[str]:
    for name in _SECRETS:
        yield os.environ.get(name, "").strip()
    for header in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines():
        yield header.partition(":")[2].strip()
    user, _, _ = os.environ.get("OPENAI_BASE_URL", "").rpartition("@")
    yield user.rpartition("/")[2].rpartition(":")[2]


def is_key(value: str) -> bool:
    """Returns whether a key can travel in a request header."""
    return re.fullmatch(r"[!-~]+", value.strip()) is not None


def shown_address(url: str) -> str:
    """Returns an address without user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def is_address(url: str) -> bool:
    """Returns whether a server can be asked there."""
    return re.match(r"https?://[^/]", shown_address(url)) is not None


def is_a(error: BaseException | None, *names: str) -> bool:
    """Returns whether an error is of a class of one of these names.

    By name, because the clients work with either of two HTTP libraries that have the same classes.
    """
    return error is not None and any(kind.__name__ in names for kind in type(error).__mro__)


def connection_failure(error: BaseException) -> Failure | None:
    """Returns what an error of the HTTP library means, or None if it is no such error."""
    if is_a(error, "TimeoutException"):
        return Failure("timeout")
    if is_a(error, "ConnectError", "InvalidURL", "UnsupportedProtocol"):
        return Failure("no connection", str(error))
    if is_a(error, "TransportError", "StreamError"):
        return Failure("broken", type(error).__name__)
    return None


def _refuses_pictures(failure: Failure) -> bool:
    return failure.status in (400, 404, 415, 422, 500, 501) and (
        _ABOUT_PICTURES.search(failure.said) is not None
    )


def _refused_option(failure: Failure, options: dict[str, Any]) -> str | None:
    """The option that a refusal names, if it is one that was sent."""
    if failure.status not in (400, 422):
        return None
    words = re.sub(r"[^a-z]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", failure.said).lower())
    for option in options:
        if failure.about == option or option.replace("_", " ") in words:
            return option
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the clients' own logs and warnings from the user, who is told in our words."""
    silent = logging.NullHandler()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(silent)
        logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(silent)
            logger.propagate = propagate
