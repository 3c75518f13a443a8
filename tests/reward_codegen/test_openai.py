"""OpenAI's own client, over real HTTP, against a server that misbehaves as told.

What all services share is tested with Gemini's client; here stands what this protocol adds.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from reward_codegen.writer import models
from reward_codegen.writer.language_model import (
    BlockedReply,
    EmptyReply,
    LanguageModelError,
    MalformedReply,
    ModelUnavailable,
    Picture,
    RefusedReply,
    Reply,
    Request,
    TruncatedReply,
    Usage,
    usable_text,
)
from reward_codegen.writer.providers import client, openai
from reward_codegen.writer.providers.client import ATTEMPTS, MAX_DELAY, THINKING_TOKENS

from .loopback import KEY, Answer
from .openai_server import OpenAIServer, asked_instead, error, text, too_fast

PNG = b"\x89PNG\r\n\x1a\n and so on"
REQUEST = Request("Be brief.", (Picture(PNG), "What is this?"), 0.5, output_tokens=500, seed=3)
BUSY = error(503, "The model is overloaded.")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[OpenAIServer]:
    with asked_instead(monkeypatch, tmp_path / "cache") as running:
        yield running


def ask(lines: list[str] | None = None, name: str = "openai/test") -> Reply:
    said = [] if lines is None else lines
    return models.language_model(name, said.append).ask(REQUEST)


def failure(kind: type[LanguageModelError], name: str = "openai/test") -> str:
    """Asks, and returns what is said; nothing of the client's own errors hangs on to it."""
    with pytest.raises(kind) as caught:
        usable_text(ask(name=name))
    assert type(caught.value) is kind
    assert caught.value.__context__ is None
    assert KEY not in "".join(traceback.format_exception(caught.value))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_is_sent_and_what_comes_back(server: OpenAIServer) -> None:
    server.script = [text("A picture.")]
    reply = ask(name="openai/maker/test:8b")
    assert reply == Reply("A picture.", "stop", "stop", Usage(100, 20, 7), "test-001")
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert (asked.system, asked.prompt, asked.pictures) == ("Be brief.", "What is this?", [PNG])
    assert asked.settings == {
        "model": "maker/test:8b",
        "temperature": 0.5,
        "seed": 3,
        "max_tokens": 500 + THINKING_TOKENS,
    }


def test_without_pictures_the_question_is_plain_text(server: OpenAIServer) -> None:
    server.script = [text("Fine.")]
    models.language_model("openai/test").ask(Request("", ("One.", "Two.")))
    assert server.asked[0].body["messages"] == [{"role": "user", "content": "One.\n\nTwo."}]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("temperature", "Unsupported value: 'temperature' does not support 0.5 with this model."),
        ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ("seed", "Unrecognized request argument supplied: seed"),
    ],
)
def test_an_option_that_the_model_refuses_is_left_out_from_then_on(
    server: OpenAIServer, option: str, message: str
) -> None:
    server.script = [error(400, message, param=option), text("One."), text("Two.")]
    lines: list[str] = []
    model = models.language_model("openai/test", lines.append)
    assert [model.ask(REQUEST).text for _ in range(2)] == ["One.", "Two."]
    assert [option in asked.settings for asked in server.asked] == [True, False, False]
    assert lines == [f"openai/test does not take '{option}'; asking without it"]
    limits = [asked.settings.get("max_completion_tokens") for asked in server.asked]
    assert limits == [
        None,
        *([500 + THINKING_TOKENS] * 2 if option == "max_tokens" else [None] * 2),
    ]


def test_a_limit_that_is_too_high_for_the_model_is_dropped(server: OpenAIServer) -> None:
    large = "'max_tokens' or 'max_completion_tokens' is too large: 16884."
    server.script = [error(400, large), error(400, large), text("Fine.")]
    assert ask().text == "Fine."
    assert {"max_tokens", "max_completion_tokens"}.isdisjoint(server.asked[-1].settings)


def test_openai_itself_is_sent_its_own_name_of_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert openai.OpenAIModel("openai/test").options(REQUEST)["max_completion_tokens"]


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "Invalid content type. image_url is only supported by certain models."),
        error(404, "No endpoints found that support image input"),
        error(500, "image input is not supported - hint: you may need to provide the mmproj"),
        Answer({"error": "Model does not support images. Please use a model that does."}, 400),
        Answer({"object": "error", "message": "test is not a multimodal model"}, 400),
    ],
    ids=["OpenAI", "OpenRouter", "llama.cpp", "LM Studio", "vLLM"],
)
def test_a_model_that_takes_no_pictures(server: OpenAIServer, answer: Answer) -> None:
    server.script = [answer]
    assert ask().finish_reason == "no pictures"
    assert len(server.asked) == 1


def test_waits_and_asks_again(server: OpenAIServer) -> None:
    server.script = [too_fast("0.1"), BUSY, text("Now.")]
    lines: list[str] = []
    assert ask(lines).text == "Now."
    assert lines[0].startswith("429, too many requests; asking again in 0.1 s (request 2 of")
    assert lines[1].startswith("503, overloaded; asking again in")


def test_gives_up_after_all_attempts(server: OpenAIServer) -> None:
    server.otherwise = lambda asked: error(500, "Oops.")
    message = failure(ModelUnavailable)
    assert len(server.asked) == ATTEMPTS, "retries are stacked"
    assert f"is overloaded or out of order (500 Oops. [[key]]), asked {ATTEMPTS} times" in message


TOMORROW = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)


@pytest.mark.parametrize(
    "answer",
    [
        too_fast("3600"),
        too_fast(TOMORROW),
        error(429, "Rate limit reached on tokens per min (TPM). Please try again in 1h2m3.5s."),
    ],
    ids=["seconds", "date", "words"],
)
def test_a_wait_that_is_too_long_ends_it_at_once(server: OpenAIServer, answer: Answer) -> None:
    server.otherwise = lambda asked: answer
    message = failure(ModelUnavailable)
    assert len(server.asked) == 1
    assert "the quota tokens per min (TPM) of the key in OPENAI_API_KEY is used up" in message
    assert f" s, longer than the {MAX_DELAY:g} s allowed" in message


@pytest.mark.parametrize("wait", ["-5", "soon"])
def test_a_wait_that_makes_no_sense_does_no_harm(server: OpenAIServer, wait: str) -> None:
    server.script = [too_fast(wait), text("Now.")]
    assert ask().text == "Now."


def test_another_model_than_the_one_asked_for_is_named_once(server: OpenAIServer) -> None:
    server.script = [text("One."), text("Two.")]
    lines: list[str] = []
    model = models.language_model("openai/maker/large", lines.append)
    for _ in range(2):
        model.ask(REQUEST)
    assert lines == ["openai/maker/large answered as test-001"]


def test_no_wait_refills_an_account(server: OpenAIServer) -> None:
    empty = error(429, "You exceeded your current quota.", code="insufficient_quota")
    server.otherwise = lambda asked: empty
    assert "the quota insufficient_quota of the key in OPENAI_API_KEY is used up" in failure(
        ModelUnavailable
    )
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(401, "Incorrect API key."), "does not accept the key in OPENAI_API_KEY (401"),
        (error(403, "No."), "the key in OPENAI_API_KEY may not use openai/test (403 No."),
        (error(404, "The model does not exist."), "knows no model 'openai/test' (404 The model"),
        (error(400, "Too long."), "refused the request (400 Too long."),
        (Answer(b"<html>teapot</html>", 418), "refused the request (418"),
    ],
    ids=["401", "403", "404", "400", "418"],
)
def test_what_waiting_cannot_mend(server: OpenAIServer, answer: Answer, expected: str) -> None:
    server.otherwise = lambda asked: answer
    assert expected in failure(ModelUnavailable)
    assert len(server.asked) == 1


def test_replies_that_never_come(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REQUEST_TIMEOUT", 0.2)
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    server.otherwise = lambda asked: Answer({}, delay=1.0)
    assert "within 0.2 s, asked 2 times" in failure(ModelUnavailable)


@pytest.mark.parametrize("cut", [0, 20], ids=["before the reply", "within the reply"])
def test_connection_breaks_off(server: OpenAIServer, cut: int) -> None:
    server.script = [Answer({"choices": "x" * 1000}, cut=cut), text("Now.")]
    lines: list[str] = []
    assert ask(lines).text == "Now."
    assert lines[0].startswith("the connection broke off; asking again in")


def test_nobody_listens(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:password@127.0.0.1:9/v1?token=x")
    message = failure(ModelUnavailable)
    assert "no connection to http://127.0.0.1:9/v1 (" in message
    assert "password" not in message and "token" not in message


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (text(None), EmptyReply),
        (text("  "), EmptyReply),
        (Answer({"choices": []}), EmptyReply),
        (text("", "length"), TruncatedReply),
        (text("<think>Hmm, what", "length"), TruncatedReply),
        (text(None, refusal="I will not."), RefusedReply),
        (text("I\u2019m sorry, but I can\u2019t."), RefusedReply),
        (text(None, "content_filter"), BlockedReply),
        (Answer(b"{not json"), MalformedReply),
        (Answer(b"<html></html>", headers={"Content-Type": "text/html"}), MalformedReply),
        (Answer([1, 2]), MalformedReply),
        (Answer({"choices": [{"message": 5}]}), MalformedReply),
        (Answer({"error": {"code": 402, "message": "No credits."}}), ModelUnavailable),
    ],
    ids=str,
)
def test_replies_that_are_none(
    server: OpenAIServer, answer: Answer, kind: type[LanguageModelError]
) -> None:
    server.script = [answer]
    assert failure(kind)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (text("def is_rec", "length"), "def is_rec"),
        (text("<think>Hmm.</think>\n\nFine."), "Fine."),
        (text("Hmm.\n</think>\nFine."), "Fine."),
        (text("Fine.", None), "Fine."),
        (text("Fine.", "something_new"), "Fine."),
        (Answer({"choices": [{"message": {"content": [{"text": "Fine."}]}}]}), "Fine."),
    ],
    ids=["cut off", "thoughts", "thoughts without a beginning", "null", "new word", "parts"],
)
def test_replies_that_will_do(server: OpenAIServer, answer: Answer, words: str) -> None:
    server.script = [answer]
    assert usable_text(ask()) == words


# The key and the package --------------------------------------------------------------------------


def test_credentials(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models.credentials("openai/test") == "OPENAI_API_KEY"
    assert models.credentials("gemini-test") is None
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    assert models.credentials("openai/test") == "OPENAI_BASE_URL"
    server.script = [text("Here."), Answer({"error": "Who?"}, 401)]
    assert ask().text == "Here.", "a server of one's own needs no key"
    assert "does not accept a request without a key" in failure(ModelUnavailable)
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert models.credentials("openai/test") is None
    assert "no API key: set OPENAI_API_KEY" in failure(ModelUnavailable)


@pytest.mark.parametrize("name", ["openai/", "openai/two words", "openai//x"])
def test_what_cannot_be_a_model_is_not_sent(server: OpenAIServer, name: str) -> None:
    assert "is no name of a model" in failure(ModelUnavailable, name)


def test_what_cannot_be_a_key_is_not_sent(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "two words")
    message = failure(ModelUnavailable)
    assert "OPENAI_API_KEY is no API key" in message and "two words" not in message
    assert server.asked == []


@pytest.mark.parametrize("address", ["localhost:11434/v1", "http://", "http://[::1/v1", "x"])
def test_what_cannot_be_an_address_is_not_asked(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    assert models.language_model("openai/test").parameters
    assert "OPENAI_BASE_URL is no address of a server" in failure(ModelUnavailable)


def test_the_key_is_cut_out_of_replies(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway: another-secret")
    server.script = [text(f"Your key is {KEY}, or another-secret."), text("x = min(1, none)")]
    assert ask().text == "Your key is [key], or [key]."
    assert server.asked[0].headers["x-gateway"] == "another-secret"
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert ask().text == "x = min(1, none)", "a placeholder is no secret"


def test_a_missing_package(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    assert "pip install -e '.[openai]'" in failure(ModelUnavailable)


def test_two_servers_do_not_share_replies(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.language_model("openai/test")
    first = model.parameters
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:password@127.0.0.1:9/v1")
    assert model.parameters != first
    assert "password" not in str(model.parameters)
