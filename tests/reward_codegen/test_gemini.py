"""Google's own client, over real HTTP, against a server that misbehaves as told."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import pytest

from reward_codegen.writer import models
from reward_codegen.writer.language_model import (
    BlockedReply,
    EmptyReply,
    LanguageModelError,
    MalformedReply,
    ModelUnavailable,
    Picture,
    PictureRefused,
    RefusedReply,
    Reply,
    Request,
    TruncatedReply,
    Usage,
    usable_text,
)
from reward_codegen.writer.providers import client, gemini
from reward_codegen.writer.providers.client import ATTEMPTS, MAX_DELAY, THINKING_TOKENS
from reward_codegen.writer.providers.gemini import GeminiModel

from .gemini_server import (
    GeminiServer,
    blocked_prompt,
    blocked_reply,
    error,
    out_of_budget,
    text,
    used_up,
    wrong_key,
)
from .loopback import KEY, Answer

PNG = b"\x89PNG\r\n\x1a\n and so on"
REQUEST = Request("Be brief.", (Picture(PNG), "What is this?"), 0.5, output_tokens=500, seed=3)
BUSY = error(503, "UNAVAILABLE", "The model is overloaded.")
TOO_FAST = error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.")


def ask(lines: list[str] | None = None, name: str = "gemini-test") -> Reply:
    say: Callable[[str], None] = (lambda line: None) if lines is None else lines.append
    return GeminiModel(name, say).ask(REQUEST)


def failure(kind: type[LanguageModelError], name: str = "gemini-test") -> str:
    """Asks, and returns what is said; nothing of the client's own errors hangs on to it."""
    with pytest.raises(kind) as caught:
        usable_text(ask(name=name))
    assert type(caught.value) is kind
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert KEY not in "".join(traceback.format_exception(caught.value))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_is_sent(server: GeminiServer) -> None:
    server.script = [text("A picture.")]
    ask()
    (asked,) = server.asked
    assert asked.path.endswith("/models/gemini-test:generateContent")
    assert asked.headers["x-goog-api-key"] == KEY
    assert asked.system == "Be brief."
    assert asked.prompt == "What is this?"
    assert asked.pictures == [PNG]
    assert asked.settings == {
        "temperature": 0.5,
        "seed": 3,
        "candidateCount": 1,
        "maxOutputTokens": 500 + THINKING_TOKENS,
    }


def test_what_comes_back(server: GeminiServer) -> None:
    server.script = [text("A picture.")]
    reply = ask()
    assert reply == Reply("A picture.", "stop", "STOP", Usage(100, 20, 7), "gemini-test-001")
    assert usable_text(reply) == "A picture."


@pytest.mark.parametrize(
    ("name", "thinking", "temperature"),
    [
        (gemini.DEFAULT_MODEL, {"thinkinglevel": "MEDIUM"}, None),
        ("gemini-3.1-pro-preview", {"thinkinglevel": "MEDIUM"}, 0.5),
        ("gemini-2.5-flash", {"thinkingbudget": THINKING_TOKENS}, 0.5),
        ("gemini-2.0-flash", None, 0.5),
    ],
)
def test_each_model_is_sent_what_it_knows(
    server: GeminiServer, name: str, thinking: dict[str, object] | None, temperature: float | None
) -> None:
    server.script = [text("Here.")]
    ask(name=name)
    (asked,) = server.asked
    assert asked.path.endswith(f"/models/{name}:generateContent")
    sent = asked.settings.get("thinkingConfig")
    sent = sent and {name.replace("_", "").lower(): value for name, value in sent.items()}
    assert sent == thinking
    assert asked.settings.get("temperature") == temperature
    assert ("topP" in asked.settings, "topK" in asked.settings) == (False, False)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("temperature", "Invalid value at 'generation_config.temperature'."),
        ("seed", "seed is not supported by this model."),
        ("maxOutputTokens", "Unable to submit request: maxOutputTokens must be at most 8192."),
        ("thinkingConfig", "Thinking level MEDIUM is not supported for this model."),
    ],
)
def test_an_option_that_the_model_refuses_is_left_out_from_then_on(
    server: GeminiServer, option: str, message: str
) -> None:
    server.script = [error(400, "INVALID_ARGUMENT", message), text("One."), text("Two.")]
    lines: list[str] = []
    model = GeminiModel("gemini-3-pro", lines.append)
    assert [model.ask(REQUEST).text for _ in range(2)] == ["One.", "Two."]
    assert [option in asked.settings for asked in server.asked] == [True, False, False]
    line, version = lines
    assert version == "gemini-3-pro answered as gemini-test-001"
    assert line.startswith("gemini-3-pro does not take '") and line.endswith("asking without it")


def test_a_model_that_takes_no_pictures(server: GeminiServer) -> None:
    server.script = [error(400, "INVALID_ARGUMENT", "Image input modality is not enabled.")]
    reply = ask()
    assert (reply.finish_reason, len(server.asked)) == ("no pictures", 1)
    with pytest.raises(PictureRefused, match="takes no pictures.*Image input modality"):
        usable_text(reply)


@pytest.mark.parametrize(("answer", "why"), [(TOO_FAST, "429, too many"), (BUSY, "503, overl")])
def test_waits_and_asks_again(server: GeminiServer, answer: Answer, why: str) -> None:
    server.script = [answer, answer, text("Now.")]
    lines: list[str] = []
    assert ask(lines).text == "Now."
    assert len(server.asked) == 3
    assert [why in line for line in lines] == [True, True]
    assert f"(request 2 of at most {ATTEMPTS})" in lines[0]
    assert f"(request 3 of at most {ATTEMPTS})" in lines[1]


def test_gives_up_after_all_attempts(server: GeminiServer) -> None:
    server.otherwise = lambda asked: BUSY
    message = failure(ModelUnavailable)
    assert len(server.asked) == ATTEMPTS, "retries are stacked"
    assert "503 UNAVAILABLE: The model is overloaded." in message
    assert f"asked {ATTEMPTS} times" in message


def test_quota_that_stays_used_up(server: GeminiServer) -> None:
    server.otherwise = lambda asked: TOO_FAST
    message = failure(ModelUnavailable)
    assert len(server.asked) == ATTEMPTS
    assert "quota of the key in GEMINI_API_KEY is used up" in message


def test_a_short_wait_is_the_services_own(server: GeminiServer) -> None:
    server.script = [used_up("0.2s"), text("Now.")]
    lines: list[str] = []
    assert ask(lines).text == "Now."
    assert lines == [
        f"429, too many requests; asking again in 0.2 s (request 2 of at most {ATTEMPTS})"
    ]


def test_a_wait_that_is_too_long_ends_it_at_once(server: GeminiServer) -> None:
    server.otherwise = lambda asked: used_up("3600s")
    message = failure(ModelUnavailable)
    assert len(server.asked) == 1
    assert "the quota RequestsPerDay-FreeTier of the key in GEMINI_API_KEY is used up" in message
    assert f"asks to wait 3,600 s, longer than the {MAX_DELAY:g} s allowed" in message


def test_slow_reply(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REQUEST_TIMEOUT", 0.3)
    server.script = [Answer({}, delay=1.0), text("Now.")]
    lines: list[str] = []
    assert ask(lines).text == "Now."
    assert "no answer within 0.3 s; asking again" in lines[0]


def test_replies_that_never_come(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REQUEST_TIMEOUT", 0.2)
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    server.otherwise = lambda asked: Answer({}, delay=1.0)
    assert "within 0.2 s, asked 2 times" in failure(ModelUnavailable)
    assert len(server.asked) == 2


@pytest.mark.parametrize("cut", [0, 20], ids=["before the reply", "within the reply"])
def test_connection_breaks_off(server: GeminiServer, cut: int) -> None:
    broken = Answer({"candidates": "x" * 1000}, cut=cut)
    server.script = [broken, BUSY, broken, text("Now.")]
    lines: list[str] = []
    assert ask(lines).text == "Now."
    assert ["broke off" in line for line in lines] == [True, False, True]
    assert "(request 2 of" in lines[0]
    # All reasons to ask again share one number of attempts.
    server.asked.clear()
    server.script = [broken, BUSY, broken, BUSY, broken, BUSY, broken]
    assert f"asked {ATTEMPTS} times" in failure(ModelUnavailable)
    assert len(server.asked) == ATTEMPTS


def test_nobody_listens(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    assert "no connection to http://127.0.0.1:9" in failure(ModelUnavailable)


def test_wrong_key_is_said_at_once(server: GeminiServer) -> None:
    server.otherwise = lambda asked: wrong_key()
    message = failure(ModelUnavailable)
    assert len(server.asked) == 1
    assert "does not accept the key in GEMINI_API_KEY (400 INVALID_ARGUMENT: API key" in message
    assert "https://aistudio.google.com/apikey" in message


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(401, "UNAUTHENTICATED", "No."), "does not accept the key in GEMINI_API_KEY (401"),
        (error(403, "PERMISSION_DENIED", "No."), "may not use gemini-test (403 PERMISSION_DENIED"),
        (error(404, "NOT_FOUND", "No."), "knows no model 'gemini-test'"),
        (error(400, "FAILED_PRECONDITION", "Not in this country."), "Not in this country."),
        (error(400, "INVALID_ARGUMENT", "Too long."), "refused the request (400 INVALID_ARGUMENT"),
        (Answer(b"<html>teapot</html>", 418), "418"),
        (Answer(b"elsewhere", 302), "302"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_waiting_cannot_mend(server: GeminiServer, answer: Answer, expected: str) -> None:
    server.otherwise = lambda asked: answer
    assert expected in failure(ModelUnavailable)
    assert len(server.asked) == 1


def test_blocked_prompt(server: GeminiServer) -> None:
    server.script = [blocked_prompt("PROHIBITED_CONTENT")]
    assert "blocked the request or its reply (prompt: PROHIBITED_CONTENT)" in failure(BlockedReply)


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT"])
def test_blocked_reply(server: GeminiServer, reason: str) -> None:
    server.script = [blocked_reply(reason)]
    assert reason in failure(BlockedReply)


@pytest.mark.parametrize("body", [{"candidates": []}, {}, [], None], ids=str)
def test_no_candidates(server: GeminiServer, body: object) -> None:
    server.script = [Answer(body)]
    assert "without text (no candidates)" in failure(EmptyReply)


def test_empty_text(server: GeminiServer) -> None:
    server.script = [text("  ")]
    assert "without text" in failure(EmptyReply)


def test_thinking_uses_up_the_budget(server: GeminiServer) -> None:
    server.script = [out_of_budget()]
    assert "used up, 16,884 tokens of it by thinking, before" in failure(TruncatedReply)


def test_a_reply_that_is_cut_off_keeps_its_text(server: GeminiServer) -> None:
    server.script = [text("def is_rec", finish="MAX_TOKENS")]
    reply = ask()
    assert (reply.finish_reason, usable_text(reply)) == ("length", "def is_rec")


def test_refusal(server: GeminiServer) -> None:
    server.script = [text("I\u2019m sorry, but I can\u2019t help with that.")]
    assert "the model declined: I\u2019m sorry" in failure(RefusedReply)


@pytest.mark.parametrize(
    "body",
    [b"{not json", b"<html>a proxy's page</html>", {"candidates": [{"content": {"parts": 5}}]}],
    ids=["broken", "HTML", "other fields"],
)
def test_malformed_body(server: GeminiServer, body: object) -> None:
    server.script = [Answer(body)]
    assert "not a reply of the Gemini API" in failure(MalformedReply)


def candidate(parts: list[dict[str, object]] | None, finish: str | None = "STOP") -> Answer:
    content = {} if parts is None else {"content": {"role": "model", "parts": parts}}
    reason = {} if finish is None else {"finishReason": finish}
    return Answer({"candidates": [{**content, **reason, "index": 0}]})


FINE = {"content": {"parts": [{"text": "fine"}]}, "finishReason": "STOP"}
FORMS: dict[str, tuple[Answer, str | type[LanguageModelError]]] = {
    "malformed call, no content": (candidate(None, "MALFORMED_FUNCTION_CALL"), EmptyReply),
    "malformed call, empty content": (
        Answer({"candidates": [{"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL"}]}),
        EmptyReply,
    ),
    "a call of a tool": (
        candidate([{"functionCall": {"name": "run", "args": {}}}], "UNEXPECTED_TOOL_CALL"),
        EmptyReply,
    ),
    "a picture in the reply": (
        candidate([{"text": "fine"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]),
        "fine",
    ),
    "thoughts only": (candidate([{"text": "Hmm.", "thought": True}]), EmptyReply),
    "null": (candidate([{"text": None}]), EmptyReply),
    "two candidates": (Answer({"candidates": [FINE, {**FINE, "index": 1}]}), "fine"),
    "new fields": (
        Answer(
            {
                "candidates": [{**FINE, "safetyRatings": [{"category": "NEW", "blocked": False}]}],
                "safetyRatings": [{"category": "NEW", "probability": "NEW"}],
                "somethingNew": [1],
            }
        ),
        "fine",
    ),
    "counts as strings": (
        Answer({"candidates": [FINE], "usageMetadata": {"promptTokenCount": "100"}}),
        "fine",
    ),
    "no finish reason": (candidate([{"text": "fine"}], None), "fine"),
    "an error with status 200": (Answer({"error": {"code": 503, "message": "No."}}), EmptyReply),
    "a list, as streams send it": (Answer([{"candidates": [FINE]}]), EmptyReply),
    "an error in a list": (
        Answer([{"error": {"code": 400, "message": "bad"}}], 400),
        ModelUnavailable,
    ),
    "too large": (Answer(b"Payload Too Large", 413), ModelUnavailable),
    "a byte-order mark": (Answer(b'\xef\xbb\xbf{"candidates": []}'), MalformedReply),
}


@pytest.mark.parametrize("form", FORMS)
def test_odd_forms_of_answers(server: GeminiServer, form: str) -> None:
    answer, expected = FORMS[form]
    server.script = [answer]
    if isinstance(expected, str):
        assert usable_text(ask()) == expected
    else:
        assert failure(expected)
    assert len(server.asked) == 1


def test_code_in_a_part_of_its_own(server: GeminiServer) -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "x = 1"}}
    content = {"role": "model", "parts": [{"text": "Here it is."}, code]}
    server.script = [Answer({"candidates": [{"content": content, "finishReason": "STOP"}]})]
    assert usable_text(ask()) == "Here it is.\n\n```python\nx = 1\n```"


def test_a_reason_that_is_new_is_no_reason_to_fail(server: GeminiServer) -> None:
    server.script = [text("Fine.", finish="SOMETHING_NEW")]
    assert usable_text(ask()) == "Fine."


# The key ------------------------------------------------------------------------------------------


def test_no_key(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", " ")
    assert models.credentials("gemini-test") is None
    assert "no API key: set GEMINI_API_KEY" in failure(ModelUnavailable)
    assert server.asked == []


@pytest.mark.parametrize("key", ["two words", "line\nend", "ключ"])
def test_what_cannot_be_a_key_is_not_sent(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", key)
    message = failure(ModelUnavailable)
    assert "GEMINI_API_KEY is no API key" in message
    assert key not in message
    assert server.asked == []


@pytest.mark.parametrize("name", ["", "two words", "../../other", "gemini?x=1"])
def test_what_cannot_be_a_model_is_not_sent(server: GeminiServer, name: str) -> None:
    assert "is no name of a model" in failure(ModelUnavailable, name)
    assert server.asked == []


def test_of_two_keys_the_clients_choice_is_used_and_said(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "another-key")
    server.script = [text("Here."), wrong_key()]
    lines: list[str] = []
    ask(lines)
    assert server.asked[0].headers["x-goog-api-key"] == "another-key"
    assert "using GOOGLE_API_KEY" in lines[0]
    assert "the key in GOOGLE_API_KEY" in failure(ModelUnavailable)


def test_vertex_is_the_clients_own_business(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", server.url)
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    server.script = [text("Here.")]
    assert models.credentials("gemini-test") == "Vertex AI"
    assert ask().text == "Here."
    assert "publishers/google/models/gemini-test:generateContent" in server.asked[0].path


def test_the_key_is_neither_logged_nor_printed(
    server: GeminiServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    with caplog.at_level(logging.DEBUG):
        server.script = [TOO_FAST, BUSY, text(f"Your key is {KEY}.")]
        assert ask(lines).text == "Your key is [key]."
        for answer in (wrong_key(), error(403, "PERMISSION_DENIED", "No.")):
            server.script = [answer]
            failure(ModelUnavailable)
    printed = capfd.readouterr()
    for place in (caplog.text, "\n".join(lines), printed.out, printed.err):
        assert KEY not in place


def test_a_key_at_the_end_of_what_is_shown_is_cut_out_too(server: GeminiServer) -> None:
    for padding in range(120, 200, 13):
        server.script = [error(403, "PERMISSION_DENIED", "x" * padding + KEY)]
        message = failure(ModelUnavailable)
        assert KEY[:12] not in message


def test_the_clients_log_is_given_back(server: GeminiServer) -> None:
    logger = logging.getLogger("google_genai")
    before = (logger.level, logger.propagate, list(logger.handlers))
    server.script = [text("Here."), wrong_key()]
    ask()
    failure(ModelUnavailable)
    assert (logger.level, logger.propagate, logger.handlers) == before
