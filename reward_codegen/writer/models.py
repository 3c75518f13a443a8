"""Which model a name means: `openai/NAME` by the OpenAI protocol, any other name is Gemini's."""

from __future__ import annotations

from reward_codegen.writer.providers import gemini, openai
from reward_codegen.writer.providers.client import Say, Service


def language_model(name: str, say: Say = lambda line: None) -> Service:
    """Returns the model of a name; nothing is checked or sent before its first question.

    Args:
        name: as `--model` gives it, such as `gemini-3.8-flash` or `openai/NAME`.
        say: is told in a line each what is waited for.
    """
    return (openai.OpenAIModel if _is_openai(name) else gemini.GeminiModel)(name, say)


def credentials(name: str) -> str | None:
    """Returns where the credentials for a model come from, or None if there are none.

    This is an environment variable or `Vertex AI`. Nothing is sent to find out.
    """
    return openai.credentials() if _is_openai(name) else gemini.credentials()


def key_name(name: str) -> str:
    """Returns the environment variable that would hold the key for a model."""
    return "OPENAI_API_KEY" if _is_openai(name) else "GEMINI_API_KEY"


def _is_openai(name: str) -> bool:
    return name.startswith(openai.PREFIX)
